"""Planners: implementations of :class:`drone_orchestrator.core.planner.Planner`."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.planner import Pairing, PlannedOrder
from ..core.types import DroneReport, FleetSpec, GeoPoint, Order
from .assignment import assign
from .cost import costs, delivery_times_s, weights
from .feasibility import feasible, feasible_with_full_battery, is_available
from .legs import measure
from .single import soonest

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
#: ``(orders, times_s, feasible) -> pairs of indices``; times and mask are ``(n, m)``.
Choice = Callable[[Sequence[PlannedOrder], FloatArray, BoolArray], list[tuple[int, int]]]


class AssignmentPlanner:
    """Serves as many orders as it can, and of those choices takes the one of least weighted time to deliver."""

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        """See :meth:`Planner.plan`. Sorted by message id."""
        return _plan(fleet, drones, orders, _choose_best)

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        """See :meth:`Planner.capable`."""
        return feasible_with_full_battery(fleet, order)


class GreedyPlanner:
    """The baseline: the heaviest order first takes the drone that delivers it soonest."""

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        """See :meth:`Planner.plan`. Sorted by message id."""
        return _plan(fleet, drones, orders, _choose_greedily)

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        """See :meth:`Planner.capable`."""
        return feasible_with_full_battery(fleet, order)


def _plan(
    fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder], choose: Choice
) -> list[Pairing]:
    """Measure, mask, choose. Both sides are sorted by id first, so that ties do not depend on the order of input."""
    drones = _worth_a_look(drones, len(orders))
    orders = sorted(orders, key=lambda o: o.order.message_id)
    if not drones or not orders:
        return []
    if len(orders) == 1:
        first = soonest(fleet, drones, orders[0].order)
        return [Pairing(orders[0].order.message_id, first.drone_id)] if first is not None else []
    wanted = [o.order for o in orders]
    legs = measure(fleet, drones, wanted)
    mask = feasible(fleet, drones, wanted, legs)
    pairs = choose(orders, delivery_times_s(fleet, drones, legs), mask)
    chosen = (Pairing(wanted[column].message_id, drones[row].drone_id) for row, column in pairs)
    return sorted(chosen, key=lambda p: p.message_id)


def _worth_a_look(drones: Sequence[DroneReport], orders: int) -> list[DroneReport]:
    """Those that could be chosen, by id. Of drones of a class in one place, as those in the depot are, whoever has more
    energy can do all that the others can, in the same time: of each such group there are no more than ``orders``."""
    groups: dict[tuple[str, GeoPoint], list[DroneReport]] = {}
    for drone in drones:
        if is_available(drone) and not math.isnan(drone.energy_wh):
            groups.setdefault((drone.drone_class, drone.position), []).append(drone)
    kept: list[DroneReport] = []
    for group in groups.values():
        if len(group) > orders:
            group = heapq.nsmallest(orders, group, key=lambda d: (-d.energy_wh, d.drone_id))
        kept += group
    return sorted(kept, key=lambda d: d.drone_id)


def _choose_best(orders: Sequence[PlannedOrder], times_s: FloatArray, mask: BoolArray) -> list[tuple[int, int]]:
    return assign(costs(orders, times_s, mask), mask)


def _choose_greedily(orders: Sequence[PlannedOrder], times_s: FloatArray, mask: BoolArray) -> list[tuple[int, int]]:
    left_s = np.where(mask, times_s, np.inf)
    heaviest_first = np.argsort(-weights(orders, times_s, mask), kind="stable")
    pairs = []
    for column in heaviest_first.tolist():
        row = int(np.argmin(left_s[:, column]))
        if np.isfinite(left_s[row, column]):
            pairs.append((row, column))
            left_s[row, :] = np.inf
    return pairs
