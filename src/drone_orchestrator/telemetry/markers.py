"""The markers of a fleet for rviz, as plain values; ``nodes/saga_monitor/fleet_markers.py`` publishes them.

Frame ``map``: metres east, north and up of the depot. Sizes that are symbolic are in hundredths of the service radius,
so that a region of any size fits the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TypeVar
from zlib import crc32

from ..core.types import FleetSpec, Phase, SagaStatus
from ..core.zones import Place, Shape, turn
from .scene import FleetScene, SeenDrone, SeenLeader, SeenOrder

NAMESPACES = (
    "service_area",
    "zones",
    "zone_names",
    "routes",
    "depot",
    "orders",
    "order_names",
    "drones",
    "batteries",
    "drone_names",
    "banner",
    "legend",
)

T = TypeVar("T")
Point = tuple[float, float, float]
Color = tuple[float, float, float, float]


class Form(IntEnum):
    """Marker types, with the numbers of ``visualization_msgs/Marker``."""

    SPHERE = 2
    CYLINDER = 3
    LINE_STRIP = 4
    LINE_LIST = 5
    TEXT = 9
    TRIANGLES = 11


@dataclass(frozen=True, slots=True)
class Mark:
    """One marker. ``namespace`` and ``id`` identify it while its subject exists, and are the same in every process.

    ``scale`` (m) is that of ``visualization_msgs/Marker``: x is the width of a line, z the height of a text. ``colors``
    has one colour per point, or none.
    """

    namespace: str
    id: int
    form: Form
    color: Color
    position: Point = (0.0, 0.0, 0.0)
    yaw_rad: float = 0.0
    scale: Point = (1.0, 1.0, 1.0)
    points: tuple[Point, ...] = ()
    colors: tuple[Color, ...] = ()
    text: str = ""


WHITE: Color = (0.93, 0.94, 0.96, 1.0)
DIM: Color = (0.55, 0.58, 0.62, 1.0)
RED: Color = (0.94, 0.33, 0.31, 1.0)
AMBER: Color = (1.0, 0.76, 0.28, 1.0)
GREEN: Color = (0.40, 0.80, 0.45, 1.0)
BLUE: Color = (0.38, 0.65, 0.98, 1.0)
VIOLET: Color = (0.78, 0.56, 0.98, 1.0)
TEAL: Color = (0.36, 0.82, 0.80, 1.0)
ORANGE: Color = (0.98, 0.55, 0.24, 1.0)

STATUS_COLORS = {
    SagaStatus.PENDING: AMBER,
    SagaStatus.ASSIGNED: BLUE,
    SagaStatus.DISPATCHED: BLUE,
    SagaStatus.LOADING: BLUE,
    SagaStatus.IN_TRANSIT: VIOLET,
    SagaStatus.COMPENSATING: ORANGE,
    SagaStatus.DELIVERED: GREEN,
    SagaStatus.CANCELLED: DIM,
    SagaStatus.FAILED: RED,
}
PHASE_COLORS = {
    Phase.UNSPECIFIED: DIM,
    Phase.IDLE: WHITE,
    Phase.TO_PICKUP: BLUE,
    Phase.AWAITING_CLEARANCE: BLUE,
    Phase.LOADING: BLUE,
    Phase.TO_DESTINATION: VIOLET,
    Phase.DROPPING: VIOLET,
    Phase.RETURNING: TEAL,
    Phase.BRINGING_BACK: ORANGE,
    Phase.GROUNDED: RED,
}
#: A drone within this fraction of the service radius of the depot is named in the depot's list.
_AT_DEPOT = 0.012
_CIRCLE = 96


def draw(fleet: FleetSpec, zones: Sequence[Shape], scene: FleetScene) -> list[Mark]:
    """Return the markers of ``scene``. Ids are unique within a namespace."""
    unit_m = fleet.service_radius_m / 100.0
    away = [d for d in scene.drones if math.hypot(*d.place) > _AT_DEPOT * fleet.service_radius_m]
    home = [d for d in scene.drones if d not in away]
    marks = [*_area(fleet, unit_m), *_depot(fleet, home, unit_m), *_legend(fleet, unit_m)]
    for shape, number in _numbered(zones, lambda shape: shape.name):
        marks += _zone(shape, number, unit_m)
    for order, number in _numbered(scene.orders, lambda seen: seen.order.message_id):
        marks += _order(order, number, unit_m)
    for drone, number in _numbered(scene.drones, lambda seen: seen.report.drone_id):
        marks += _drone(fleet, drone, number, unit_m, named=drone in away)
    return marks + _banner(scene, fleet, unit_m)


def _area(fleet: FleetSpec, unit_m: float) -> list[Mark]:
    radius_m = fleet.service_radius_m
    ring = [2.0 * math.pi * i / _CIRCLE for i in range(_CIRCLE + 1)]
    points = tuple((radius_m * math.cos(a), radius_m * math.sin(a), 0.0) for a in ring)
    rim = Mark("service_area", 0, Form.LINE_STRIP, (*DIM[:3], 0.8), scale=(0.35 * unit_m, 0.0, 0.0), points=points)
    return [rim]


def _depot(fleet: FleetSpec, home: Sequence[SeenDrone], unit_m: float) -> list[Mark]:
    size = (4.4 * unit_m, 4.4 * unit_m, 0.2 * unit_m)
    lines = [f"depot of {fleet.region}"]
    for drone in sorted(home, key=lambda d: d.report.drone_id):
        lines.append(f"{drone.report.drone_id}  {_state(fleet, drone)}")
    height_m = 1.9 * unit_m
    # rviz centres a text vertically: half of its lines are above its position.
    below_m = 4.2 * unit_m + height_m * 1.3 * len(lines) / 2.0
    return [
        Mark("depot", 0, Form.CYLINDER, (*WHITE[:3], 0.35), scale=size),
        Mark("depot", 1, Form.TEXT, WHITE, (0.0, -below_m, unit_m), scale=(0.0, 0.0, height_m), text="\n".join(lines)),
    ]


def _zone(shape: Shape, number: int, unit_m: float) -> list[Mark]:
    middle = [sum(corner[axis] for corner in shape.corners) / len(shape.corners) for axis in (0, 1)]
    lowest = min(corner[1] for corner in shape.corners)
    fill = tuple((x, y, 0.0) for triangle in triangles(shape.corners) for x, y in triangle)
    rim = tuple((x, y, 0.0) for x, y in (*shape.corners, shape.corners[0]))
    name = Mark(
        "zone_names",
        number,
        Form.TEXT,
        RED,
        (middle[0], lowest - 3.0 * unit_m, unit_m),
        scale=(0.0, 0.0, 1.7 * unit_m),
        text=f"no-fly zone\n{shape.name}",
    )
    return [
        Mark("zones", 2 * number, Form.TRIANGLES, (*RED[:3], 0.3), points=fill),
        Mark("zones", 2 * number + 1, Form.LINE_STRIP, RED, scale=(0.4 * unit_m, 0.0, 0.0), points=rim),
        name,
    ]


def _order(seen: SeenOrder, number: int, unit_m: float) -> list[Mark]:
    color, ended = STATUS_COLORS[seen.status], seen.status.is_terminal
    size_m = (1.1 if ended and seen.status is not SagaStatus.FAILED else 2.0) * unit_m
    x, y = seen.destination
    marks = [Mark("orders", number, Form.SPHERE, color, (x, y, 0.0), scale=(size_m, size_m, size_m))]
    if not ended or seen.status is SagaStatus.FAILED:
        # Alternate names above and below: orders of neighbours often have almost the same destination.
        place = (x, y + (2.3 if number % 2 else -2.3) * unit_m, unit_m)
        height = (0.0, 0.0, 1.5 * unit_m)
        marks.append(Mark("order_names", number, Form.TEXT, color, place, scale=height, text=seen.order.order_id))
    return marks


def _drone(fleet: FleetSpec, seen: SeenDrone, number: int, unit_m: float, *, named: bool) -> list[Mark]:
    color = DIM if seen.silent else PHASE_COLORS[seen.report.phase]
    course_rad = math.pi / 2 if seen.course_rad is None else seen.course_rad
    here = (*seen.place, seen.altitude_m)
    nose, tail, wing = 2.9 * unit_m, -1.8 * unit_m, 1.7 * unit_m
    dart = ((nose, 0.0, 0.0), (tail, wing, 0.0), (-0.8 * unit_m, 0.0, 0.0))
    mirrored = ((nose, 0.0, 0.0), (-0.8 * unit_m, 0.0, 0.0), (tail, -wing, 0.0))
    marks = [Mark("drones", number, Form.TRIANGLES, color, here, course_rad, points=dart + mirrored)]
    if seen.way:
        marks.append(_route(seen, here, color, number, unit_m))
    if named:
        marks.append(_battery(fleet, seen, number, unit_m))
        place = (here[0], here[1] - 4.5 * unit_m, here[2] + unit_m)
        text = f"{seen.report.drone_id} {'silent' if seen.silent else _energy(fleet, seen)}"
        marks.append(Mark("drone_names", number, Form.TEXT, color, place, scale=(0.0, 0.0, 1.6 * unit_m), text=text))
    return marks


def _route(seen: SeenDrone, here: Point, color: Color, number: int, unit_m: float) -> Mark:
    """Draw the remaining way at the drone's height; the last leg, back to the depot, is faint."""
    level_m = max(here[2], 0.0)
    stops = [here, *((x, y, level_m) for x, y in seen.way)]
    legs = list(pairwise(stops))
    points, colors = [], []
    for i, (start, end) in enumerate(legs):
        faint = i == len(legs) - 1 and end[:2] == (0.0, 0.0)
        points += [start, end]
        colors += [(*color[:3], 0.28 if faint else 0.9)] * 2
    return Mark(
        "routes",
        number,
        Form.LINE_LIST,
        color,
        scale=(0.45 * unit_m, 0.0, 0.0),
        points=tuple(points),
        colors=tuple(colors),
    )


def _battery(fleet: FleetSpec, seen: SeenDrone, number: int, unit_m: float) -> Mark:
    """Draw the charge as a bar below the drone; full width is a full battery."""
    part = _energy_part(fleet, seen)
    x, y, z = seen.place[0], seen.place[1] - 3.0 * unit_m, seen.altitude_m + unit_m
    left, right = x - 2.5 * unit_m, x + 2.5 * unit_m
    until = left + (right - left) * (part or 0.0)
    full = GREEN if (part or 0.0) > 0.5 else AMBER if (part or 0.0) > 0.25 else RED
    empty = (0.25, 0.26, 0.28, 1.0)
    return Mark(
        "batteries",
        number,
        Form.LINE_LIST,
        full,
        scale=(0.8 * unit_m, 0.0, 0.0),
        points=((left, y, z), (until, y, z), (until, y, z), (right, y, z)),
        colors=(full, full, empty, empty),
    )


def _energy_part(fleet: FleetSpec, seen: SeenDrone) -> float | None:
    drone_class = fleet.drone_class(seen.report.drone_class)
    if drone_class is None or not math.isfinite(seen.report.energy_wh):
        return None
    return min(max(seen.report.energy_wh / drone_class.battery_wh, 0.0), 1.0)


def _energy(fleet: FleetSpec, seen: SeenDrone) -> str:
    part = _energy_part(fleet, seen)
    return "? %" if part is None else f"{100.0 * part:.0f} %"


def _state(fleet: FleetSpec, seen: SeenDrone) -> str:
    phase = "silent" if seen.silent else seen.report.phase.name.lower().replace("_", " ")
    return f"{phase}, {_energy(fleet, seen)}"


def _banner(scene: FleetScene, fleet: FleetSpec, unit_m: float) -> list[Mark]:
    text, color = headline(scene.leader, store_away=scene.store_away)
    counts = scene.counts
    flying = sum(n for status, n in counts.items() if not status.is_terminal) - counts.get(SagaStatus.PENDING, 0)
    words = [
        f"{len(scene.drones)} drones",
        f"{counts.get(SagaStatus.PENDING, 0)} orders waiting",
        f"{flying} in hand",
        f"{counts.get(SagaStatus.DELIVERED, 0)} delivered",
        f"{counts.get(SagaStatus.FAILED, 0)} failed",
    ]
    top = fleet.service_radius_m + 8.0 * unit_m
    height = (0.0, 0.0, 4.2 * unit_m)
    return [
        Mark("banner", 0, Form.TEXT, color, (0.0, top + 4.8 * unit_m, unit_m), scale=height, text=text),
        Mark("banner", 1, Form.TEXT, WHITE, (0.0, top, unit_m), scale=(0.0, 0.0, 2.8 * unit_m), text="   ".join(words)),
    ]


#: Meaning of the colours of drones, routes and orders, in the order of an order's life.
LEGEND = (
    ("order waits", AMBER),
    ("to the pickup", BLUE),
    ("package on board", VIOLET),
    ("on the way home", TEAL),
    ("being undone, brought back", ORANGE),
    ("delivered", GREEN),
    ("failed, grounded", RED),
    ("idle", WHITE),
    ("silent, cancelled", DIM),
)


def _legend(fleet: FleetSpec, unit_m: float) -> list[Mark]:
    """Draw one text per colour, in the south-west corner of the service area."""
    height_m, left, bottom = 2.0 * unit_m, -0.86 * fleet.service_radius_m, -0.99 * fleet.service_radius_m
    return [
        Mark(
            "legend",
            number,
            Form.TEXT,
            color,
            (left, bottom + (len(LEGEND) - 1 - number) * 1.5 * height_m, unit_m),
            scale=(0.0, 0.0, height_m),
            text=text,
        )
        for number, (text, color) in enumerate(LEGEND)
    ]


def headline(leader: SeenLeader, *, store_away: bool) -> tuple[str, Color]:
    """Return the text and colour of the line that an operator must not miss."""
    if store_away:
        return "STORE AWAY: drones finish what they carry", RED
    if leader.absent:
        if not leader.name or leader.silent_s is None:
            return "NO LEADER: orders are accepted, nothing is decided", RED
        return f"LEADER SILENT for {leader.silent_s:.0f} s: {leader.name}, epoch {leader.epoch}", RED
    if leader.changed_s is not None:
        return f"NEW LEADER {leader.name} since {leader.changed_s:.0f} s, after {leader.before}", AMBER
    return f"leader {leader.name}, epoch {leader.epoch}", GREEN


def _numbered(things: Iterable[T], name: Callable[[T], str]) -> list[tuple[T, int]]:
    """Return each thing with a number derived from its name, the same in every process at any time.

    In a collision, which is rare, the name later in the alphabet takes the next number.
    """
    taken: dict[int, T] = {}
    for thing in sorted(things, key=name):
        number = crc32(name(thing).encode()) & 0x3FFF_FFFF  # twice that is still a positive int32
        while number in taken:
            number = (number + 1) & 0x3FFF_FFFF
        taken[number] = thing
    return [(thing, number) for number, thing in taken.items()]


def triangles(corners: Sequence[Place]) -> list[tuple[Place, Place, Place]]:
    """Split a simple polygon into triangles by clipping its ears one by one (G. Meisters, 1975)."""
    left = list(corners)
    area = sum(p[0] * q[1] - p[1] * q[0] for p, q in zip(left, (*left[1:], left[0]), strict=True))
    if area < 0.0:
        left.reverse()
    cut = []
    while len(left) > 3:
        i = next((i for i in range(len(left)) if _is_ear(left, i)), 0)
        cut.append((left[i - 1], left[i], left[(i + 1) % len(left)]))
        del left[i]
    return [*cut, (left[0], left[1], left[2])]


def _is_ear(corners: Sequence[Place], i: int) -> bool:
    a, b, c = corners[i - 1], corners[i], corners[(i + 1) % len(corners)]
    if turn(a, b, c) <= 0.0:
        return False
    others = (p for p in corners if p not in (a, b, c))
    return not any(turn(a, b, p) >= 0.0 and turn(b, c, p) >= 0.0 and turn(c, a, p) >= 0.0 for p in others)


class Stage:
    """Remembers the markers on display, to delete those that are gone."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()

    def replace(self, marks: Iterable[Mark]) -> list[tuple[str, int]]:
        """Replace the displayed markers by ``marks``; return namespace and id of those to delete, sorted."""
        fresh = {(mark.namespace, mark.id) for mark in marks}
        gone = sorted(self._shown - fresh)
        self._shown = fresh
        return gone
