"""Checks at most once per period whether the store answers. A check takes up to the store's timeouts."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..ports import StoreDenied, StoreError, StoreReader
from .loops import Loop, describe

log = logging.getLogger(__name__)

#: No order has this id. Looking it up takes a quorum of the store and nothing else.
_NO_ORDER = str(uuid.UUID(int=0))
#: An answer can take as long as the store's deadlines. Without one for this long (s) the store counts as unreachable.
NO_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One answer. ``members`` maps each member to whether it answers. ``latency_s`` is that of one consistent read,
    0 if it failed; ``reason`` then says why, and ``is_denied`` that the store refused the caller. ``alarms`` are those
    of etcd, such as ``NOSPACE``."""

    reachable: bool
    latency_s: float = 0.0
    members: Mapping[str, bool] = field(default_factory=dict)
    version: str = ""
    size_bytes: int = 0
    reason: str = ""
    is_denied: bool = False
    alarms: tuple[str, ...] = ()


class StoreProbe:
    """Keeps the latest :class:`Probe`. Thread-safe.

    Either call :meth:`recent`, which checks if the result is too old, or :meth:`start` a thread that checks every
    period.
    """

    def __init__(self, ask: Callable[[], Probe], period_s: float = 5.0) -> None:
        """``ask`` may block; see :func:`look` and :func:`timed`."""
        self._ask = ask
        self._period_s = period_s
        self._lock = threading.Lock()
        self._asked_at_s = float("-inf")
        self._found: Probe | None = None
        self._loop = Loop("store-probe", self._look, period_s=period_s, expected=(StoreError,))

    @property
    def latest(self) -> Probe | None:
        """Return the latest finding; ``None`` before the first one."""
        found, age_s = self._found, time.monotonic() - self._asked_at_s
        if found is not None and age_s > NO_ANSWER_S + self._period_s:
            return Probe(False, reason=f"no answer for {age_s:.0f} s")
        return found

    def recent(self) -> Probe:
        """Return a result that is younger than a period. Concurrent callers share one check."""
        with self._lock:
            if self._found is None or time.monotonic() - self._asked_at_s >= self._period_s:
                try:
                    self._look()
                except Exception as error:
                    log.error("the store could not be asked: %s", describe(error), exc_info=error)
            assert self._found is not None
            return self._found

    def start(self) -> None:
        """Check every period, on a thread."""
        self._loop.start()

    def close(self) -> None:
        """Stop after the current check. Close the store only after this returns."""
        self._loop.close()

    def _look(self) -> None:
        """Ask once. An exception is a finding, too; it is raised again."""
        try:
            self._found = self._ask()
        except Exception as error:
            self._found = Probe(False, reason=describe(error), is_denied=isinstance(error, StoreDenied))
            raise
        finally:
            self._asked_at_s = time.monotonic()


def check_quorum(store: StoreReader) -> None:
    """Raise ``StoreError`` unless a quorum of the store answers."""
    store.find(_NO_ORDER)


def timed(check: Callable[[], None]) -> Probe:
    """Run ``check`` and measure it. It raises ``StoreError`` if the store cannot be used."""
    began_s = time.monotonic()
    try:
        check()
    except StoreError as error:
        return Probe(False, reason=str(error) or type(error).__name__, is_denied=isinstance(error, StoreDenied))
    return Probe(True, time.monotonic() - began_s)


def look(store: StoreReader) -> Probe:
    """Query ``store`` with a consistent read, and for its state. Blocks for its timeouts at worst."""
    found = timed(partial(check_quorum, store))
    state = store.status()
    members = state.get("endpoints", {})
    size = state.get("db_size_bytes", 0)
    alarms = state.get("alarms", ())
    return replace(
        found,
        members={str(name): bool(there) for name, there in members.items()} if isinstance(members, Mapping) else {},
        version=str(state.get("version", "")),
        size_bytes=size if isinstance(size, int) else 0,
        alarms=tuple(map(str, alarms)) if isinstance(alarms, (list, tuple)) else (),
    )
