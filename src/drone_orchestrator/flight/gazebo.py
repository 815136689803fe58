"""Flies a drone by velocity set-points and odometry: a quadrotor in Gazebo, or any vehicle with the same topics.

Pure: odometry comes in through :meth:`GazeboFlight.sensed`, time through its stamps and :meth:`GazeboFlight.step`, and
set-points go out through a callable. The ROS side is in :mod:`drone_orchestrator.nodes.drone_executor.gazebo_link`.

* Each odometry is answered by a set-point, so the control rate is that of odometry (30 Hz in our model).
* Without odometry the drone is told to hover after :data:`HOVER_AFTER_S`, and has the fault ``odometry_lost`` after
  :data:`FAULT_AFTER_S`. Time is the world's: in a paused world nothing is late.
* The place where the drone stands when it is first heard at the depot is its *pad*. Its flights to the depot end there;
  otherwise all drones of a fleet would land on one another. A pad counts as the depot.
* Payload and battery are variables of this controller. With the pad they are kept in a file and survive the process.
  The position comes from odometry, also after a restart in the air.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..core.types import GeoPoint
from ..planning.energy import MIN_LEG_M, power_w
from ..planning.geo import enu_from_geo, geo_from_enu
from .battery import DEPOT_RADIUS_M, after_charging_wh, after_flight_wh, remaining_s
from .controller import FlightError, FlightSetup, FlightState
from .guidance import Guidance, Kinematics, LegStage, Vector
from .kept import SAVE_PERIOD_S, KeptFile

HOVER_AFTER_S = 0.5
FAULT_AFTER_S = 3.0
#: A drone that descends without getting lower for this long (s) stands on something.
TOUCHDOWN_S = 1.0
#: A vertical speed below this counts as standing still.
STILL_MPS = 0.12
#: This low and slow when first heard, a drone stands on the ground; this high above where it stood, it flies.
STANDING_M, STANDING_MPS, LIFTED_M = 0.3, 0.3, 0.5
#: A drone that stands with its up axis this far from upright (cosine) will not take off.
TIPPED_OVER_COS = 0.5
#: Longest time step of guidance, so that it does not jump after a gap in odometry.
_MAX_DT_S = 0.2
#: Most silence that one step can add, because the process itself may have slept.
_MAX_SILENCE_STEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Odometry:
    """Odometry of the drone, as in ``nav_msgs/Odometry``.

    ``position_m``: east, north, up of the depot's ground. ``orientation``: unit quaternion x, y, z, w from the drone's
    axes (forward, left, up) to those. ``velocity_mps``: in the drone's axes.
    """

    stamp_s: float
    position_m: Vector
    orientation: tuple[float, float, float, float]
    velocity_mps: Vector

    def is_valid(self) -> bool:
        """Return whether all values are finite and the orientation is a unit quaternion."""
        numbers = (self.stamp_s, *self.position_m, *self.orientation, *self.velocity_mps)
        return all(map(math.isfinite, numbers)) and abs(math.hypot(*self.orientation) - 1.0) < 0.05


@dataclass(frozen=True, slots=True)
class SetPoint:
    """Velocity in the drone's axes in m/s and yaw rate in rad/s; with ``motors`` off the drone's rotors stop."""

    velocity_mps: Vector = (0.0, 0.0, 0.0)
    yaw_rate_radps: float = 0.0
    motors: bool = True


@dataclass(frozen=True, slots=True)
class _QuadrotorState:
    """Content of the file. ``payload_kg`` is ``None`` for an empty drone, the pad for one never seen at the depot."""

    energy_wh: float
    payload_kg: float | None = None
    pad_east_m: float | None = None
    pad_north_m: float | None = None


class GazeboFlight:
    """:class:`~drone_orchestrator.flight.controller.FlightController` that commands velocities.

    It is ready once odometry has arrived. Raises :class:`FlightError` if the file cannot be used, and for a
    ``time_scale`` other than 1, because the world has its own clock.
    """

    def __init__(self, setup: FlightSetup, send: Callable[[SetPoint], None]) -> None:
        if setup.time_scale != 1.0:
            raise FlightError(
                f"time_scale {setup.time_scale:g}: with flight 'gazebo' time is the world's, leave it at 1"
            )
        self._class, self._depot, self._send = setup.drone_class, setup.depot, send
        self._file = KeptFile(setup.path, _QuadrotorState, may_forget=setup.may_forget, log=setup.log)
        kept = self._file.read() or _QuadrotorState(self._class.battery_wh)
        self._energy_wh, self._payload_kg = kept.energy_wh, kept.payload_kg
        self._pad: tuple[float, float] | None = None
        if kept.pad_east_m is not None and kept.pad_north_m is not None:
            self._pad = (kept.pad_east_m, kept.pad_north_m)
        self._guidance = Guidance(self._class)
        self._odometry: Odometry | None = None
        self._now = Kinematics((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0)
        self._upright_cos = 1.0
        self._position: GeoPoint | None = None  # geographic, computed on demand
        self._heard = False  # since the last step
        self._silent_s = self._still_s = self._unsaved_s = 0.0
        self._stands_at_m: float | None = None  # height of the ground below the drone; ``None`` in the air
        self._target: tuple[float, float] | None = None
        self._loading_kg: float | None = None
        self._dropping = False
        self._act_left_s = 0.0
        self._save(durable=True)

    # --- odometry ---------------------------------------------------------------------------------------------------

    def sensed(self, odometry: Odometry) -> None:
        """Take in odometry and answer it with a set-point. Invalid odometry counts as silence."""
        if not odometry.is_valid():
            return
        last, self._odometry = self._odometry, odometry
        # The clock may also have gone back, with a restart of the world.
        dt_s = min(max(odometry.stamp_s - last.stamp_s, 0.0), _MAX_DT_S) if last is not None else 0.0
        self._heard = True
        self._locate(odometry)
        if last is None:
            self._first_look()
        elif self._stands_at_m is None:
            self._feel_for_ground(dt_s)
        elif self._now.position_m[2] > self._stands_at_m + LIFTED_M:
            self._stands_at_m = None
        self._guide(odometry, dt_s)

    def _locate(self, odometry: Odometry) -> None:
        axes = _axes(odometry.orientation)
        velocity = tuple(sum(axes[i][j] * odometry.velocity_mps[j] for j in range(3)) for i in range(3))
        heading = math.atan2(axes[1][0], axes[0][0])
        self._now = Kinematics(odometry.position_m, (velocity[0], velocity[1], velocity[2]), heading)
        self._upright_cos = axes[2][2]
        self._position = None

    def _first_look(self) -> None:
        east, north, up = self._now.position_m
        if up < STANDING_M and math.hypot(*self._now.velocity_mps) < STANDING_MPS:
            self._stands_at_m = up
            if self._pad is None and math.hypot(east, north) <= DEPOT_RADIUS_M:
                self._pad = (east, north)
                self._save(durable=True)

    def _feel_for_ground(self, dt_s: float) -> None:
        """Detect the landing: the drone descends, but does not get lower any more."""
        still = self._guidance.stage is LegStage.DESCEND and abs(self._now.velocity_mps[2]) < STILL_MPS
        asked_down = self._guidance.asked_up_mps < -STILL_MPS
        self._still_s = self._still_s + dt_s if still and asked_down else 0.0
        if self._still_s >= TOUCHDOWN_S:
            self._still_s = 0.0
            self._stands_at_m = self._now.position_m[2]
            self._guidance.rest()
            if self._target is not None and not self._at_target():
                self._guidance.fly(self._target)

    def _guide(self, odometry: Odometry, dt_s: float) -> None:
        if self._stays_down():
            self._send(SetPoint(motors=False))
            return
        wanted = self._guidance.step(self._now, dt_s)
        axes = _axes(odometry.orientation)
        body = tuple(sum(axes[i][j] * wanted.velocity_mps[i] for i in range(3)) for j in range(3))
        self._send(SetPoint((body[0], body[1], body[2]), wanted.yaw_rate_radps))

    def _stays_down(self) -> bool:
        """Return whether the drone stands where it should."""
        acting = self._loading_kg is not None or self._dropping
        return self._stands_at_m is not None and (acting or self._target is None or self._at_target())

    def _at_target(self) -> bool:
        return self._stands_at_m is not None and self._target is not None and self._distance_m() < MIN_LEG_M

    def _distance_m(self) -> float:
        if self._target is None:
            return 0.0
        return math.hypot(self._target[0] - self._now.position_m[0], self._target[1] - self._now.position_m[1])

    # --- commands ---------------------------------------------------------------------------------------------------

    def goto(self, target: GeoPoint) -> None:
        east, north = enu_from_geo(target.lat_deg, target.lon_deg, self._depot)
        self._break_off()
        self._target = (float(east), float(north))
        if self._pad is not None and math.hypot(*self._target) <= DEPOT_RADIUS_M:
            self._target = self._pad
        self._guidance.fly(self._target)

    def load(self, payload_kg: float) -> None:
        if self._payload_kg is None and self._loading_kg is None:
            self._need_ground("load")
            self._loading_kg, self._act_left_s = payload_kg, self._class.load_time_s

    def drop(self) -> None:
        if self._payload_kg is not None and not self._dropping:
            self._need_ground("drop")
            self._dropping, self._act_left_s = True, self._class.drop_time_s

    def hold(self) -> None:
        self._break_off()
        self._target = None
        self._guidance.land()

    def step(self, dt_s: float) -> None:
        if self._odometry is None:
            return
        self._silent_s = 0.0 if self._heard else self._silent_s + min(dt_s, _MAX_SILENCE_STEP_S)
        self._heard = False
        if self._silent_s > HOVER_AFTER_S and self._stands_at_m is None:
            self._guidance.forget()
            self._send(SetPoint())
        if self._stands_at_m is None or self._dropping:
            self._energy_wh = after_flight_wh(self._energy_wh, power_w(self._class, self._payload_kg or 0.0), dt_s)
        elif self._charging:
            self._energy_wh = after_charging_wh(self._energy_wh, self._class, dt_s)
        self._act(dt_s)
        self._unsaved_s += dt_s
        if self._unsaved_s >= SAVE_PERIOD_S:
            self._save(durable=False)

    def close(self) -> None:
        if self._odometry is not None and self._stands_at_m is None:
            self._send(SetPoint())  # hovers until another controller takes over
        self._save(durable=True)

    def _act(self, dt_s: float) -> None:
        if self._loading_kg is None and not self._dropping:
            return
        self._act_left_s -= dt_s
        if self._act_left_s <= 0.0:
            self._end_act()

    def _end_act(self) -> None:
        """Change the payload, on disk first. Until that succeeds, the act continues."""
        before_kg, self._payload_kg = self._payload_kg, self._loading_kg
        if self._save(durable=True):
            self._break_off()
        else:
            self._payload_kg, self._act_left_s = before_kg, SAVE_PERIOD_S

    def _break_off(self) -> None:
        self._loading_kg, self._dropping, self._act_left_s = None, False, 0.0

    def _need_ground(self, act: str) -> None:
        if self._stands_at_m is None:
            raise FlightError(f"cannot {act} {self._now.position_m[2]:.1f} m above the ground")

    # --- senses -----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self._odometry is not None

    @property
    def state(self) -> FlightState:
        return FlightState(
            position=self._located(),
            local_position_m=self._now.position_m,
            local_velocity_mps=self._now.velocity_mps,
            heading_rad=self._now.heading_rad,
            energy_wh=self._energy_wh,
            payload_on_board=self._payload_kg is not None,
            at_target=self._at_target(),
            landed=self._stands_at_m is not None,
            fault=self._fault(),
        )

    def _located(self) -> GeoPoint:
        """Return the position, computed at most once per odometry: it is the most expensive part."""
        if self._position is None:
            lat, lon = geo_from_enu(self._now.position_m[0], self._now.position_m[1], self._depot)
            self._position = GeoPoint(float(lat), float(lon))
        return self._position

    def remaining_s(self) -> float:
        if self._target is None or self._at_target():
            return 0.0
        return remaining_s(self._distance_m(), max(self._now.position_m[2], 0.0), self._class)

    def _fault(self) -> str:
        if self._silent_s > FAULT_AFTER_S:
            return "odometry_lost"
        if self._stands_at_m is not None and self._upright_cos < TIPPED_OVER_COS:
            return "tipped_over"
        return "battery_empty" if self._energy_wh <= 0.0 and not self._charging else ""

    @property
    def _charging(self) -> bool:
        return self._stands_at_m is not None and math.hypot(*self._now.position_m[:2]) <= DEPOT_RADIUS_M

    def _save(self, *, durable: bool) -> bool:
        self._unsaved_s = 0.0
        east, north = self._pad or (None, None)
        return self._file.save(_QuadrotorState(self._energy_wh, self._payload_kg, east, north), durable=durable)


def _axes(orientation: tuple[float, float, float, float]) -> tuple[Vector, Vector, Vector]:
    """Return the rotation matrix of a unit quaternion x, y, z, w. Its columns are the drone's axes."""
    x, y, z, w = orientation
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
