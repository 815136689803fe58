"""Bulkheads: each drone class is a lane with its own bounds, so that a flood in one does not affect the others.

An order belongs to one lane for its whole life. The lane determines where the order is counted, not which drones may
fly it: the leader decides which drones help out in another lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum

from .saga import contradiction
from .types import Entry, FleetSpec, Kind, Order, Saga, SagaStatus
from .view import FleetView


class Occupancy(str, Enum):
    """Kind of place that an order occupies in its lane."""

    WAITING = "waiting"  # accepted, but no drone is reserved for it
    IN_FLIGHT = "in_flight"  # from the reservation of a drone to the end of the order, including compensation


class Level(IntEnum):
    """Pressure on a lane. The numbers are those of ``drone_interfaces/msg/BackPressure``."""

    UNSPECIFIED = 0
    CLEAR = 1
    SLOW_DOWN = 2  # more than half of the bound is waiting
    FULL = 3  # no order is accepted until others have left


@dataclass(frozen=True, slots=True)
class Pressure:
    """State of a lane, for clients. ``bound`` limits ``waiting``; ``retry_after_s`` is 0 while the lane is clear."""

    lane: str
    level: Level
    waiting: int
    bound: int
    in_flight: int
    retry_after_s: float


#: Bounds (s) of a full lane's retry interval, and the window (s) over which the speed of its queue is measured.
RETRY_LEAST_S, RETRY_MOST_S = 1.0, 60.0
DRAIN_WINDOW_S = 30.0


def lane_of(fleet: FleetSpec, order: Order, capable: Callable[[FleetSpec, Order], bool]) -> str:
    """Return the drone class whose lane ``order`` belongs to.

    That is its ``drone_class`` if it names one; else the first class in the configuration that could fly it
    (``capable`` is the planner's); else the first that could lift it; else the first. Every reader with the same
    configuration gets the same answer. Raises ``ValueError`` for a fleet without classes.
    """
    if order.drone_class is not None:
        return order.drone_class
    if not fleet.classes:
        raise ValueError("a fleet without drone classes has no lanes")
    strong = [c for c in fleet.classes if order.package_weight_kg <= c.max_payload_kg]
    if len(strong) == 1:
        return strong[0].name  # the planner could not change the answer, and asking it is slow
    able = (c for c in strong if capable(replace(fleet, classes=(c,)), order))
    return next(able, strong[0] if strong else fleet.classes[0]).name


def unmanned(fleet: FleetSpec, living: Collection[str]) -> dict[str, str]:
    """Return each class without a live drone, with a sentence about the orders that wait because of that.

    ``living`` names the classes with a drone that is heard. Orders for the other classes are accepted and wait, because
    drones come and go.
    """
    strongest_kg = max((c.max_payload_kg for c in fleet.classes if c.name in living), default=0.0)
    found = {}
    for each in fleet.classes:
        if each.name not in living:
            which = f"orders of more than {strongest_kg:g} kg" if strongest_kg else "its orders"
            which = which if each.max_payload_kg > strongest_kg else "orders that ask for this class"
            found[each.name] = f"no drone of class {each.name} is heard: {which} wait"
    return found


def why_waiting(
    fleet: FleetSpec, order: Order, living: Collection[str], capable: Callable[[FleetSpec, Order], bool]
) -> str | None:
    """Return why ``order`` waits for a drone that is absent; ``None`` if a class with a live drone could fly it.

    ``capable`` is the planner's.
    """
    could = [c for c in fleet.classes if capable(replace(fleet, classes=(c,)), order)]
    if any(c.name in living for c in could):
        return None
    if not could:
        return "no drone class of this fleet can fly it"
    names = " or ".join(c.name for c in could)
    return f"no drone of class {names} is heard, and no other can fly it"


def occupancy_of(saga: Saga) -> Occupancy | None:
    """Return the place that the saga's order occupies in its lane; ``None`` if it occupies none.

    It occupies none once it has ended, or while it is parked and a person must decide. ``PENDING`` always waits.
    """
    if saga.status is SagaStatus.PENDING:
        return Occupancy.WAITING
    return None if saga.status.is_terminal or saga.parked else Occupancy.IN_FLIGHT


class Ledger:
    """Counts of waiting and flying orders per lane, at the cost of a dictionary look-up per change.

    Level-triggered: it compares an order's current state with the one counted before. So a change that arrives twice,
    late or backwards (a compensated order waits again) cannot make the counts wrong. It only knows orders that have not
    ended.
    """

    def __init__(self, fleet: FleetSpec, capable: Callable[[FleetSpec, Order], bool]) -> None:
        self._fleet = fleet
        self._capable = capable
        self._orders: dict[str, tuple[str, Occupancy]] = {}
        self._counts: dict[tuple[str, Occupancy], int] = {}
        self._drained: dict[str, int] = {}

    def load(self, view: FleetView) -> None:
        """Recount everything from ``view``, as after a snapshot. Orders that are not in it are dropped."""
        for message_id in self.ids_of(view):
            self.update(view, message_id)

    def ids_of(self, view: FleetView) -> list[str]:
        """Return the message ids to update in order to agree with all of ``view``."""
        gone = [id_ for id_ in self._orders if id_ not in view.sagas and id_ not in view.inbox]
        return [*gone, *view.sagas, *view.inbox]

    def apply(self, view: FleetView, fresh: Iterable[Entry]) -> None:
        """Follow ``view`` after a change; ``fresh`` is what ``FleetView.apply`` returned."""
        for entry in fresh:
            if entry.kind in (Kind.INBOX_ORDER, Kind.SAGA):
                self.update(view, entry.id)

    def update(self, view: FleetView, message_id: str) -> None:
        """Count one order by its saga in ``view``, else by its inbox entry, else (or if unreadable) as gone."""
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
        """Count ``order`` as ``occupancy``; ``None``: the order has ended. The lane is determined only once."""
        if occupancy is None:
            self.drop(order.message_id)
            return
        lane, before = self._orders.get(order.message_id, (None, None))
        if before is occupancy:
            return
        if lane is None:
            if contradiction(order):
                return  # it cannot be calculated with; the leader sets it aside
            lane = lane_of(self._fleet, order, self._capable)
        self._orders[order.message_id] = (lane, occupancy)
        self._move(lane, before, occupancy)

    def drop(self, message_id: str) -> None:
        """Count the order as gone; does nothing if it is unknown."""
        lane, before = self._orders.pop(message_id, (None, None))
        if lane is not None:
            self._move(lane, before, None)

    def lane(self, message_id: str) -> str | None:
        """Return the lane of an order that has not ended; ``None`` if no such order is known."""
        return self._orders.get(message_id, (None, None))[0]

    def waiting(self, lane: str) -> int:
        return self._counts.get((lane, Occupancy.WAITING), 0)

    def in_flight(self, lane: str) -> int:
        return self._counts.get((lane, Occupancy.IN_FLIGHT), 0)

    def drained(self, lane: str) -> int:
        """Return the number of orders that stopped waiting since this ledger began, minus those that came back."""
        return self._drained.get(lane, 0)

    def pressure(self, lane: str) -> Level:
        """Return the pressure on ``lane``; ``UNSPECIFIED`` if the fleet has no such lane."""
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
    """Return the pressure of ``waiting`` orders on a lane with room for ``bound``."""
    if waiting >= bound:
        return Level.FULL
    return Level.SLOW_DOWN if 2 * waiting > bound else Level.CLEAR


class Drain:
    """Speed at which a lane's queue drains, measured from occasional samples of ``drained``."""

    def __init__(self, now_s: float) -> None:
        """All times are of one monotonic clock."""
        self._samples = deque([(now_s, 0)])

    def note(self, drained: int, now_s: float) -> None:
        """Record the lane's ``Ledger.drained`` after a change. One sample per second is kept."""
        samples = self._samples
        if now_s - samples[-1][0] >= 1.0:
            samples.append((now_s, drained))
        while len(samples) > 1 and samples[1][0] <= now_s - DRAIN_WINDOW_S:
            samples.popleft()

    def per_s(self, drained: int, now_s: float) -> float:
        """Return the orders per second over the window; 0 if none left, or more came back than left."""
        self.note(drained, now_s)
        since_s, before = self._samples[0]
        return max(0, drained - before) / max(1.0, min(now_s - since_s, DRAIN_WINDOW_S))

    def retry_after_s(self, waiting: int, bound: int, drained: int, now_s: float) -> float:
        """Return the time (s) until a place is free at this speed: 1 to 60; 60 if the queue does not move."""
        rate_per_s = self.per_s(drained, now_s)
        if rate_per_s <= 0.0:
            return RETRY_MOST_S
        return min(RETRY_MOST_S, max(RETRY_LEAST_S, max(1, waiting - bound + 1) / rate_per_s))


class PressureGauge:
    """Reads the pressure of each lane of ``ledger``. All times are of one monotonic clock, in seconds."""

    def __init__(self, fleet: FleetSpec, ledger: Ledger, now_s: float) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._drains = {c.name: Drain(now_s) for c in fleet.classes}

    def read(self, now_s: float) -> tuple[Pressure, ...]:
        """Return one reading per lane, in the configuration's order. Also call it after each change of the ledger."""
        return tuple(self._pressure(c.name, c.max_waiting, now_s) for c in self._fleet.classes)

    def _pressure(self, lane: str, bound: int, now_s: float) -> Pressure:
        waiting, level = self._ledger.waiting(lane), self._ledger.pressure(lane)
        retry_after_s = self._drains[lane].retry_after_s(waiting, bound, self._ledger.drained(lane), now_s)
        in_flight = self._ledger.in_flight(lane)
        return Pressure(lane, level, waiting, bound, in_flight, 0.0 if level is Level.CLEAR else retry_after_s)
