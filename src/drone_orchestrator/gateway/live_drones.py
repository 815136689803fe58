"""Live drone states heard over DDS, not stored in etcd.

A ROS node (or a test) feeds :class:`LiveDrones`; HTTP reads it. No decision depends on it, so it may be lost.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..core.types import GeoPoint, Phase

#: Maximum number of drones; beyond it the one silent longest is forgotten.
MAX_DRONES = 2000
#: A drone silent for this long (s) is forgotten.
FORGOTTEN_AFTER_S = 900.0
#: A shorter move (m) may be noise and does not change the heading.
LEAST_MOVE_M = 0.5
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class LiveDrone:
    """The last report of a drone. ``altitude_m`` is above the depot's ground; ``None`` means unknown, also for energy.

    ``heading_rad`` is the course over ground in ENU, radians from east, counter-clockwise, -pi .. pi, from the last two
    reported positions; ``None`` until the drone has moved. ``heard_mono_s`` is the time of the report (monotonic, s).
    """

    drone_id: str
    drone_class: str
    phase: Phase
    position: GeoPoint | None = None
    altitude_m: float | None = None
    energy_wh: float | None = None
    package_on_board: bool = False
    message_id: str | None = None
    grounded_reason: str = ""
    heading_rad: float | None = None
    heard_mono_s: float = 0.0


class LiveDrones:
    """The latest report of every drone. Thread-safe and bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in s."""
        self._clock = clock
        self._lock = threading.Lock()
        self._drones: dict[str, LiveDrone] = {}  # the one silent longest comes first

    def hear(self, drone: LiveDrone) -> None:
        """Record the report ``drone`` as of now; fill in its ``heading_rad`` and ``heard_mono_s``."""
        with self._lock:
            before = self._drones.pop(drone.drone_id, None)
            heading_rad = _course(before, drone.position)
            self._drones[drone.drone_id] = replace(drone, heading_rad=heading_rad, heard_mono_s=self._clock())
            if len(self._drones) > MAX_DRONES:
                del self._drones[next(iter(self._drones))]

    def drones(self) -> list[tuple[LiveDrone, float]]:
        """Return every known drone with the age (s) of its last report, sorted by id."""
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
    """Return the heading from ``before`` to ``now``; the former heading if the drone hardly moved."""
    if before is None or before.position is None or now is None:
        return before.heading_rad if before else None
    north_m = (now.lat_deg - before.position.lat_deg) * _METRES_PER_DEGREE
    east_deg = math.remainder(now.lon_deg - before.position.lon_deg, 360.0)
    east_m = east_deg * _METRES_PER_DEGREE * math.cos(math.radians(now.lat_deg))
    if math.hypot(east_m, north_m) < LEAST_MOVE_M:
        return before.heading_rad
    return math.atan2(north_m, east_m)
