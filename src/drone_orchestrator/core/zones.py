"""No-fly zones: the straight ways of an order must not touch them.

Drones fly in the plane that touches the ellipsoid at the depot. Ways and the edges of zones are straight lines in that
plane. Touching a zone counts as entering it. A zone has no upper limit.

This module checks one order without arrays. :mod:`drone_orchestrator.planning.zones` checks drones × orders with the
same arithmetic, operation by operation, so that an order admitted here is not refused there because of a rounding
error.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .types import FleetSpec, GeoPoint, NoFlyZone, Order

MAX_ZONES = 256
MAX_CORNERS = 256
MAX_NAME_LENGTH = 32
#: Beyond this distance the tangent plane differs too much from the ground.
MAX_CORNER_M = 1_000_000.0
#: Nearer to a pole, east and north change noticeably within a service area. With both bounds no area contains a pole.
MAX_DEPOT_LAT_DEG = 85.0
#: Further out, distances in the tangent plane are off by more than 0.1 %.
MAX_SERVICE_RADIUS_M = 500_000.0
#: A zone further from the depot than this many service radii is probably misplaced.
FAR_RADII = 2.0

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WGS84_A_M = 6_378_137.0
_WGS84_E2 = (2.0 - 1.0 / 298.257223563) / 298.257223563

#: East and north of the depot in metres.
Place = tuple[float, float]


class InvalidZone(ValueError):
    """The zones cannot be used. The text is one line: the name of the ``zone``, if only one is invalid, and the
    problem."""

    def __init__(self, zone: str, problem: str) -> None:
        super().__init__(f"{zone}: {problem}" if zone else problem)
        self.zone = zone
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Shape:
    """A zone in the depot's plane: a simple polygon, its corners in order around it."""

    name: str
    corners: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """A way of an order that meets a zone; changing ``field`` of the order would avoid it."""

    field: str
    zone: str
    way: str

    @property
    def reason(self) -> str:
        return f"{self.way} the no-fly zone {self.zone}"


class Airspace:
    """The zones around a depot, in the depot's plane. Raises :class:`InvalidZone`."""

    def __init__(self, depot: GeoPoint, zones: Sequence[NoFlyZone]) -> None:
        lat, lon = math.radians(depot.lat_deg), math.radians(depot.lon_deg)
        self._sines = math.sin(lat), math.cos(lat), math.sin(lon), math.cos(lon)
        self._origin = _ecef(depot)
        if len(zones) > MAX_ZONES:
            raise InvalidZone("", f"there must be at most {MAX_ZONES} zones, got {len(zones)}")
        self.shapes = tuple(self._shape(zone) for zone in zones)
        names = [shape.name for shape in self.shapes]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InvalidZone(twice, "two zones have this name")
        around = self.zone_at(depot)
        if around:
            raise InvalidZone(around, "the depot lies in it, so no drone could ever leave")

    def place(self, point: GeoPoint) -> Place:
        """Return east and north in metres, (0, 0) for the depot. Same as ``planning.geo.enu_from_geo``, without
        numpy."""
        sin_lat, cos_lat, sin_lon, cos_lon = self._sines
        x, y, z = (p - q for p, q in zip(_ecef(point), self._origin, strict=True))
        east = cos_lon * y - sin_lon * x
        north = cos_lat * z - sin_lat * (cos_lon * x + sin_lon * y)
        return east, north

    def zone_at(self, point: GeoPoint) -> str | None:
        """Return the name of the first zone that contains ``point``, including its edge."""
        place = self.place(point)
        return self.zone_between(place, place)

    def zone_between(self, start: Place, end: Place) -> str | None:
        """Return the name of the first zone that the straight way from ``start`` to ``end`` enters or touches."""
        return next((shape.name for shape in self.shapes if _meets(start, end, shape.corners)), None)

    def _shape(self, zone: NoFlyZone) -> Shape:
        if not _NAME.fullmatch(zone.name) or len(zone.name) > MAX_NAME_LENGTH:
            form = "a letter, then letters, digits, '_' or '-'"
            raise InvalidZone(zone.name, f"a zone's name must be {form}, at most {MAX_NAME_LENGTH} characters")
        if not 3 <= len(zone.corners) <= MAX_CORNERS:
            raise InvalidZone(zone.name, f"must have 3 to {MAX_CORNERS} corners, got {len(zone.corners)}")
        corners = tuple(self.place(corner) for corner in zone.corners)
        if not all(math.dist(_ecef(corner), self._origin) <= MAX_CORNER_M for corner in zone.corners):
            raise InvalidZone(zone.name, f"every corner must be within {MAX_CORNER_M / 1000:g} km of the depot")
        problem = _tangle(corners)
        if problem:
            raise InvalidZone(zone.name, problem)
        return Shape(zone.name, corners)


def airspace(fleet: FleetSpec) -> Airspace:
    """Return the zones of ``fleet`` in its depot's plane, computed once. Raises :class:`InvalidZone`."""
    zones = fleet.no_fly_zones
    last = _last_asked[-1] if _last_asked else None
    if last is not None and last[0] is zones and last[1] is fleet.depot:
        return last[2]  # hashing thousands of corners for each order would be slow
    space = _airspace(fleet.depot, zones)
    _last_asked.append((zones, fleet.depot, space))
    return space


_airspace = lru_cache(maxsize=16)(Airspace)
_last_asked: deque[tuple[tuple[NoFlyZone, ...], GeoPoint, Airspace]] = deque(maxlen=1)


def far_zones(fleet: FleetSpec) -> list[tuple[str, float]]:
    """Return the name and the distance (m) from the depot of every zone far outside the service area."""
    bound_m = FAR_RADII * fleet.service_radius_m
    away = [(shape.name, _distance_to(shape.corners)) for shape in airspace(fleet).shapes]
    return [(name, away_m) for name, away_m in away if away_m > bound_m]


def _distance_to(corners: Sequence[Place]) -> float:
    """Return the distance (m) from the depot, which is outside, to the polygon."""
    return min(_distance_to_edge(p, q) for p, q in _edges(corners))


def _distance_to_edge(p: Place, q: Place) -> float:
    along = (q[0] - p[0], q[1] - p[1])
    share = -(p[0] * along[0] + p[1] * along[1]) / (along[0] ** 2 + along[1] ** 2)
    share = min(max(share, 0.0), 1.0)
    return math.hypot(p[0] + share * along[0], p[1] + share * along[1])


def blocked_way(fleet: FleetSpec, order: Order) -> Blocked | None:
    """Return the first way of ``order`` that no drone may fly: depot to pickup, on to the destination, back to the
    depot.

    A recalled package returns along the second way, an empty recalled drone along the first. ``None``: all are clear.
    Raises :class:`InvalidZone`.
    """
    if not fleet.no_fly_zones:
        return None
    return _blocked_way(airspace(fleet), order.pickup, order.destination)


@lru_cache(maxsize=4096)
def _blocked_way(space: Airspace, pickup_at: GeoPoint | None, destination_at: GeoPoint) -> Blocked | None:
    """Same as :func:`blocked_way`. Cached, because it is called whenever an order without a drone is reconciled."""
    depot, destination = (0.0, 0.0), space.place(destination_at)
    pickup = depot if pickup_at is None else space.place(pickup_at)
    start_name = "pickup" if pickup_at else "depot"
    ways = [
        ("pickup", pickup, pickup, "lies in"),
        ("pickup", depot, pickup, "the straight way from the depot to the pickup crosses"),
        ("destination", destination, destination, "lies in"),
        ("destination", pickup, destination, f"the straight way from the {start_name} to the destination crosses"),
        ("destination", destination, depot, "the straight way back from the destination crosses"),
    ]
    for field, start, end, way in ways if pickup_at else ways[2:4]:
        zone = space.zone_between(start, end)
        if zone:
            return Blocked(field, zone, way)
    return None


def turn(a: Place, b: Place, c: Place) -> float:
    """Return twice the signed area of the triangle in m²: positive if ``a``, ``b``, ``c`` turn left, 0 on one line."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _meets(start: Place, end: Place, corners: Sequence[Place]) -> bool:
    """Return whether the way from ``start`` to ``end`` has a point in the closed polygon."""
    if not _boxes_meet((start, end), corners):
        return False
    winding = 0
    for p, q in _edges(corners):
        side = turn(p, q, start)
        if _segments_meet(start, end, p, q, side):
            return True
        # Winding number around the start (D. Sunday): count the edges that pass it upwards and downwards.
        if p[1] <= start[1] < q[1] and side > 0.0:
            winding += 1
        elif q[1] <= start[1] < p[1] and side < 0.0:
            winding -= 1
    return winding != 0


def _segments_meet(a: Place, b: Place, p: Place, q: Place, a_side: float) -> bool:
    """Return whether two closed segments meet: each has the other's ends on both sides or on it, and the boxes meet."""
    return turn(a, b, p) * turn(a, b, q) <= 0.0 and a_side * turn(p, q, b) <= 0.0 and _boxes_meet((a, b), (p, q))


def _boxes_meet(first: Sequence[Place], second: Sequence[Place]) -> bool:
    return all(
        min(p[axis] for p in first) <= max(q[axis] for q in second)
        and min(q[axis] for q in second) <= max(p[axis] for p in first)
        for axis in (0, 1)
    )


def _edges(corners: Sequence[Place]) -> list[tuple[Place, Place]]:
    return list(zip(corners, (*corners[1:], corners[0]), strict=True))


def _tangle(corners: Sequence[Place]) -> str | None:
    """Return why the polygon is not a simple one."""
    edges = _edges(corners)
    if any(p == q for p, q in edges):
        return "two consecutive corners are the same"
    for (a, b), (_, c) in zip(edges, (*edges[1:], edges[0]), strict=True):
        turns_back = (a[0] - b[0]) * (c[0] - b[0]) + (a[1] - b[1]) * (c[1] - b[1]) > 0.0
        if turn(a, b, c) == 0.0 and turns_back:
            return "an edge runs back over the one before it"
    for i, (a, b) in enumerate(edges):
        for p, q in edges[i + 2 : len(edges) - (i == 0)]:
            if _segments_meet(a, b, p, q, turn(p, q, a)):
                return "its edges cross or touch each other"
    return None


def _ecef(point: GeoPoint) -> tuple[float, float, float]:
    """Return Earth-centred coordinates in metres of a point on the ground."""
    lat, lon = math.radians(point.lat_deg), math.radians(point.lon_deg)
    sin_lat, cos_lat = math.sin(lat), math.cos(lat)
    normal_m = _WGS84_A_M / math.sqrt(1.0 - _WGS84_E2 * sin_lat * sin_lat)
    return (
        normal_m * cos_lat * math.cos(lon),
        normal_m * cos_lat * math.sin(lon),
        (1.0 - _WGS84_E2) * normal_m * sin_lat,
    )
