"""What the core wants of a planner. Implementations live in ``planning/``; one is chosen by a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .types import DroneReport, FleetSpec, Order


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """An order as the planner sees it; ``age_s`` since submission."""

    order: Order
    age_s: float


@dataclass(frozen=True, slots=True)
class Pairing:
    """The planner's choice."""

    message_id: str
    drone_id: str


class Planner(Protocol):
    """Chooses which free drone flies which waiting order. Pure: same input, same answer."""

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        """At most one order per drone and one drone per order; an order no free drone can fly now is left out."""

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        """Whether a drone of some class with a full battery could ever fly the order."""
