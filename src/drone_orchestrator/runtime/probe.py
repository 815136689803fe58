"""Asks the store now and then how it is, on a thread of its own: the answer may take as long as the store is away."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..ports import StoreError, StoreReader

#: No order has this id, and to know that takes a quorum.
_NOBODY = str(uuid.UUID(int=0))


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found. ``members``: whether each answers; ``latency_s``: of one consistent read, 0 where it failed."""

    reachable: bool
    latency_s: float = 0.0
    members: Mapping[str, bool] = field(default_factory=dict)
    version: str = ""
    size_bytes: int = 0


class StoreProbe:
    """``latest`` is the newest :class:`Probe`, ``None`` before the first one. ``start`` and ``close`` once each."""

    def __init__(self, store: StoreReader, period_s: float = 5.0) -> None:
        self._store = store
        self._period_s = period_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-probe", daemon=True)
        self.latest: Probe | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends with the call under way; close the store afterwards."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.latest = look(self._store)
            self._closing.wait(self._period_s)


def look(store: StoreReader) -> Probe:
    """Ask ``store`` once; blocks for its time-outs at worst."""
    latency_s = 0.0
    began_s = time.monotonic()
    try:
        store.find(_NOBODY)
        latency_s = time.monotonic() - began_s
        answers = True
    except StoreError:
        answers = False
    found = store.status()
    members = found.get("endpoints", {})
    size = found.get("db_size_bytes", 0)
    return Probe(
        answers,
        latency_s,
        {str(name): bool(there) for name, there in members.items()} if isinstance(members, Mapping) else {},
        str(found.get("version", "")),
        size if isinstance(size, int) else 0,
    )
