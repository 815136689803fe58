"""Duration and energy of a flight. Vectorised over distances and payloads, for one drone class.

Model. Hovering takes power ∝ mass^1.5: the ideal power of an actuator disk is ``thrust^1.5 / sqrt(2 ρ A)`` (J. G.
Leishman, *Principles of Helicopter Aerodynamics*, 2nd ed., §2.3). At delivery speeds the fall of induced power and the
rise of drag roughly cancel, so cruise, climb and descent are taken at hover power, as in R. D'Andrea, *Can Drones
Deliver?*, IEEE Trans. Autom. Sci. Eng. 11 (2014). Wind and acceleration are ignored; the reserve covers them.

A leg is climb to cruise altitude, cruise, descent. Loading happens on the ground with the rotors off; dropping is a
hover with the package.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..core.types import DroneClass
from .arrays import FloatArray

SECONDS_PER_HOUR = 3600.0

#: A shorter leg is not flown: the drone is already there, within the accuracy of its position.
MIN_LEG_M = 2.0


def cruise_power_w(drone_class: DroneClass, payload_kg: ArrayLike) -> FloatArray:
    """Return the electric power in W in the air with ``payload_kg`` on board; the shape of ``payload_kg``."""
    mass_ratio = 1.0 + np.asarray(payload_kg, dtype=np.float64) / drone_class.empty_mass_kg
    # A product, because the last bit of numpy's power depends on the processor.
    return np.asarray(drone_class.hover_power_w * (mass_ratio * np.sqrt(mass_ratio)), dtype=np.float64)


def flight_time_s(distance_m: ArrayLike, drone_class: DroneClass) -> FloatArray:
    """Return seconds for one leg over ``distance_m`` of ground, climb and descent included; the shape of
    ``distance_m``.

    Zero below :data:`MIN_LEG_M`.
    """
    distance = np.asarray(distance_m, dtype=np.float64)
    vertical_s = 2.0 * drone_class.cruise_altitude_m / drone_class.climb_speed_mps
    return np.where(distance < MIN_LEG_M, 0.0, distance / drone_class.cruise_speed_mps + vertical_s)


def delivery_time_s(to_pickup_m: ArrayLike, loaded_m: ArrayLike, drone_class: DroneClass) -> FloatArray:
    """Return seconds from take-off to the drop: to the pickup, load, onwards, drop. Inputs broadcast."""
    there_s, onwards_s = flight_time_s(to_pickup_m, drone_class), flight_time_s(loaded_m, drone_class)
    return there_s + onwards_s + (drone_class.load_time_s + drone_class.drop_time_s)


def mission_energy_wh(
    to_pickup_m: ArrayLike, loaded_m: ArrayLike, back_m: ArrayLike, payload_kg: ArrayLike, drone_class: DroneClass
) -> FloatArray:
    """Return the energy in Wh of a whole mission: empty to the pickup, loaded to the destination, drop, empty back.

    Distances are ground metres, the payload kg; all four inputs broadcast, the result has the broadcast shape.
    """
    empty_w, loaded_w = cruise_power_w(drone_class, 0.0), cruise_power_w(drone_class, payload_kg)
    empty_s = flight_time_s(to_pickup_m, drone_class) + flight_time_s(back_m, drone_class)
    loaded_s = flight_time_s(loaded_m, drone_class) + drone_class.drop_time_s
    return np.asarray((empty_w * empty_s + loaded_w * loaded_s) / SECONDS_PER_HOUR, dtype=np.float64)


# --- one mission, without arrays: the same arithmetic, operation by operation -----------------------------------------


def power_w(drone_class: DroneClass, payload_kg: float) -> float:
    """Return :func:`cruise_power_w` of one payload."""
    mass_ratio = 1.0 + payload_kg / drone_class.empty_mass_kg
    return drone_class.hover_power_w * (mass_ratio * math.sqrt(mass_ratio))


def leg_time_s(distance_m: float, drone_class: DroneClass) -> float:
    """Return :func:`flight_time_s` of one distance."""
    if distance_m < MIN_LEG_M:
        return 0.0
    return distance_m / drone_class.cruise_speed_mps + 2.0 * drone_class.cruise_altitude_m / drone_class.climb_speed_mps


class Mission:
    """One order's mission for drones of one class. Ground metres, kg; ``reserve_wh`` stays in the battery."""

    def __init__(self, drone_class: DroneClass, loaded_m: float, back_m: float, payload_kg: float) -> None:
        self.reserve_wh = drone_class.reserve_fraction * drone_class.battery_wh
        self._class = drone_class
        self._empty_w, self._loaded_w = power_w(drone_class, 0.0), power_w(drone_class, payload_kg)
        self._onwards_s, self._back_s = leg_time_s(loaded_m, drone_class), leg_time_s(back_m, drone_class)

    def energy_wh(self, to_pickup_m: float) -> float:
        """Return :func:`mission_energy_wh` of a drone this far from the pickup."""
        empty_s = leg_time_s(to_pickup_m, self._class) + self._back_s
        loaded_s = self._onwards_s + self._class.drop_time_s
        return (self._empty_w * empty_s + self._loaded_w * loaded_s) / SECONDS_PER_HOUR

    def time_s(self, to_pickup_m: float) -> float:
        """Return :func:`delivery_time_s` of a drone this far from the pickup."""
        there_s = leg_time_s(to_pickup_m, self._class)
        return there_s + self._onwards_s + (self._class.load_time_s + self._class.drop_time_s)
