"""The fleet as it is to be looked at: what the drones say, what the store says, and who leads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from ..core.policies import DRONE_SILENT_S, LEADER_SILENT_S
from ..core.types import DroneReport, Order, Phase, SagaStatus
from ..core.view import CurrentLeader, FleetView
from ..core.zones import Airspace, Place

#: How long a change of the leader is told.
CHANGE_SHOWN_S = 60.0
#: Orders that are drawn at most, of those in hand and of those that have ended.
MAX_ACTIVE, MAX_ENDED = 400, 60

_TO_PICKUP = frozenset({Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE, Phase.LOADING})
_TO_DESTINATION = frozenset({Phase.TO_DESTINATION, Phase.DROPPING})


@dataclass(frozen=True, slots=True)
class SeenDrone:
    """A drone in the depot's plane. ``way`` is what it still has to fly, in metres; empty: nothing, or nobody knows."""

    report: DroneReport
    place: Place
    altitude_m: float
    silent: bool
    way: tuple[Place, ...] = ()

    @property
    def course_rad(self) -> float | None:
        """Direction of its way, from east, counter-clockwise; ``None`` where it has none."""
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
    """Who leads; ``name`` ``""``: nobody. ``silent_s``: how long the leader was not heard (``None``: never was)."""

    name: str
    epoch: int
    silent_s: float | None
    before: str = ""  # who led before, while the change is news
    changed_s: float | None = None  # how long ago that was

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
class StoreSays:
    """What a picture takes from the store: quick to select, safe to keep."""

    orders: tuple[SeenOrder, ...]
    by_message: Mapping[str, Order]
    counts: Mapping[SagaStatus, int]
    leader: CurrentLeader | None


def look(view: FleetView, space: Airspace) -> StoreSays:
    """Select from a projection (:meth:`drone_orchestrator.runtime.projection.Projection.read`)."""
    sagas = [stored.value for stored in view.sagas.values()]
    active = sorted((s for s in sagas if not s.status.is_terminal), key=lambda s: s.created_at)[:MAX_ACTIVE]
    ended = sorted((s for s in sagas if s.status.is_terminal), key=lambda s: -s.updated_at)[:MAX_ENDED]
    orders = [SeenOrder(s.order, s.status, space.place(s.order.destination), s.drone_id) for s in (*active, *ended)]
    waiting = islice(view.waiting(), MAX_ACTIVE)
    orders += [SeenOrder(order, SagaStatus.PENDING, space.place(order.destination)) for order in waiting]
    by_message = {saga.message_id: saga.order for saga in active}
    return StoreSays(tuple(orders), by_message, view.counts(), view.leadership)


def seen_drone(
    report: DroneReport, altitude_m: float, heard_s_ago: float, orders: Mapping[str, Order], space: Airspace
) -> SeenDrone:
    """``altitude_m`` above the depot's ground, NaN where it is unknown. ``orders`` by message id."""
    place = space.place(report.position)
    altitude_m = altitude_m if math.isfinite(altitude_m) else 0.0
    order = orders.get(report.message_id or "")
    return SeenDrone(report, place, altitude_m, heard_s_ago > DRONE_SILENT_S, way(report.phase, order, space))


def way(phase: Phase, order: Order | None, space: Airspace) -> tuple[Place, ...]:
    """Where a drone in ``phase`` of ``order`` still has to go, in order; empty: nowhere, or nobody knows."""
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
    """Notices that another leader has come. Times are monotonic, in s."""

    def __init__(self) -> None:
        self._heard_at_s: float | None = None
        self._known = ("", 0)
        self._before = ""
        self._changed_at_s: float | None = None

    def heard(self, epoch: int, now_s: float) -> None:
        """A leader has spoken; one of an epoch that is over does not count."""
        if epoch >= self._known[1]:
            self._heard_at_s = now_s

    def read(self, leader: CurrentLeader | None, now_s: float) -> SeenLeader:
        """Return the leader as of now; ``leader`` is the one by the store."""
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
