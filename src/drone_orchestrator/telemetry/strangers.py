"""Messages of other fleets in the same DDS domain and namespace: ignored, counted and reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from ..core.types import FleetIdentity
from .diagnostics import MOST_NAMES
from .metrics import Metrics

#: A sender that has not been heard for this long (s) is forgotten.
FORGOTTEN_AFTER_S = 10.0
#: Maximum number of senders remembered. The others are still counted.
MOST_SENDERS = 200
#: Name of a fleet whose messages carry no id.
UNNAMED = "without id"


def is_foreign(fleet_id: str, own: str) -> bool:
    """Return whether a sender belongs to another fleet.

    A sender without a fleet is not foreign: it is of an older version, or a drone that has not met its first leader. A
    process that does not know its own fleet cannot tell.
    """
    return fleet_id != own and bool(fleet_id and own)


class Strangers:
    """Senders of other fleets, as one process hears them. Thread-safe."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in s."""
        self.fleet_id = ""  #: the fleet of this process; empty until it is known
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[tuple[str, str], tuple[str, float]] = {}

    def follow(self, fleet: FleetIdentity | None) -> None:
        """Follow the identity in the store. Once known, it stays known while the store is away."""
        if fleet is not None:
            self.fleet_id = fleet.fleet_id

    def ignores(self, kind: str, name: str, fleet_id: str, *, topic: str) -> bool:
        """Return whether a message of ``kind`` ``name`` is to be ignored, and note it if so."""
        if not is_foreign(fleet_id, self.fleet_id):
            return False
        self.hear(f"{kind} {name}", fleet_id, f"fleet {self.fleet_id}", topic=topic)
        return True

    def hear(self, sender: str, fleet_id: str, own: str, *, topic: str) -> None:
        """Note that a message of ``sender`` in ``fleet_id`` was ignored, because ``own`` counts here.

        ``sender`` and ``own`` are for people, such as "drone drone_1" and "fleet 3f6c…".
        """
        self._metrics.foreign_messages(topic=topic).inc()
        with self._lock:
            key = (fleet_id or UNNAMED, sender)
            if key in self._heard or len(self._heard) < MOST_SENDERS:
                self._heard[key] = (own, self._clock())

    def found(self) -> Mapping[str, str]:
        """Return a sentence for each other fleet that was heard lately. A source of findings."""
        with self._lock:
            now_s = self._clock()
            self._heard = {key: each for key, each in self._heard.items() if now_s - each[1] <= FORGOTTEN_AFTER_S}
            heard = dict(self._heard)
        by_fleet: dict[str, list[str]] = {}
        for fleet_id, sender in sorted(heard):
            by_fleet.setdefault(fleet_id, []).append(sender)
        return {fleet_id: _text(fleet_id, senders, heard) for fleet_id, senders in by_fleet.items()}


def _text(fleet_id: str, senders: list[str], heard: Mapping[tuple[str, str], tuple[str, float]]) -> str:
    own = ", ".join(sorted({heard[fleet_id, sender][0] for sender in senders}))
    more = len(senders) - MOST_NAMES
    names = ", ".join(senders[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{names} of fleet {fleet_id}: heard and ignored, because this is {own}"
