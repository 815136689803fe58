"""Durable state: keys, codec, fenced transactions, watch; etcd and an in-memory twin.

``EtcdStore`` is imported on first use, so that those who only need the twin or the codec do not load gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import codec, keys
from .memory import MemoryBackend, MemoryStore
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
