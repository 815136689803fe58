"""Feasible pairs of drones and orders, as boolean masks, drones × orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..core.types import DroneClass, DroneReport, FleetSpec, Order, Phase
from ..core.zones import blocked_way
from .arrays import BoolArray, FloatArray, IndexArray
from .energy import Mission, mission_energy_wh
from .geo import distance_between_m
from .legs import Legs
from .zones import clear_of_zones

#: A drone returning empty can get its next order in flight.
AVAILABLE_PHASES = frozenset({Phase.IDLE, Phase.RETURNING})


def feasible(fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[Order], legs: Legs) -> BoolArray:
    """Return the mask ``(n, m)``: drone ``i`` is free, of the requested class, strong enough, and has the energy for
    order ``j``.

    The energy now in the battery must pay for the way to the pickup, to the destination and back to the depot, and
    leave the reserve of the drone's class. If a position or energy is not a number, nothing is feasible. No way of the
    mission may meet a no-fly zone.
    """
    enough: BoolArray = needed_wh(fleet, drones, orders, legs) <= spare_wh(fleet, drones)[:, None]
    return enough


def needed_wh(fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[Order], legs: Legs) -> FloatArray:
    """Return the energy ``(n, m)`` in Wh that drone ``i`` needs for order ``j``; NaN if it may not fly it at all.

    It depends on class, place and phase of the drone, not on its energy.
    """
    weight_kg = np.array([o.package_weight_kg for o in orders], dtype=np.float64)
    need_wh = np.full((len(drones), len(orders)), np.nan)
    in_area = within_service(fleet, legs)
    for drone_class, rows in rows_by_class(fleet, drones):
        may_fly = in_area & wants_class(orders, drone_class) & (weight_kg <= drone_class.max_payload_kg)
        mission_wh = mission_energy_wh(legs.to_pickup_m[rows], legs.loaded_m, legs.back_m, weight_kg, drone_class)
        need_wh[rows] = np.where(may_fly, mission_wh, np.nan)
    need_wh[[not is_available(d) for d in drones]] = np.nan
    if fleet.no_fly_zones:
        need_wh[~clear_of_zones(fleet, drones, orders, ~np.isnan(need_wh))] = np.nan
    return need_wh


def spare_wh(fleet: FleetSpec, drones: Sequence[DroneReport]) -> FloatArray:
    """Return the energy ``(n,)`` in Wh above the reserve of the drone's class; NaN for an unknown class."""
    reserves_wh = {c.name: c.reserve_fraction * c.battery_wh for c in fleet.classes}
    return np.array([d.energy_wh - reserves_wh.get(d.drone_class, np.nan) for d in drones], dtype=np.float64)


def feasible_with_full_battery(fleet: FleetSpec, order: Order) -> bool:
    """Return whether a drone of some class, fully charged and at the depot, could fly ``order``.

    Called once for every incoming order, so it works without arrays.
    """
    pickup = order.pickup or fleet.depot
    there_m = distance_between_m(fleet.depot, pickup)
    loaded_m = distance_between_m(pickup, order.destination)
    back_m = distance_between_m(order.destination, fleet.depot)
    if not max(there_m, back_m) <= fleet.service_radius_m or blocked_way(fleet, order):
        return False
    weight_kg = order.package_weight_kg
    return any(
        order.drone_class in (None, c.name)
        and weight_kg <= c.max_payload_kg
        and Mission(c, loaded_m, back_m, weight_kg).energy_wh(there_m) <= (1.0 - c.reserve_fraction) * c.battery_wh
        for c in fleet.classes
    )


def is_available(drone: DroneReport) -> bool:
    """Return whether the drone may get an order at all."""
    return drone.phase in AVAILABLE_PHASES and not drone.package_on_board


def within_service(fleet: FleetSpec, legs: Legs) -> BoolArray:
    """Return the mask ``(m,)``: both pickup and destination are within the service radius around the depot."""
    return (legs.back_m <= fleet.service_radius_m) & (legs.depot_to_pickup_m <= fleet.service_radius_m)


def wants_class(orders: Sequence[Order], drone_class: DroneClass) -> BoolArray:
    """Return the mask ``(m,)``: the order names this class, or none."""
    return np.array([o.drone_class in (None, drone_class.name) for o in orders], dtype=np.bool_)


def rows_by_class(fleet: FleetSpec, drones: Sequence[DroneReport]) -> Iterator[tuple[DroneClass, IndexArray]]:
    """Yield each class of the fleet with the indices of its drones; drones of an unknown class are left out."""
    for drone_class in fleet.classes:
        rows = np.array([i for i, d in enumerate(drones) if d.drone_class == drone_class.name], dtype=np.intp)
        if rows.size:
            yield drone_class, rows
