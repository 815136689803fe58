"""Planners: implementations of :class:`drone_orchestrator.core.planner.Planner`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..core.planner import Pairing, PlannedOrder, drop_dominated, energy_rank
from ..core.types import DroneReport, FleetSpec, GeoPoint, Order
from .arrays import BoolArray, FloatArray, IndexArray
from .assignment import assign
from .cost import costs, delivery_times_s, weights
from .feasibility import feasible_with_full_battery, is_available, needed_wh, spare_wh
from .legs import measure
from .single import soonest

#: ``(orders, times_s, feasible, drones) -> pairs of indices``. Times and mask are ``(n, m)``, with a row per group of
#: identical drones; ``drones`` ``(n,)`` is the size of each group.
Choice = Callable[[Sequence[PlannedOrder], FloatArray, BoolArray, IndexArray], list[tuple[int, int]]]


class AssignmentPlanner:
    """Serves as many orders as possible, at the least weighted time to deliver."""

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        """See :meth:`Planner.plan`. Sorted by message id."""
        return _plan(fleet, drones, orders, _choose_best)

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        """See :meth:`Planner.capable`."""
        return feasible_with_full_battery(fleet, order)


class GreedyPlanner:
    """The baseline: in order of weight, each order takes the drone that delivers it soonest."""

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
    drones = _candidates(drones, len(orders))
    orders = sorted(orders, key=lambda o: o.order.message_id)
    if not drones or not orders:
        return []
    if len(orders) == 1:
        first = soonest(fleet, drones, orders[0].order)
        return [Pairing(orders[0].order.message_id, first.drone_id)] if first is not None else []
    wanted = [o.order for o in orders]
    places = _by_place(drones)
    firsts = [here[0] for here in places]
    legs = measure(fleet, firsts, wanted)
    need_wh, times_s = needed_wh(fleet, firsts, wanted, legs), delivery_times_s(fleet, firsts, legs)
    alike, place_of, mask = _by_ability(fleet, places, need_wh)
    pairs = choose(orders, times_s[place_of], mask, np.array([len(group) for group in alike], dtype=np.intp))
    left = [iter(group) for group in alike]
    chosen = (Pairing(wanted[column].message_id, next(left[row]).drone_id) for row, column in pairs)
    return sorted(chosen, key=lambda p: p.message_id)


def _by_place(drones: Sequence[DroneReport]) -> list[list[DroneReport]]:
    """Group drones of one class in one place: their missions take the same time and energy."""
    places: dict[tuple[str, GeoPoint], list[DroneReport]] = {}
    for drone in drones:
        places.setdefault((drone.drone_class, drone.position), []).append(drone)
    return list(places.values())


def _by_ability(
    fleet: FleetSpec, places: Sequence[list[DroneReport]], need_wh: FloatArray
) -> tuple[list[list[DroneReport]], list[int], BoolArray]:
    """Group identical drones (same class, place and feasible orders).

    Returns the groups, the place of each, and the mask ``(groups, m)`` of orders that each can fly. The least capable
    groups of a place come first, so they win ties.
    """
    alike: list[list[DroneReport]] = []
    place_of: list[int] = []
    masks: list[BoolArray] = []
    for place, (here, need) in enumerate(zip(places, need_wh, strict=True)):
        here = sorted(here, key=lambda d: (d.energy_wh, d.drone_id))
        fit = need <= spare_wh(fleet, here)[:, None]
        groups: dict[bytes, list[DroneReport]] = {}
        for drone, row in zip(here, fit, strict=True):
            able = groups.setdefault(row.tobytes(), [])
            if not able:
                masks.append(row)
            able.append(drone)
        alike += groups.values()
        place_of += [place] * len(groups)
    return alike, place_of, np.array(masks)


def _candidates(drones: Sequence[DroneReport], orders: int) -> list[DroneReport]:
    """Return the available drones that are not dominated, by id."""
    kept: list[DroneReport] = []
    for here in _by_place([d for d in drones if is_available(d) and not math.isnan(d.energy_wh)]):
        kept += drop_dominated(sorted(here, key=energy_rank), orders) if len(here) > orders else here
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
