"""Planners: implementations of :class:`drone_orchestrator.core.planner.Planner`."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.planner import Pairing, PlannedOrder
from ..core.types import DroneReport, FleetSpec, GeoPoint, Order
from .assignment import assign
from .cost import costs, delivery_times_s, weights
from .feasibility import feasible, feasible_with_full_battery, is_available
from .legs import measure
from .single import soonest

T = TypeVar("T")
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]
#: ``(orders, times_s, feasible, drones) -> pairs of indices``; times and mask are ``(n, m)``, a row for each group of
#: drones that are alike; ``drones`` ``(n,)`` says how many.
Choice = Callable[[Sequence[PlannedOrder], FloatArray, BoolArray, IndexArray], list[tuple[int, int]]]


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
    groups = _grouped(drones, [(d.drone_class, d.position, d.energy_wh) for d in drones])
    firsts = [group[0] for group in groups]
    legs = measure(fleet, firsts, wanted)
    mask = feasible(fleet, firsts, wanted, legs)
    times_s = delivery_times_s(fleet, firsts, legs)
    # Whose energy differs, but not in what it is enough for, are alike, too.
    groups, times_s, mask = _joined(groups, times_s, mask)
    pairs = choose(orders, times_s, mask, np.array([len(group) for group in groups], dtype=np.intp))
    left = [iter(group) for group in groups]
    chosen = (Pairing(wanted[column].message_id, next(left[row]).drone_id) for row, column in pairs)
    return sorted(chosen, key=lambda p: p.message_id)


def _grouped(drones: Sequence[T], keys: Iterable[Hashable]) -> list[list[T]]:
    """Those of equal keys together, in the order of their firsts."""
    groups: dict[Hashable, list[T]] = {}
    for drone, key in zip(drones, keys, strict=True):
        groups.setdefault(key, []).append(drone)
    return list(groups.values())


def _joined(
    groups: Sequence[list[DroneReport]], times_s: FloatArray, mask: BoolArray
) -> tuple[list[list[DroneReport]], FloatArray, BoolArray]:
    """The groups and their rows, with those made one that are in one place, of one class, and fit for the same."""
    keys = ((g[0].drone_class, g[0].position, row.tobytes()) for g, row in zip(groups, mask, strict=True))
    alike = _grouped(range(len(groups)), keys)
    if len(alike) == len(groups):
        return list(groups), times_s, mask
    rows = [each[0] for each in alike]
    return [[drone for index in each for drone in groups[index]] for each in alike], times_s[rows], mask[rows]


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


def _choose_best(
    orders: Sequence[PlannedOrder], times_s: FloatArray, mask: BoolArray, drones: IndexArray
) -> list[tuple[int, int]]:
    return assign(costs(orders, times_s, mask), mask, drones)


def _choose_greedily(
    orders: Sequence[PlannedOrder], times_s: FloatArray, mask: BoolArray, drones: IndexArray
) -> list[tuple[int, int]]:
    left_s, drones = np.where(mask, times_s, np.inf), drones.copy()
    heaviest_first = np.argsort(-weights(orders, times_s, mask), kind="stable")
    pairs = []
    for column in heaviest_first.tolist():
        row = int(np.argmin(left_s[:, column]))
        if np.isfinite(left_s[row, column]):
            pairs.append((row, column))
            drones[row] -= 1
            if not drones[row]:
                left_s[row, :] = np.inf
    return pairs
