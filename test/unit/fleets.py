"""A small fleet for tests of planning and admission."""

from __future__ import annotations

from typing import Any

from drone_orchestrator.core.planner import PlannedOrder
from drone_orchestrator.core.types import DroneClass, DroneReport, FleetSpec, GeoPoint, Order, Phase
from drone_orchestrator.planning.geo import geo_from_enu

DEPOT = GeoPoint(47.4, 8.5)
LIGHT = DroneClass("light", 2.5, 18.0, 5.0, 80.0, 500.0, 6.0, 900.0)
HEAVY = DroneClass("heavy", 8.0, 15.0, 4.0, 80.0, 1500.0, 14.0, 2500.0)
FLEET = FleetSpec("zurich", DEPOT, 8_000.0, (LIGHT, HEAVY))


def at(east_m: float, north_m: float) -> GeoPoint:
    """Return the point this many metres east and north of the depot."""
    lat_deg, lon_deg = geo_from_enu(east_m, north_m, DEPOT)
    return GeoPoint(float(lat_deg), float(lon_deg))


def drone(drone_id: str = "d1", drone_class: DroneClass = LIGHT, **fields: Any) -> DroneReport:
    values: dict[str, Any] = {"phase": Phase.IDLE, "position": DEPOT, "energy_wh": drone_class.battery_wh, **fields}
    return DroneReport(drone_id, drone_class.name, f"journal-{drone_id}", 1, **values)


def wanted(message_id: str = "m1", *, age_s: float = 0.0, **fields: Any) -> PlannedOrder:
    values: dict[str, Any] = {"destination": at(1_000.0, 0.0), "package_weight_kg": 1.0, **fields}
    return PlannedOrder(Order(message_id, f"order-{message_id}", submitted_at=0.0, **values), age_s)
