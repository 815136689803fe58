"""Contract between the core and its planners: the interface, an order's urgency, and the rule for dominated drones.

Implementations live in ``planning/``; a parameter chooses one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from .types import DroneReport, FleetSpec, Order, Priority

#: Urgency of a fresh order. Each priority is worth twice the one below.
PRIORITY_FACTOR = {Priority.LOW: 1.0, Priority.NORMAL: 2.0, Priority.HIGH: 4.0, Priority.URGENT: 8.0}
#: After this long (s) an order is as urgent as a fresh one of twice its priority factor.
AGEING_S = 300.0


def urgency(order: Order, age_s: float) -> float:
    """Return how urgent ``order`` is ``age_s`` after its submission; > 0 and without bound in its age.

    Planning considers the most urgent orders of a lane and serves them first. The urgency grows by the priority's
    factor every ``AGEING_S``, as in a queue with delay-dependent priorities (Kleinrock, 1964), so no order starves:

    * An order that has waited long enough outranks every fresh one: a LOW order a fresh URGENT one after 35 minutes.
    * An URGENT order grows eight times as fast as a LOW one. It passes LOW orders of any age ``A`` after at most
      ``(A - 35 min) / 7``.
    """
    return PRIORITY_FACTOR[order.priority] * (1.0 + max(age_s, 0.0) / AGEING_S)


def energy_rank(report: DroneReport) -> tuple[float, str]:
    """Return the sort key of drones of one class in one place: the most energy first."""
    return -report.energy_wh, report.drone_id


def drop_dominated(ranked: Iterable[DroneReport], orders: int) -> Iterator[DroneReport]:
    """Drop dominated drones. ``ranked``: drones of one class in one place, sorted by :func:`energy_rank`.

    Of two such drones, the one with more energy can fly everything that the other can, in the same time. So a drone
    with ``orders`` others before it is dominated: a plan for ``orders`` orders is no better with it than without it.
    """
    return islice(ranked, orders)


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """An order, as input of the planner. ``age_s`` is the time since submission."""

    order: Order
    age_s: float

    @property
    def urgency(self) -> float:
        """See :func:`urgency`."""
        return urgency(self.order, self.age_s)


@dataclass(frozen=True, slots=True)
class Pairing:
    """A drone and the order that it should fly."""

    message_id: str
    drone_id: str


class Planner(Protocol):
    """Chooses which free drone flies which waiting order. Pure: same input, same answer."""

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        """Assign at most one order per drone and one drone per order. Omit orders that no free drone can fly now."""

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        """Return whether a drone of some class with a full battery could ever fly the order."""
