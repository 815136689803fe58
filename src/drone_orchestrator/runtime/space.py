"""Room in the store: how much of etcd's quota is in use, and what gives way when it runs out.

At ``FILLING`` the leader retires ended orders early and compacts the history. At ``FULL`` the intake refuses new orders
so that clearances and outcomes of accepted ones still have room. Beyond its quota etcd raises the alarm ``NOSPACE`` and
takes no more writes, until somebody defragments it and disarms the alarm; reading still works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core.leader.retention import FILLING
from ..ports import StoreError, StoreReader
from .loops import Loop

#: Share of the quota from which the intake refuses new orders.
FULL = 0.8
PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class Space:
    """State of the store's space. ``used_bytes`` is what is in use, not the size of the file."""

    used_bytes: int
    quota_bytes: int
    alarms: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Used share of the quota; 1.0 while etcd takes no writes."""
        return 1.0 if self.alarms else self.used_bytes / self.quota_bytes

    @property
    def filling(self) -> str:
        """One sentence for people if the store fills up, else empty."""
        if self.alarms or self.share < FILLING:
            return ""  # an alarm has a finding of its own
        return f"{self.share:.0%} of the store's {self.quota_bytes >> 20} MiB are in use"

    @property
    def refusal(self) -> str:
        """Reason why no new order is accepted, else empty."""
        if self.alarms:
            return f"the store takes no writes (alarm {', '.join(self.alarms)})"
        return f"the store is nearly full ({self.share:.0%})" if self.share >= FULL else ""


def measure(store: StoreReader, quota_bytes: int) -> Space:
    """Ask ``store`` for its state. Blocks for its timeouts at worst. Raises ``StoreError``."""
    state = store.status()
    if not state.get("reachable"):
        raise StoreError("the store does not answer")
    used, alarms = state.get("db_in_use_bytes", 0), state.get("alarms", ())
    known = tuple(map(str, alarms)) if isinstance(alarms, (list, tuple)) else ()
    return Space(used if isinstance(used, int) else 0, quota_bytes, known)


class StoreSpace:
    """Measures the store every few seconds, on a thread. Keeps the last result while the store does not answer."""

    def __init__(
        self, store: StoreReader, quota_bytes: int, on_measured: Callable[[Space], None] = lambda space: None
    ) -> None:
        self.latest: Space | None = None
        self._store = store
        self._quota_bytes = quota_bytes
        self._on_measured = on_measured
        self._loop = Loop("store-space", self._measure, period_s=PERIOD_S, expected=(StoreError,))

    def start(self) -> None:
        self._loop.start()

    def close(self) -> None:
        """Stop, without waiting for a measurement under way, which ends when the store is closed."""
        self._loop.stop()

    def refusal(self) -> str:
        """Return why no new order is accepted; empty if any is."""
        return self.latest.refusal if self.latest is not None else ""

    def _measure(self) -> None:
        try:
            space = measure(self._store, self._quota_bytes)
        except StoreError:
            if not self._loop.closing:
                raise
            return
        self.latest = space
        if not self._loop.closing:
            self._on_measured(space)
