"""Records that this client wrote and that its watch has not delivered yet."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from .kv import KeyValue
from .transactions import Plan, Written

_REMEMBERED = 8192  # records; older ones are decoded as usual


class OwnWrites:
    """Saves a leader from decoding its own records: most changes on its watch are its own writes.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: dict[str, Written] = {}  # by key

    def remember(self, plans: Sequence[Plan]) -> None:
        """Remember the records that ``plans`` are about to write."""
        with self._lock:
            for item in plans:
                for written in item.written:
                    self._written[written.put.key] = written
            while len(self._written) > _REMEMBERED:
                del self._written[next(iter(self._written))]

    def clear(self) -> None:
        """Forget everything: the store is another one."""
        with self._lock:
            self._written.clear()

    def take(self, keys: Sequence[tuple[str, KeyValue | None]]) -> dict[str, Written]:
        """Return and forget the records of ``keys`` whose bytes are exactly those written here."""
        own: dict[str, Written] = {}
        if not self._written:
            return own
        with self._lock:
            for key, kv in keys:
                written = self._written.get(key)
                if written is None or kv is None:
                    continue
                if written.put.value == kv.value and written.put.lease == kv.lease:
                    own[key] = self._written.pop(key)
        return own
