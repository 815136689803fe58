"""Durable state of a region, in etcd or in an in-memory twin, and the archive of finished orders.

Orders, requests and a leader's changes come in and become fenced transactions; snapshots, changes and histories go out
as records of :mod:`drone_orchestrator.core.types`. The protocols are in :mod:`drone_orchestrator.ports`. ``EtcdStore``
is imported on first use, so that programs that only need the twin or the codec do not load gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import codec, keys
from .memory import MemoryStore
from .memory_backend import MemoryBackend
from .reader import CorruptRecord
from .region import RegionStore

if TYPE_CHECKING:
    from .etcd import EtcdStore

__all__ = [
    "CorruptRecord",
    "EtcdStore",
    "MemoryBackend",
    "MemoryStore",
    "RegionStore",
    "codec",
    "keys",
]


def __getattr__(name: str) -> object:
    if name == "EtcdStore":
        from .etcd import EtcdStore

        return EtcdStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
