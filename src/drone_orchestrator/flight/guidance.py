"""Velocity set-points for a multicopter: climb, cruise and descend within limits. Pure and stepwise.

The speed towards a point follows the usual square-root law: proportional to the distance close by, and further away the
speed from which the drone can still brake at a constant deceleration. Set-points change no faster than the acceleration
limits, so that a velocity controller can follow them. Over its target the drone also integrates its position error,
because a steady wind displaces a controller without an integrator by a constant distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from ..core.types import DroneClass

#: Limits on the change of set-points, lower than those of the kinematic model and of the planner's reserve.
HORIZONTAL_ACCELERATION_MPS2 = 3.0
VERTICAL_ACCELERATION_MPS2 = 2.5
#: Deceleration that braking distances assume. Less than the limit, because the drone follows with a lag.
BRAKING_MPS2 = 2.0
#: Speed per metre of distance close to a point. Well damped for a velocity lag of half a second.
POSITION_GAIN_PER_S = 0.8
INTEGRAL_GAIN_PER_S2 = 0.12
#: The integral is active only this close to the target, and compensates at most this much wind.
INTEGRAL_RADIUS_M = 6.0
INTEGRAL_LIMIT_MPS = 4.0

#: This close and slow, the drone is over its target and descends. Beyond ``LOST_TARGET_M`` it flies there again.
OVER_TARGET_M, OVER_TARGET_MPS = 0.7, 1.0
LOST_TARGET_M = 4.0
#: Below ``LOW_M`` it descends only while it is this close to its target.
LOW_M, LOW_TARGET_M = 4.0, 1.2
#: Slowest descent, used for touchdown.
TOUCHDOWN_MPS = 0.4
#: Cruise begins ``LEVEL_M`` below its altitude. A drone that sinks by ``SUNK_M`` climbs before it continues.
LEVEL_M, SUNK_M = 1.5, 12.0

YAW_GAIN_PER_S = 1.0
YAW_RATE_RADPS = 0.8
#: Closer than this to its target a drone keeps its heading.
TURN_DISTANCE_M = 5.0

Vector = tuple[float, float, float]


class LegStage(Enum):
    """Stage of a flight to a target."""

    HOVER = auto()  #: stay where it is
    CLIMB = auto()  #: straight up to cruise altitude
    CRUISE = auto()  #: to the point above the target
    DESCEND = auto()  #: straight down to the ground


@dataclass(frozen=True, slots=True)
class Kinematics:
    """Position, velocity and heading: metres and m/s east, north, up; heading from east, counter-clockwise."""

    position_m: Vector
    velocity_mps: Vector
    heading_rad: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """Velocity in m/s east, north, up, and the yaw rate in rad/s, counter-clockwise."""

    velocity_mps: Vector
    yaw_rate_radps: float = 0.0


class Guidance:
    """Guidance of one drone to the target of :meth:`fly`, or to the ground below it after :meth:`land`."""

    def __init__(self, drone_class: DroneClass) -> None:
        self._class = drone_class
        self.stage = LegStage.HOVER
        self._target: tuple[float, float] | None = None
        self._asked: Vector | None = None  # last set-point, without the integral
        self._integral = (0.0, 0.0)

    def fly(self, target: tuple[float, float]) -> None:
        """Climb, cruise to ``target`` (east, north) and land there."""
        self._target, self._integral = target, (0.0, 0.0)
        self.stage = LegStage.CLIMB

    def land(self) -> None:
        """Brake and land here."""
        self._target, self._integral = None, (0.0, 0.0)
        self.stage = LegStage.DESCEND

    def rest(self) -> None:
        """Note that the drone stands on the ground."""
        self.forget()
        self._integral, self.stage = (0.0, 0.0), LegStage.HOVER

    def forget(self) -> None:
        """Continue from the drone's next sensed velocity instead of the last set-point."""
        self._asked = None

    @property
    def asked_up_mps(self) -> float:
        """Vertical velocity of the last set-point."""
        return 0.0 if self._asked is None else self._asked[2]

    def step(self, now: Kinematics, dt_s: float) -> Wanted:
        """Return the set-point for now, ``dt_s`` after the last one."""
        distance_m, bearing = self._way(now)
        self._choose_stage(now, distance_m)
        horizontal = self._horizontal(now, distance_m, bearing, dt_s)
        asked = (*horizontal, self._vertical(now, distance_m))
        before = now.velocity_mps if self._asked is None else self._asked
        east, north = _towards(before[:2], asked[:2], HORIZONTAL_ACCELERATION_MPS2 * dt_s)
        up_step = VERTICAL_ACCELERATION_MPS2 * dt_s
        up = before[2] + min(max(asked[2] - before[2], -up_step), up_step)
        self._asked = (east, north, up)
        velocity = (east + self._integral[0], north + self._integral[1], up)
        return Wanted(velocity, self._yaw_rate(now, distance_m, bearing))

    def _way(self, now: Kinematics) -> tuple[float, tuple[float, float]]:
        """Return the distance to the target, and the unit vector that points there."""
        if self._target is None:
            return 0.0, (0.0, 0.0)
        east, north = self._target[0] - now.position_m[0], self._target[1] - now.position_m[1]
        distance_m = math.hypot(east, north)
        return distance_m, (east / distance_m, north / distance_m) if distance_m > 1e-9 else (0.0, 0.0)

    def _choose_stage(self, now: Kinematics, distance_m: float) -> None:
        below_m = self._class.cruise_altitude_m - now.position_m[2]
        speed = math.hypot(*now.velocity_mps[:2])
        if self._target is None:
            return
        over_target = distance_m <= OVER_TARGET_M and speed <= OVER_TARGET_MPS
        if self.stage in (LegStage.CLIMB, LegStage.CRUISE) and over_target:
            self.stage = LegStage.DESCEND
        elif self.stage is LegStage.DESCEND and distance_m > LOST_TARGET_M:
            self.stage = LegStage.CLIMB
        elif self.stage is LegStage.CLIMB and below_m <= LEVEL_M:
            self.stage = LegStage.CRUISE
        elif self.stage is LegStage.CRUISE and below_m > SUNK_M:
            self.stage = LegStage.CLIMB

    def _horizontal(
        self, now: Kinematics, distance_m: float, bearing: tuple[float, float], dt_s: float
    ) -> tuple[float, float]:
        if self._target is None or self.stage in (LegStage.HOVER, LegStage.CLIMB):
            return 0.0, 0.0
        if distance_m <= INTEGRAL_RADIUS_M:
            gain = INTEGRAL_GAIN_PER_S2 * distance_m * dt_s
            self._integral = _within(
                (self._integral[0] + gain * bearing[0], self._integral[1] + gain * bearing[1]), INTEGRAL_LIMIT_MPS
            )
        speed = min(_approach_mps(distance_m), self._class.cruise_speed_mps)
        return speed * bearing[0], speed * bearing[1]

    def _vertical(self, now: Kinematics, distance_m: float) -> float:
        climb, up = self._class.climb_speed_mps, now.position_m[2]
        if self.stage is LegStage.HOVER:
            return 0.0
        if self.stage is not LegStage.DESCEND:
            off_m = self._class.cruise_altitude_m - up
            return math.copysign(min(_approach_mps(abs(off_m)), climb), off_m)
        moving = math.hypot(*now.velocity_mps[:2]) > OVER_TARGET_MPS
        if (self._target is None and moving) or (up < LOW_M and distance_m > LOW_TARGET_M):
            return 0.0
        return -min(max(_approach_mps(max(up, 0.0)), TOUCHDOWN_MPS), climb)

    def _yaw_rate(self, now: Kinematics, distance_m: float, bearing: tuple[float, float]) -> float:
        if distance_m < TURN_DISTANCE_M or self.stage not in (LegStage.CLIMB, LegStage.CRUISE):
            return 0.0
        off = math.atan2(bearing[1], bearing[0]) - now.heading_rad
        off = math.atan2(math.sin(off), math.cos(off))
        return min(max(YAW_GAIN_PER_S * off, -YAW_RATE_RADPS), YAW_RATE_RADPS)


def _approach_mps(distance_m: float) -> float:
    """Return the speed towards a point at this distance: proportional close by, then limited by braking."""
    linear_m = BRAKING_MPS2 / POSITION_GAIN_PER_S**2
    if distance_m <= linear_m:
        return POSITION_GAIN_PER_S * distance_m
    return math.sqrt(2.0 * BRAKING_MPS2 * (distance_m - linear_m / 2.0))


def _towards(before: tuple[float, ...], wanted: tuple[float, ...], most: float) -> tuple[float, float]:
    """Return ``before``, changed towards ``wanted`` by at most ``most``."""
    east, north = wanted[0] - before[0], wanted[1] - before[1]
    change = math.hypot(east, north)
    share = min(1.0, most / change) if change > 0.0 else 0.0
    return before[0] + share * east, before[1] + share * north


def _within(vector: tuple[float, float], limit: float) -> tuple[float, float]:
    length = math.hypot(*vector)
    return vector if length <= limit else (vector[0] * limit / length, vector[1] * limit / length)
