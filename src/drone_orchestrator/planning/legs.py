"""The distances of every possible mission, measured once per plan and shared by feasibility and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import DroneReport, FleetSpec, GeoPoint, Order
from .arrays import FloatArray
from .geo import distance_of_units_m, units


@dataclass(frozen=True, slots=True)
class Legs:
    """Ground distances in metres of ``n`` drones and ``m`` orders."""

    to_pickup_m: FloatArray  # (n, m): from the drone to the pickup
    loaded_m: FloatArray  # (m,): pickup to destination
    back_m: FloatArray  # (m,): destination to depot
    depot_to_pickup_m: FloatArray  # (m,)


def measure(fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[Order]) -> Legs:
    """Return the distances of each drone flying each order. A pickup of ``None`` is the depot."""
    # Most orders wait at the depot: each distinct pickup is measured once, then spread over its orders.
    places: dict[GeoPoint, int] = {}
    place_of_order = np.array([places.setdefault(o.pickup or fleet.depot, len(places)) for o in orders], dtype=np.intp)
    pickup, destination, depot = units(list(places)), units([o.destination for o in orders]), units([fleet.depot])
    x, y, z = units([d.position for d in drones])
    to_place_m = distance_of_units_m((x[:, None], y[:, None], z[:, None]), pickup)
    px, py, pz = pickup
    return Legs(
        to_pickup_m=to_place_m[:, place_of_order],
        loaded_m=distance_of_units_m((px[place_of_order], py[place_of_order], pz[place_of_order]), destination),
        back_m=distance_of_units_m(destination, depot),
        depot_to_pickup_m=distance_of_units_m(pickup, depot)[place_of_order],
    )
