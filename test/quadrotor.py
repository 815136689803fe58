"""Model of Gazebo's quadrotor in a few lines: it follows a velocity set-point with a lag, tilts, and stands.

Like Gazebo's ``MulticopterVelocityControl`` it takes the set-point in its tilted axes, and does nothing until it
has one. Like an autopilot it hovers when set-points stop; Gazebo's controller would fly on. Wind adds to its
velocity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

GRAVITY_MPS2 = 9.81
LAG_S = 0.4
MAX_ACCELERATION_MPS2 = 4.0
SET_POINT_TIMEOUT_S = 1.0


@dataclass
class Quadrotor:
    """State of the quadrotor. World axes are east, north, up; ``ground_m`` is the height of the surface below."""

    position: np.ndarray = field(default_factory=lambda: np.zeros(3))
    heading: float = 0.0
    ground_m: float = 0.0
    wind: np.ndarray = field(default_factory=lambda: np.zeros(3))
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))
    motors: bool = True
    set_point: tuple[tuple[float, float, float], float] | None = None
    set_point_age_s: float = 0.0
    acceleration: np.ndarray = field(default_factory=lambda: np.zeros(3))
    touchdowns_mps: list[float] = field(default_factory=list)

    def command(self, linear: tuple[float, float, float], yaw_rate: float) -> None:
        self.set_point, self.set_point_age_s = (linear, yaw_rate), 0.0

    def enable(self, motors: bool) -> None:
        self.motors = motors
        if not motors:
            self.set_point = None

    @property
    def rotation(self) -> np.ndarray:
        """Return the rotation from the drone's axes to the world's: yaw, and the tilt that its acceleration needs."""
        ux, uy, uz = (
            float(self.acceleration[0]),
            float(self.acceleration[1]),
            float(self.acceleration[2]) + GRAVITY_MPS2,
        )
        length = math.sqrt(ux * ux + uy * uy + uz * uz)
        ux, uy, uz = ux / length, uy / length, uz / length
        c, s = math.cos(self.heading), math.sin(self.heading)
        lx, ly, lz = -uz * s, uz * c, ux * s - uy * c  # up x forward
        length = math.sqrt(lx * lx + ly * ly + lz * lz)
        lx, ly, lz = lx / length, ly / length, lz / length
        return np.array(
            [
                [ly * uz - lz * uy, lx, ux],
                [lz * ux - lx * uz, ly, uy],
                [lx * uy - ly * ux, lz, uz],
            ]  # left x up, left, up
        )

    @property
    def orientation(self) -> tuple[float, float, float, float]:
        """Return the rotation as a quaternion x, y, z, w: yaw after tilt. A tilt is never near a half turn."""
        m = self.rotation.tolist()
        heading = math.atan2(m[1][0], m[0][0])
        c, s = math.cos(heading), math.sin(heading)
        tilt = [[c * m[0][j] + s * m[1][j] for j in range(3)], [c * m[1][j] - s * m[0][j] for j in range(3)], m[2]]
        w = math.sqrt(max(1.0 + tilt[0][0] + tilt[1][1] + tilt[2][2], 1e-12)) / 2.0
        x, y, z = (
            (tilt[2][1] - tilt[1][2]) / (4.0 * w),
            (tilt[0][2] - tilt[2][0]) / (4.0 * w),
            (tilt[1][0] - tilt[0][1]) / (4.0 * w),
        )
        c, s = math.cos(heading / 2.0), math.sin(heading / 2.0)
        return (c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z)

    @property
    def body_velocity(self) -> tuple[float, float, float]:
        x, y, z = self.rotation.T @ self.velocity
        return float(x), float(y), float(z)

    def advance(self, dt_s: float) -> None:
        """Advance the model by ``dt_s``."""
        self.set_point_age_s += dt_s
        standing = self.position[2] <= self.ground_m + 1e-6
        yaw_rate = 0.0
        if not self.motors or self.set_point is None:
            target = np.zeros(3) if standing else self.velocity + np.array([0.0, 0.0, -GRAVITY_MPS2 * LAG_S])
        else:
            linear, yaw_rate = self.set_point
            if self.set_point_age_s > SET_POINT_TIMEOUT_S:
                linear, yaw_rate = (0.0, 0.0, 0.0), 0.0
            target = self.rotation @ np.array(linear) + self.wind
        wanted = (target - self.velocity) / LAG_S
        most = math.hypot(*wanted)
        self.acceleration = wanted * min(1.0, MAX_ACCELERATION_MPS2 / most) if most > 0 else wanted
        self.velocity = self.velocity + self.acceleration * dt_s
        self.position = self.position + self.velocity * dt_s
        self.heading += yaw_rate * dt_s
        if self.position[2] <= self.ground_m:
            if not standing:
                self.touchdowns_mps.append(float(-self.velocity[2]))
            self.position[2] = self.ground_m
            self.velocity = np.zeros(3) if target[2] <= 0.0 else np.array([0.0, 0.0, max(self.velocity[2], 0.0)])
            self.acceleration = np.zeros(3)
