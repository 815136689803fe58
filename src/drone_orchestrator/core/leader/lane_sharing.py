"""Sharing of drones between lanes: each lane uses its own first, then borrows from others. Pure.

A lane is a drone class (:mod:`..lanes`). However many orders one lane has, it never gets the drones that another class
keeps for itself. So a flood slows down only its own lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..planner import Pairing, PlannedOrder, Planner
from ..types import DroneClass, DroneReport, FleetSpec, Order

#: Orders considered per free drone, most urgent first, and the minimum overall.
ORDERS_A_DRONE = 8
FEWEST_ORDERS = 32


@dataclass(frozen=True, slots=True)
class LaneRound:
    """One lane in one planning round.

    ``free``: its own drones that could take an order now. ``orders``: its most urgent waiting orders, most urgent
    first. ``room``: number of its orders that may still be put in flight. ``lendable``: number of its drones that may
    still be lent. ``deserted``: none of its own drones is heard.
    """

    drone_class: DroneClass
    free: Sequence[DroneReport]
    orders: Sequence[PlannedOrder]
    room: int
    lendable: int
    deserted: bool = False


def allot(fleet: FleetSpec, planner: Planner, lanes: Sequence[LaneRound]) -> list[Pairing]:
    """Pair drones with orders, at most one per drone and order, within the bounds of every lane."""
    pairs: list[Pairing] = []
    left = {lane.drone_class.name: lane.room for lane in lanes}
    for lane in lanes:
        own = _plan(fleet, planner, lane.free, lane.orders, lane.room)
        left[lane.drone_class.name] -= len(own)
        pairs += own
    lent = dict.fromkeys(left, 0)
    for lane in lanes:
        pairs += _borrow(fleet, planner, lane, lanes, pairs, lent, left[lane.drone_class.name])
    return pairs


def _borrow(
    fleet: FleetSpec,
    planner: Planner,
    borrower: LaneRound,
    lanes: Sequence[LaneRound],
    pairs: Sequence[Pairing],
    lent: dict[str, int],
    room: int,
) -> list[Pairing]:
    """Plan drones of other classes for the remaining orders of ``borrower``, and count them in ``lent``."""
    taken_drones, taken_orders = {p.drone_id for p in pairs}, {p.message_id for p in pairs}
    orders = [w for w in borrower.orders if w.order.drone_class is None and w.order.message_id not in taken_orders]
    allowance: dict[str, int] = {}
    candidates: dict[str, str] = {}  # drone -> its class
    reports: list[DroneReport] = []
    for lender in lanes:
        name = lender.drone_class.name
        allowance[name] = len(lender.free) if borrower.deserted else lender.lendable - lent[name]
        if lender is borrower or allowance[name] <= 0:
            continue
        free = [report for report in lender.free if report.drone_id not in taken_drones]
        reports += free
        candidates.update((report.drone_id, name) for report in free)
    classes = [lane.drone_class for lane in lanes if lane.drone_class.name in set(candidates.values())]
    orders = [w for w in orders if any(may_carry(drone_class, w.order) for drone_class in classes)]
    out: list[Pairing] = []
    for pair in _plan(fleet, planner, reports, orders, room):
        name = candidates[pair.drone_id]
        if allowance[name] > 0:
            allowance[name] -= 1
            lent[name] += 1
            out.append(pair)
    return out


def may_carry(drone_class: DroneClass, order: Order) -> bool:
    """Return whether class and payload fit; the planner checks the range."""
    wanted = order.drone_class in (None, drone_class.name)
    return wanted and order.package_weight_kg <= drone_class.max_payload_kg


def _plan(
    fleet: FleetSpec, planner: Planner, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder], room: int
) -> list[Pairing]:
    """Return at most ``room`` pairs, for the most urgent orders.

    Excess pairs are dropped only after planning, so an order that no drone can fly now does not block the next.
    """
    if not drones or not orders or room <= 0:
        return []
    first = orders[: max(FEWEST_ORDERS, ORDERS_A_DRONE * len(drones))]
    pairs = planner.plan(fleet, drones, first)
    if len(pairs) < min(len(drones), room) and len(first) < len(orders):
        pairs = planner.plan(fleet, drones, orders)  # no drone can fly most of the others now
    if len(pairs) <= room:
        return pairs
    rank = {waiting.order.message_id: index for index, waiting in enumerate(orders)}
    return sorted(pairs, key=lambda pair: rank[pair.message_id])[:room]
