"""The battery of a simulated drone by the planner's energy model, and the remaining time of a leg."""

from __future__ import annotations

from ..core.types import DroneClass
from ..planning.energy import MIN_LEG_M, SECONDS_PER_HOUR, leg_time_s

#: The drone charges when it has landed within this distance of the depot.
DEPOT_RADIUS_M = 10.0


def after_flight_wh(energy_wh: float, power_w: float, seconds: float) -> float:
    """Return the energy left of ``energy_wh`` after ``seconds`` in the air at ``power_w``; at least 0."""
    return max(0.0, energy_wh - power_w * seconds / SECONDS_PER_HOUR)


def after_charging_wh(energy_wh: float, drone_class: DroneClass, seconds: float) -> float:
    """Return the energy after charging for ``seconds`` at the depot; at most a full battery."""
    return min(drone_class.battery_wh, energy_wh + drone_class.charge_power_w * seconds / SECONDS_PER_HOUR)


def remaining_s(distance_m: float, up_m: float, drone_class: DroneClass) -> float:
    """Return the planned time (s) until a drone ``up_m`` above ground, ``distance_m`` from its target, has landed."""
    whole_s = leg_time_s(max(distance_m, MIN_LEG_M), drone_class)
    climbed_s = min(up_m, drone_class.cruise_altitude_m) / drone_class.climb_speed_mps
    return max(whole_s - climbed_s, 0.0)
