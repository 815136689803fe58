"""The distances of every possible mission, measured once per plan and shared by feasibility and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.types import DroneReport, FleetSpec, GeoPoint, Order
from .geo import distance_m

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Legs:
    """Ground distances in metres of ``n`` drones and ``m`` orders."""

    to_pickup_m: FloatArray  # (n, m): from where the drone is to where the package waits
    loaded_m: FloatArray  # (m,): pickup to destination
    back_m: FloatArray  # (m,): destination to depot
    depot_to_pickup_m: FloatArray  # (m,)


def measure(fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[Order]) -> Legs:
    """Distances of each drone flying each order. A pickup of ``None`` is the depot."""
    # Most orders wait at the depot: each different pickup is measured once, then spread over its orders.
    places: dict[GeoPoint, int] = {}
    place_of_order = np.array([places.setdefault(o.pickup or fleet.depot, len(places)) for o in orders], dtype=np.intp)
    pickup_lat, pickup_lon = _columns(list(places))
    drone_lat, drone_lon = _columns([d.position for d in drones])
    to_place_m = distance_m(drone_lat[:, None], drone_lon[:, None], pickup_lat, pickup_lon)
    lat, lon = _columns([o.destination for o in orders])
    depot_lat, depot_lon = fleet.depot.lat_deg, fleet.depot.lon_deg
    return Legs(
        to_pickup_m=to_place_m[:, place_of_order],
        loaded_m=distance_m(pickup_lat[place_of_order], pickup_lon[place_of_order], lat, lon),
        back_m=distance_m(lat, lon, depot_lat, depot_lon),
        depot_to_pickup_m=distance_m(pickup_lat, pickup_lon, depot_lat, depot_lon)[place_of_order],
    )


def _columns(points: Sequence[GeoPoint]) -> tuple[FloatArray, FloatArray]:
    table = np.array([(p.lat_deg, p.lon_deg) for p in points], dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
