"""Bulkheads: each drone class is a lane with bounds of its own, so that a flood in one leaves the others alone.

Every order belongs to one lane for all its life. The lane is where it is counted, not who must fly it: which drones may
help out in another lane is the dispatcher's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum

from .types import Entry, FleetSpec, Kind, Order, Saga, SagaStatus
from .view import FleetView


class Occupancy(str, Enum):
    """What an order is to its lane."""

    WAITING = "waiting"  # accepted, and no drone reserved for it
    IN_FLIGHT = "in_flight"  # between the reservation of a drone and the order's end, compensation included


class Level(IntEnum):
    """How hard a lane is pressed. The numbers are those of ``drone_interfaces/msg/BackPressure``."""

    UNSPECIFIED = 0
    CLEAR = 1
    SLOW_DOWN = 2  # more than half of the bound waits
    FULL = 3  # nothing more is taken in until some have left


@dataclass(frozen=True, slots=True)
class Pressure:
    """What a lane says to those who submit. ``bound`` is on ``waiting``; ``retry_after_s`` is 0 while it is clear."""

    lane: str
    level: Level
    waiting: int
    bound: int
    in_flight: int
    retry_after_s: float


#: Bounds of what a full lane says about when to come back, and how far back the speed of its queue is measured.
RETRY_LEAST_S, RETRY_MOST_S = 1.0, 60.0
DRAIN_WINDOW_S = 30.0


def lane_of(fleet: FleetSpec, order: Order, capable: Callable[[FleetSpec, Order], bool]) -> str:
    """The name of the class whose lane ``order`` belongs to.

    Its ``drone_class`` if it names one; else the first class of the configuration that could fly it by itself
    (``capable`` is the planner's); else the first that could lift it; else the first. The same for every reader with
    the same configuration. Raises ``ValueError`` for a fleet without classes.
    """
    if order.drone_class is not None:
        return order.drone_class
    if not fleet.classes:
        raise ValueError("a fleet without drone classes has no lanes")
    strong = [c for c in fleet.classes if order.package_weight_kg <= c.max_payload_kg]
    if len(strong) == 1:
        return strong[0].name  # whether it could or not: the planner is slow to ask
    able = (c for c in strong if capable(replace(fleet, classes=(c,)), order))
    return next(able, strong[0] if strong else fleet.classes[0]).name


def occupancy_of(saga: Saga) -> Occupancy | None:
    """What the order of ``saga`` is to its lane; ``None``: it has ended, or is parked and takes nobody's place while a
    person thinks about it. ``PENDING`` waits, again and again."""
    if saga.status is SagaStatus.PENDING:
        return Occupancy.WAITING
    return None if saga.status.is_terminal or saga.parked else Occupancy.IN_FLIGHT


class Ledger:
    """How many orders wait and fly in each lane, at the cost of a dictionary look-up per change.

    Level-triggered: it compares what an order is now with what it counted it as, so a change that is told twice, late,
    or backwards (a compensated order waits again) cannot make it wrong. It knows the living orders only.
    """

    def __init__(self, fleet: FleetSpec, capable: Callable[[FleetSpec, Order], bool]) -> None:
        self._fleet = fleet
        self._capable = capable
        self._orders: dict[str, tuple[str, Occupancy]] = {}
        self._counts: dict[tuple[str, Occupancy], int] = {}
        self._drained: dict[str, int] = {}

    def load(self, view: FleetView) -> None:
        """Agree with all of ``view``, as after a snapshot. What is not in it is gone."""
        gone = [id_ for id_ in self._orders if id_ not in view.sagas and id_ not in view.inbox]
        for message_id in [*gone, *view.sagas, *view.inbox]:
            self.update(view, message_id)

    def apply(self, view: FleetView, fresh: Iterable[Entry]) -> None:
        """Follow ``view``, to which a change was applied; ``fresh`` is what ``FleetView.apply`` returned."""
        for entry in fresh:
            if entry.kind in (Kind.INBOX_ORDER, Kind.SAGA):
                self.update(view, entry.id)

    def update(self, view: FleetView, message_id: str) -> None:
        """Count one order as ``view`` has it: by its saga, else by its inbox entry, else (or unreadable) as gone."""
        saga = view.saga_of(message_id)
        if saga is not None:
            self.set(saga.order, occupancy_of(saga))
            return
        order = view.order_of(message_id)
        if order is not None:
            self.set(order, Occupancy.WAITING)
        else:
            self.drop(message_id)

    def set(self, order: Order, occupancy: Occupancy | None) -> None:
        """Count ``order`` as ``occupancy``; ``None``: it has ended. Its lane is found out once."""
        if occupancy is None:
            self.drop(order.message_id)
            return
        lane, before = self._orders.get(order.message_id, (None, None))
        if before is occupancy:
            return
        if lane is None:
            lane = lane_of(self._fleet, order, self._capable)
        self._orders[order.message_id] = (lane, occupancy)
        self._move(lane, before, occupancy)

    def drop(self, message_id: str) -> None:
        """The order is gone; one that is not known was gone already."""
        lane, before = self._orders.pop(message_id, (None, None))
        if lane is not None:
            self._move(lane, before, None)

    def lane(self, message_id: str) -> str | None:
        """The lane of a living order; ``None``: no such order is known."""
        return self._orders.get(message_id, (None, None))[0]

    def waiting(self, lane: str) -> int:
        return self._counts.get((lane, Occupancy.WAITING), 0)

    def in_flight(self, lane: str) -> int:
        return self._counts.get((lane, Occupancy.IN_FLIGHT), 0)

    def drained(self, lane: str) -> int:
        """How many orders have left off waiting since this ledger was made, less those that came back to it."""
        return self._drained.get(lane, 0)

    def pressure(self, lane: str) -> Level:
        """How hard ``lane`` is pressed by what waits in it; ``UNSPECIFIED`` for a lane that the fleet does not have."""
        drone_class = self._fleet.drone_class(lane)
        if drone_class is None:
            return Level.UNSPECIFIED
        return level_of(self.waiting(lane), drone_class.max_waiting)

    def _move(self, lane: str, before: Occupancy | None, after: Occupancy | None) -> None:
        if before is not None:
            self._counts[lane, before] -= 1
        if after is not None:
            self._counts[lane, after] = self._counts.get((lane, after), 0) + 1
        if before is Occupancy.WAITING:
            self._drained[lane] = self._drained.get(lane, 0) + 1
        elif before is Occupancy.IN_FLIGHT and after is Occupancy.WAITING:
            self._drained[lane] = self._drained.get(lane, 0) - 1


def level_of(waiting: int, bound: int) -> Level:
    """How hard ``waiting`` orders press a lane that lets ``bound`` wait."""
    if waiting >= bound:
        return Level.FULL
    return Level.SLOW_DOWN if 2 * waiting > bound else Level.CLEAR


class Drain:
    """How fast a lane's queue has got shorter of late, from its ``drained`` count noted now and then."""

    def __init__(self, now_s: float) -> None:
        """Times are of any one monotonic clock."""
        self._samples = deque([(now_s, 0)])

    def note(self, drained: int, now_s: float) -> None:
        """``Ledger.drained`` of the lane, now. To be told whenever it has changed; it keeps one a second."""
        samples = self._samples
        if now_s - samples[-1][0] >= 1.0:
            samples.append((now_s, drained))
        while len(samples) > 1 and samples[1][0] <= now_s - DRAIN_WINDOW_S:
            samples.popleft()

    def per_s(self, drained: int, now_s: float) -> float:
        """Orders per second over the window; 0 where none have left (or more came back)."""
        self.note(drained, now_s)
        since_s, before = self._samples[0]
        return max(0, drained - before) / max(1.0, min(now_s - since_s, DRAIN_WINDOW_S))

    def retry_after_s(self, waiting: int, bound: int, drained: int, now_s: float) -> float:
        """When a place will be free at this speed, in seconds: 1 to 60; 60 where the queue does not move."""
        rate_per_s = self.per_s(drained, now_s)
        if rate_per_s <= 0.0:
            return RETRY_MOST_S
        return min(RETRY_MOST_S, max(RETRY_LEAST_S, max(1, waiting - bound + 1) / rate_per_s))


class PressureGauge:
    """What each lane of ``ledger`` says, time after time. Times are of any one monotonic clock, in seconds."""

    def __init__(self, fleet: FleetSpec, ledger: Ledger, now_s: float) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._drains = {c.name: Drain(now_s) for c in fleet.classes}

    def read(self, now_s: float) -> tuple[Pressure, ...]:
        """One per lane, in the configuration's order. To be called after each change of the ledger too."""
        return tuple(self._pressure(c.name, c.max_waiting, now_s) for c in self._fleet.classes)

    def _pressure(self, lane: str, bound: int, now_s: float) -> Pressure:
        waiting, level = self._ledger.waiting(lane), self._ledger.pressure(lane)
        retry_after_s = self._drains[lane].retry_after_s(waiting, bound, self._ledger.drained(lane), now_s)
        in_flight = self._ledger.in_flight(lane)
        return Pressure(lane, level, waiting, bound, in_flight, 0.0 if level is Level.CLEAR else retry_after_s)
