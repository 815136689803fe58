"""Plans a single order without arrays, because most plans are for one order that has just arrived.

The arithmetic is that of the other modules here, operation by operation, so both find the same drones feasible and the
same one fastest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.types import DroneReport, FleetSpec, GeoPoint, Order
from ..core.zones import airspace, blocked_way
from .energy import Mission
from .feasibility import is_available
from .geo import distance_between_m
from .zones import any_triangle_meets


def soonest(fleet: FleetSpec, drones: Sequence[DroneReport], order: Order) -> DroneReport | None:
    """Return the drone that delivers ``order`` first, the first of ``drones`` on ties; ``None`` if none can fly it."""
    pickup = order.pickup or fleet.depot
    loaded_m = distance_between_m(pickup, order.destination)
    back_m = distance_between_m(order.destination, fleet.depot)
    in_area = back_m <= fleet.service_radius_m and distance_between_m(pickup, fleet.depot) <= fleet.service_radius_m
    if not in_area or blocked_way(fleet, order) is not None:
        return None
    missions = {
        c.name: Mission(c, loaded_m, back_m, order.package_weight_kg)
        for c in fleet.classes
        if order.drone_class in (None, c.name) and order.package_weight_kg <= c.max_payload_kg
    }
    to_pickup_m: dict[GeoPoint, float] = {}
    fit: list[tuple[float, int]] = []
    for index, drone in enumerate(drones):
        mission = missions.get(drone.drone_class)
        if mission is None or not is_available(drone):
            continue
        there_m = to_pickup_m.get(drone.position)
        if there_m is None:
            there_m = to_pickup_m[drone.position] = distance_between_m(drone.position, pickup)
        if mission.energy_wh(there_m) <= drone.energy_wh - mission.reserve_wh:
            fit.append((mission.time_s(there_m), index))
    fit.sort()
    return next((drones[index] for _, index in fit if _way_is_clear(fleet, drones[index].position, pickup)), None)


def _way_is_clear(fleet: FleetSpec, drone: GeoPoint, pickup: GeoPoint) -> bool:
    """Return whether the drone's way is clear (:func:`.zones.clear_of_zones`). A drone at the depot whose pickup is the
    depot has no way."""
    if not fleet.no_fly_zones or drone == pickup == fleet.depot:
        return True
    space = airspace(fleet)
    return not any_triangle_meets(np.array([space.place(drone)]), np.array([space.place(pickup)]), space.shapes)[0]
