"""Asks the store whether it answers, at most once per period. The answer can take as long as the store is away."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..ports import StoreError, StoreReader

#: No order has this id. Looking it up takes a quorum of the store and nothing else.
_NO_ORDER = str(uuid.UUID(int=0))


@dataclass(frozen=True, slots=True)
class Probe:
    """One finding. ``members`` maps each member to whether it answers. ``latency_s`` is that of one consistent read,
    0 if it failed; ``reason`` then says why."""

    reachable: bool
    latency_s: float = 0.0
    members: Mapping[str, bool] = field(default_factory=dict)
    version: str = ""
    size_bytes: int = 0
    reason: str = ""


class StoreProbe:
    """Keeps the latest :class:`Probe`. Thread-safe.

    Either call :meth:`recent`, which asks if the finding is too old, or :meth:`start` a thread that asks every period.
    """

    def __init__(self, ask: Callable[[], Probe], period_s: float = 5.0) -> None:
        """``ask`` may block; see :func:`look` and :func:`timed`."""
        self._ask = ask
        self._period_s = period_s
        self._lock = threading.Lock()
        self._asked_at_s = float("-inf")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-probe", daemon=True)
        self.latest: Probe | None = None

    def recent(self) -> Probe:
        """Return a finding that is younger than a period. Callers that arrive meanwhile share one call."""
        with self._lock:
            if self.latest is None or time.monotonic() - self._asked_at_s >= self._period_s:
                self.latest = self._ask()
                self._asked_at_s = time.monotonic()
            return self.latest

    def start(self) -> None:
        """Ask every period, on a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the call under way; close the store afterwards."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.latest = self._ask()
            self._closing.wait(self._period_s)


def check_quorum(store: StoreReader) -> None:
    """Raise ``StoreError`` unless a quorum of the store answers."""
    store.find(_NO_ORDER)


def timed(check: Callable[[], None]) -> Probe:
    """Run ``check`` and measure it. It raises ``StoreError`` if the store cannot be used."""
    began_s = time.monotonic()
    try:
        check()
    except StoreError as error:
        return Probe(False, reason=str(error) or type(error).__name__)
    return Probe(True, time.monotonic() - began_s)


def look(store: StoreReader) -> Probe:
    """Ask ``store`` for a consistent read and for its state. Blocks for its time-outs at worst."""
    found = timed(partial(check_quorum, store))
    state = store.status()
    members = state.get("endpoints", {})
    size = state.get("db_size_bytes", 0)
    return replace(
        found,
        members={str(name): bool(there) for name, there in members.items()} if isinstance(members, Mapping) else {},
        version=str(state.get("version", "")),
        size_bytes=size if isinstance(size, int) else 0,
    )
