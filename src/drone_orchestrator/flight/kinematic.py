"""A drone as a point mass: climb, cruise with limited acceleration, descend; battery and payload as in planning.

The power and leg models are those of :mod:`drone_orchestrator.planning.energy` (sources there). Rotors take hover
power, which grows with mass^1.5, in the air and while dropping a package. On the ground they are off, and at the depot
the battery charges. In addition to the planner's model a leg takes ``cruise_speed / acceleration`` seconds for
accelerating and braking, which the energy reserve covers.

Payload, position and charge are kept in a small file. It stands for the autopilot, which survives the process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..core.types import DroneClass, GeoPoint
from ..planning.energy import MIN_LEG_M, power_w
from ..planning.geo import enu_from_geo, geo_from_enu
from .battery import DEPOT_RADIUS_M, after_charging_wh, after_flight_wh, remaining_s
from .controller import FlightError, FlightState, Log
from .kept import SAVE_PERIOD_S, KeptFile

#: Horizontal acceleration limit: at the upper end for a multicopter that carries goods.
ACCELERATION_MPS2 = 4.0
#: Longest step while speed changes. The error of a leg's time is less than a second.
MAX_SUBSTEP_S = 0.05
#: Closer than this and slower than one braking substep, the drone is above its target.
_ARRIVAL_M = 0.25


@dataclass(frozen=True, slots=True)
class _PointMassState:
    """Content of the file: local metres from the depot, Wh, kg. ``payload_kg`` is ``None`` for an empty drone."""

    east_m: float
    north_m: float
    up_m: float
    heading_rad: float
    energy_wh: float
    payload_kg: float | None


class KinematicFlight:
    """Simulated :class:`~drone_orchestrator.flight.controller.FlightController`.

    It starts with the state in the file at ``path``, else on the ground at the depot with a full battery. For the other
    arguments see :class:`~drone_orchestrator.flight.controller.FlightSetup`. Raises :class:`FlightError` if the file
    cannot be used.
    """

    def __init__(
        self,
        drone_class: DroneClass,
        depot: GeoPoint,
        path: Path | None = None,
        time_scale: float = 1.0,
        *,
        may_forget: bool = False,
        log: Log | None = None,
    ) -> None:
        if not time_scale > 0:
            raise ValueError("time_scale must be greater than 0")
        self._class = drone_class
        self._depot = depot
        self._file = KeptFile(path, _PointMassState, may_forget=may_forget, log=log)
        self._time_scale = time_scale
        kept = self._file.read() or _PointMassState(0.0, 0.0, 0.0, 0.0, drone_class.battery_wh, None)
        self._east, self._north, self._up = kept.east_m, kept.north_m, kept.up_m
        self._heading, self._energy_wh = kept.heading_rad, kept.energy_wh
        self._carry(kept.payload_kg)
        self._v_east = self._v_north = self._v_up = 0.0
        self._target: tuple[float, float] | None = None
        self._loading_kg: float | None = None
        self._dropping = False
        self._act_left_s = 0.0
        self._act_done = False  # but not on disk yet
        self._unsaved_s = 0.0
        self._located: tuple[float, float, GeoPoint] | None = None
        self._save(durable=True)

    # --- commands ---------------------------------------------------------------------------------------------------

    def goto(self, target: GeoPoint) -> None:
        east, north = enu_from_geo(target.lat_deg, target.lon_deg, self._depot)
        self._break_off()
        self._target = (float(east), float(north))

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

    def step(self, dt_s: float) -> None:
        left_s = dt_s * self._time_scale
        while left_s > 1e-9:
            left_s -= self._advance(left_s)
        self._unsaved_s += dt_s
        if self._unsaved_s >= SAVE_PERIOD_S:
            self._save(durable=False)

    def close(self) -> None:
        self._save(durable=True)

    # --- senses -----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return True

    @property
    def state(self) -> FlightState:
        return FlightState(
            position=self._position(),
            local_position_m=(self._east, self._north, self._up),
            local_velocity_mps=(self._v_east, self._v_north, self._v_up),
            heading_rad=self._heading,
            energy_wh=self._energy_wh,
            payload_on_board=self._payload_kg is not None,
            at_target=self._landed and self._target is not None and self._distance_m() < MIN_LEG_M,
            landed=self._landed,
            fault="battery_empty" if self._energy_wh <= 0.0 and not self._charging else "",
        )

    def _position(self) -> GeoPoint:
        """Return the position, computed once per place, because it is read many times per step."""
        if self._located is None or self._located[:2] != (self._east, self._north):
            lat, lon = geo_from_enu(self._east, self._north, self._depot)
            self._located = (self._east, self._north, GeoPoint(float(lat), float(lon)))
        return self._located[2]

    def remaining_s(self) -> float:
        distance = self._distance_m()
        if self._target is None or (self._landed and distance < MIN_LEG_M):
            return 0.0
        return remaining_s(distance, self._up, self._class) / self._time_scale

    @property
    def _landed(self) -> bool:
        return self._up <= 0.0

    @property
    def _charging(self) -> bool:
        return self._landed and math.hypot(self._east, self._north) <= DEPOT_RADIUS_M

    def _distance_m(self) -> float:
        if self._target is None:
            return 0.0
        return math.hypot(self._target[0] - self._east, self._target[1] - self._north)

    # --- physics ----------------------------------------------------------------------------------------------------

    def _advance(self, left_s: float) -> float:
        """Advance by at most ``left_s`` simulated seconds, until something changes; return the time that passed."""
        if self._loading_kg is not None or self._dropping:
            passed_s = self._act(left_s)
        elif self._landed and (self._target is None or self._distance_m() < MIN_LEG_M):
            passed_s = left_s
            if self._charging:
                self._energy_wh = after_charging_wh(self._energy_wh, self._class, passed_s)
        else:
            passed_s = self._fly(left_s)
            self._spend(passed_s)
        return passed_s

    def _act(self, left_s: float) -> float:
        passed_s = min(left_s, self._act_left_s)
        self._act_left_s -= passed_s
        if self._dropping and not self._act_done:
            self._spend(passed_s)
        if self._act_left_s <= 0.0:
            self._end_act()
        return passed_s

    def _end_act(self) -> None:
        """Change the payload, on disk first. Until that succeeds, the act continues."""
        before_kg, self._act_done = self._payload_kg, True
        self._carry(self._loading_kg)
        if self._save(durable=True):
            self._break_off()
        else:
            self._carry(before_kg)
            self._act_left_s = SAVE_PERIOD_S * self._time_scale

    def _fly(self, left_s: float) -> float:
        """Fly one stretch: vertical to the next level, or horizontal until the speed must change."""
        speed = math.hypot(self._v_east, self._v_north)
        distance = self._distance_m()
        step_s = min(left_s, MAX_SUBSTEP_S)
        above_target = distance <= _ARRIVAL_M and speed <= 2 * ACCELERATION_MPS2 * MAX_SUBSTEP_S
        if self._target is None and speed > 0.0:
            self._move(0.0, 0.0, step_s)
            return step_s
        if above_target:
            self._v_east = self._v_north = 0.0
            if self._target is not None:
                self._east, self._north = self._target
            return self._climb(0.0, left_s)
        if self._up < self._class.cruise_altitude_m:
            if speed == 0.0:
                return self._climb(self._class.cruise_altitude_m, left_s)
            self._move(0.0, 0.0, step_s)
            return step_s
        return self._cruise(left_s, distance, speed)

    def _climb(self, level_m: float, left_s: float) -> float:
        height_m = level_m - self._up
        needed_s = abs(height_m) / self._class.climb_speed_mps
        if needed_s <= left_s:
            self._up, self._v_up = level_m, 0.0
            return max(needed_s, 1e-6)
        self._v_up = math.copysign(self._class.climb_speed_mps, height_m)
        self._up += self._v_up * left_s
        return left_s

    def _cruise(self, left_s: float, distance: float, speed: float) -> float:
        assert self._target is not None
        self._v_up = 0.0
        east, north = (self._target[0] - self._east) / distance, (self._target[1] - self._north) / distance
        cruise = self._class.cruise_speed_mps
        braking_m = cruise**2 / (2 * ACCELERATION_MPS2) + cruise * MAX_SUBSTEP_S
        straight = abs(self._v_east * east + self._v_north * north - cruise) < 1e-6
        if straight and distance > braking_m:
            step_s = min(left_s, max((distance - braking_m) / cruise, MAX_SUBSTEP_S))
            self._move(cruise * east, cruise * north, step_s)
            return step_s
        step_s = min(left_s, MAX_SUBSTEP_S)
        # Speed from which the drone can still stop, half a step ahead, because it holds during the whole step.
        ahead_m = max(distance - speed * step_s / 2, 0.0)
        wanted = min(cruise, math.sqrt(2 * ACCELERATION_MPS2 * ahead_m), distance / step_s)
        self._move(wanted * east, wanted * north, step_s)
        return step_s

    def _move(self, wanted_east: float, wanted_north: float, step_s: float) -> None:
        """Accelerate towards the wanted horizontal velocity within the limit, and move for ``step_s``."""
        before_east, before_north = self._v_east, self._v_north
        change_east, change_north = wanted_east - before_east, wanted_north - before_north
        change = math.hypot(change_east, change_north)
        share = min(1.0, ACCELERATION_MPS2 * step_s / change) if change > 0.0 else 0.0
        self._v_east = before_east + share * change_east
        self._v_north = before_north + share * change_north
        self._east += (before_east + self._v_east) / 2 * step_s
        self._north += (before_north + self._v_north) / 2 * step_s
        if math.hypot(self._v_east, self._v_north) > 0.1:
            self._heading = math.atan2(self._v_north, self._v_east)

    def _spend(self, passed_s: float) -> None:
        self._energy_wh = after_flight_wh(self._energy_wh, self._power_w, passed_s)

    def _carry(self, payload_kg: float | None) -> None:
        """Change the payload and compute the power in flight once, because a flight has thousands of steps."""
        self._payload_kg = payload_kg
        self._power_w = power_w(self._class, payload_kg or 0.0)

    def _break_off(self) -> None:
        self._loading_kg, self._dropping, self._act_left_s, self._act_done = None, False, 0.0, False

    def _need_ground(self, act: str) -> None:
        if not self._landed:
            raise FlightError(f"cannot {act} {self._up:.1f} m above the ground")

    # --- the file ---------------------------------------------------------------------------------------------------

    def _save(self, *, durable: bool) -> bool:
        """Save the state, see :meth:`KeptFile.save`; return whether it succeeded."""
        self._unsaved_s = 0.0
        kept = _PointMassState(self._east, self._north, self._up, self._heading, self._energy_wh, self._payload_kg)
        return self._file.save(kept, durable=durable)
