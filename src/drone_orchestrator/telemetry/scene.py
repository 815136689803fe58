"""A snapshot of the fleet for display: drones as heard, orders as stored, and the leader."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from ..core.policies import DRONE_SILENT_S, LEADER_SILENT_S
from ..core.types import DroneReport, Order, Phase, SagaStatus
from ..core.view import CurrentLeader, FleetView
from ..core.zones import Airspace, Place

#: A change of leader is shown for this long (s).
CHANGE_SHOWN_S = 60.0
#: Maximum number of active and of finished orders drawn.
MAX_ACTIVE, MAX_ENDED = 400, 60

_TO_PICKUP = frozenset({Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE, Phase.LOADING})
_TO_DESTINATION = frozenset({Phase.TO_DESTINATION, Phase.DROPPING})


@dataclass(frozen=True, slots=True)
class SeenDrone:
    """A drone in the depot's plane. ``way``: the places that it still has to reach (m); empty: none, or unknown."""

    report: DroneReport
    place: Place
    altitude_m: float
    silent: bool
    way: tuple[Place, ...] = ()

    @property
    def course_rad(self) -> float | None:
        """Direction of its way, from east, counter-clockwise; ``None`` without a way."""
        if not self.way or math.dist(self.place, self.way[0]) < 1.0:
            return None
        return math.atan2(self.way[0][1] - self.place[1], self.way[0][0] - self.place[0])


@dataclass(frozen=True, slots=True)
class SeenOrder:
    order: Order
    status: SagaStatus
    destination: Place
    drone_id: str | None = None


@dataclass(frozen=True, slots=True)
class SeenLeader:
    """The leader; an empty ``name`` means none. ``silent_s`` is the time since it was heard (``None``: never)."""

    name: str
    epoch: int
    silent_s: float | None
    before: str = ""  # the previous leader, while the change is shown
    changed_s: float | None = None  # time since the change

    @property
    def absent(self) -> bool:
        return not self.name or self.silent_s is None or self.silent_s > LEADER_SILENT_S


@dataclass(frozen=True, slots=True)
class FleetScene:
    drones: tuple[SeenDrone, ...]
    orders: tuple[SeenOrder, ...]
    leader: SeenLeader
    counts: Mapping[SagaStatus, int]
    store_away: bool = False


@dataclass(frozen=True, slots=True)
class StoredScene:
    """The store's part of a scene: quick to select from a view, and safe to keep."""

    orders: tuple[SeenOrder, ...]
    by_message: Mapping[str, Order]
    counts: Mapping[SagaStatus, int]
    leader: CurrentLeader | None


def look(view: FleetView, space: Airspace) -> StoredScene:
    """Select the store's part of a scene, inside :meth:`~drone_orchestrator.runtime.projection.Projection.read`."""
    sagas = [stored.value for stored in view.sagas.values()]
    active = sorted((s for s in sagas if not s.status.is_terminal), key=lambda s: s.created_at)[:MAX_ACTIVE]
    ended = sorted((s for s in sagas if s.status.is_terminal), key=lambda s: -s.updated_at)[:MAX_ENDED]
    orders = [SeenOrder(s.order, s.status, space.place(s.order.destination), s.drone_id) for s in (*active, *ended)]
    waiting = islice(view.waiting(), MAX_ACTIVE)
    orders += [SeenOrder(order, SagaStatus.PENDING, space.place(order.destination)) for order in waiting]
    by_message = {saga.message_id: saga.order for saga in active}
    return StoredScene(tuple(orders), by_message, view.counts(), view.leadership)


def seen_drone(
    report: DroneReport, altitude_m: float, heard_s_ago: float, orders: Mapping[str, Order], space: Airspace
) -> SeenDrone:
    """Place a drone in the scene. ``altitude_m``: above the depot, NaN if unknown; ``orders``: by message id."""
    place = space.place(report.position)
    altitude_m = altitude_m if math.isfinite(altitude_m) else 0.0
    order = orders.get(report.message_id or "")
    return SeenDrone(report, place, altitude_m, heard_s_ago > DRONE_SILENT_S, way(report.phase, order, space))


def way(phase: Phase, order: Order | None, space: Airspace) -> tuple[Place, ...]:
    """Return the places that a drone in ``phase`` of ``order`` still has to reach; empty: none, or unknown."""
    depot = (0.0, 0.0)
    if phase is Phase.RETURNING:
        return (depot,)
    if order is None:
        return ()
    pickup = depot if order.pickup is None else space.place(order.pickup)
    destination = space.place(order.destination)
    if phase in _TO_PICKUP:
        return (pickup, destination, depot) if phase is Phase.TO_PICKUP else (destination, depot)
    if phase in _TO_DESTINATION:
        return (destination, depot)
    return tuple(dict.fromkeys((pickup, depot))) if phase is Phase.BRINGING_BACK else ()


class LeaderWatch:
    """Detects changes of the leader. Times are monotonic, in s."""

    def __init__(self) -> None:
        self._heard_at_s: float | None = None
        self._known = ("", 0)
        self._before = ""
        self._changed_at_s: float | None = None

    def heard(self, epoch: int, now_s: float) -> None:
        """Record a leader's heartbeat; one of an old epoch is ignored."""
        if epoch >= self._known[1]:
            self._heard_at_s = now_s

    def read(self, leader: CurrentLeader | None, now_s: float) -> SeenLeader:
        """Return the leader as of now; ``leader`` is the one in the store."""
        name, epoch = (leader.holder, leader.epoch) if leader is not None else ("", 0)
        if epoch > self._known[1]:
            if self._known[0]:
                self._before, self._changed_at_s = self._known[0], now_s
            self._known = (name, epoch)
        silent_s = None if self._heard_at_s is None else now_s - self._heard_at_s
        changed_s = None if self._changed_at_s is None else now_s - self._changed_at_s
        if changed_s is None or changed_s > CHANGE_SHOWN_S:
            return SeenLeader(name, epoch, silent_s)
        return SeenLeader(name, epoch, silent_s, self._before, changed_s)
