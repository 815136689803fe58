"""Least time in which drones can deliver a backlog. It is cheap to know, and most runs need no exact answer."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.leader.lane_sharing import may_carry
from ..core.types import DroneClass, FleetSpec, Order
from ..planning.energy import leg_time_s
from ..planning.geo import distance_between_m


def least_time_s(fleet: FleetSpec, drones: Sequence[DroneClass], orders: Sequence[Order]) -> float:
    """Return the least time (s) in which drones of these classes can deliver the orders.

    It is that of the busiest class with the orders which no other can carry, or that of all drones with all orders.
    """
    choices = [fleet.classes, *((each,) for each in fleet.classes)]
    return max(_least_time_s(fleet, classes, drones, orders) for classes in choices)


def _least_time_s(
    fleet: FleetSpec, classes: Sequence[DroneClass], drones: Sequence[DroneClass], orders: Sequence[Order]
) -> float:
    able = sum(each in classes for each in drones)
    others = [each for each in fleet.classes if each not in classes]
    bound = [order for order in orders if not any(may_carry(each, order) for each in others)]
    rounds_s = [min(_round_s(fleet, each, order, orders) for each in classes) for order in bound]
    # After its last order a drone needs no way to another. Without a drone, only the others' orders say anything.
    return sum(sorted(rounds_s)[:-able]) / able if able else 0.0


def _round_s(fleet: FleetSpec, drone_class: DroneClass, order: Order, orders: Sequence[Order]) -> float:
    """Return the time (s) to load the order, fly to its destination, drop it, and fly to the nearest pickup."""
    pickups = {each.pickup or fleet.depot for each in orders}
    onwards_m = min(distance_between_m(order.destination, each) for each in pickups)
    loaded_m = distance_between_m(order.pickup or fleet.depot, order.destination)
    flown_s = leg_time_s(loaded_m, drone_class) + leg_time_s(onwards_m, drone_class)
    return flown_s + drone_class.load_time_s + drone_class.drop_time_s
