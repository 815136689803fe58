"""What the fleet says of itself at this moment: the part of the picture that no store has.

Whoever hears the drones (a ROS node, a test) tells a :class:`LiveDrones`; HTTP reads it. Losing it loses nothing that
anything is decided on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..core.types import GeoPoint, Phase

#: Drones remembered at most; past it the one that was silent for longest is forgotten.
MAX_DRONES = 2000
#: After so long without a word (s) a drone is no longer one of the fleet.
FORGOTTEN_AFTER_S = 900.0
#: Shorter moves (m) say nothing of where a drone is heading: they may be noise.
LEAST_MOVE_M = 0.5
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class LiveDrone:
    """A drone as it was last heard. ``altitude_m`` is above the depot's ground; ``None`` and energy ``None``: unknown.

    ``heading_rad`` is its course over the ground in ENU, radians from east, counter-clockwise, -pi .. pi, from the last
    two places that it reported; ``None`` until it has moved. ``heard_mono_s`` is when, on the picture's clock.
    """

    drone_id: str
    drone_class: str
    phase: Phase
    position: GeoPoint | None = None
    altitude_m: float | None = None
    energy_wh: float | None = None
    package_on_board: bool = False
    message_id: str | None = None
    heading_rad: float | None = None
    heard_mono_s: float = 0.0


class LiveDrones:
    """The latest word of every drone. Thread-safe and bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._drones: dict[str, LiveDrone] = {}  # the one silent for longest first

    def hear(self, drone: LiveDrone) -> None:
        """``drone`` has spoken now; its ``heading_rad`` and ``heard_mono_s`` are filled in here."""
        with self._lock:
            before = self._drones.pop(drone.drone_id, None)
            heading_rad = _course(before, drone.position)
            self._drones[drone.drone_id] = replace(drone, heading_rad=heading_rad, heard_mono_s=self._clock())
            if len(self._drones) > MAX_DRONES:
                del self._drones[next(iter(self._drones))]

    def drones(self) -> list[tuple[LiveDrone, float]]:
        """Every drone that is remembered with the age (s) of its last word, by id."""
        with self._lock:
            now_s = self._clock()
            for drone_id, drone in list(self._drones.items()):
                if now_s - drone.heard_mono_s <= FORGOTTEN_AFTER_S:
                    break
                del self._drones[drone_id]
            return sorted(
                ((drone, now_s - drone.heard_mono_s) for drone in self._drones.values()),
                key=lambda each: each[0].drone_id,
            )


def _course(before: LiveDrone | None, now: GeoPoint | None) -> float | None:
    """Where a drone heads that was at ``before`` and is at ``now``; as before where it has hardly moved."""
    if before is None or before.position is None or now is None:
        return before.heading_rad if before else None
    north_m = (now.lat_deg - before.position.lat_deg) * _METRES_PER_DEGREE
    east_deg = math.remainder(now.lon_deg - before.position.lon_deg, 360.0)
    east_m = east_deg * _METRES_PER_DEGREE * math.cos(math.radians(now.lat_deg))
    if math.hypot(east_m, north_m) < LEAST_MOVE_M:
        return before.heading_rad
    return math.atan2(north_m, east_m)
