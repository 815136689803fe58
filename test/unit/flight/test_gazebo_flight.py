"""The velocity set-point flight controller, on a quadrotor that lags, tilts and is exposed to wind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from quadrotor import Quadrotor

from drone_orchestrator.core.types import DroneClass, GeoPoint
from drone_orchestrator.flight.controller import FlightError, FlightSetup
from drone_orchestrator.flight.gazebo import FAULT_AFTER_S, HOVER_AFTER_S, GazeboFlight, Odometry, SetPoint
from drone_orchestrator.flight.guidance import HORIZONTAL_ACCELERATION_MPS2
from drone_orchestrator.planning.energy import cruise_power_w, flight_time_s
from drone_orchestrator.planning.geo import distance_between_m, geo_from_enu

DEPOT = GeoPoint(37.7577, -122.3876)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0, load_time_s=10.0, drop_time_s=5.0)
DT_S = 0.05
STEPS_A_TICK = 2  # the executor steps its flight controller about ten times a second


def place(east_m: float, north_m: float) -> GeoPoint:
    lat, lon = geo_from_enu(east_m, north_m, DEPOT)
    return GeoPoint(float(lat), float(lon))


class World:
    """One controlled quadrotor whose odometry can be withheld."""

    def __init__(self, path: Path, drone: Quadrotor | None = None) -> None:
        self.path = path
        self.drone = drone or Quadrotor()
        self.time_s = 0.0
        self.hears = True
        self.sent: list[SetPoint] = []
        self.ticks = 0
        self.begin()

    def begin(self) -> None:
        """Start a new controller, as after a restart of its process."""
        self.flight = GazeboFlight(FlightSetup("drone_1", COURIER, DEPOT, self.path), self.receive)

    def receive(self, set_point: SetPoint) -> None:
        self.sent.append(set_point)
        self.drone.enable(set_point.motors)
        if set_point.motors:
            self.drone.command(set_point.velocity_mps, set_point.yaw_rate_radps)

    def odometry(self) -> Odometry:
        east, north, up = map(float, self.drone.position)
        return Odometry(self.time_s, (east, north, up), self.drone.orientation, self.drone.body_velocity)

    def advance(self) -> None:
        self.drone.advance(DT_S)
        self.time_s += DT_S
        if self.hears:
            self.flight.sensed(self.odometry())
        self.ticks += 1
        if self.ticks % STEPS_A_TICK == 0:
            self.flight.step(STEPS_A_TICK * DT_S)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / DT_S)):
            self.advance()

    def until(self, condition: Callable[[], bool], limit_s: float = 600.0) -> float:
        began = self.time_s
        while not condition():
            self.advance()
            assert self.time_s - began < limit_s, f"not within {limit_s} s; at {self.drone.position}"
        return self.time_s - began

    def arrive(self, limit_s: float = 600.0) -> float:
        return self.until(lambda: self.ticks % STEPS_A_TICK == 0 and self.flight.state.at_target, limit_s)

    def distance_m(self, east_m: float, north_m: float) -> float:
        return math.hypot(self.drone.position[0] - east_m, self.drone.position[1] - north_m)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "drone_1.flight.json")
    world.run(0.5)
    return world


def test_it_is_ready_once_it_has_received_odometry(tmp_path: Path) -> None:
    world = World(tmp_path / "state")
    assert not world.flight.ready
    world.flight.step(100.0)
    world.flight.sensed(Odometry(0.0, (0.0, 0.0, math.nan), (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0)))
    world.flight.sensed(Odometry(0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    assert not world.flight.ready
    world.advance()
    assert world.flight.ready
    state = world.flight.state
    assert (state.landed, state.payload_on_board, state.at_target, state.fault) == (True, False, False, "")
    assert state.energy_wh == COURIER.battery_wh


def test_its_rotors_stand_still_on_the_ground(world: World) -> None:
    assert world.sent
    assert not any(each.motors for each in world.sent)


@pytest.mark.parametrize("distance_m", [30.0, 300.0, 2000.0])
def test_a_leg_ends_on_the_spot_in_about_the_planned_time(world: World, distance_m: float) -> None:
    world.flight.goto(place(0.6 * distance_m, -0.8 * distance_m))
    took_s = world.arrive()
    assert world.distance_m(0.6 * distance_m, -0.8 * distance_m) < 1.0
    assert distance_between_m(world.flight.state.position, place(0.6 * distance_m, -0.8 * distance_m)) < 1.0
    planned_s = float(flight_time_s(distance_m, COURIER))
    # Acceleration, braking, the last metres above the ground, and one second to confirm the landing.
    assert planned_s <= took_s <= planned_s + 30.0
    assert world.drone.touchdowns_mps[-1] < 0.8


def test_it_climbs_before_it_cruises_within_its_limits_of_speed_and_acceleration(world: World) -> None:
    world.flight.goto(place(800.0, 300.0))
    fastest, changes, last = 0.0, [], np.zeros(3)
    while not world.flight.state.at_target:
        world.advance()
        velocity = world.drone.velocity
        speed = math.hypot(velocity[0], velocity[1])
        fastest = max(fastest, speed)
        changes.append(math.hypot(*(velocity - last)[:2]) / DT_S)
        last = velocity.copy()
        assert abs(velocity[2]) < COURIER.climb_speed_mps + 0.5
        if speed > 3.0:
            assert world.drone.position[2] == pytest.approx(COURIER.cruise_altitude_m, abs=4.0)
    assert fastest == pytest.approx(COURIER.cruise_speed_mps, abs=0.5)
    assert max(changes) < HORIZONTAL_ACCELERATION_MPS2 + 1.2


def test_it_points_in_the_direction_of_flight(world: World) -> None:
    world.flight.goto(place(-1000.0, 0.0))
    world.until(lambda: world.drone.position[0] < -200.0)
    assert abs(world.flight.state.heading_rad) == pytest.approx(math.pi, abs=0.1)
    assert abs(math.sin(world.drone.heading)) < 0.1


@pytest.mark.parametrize("wind", [(3.0, 0.0), (-2.0, 2.5)])
def test_a_steady_wind_does_not_keep_it_from_its_target(tmp_path: Path, wind: tuple[float, float]) -> None:
    world = World(tmp_path / "state")
    world.run(0.5)
    world.drone.wind = np.array([*wind, 0.0])
    world.flight.goto(place(400.0, 200.0))
    world.arrive(300.0)
    assert world.distance_m(400.0, 200.0) < 1.5


def test_gusts_do_not_keep_it_from_landing(world: World) -> None:
    world.flight.goto(place(100.0, 0.0))
    gusts = np.random.default_rng(1)
    while not world.flight.state.at_target:
        if world.ticks % 60 == 0:
            world.drone.wind = np.array([*gusts.uniform(-2.0, 2.0, 2), gusts.uniform(-0.5, 0.5)])
        world.advance()
        assert world.time_s < 300.0
    assert world.distance_m(100.0, 0.0) < 2.0


def test_a_new_target_in_flight_is_reached(world: World) -> None:
    world.flight.goto(place(1000.0, 0.0))
    world.run(40.0)
    assert not world.flight.state.landed
    world.flight.goto(place(200.0, 300.0))
    world.arrive()
    assert world.distance_m(200.0, 300.0) < 1.0


def test_hold_brakes_and_lands_on_the_spot(world: World) -> None:
    world.flight.goto(place(2000.0, 0.0))
    world.run(40.0)
    before = world.drone.position.copy()
    world.flight.hold()
    world.until(lambda: world.flight.state.landed, 60.0)
    assert 20.0 < world.distance_m(before[0], before[1]) < 150.0
    assert not world.flight.state.at_target
    world.run(1.0)
    assert not world.sent[-1].motors


def test_it_lands_on_higher_ground(world: World) -> None:
    world.flight.goto(place(100.0, 0.0))
    world.until(lambda: world.drone.position[2] > 50.0)
    world.drone.ground_m = 6.0
    world.arrive()
    assert world.drone.position[2] == pytest.approx(6.0, abs=0.1)
    world.flight.load(1.0)
    world.until(lambda: world.flight.state.payload_on_board, 11.0)


def test_flights_to_the_depot_end_at_the_drones_own_pad(tmp_path: Path) -> None:
    world = World(tmp_path / "state", Quadrotor(position=np.array([3.5, -7.0, 0.0])))
    world.run(0.5)
    world.flight.goto(DEPOT)
    assert world.flight.state.at_target
    world.flight.goto(place(60.0, 0.0))
    world.arrive()
    world.begin()
    world.run(0.5)
    world.flight.goto(DEPOT)
    world.arrive()
    assert world.distance_m(3.5, -7.0) < 1.0


def test_payload_is_loaded_and_dropped_only_on_the_ground(world: World) -> None:
    with_battery = world.flight.state.energy_wh
    world.flight.load(2.0)
    world.flight.load(2.0)
    assert world.until(lambda: world.flight.state.payload_on_board) == pytest.approx(COURIER.load_time_s, abs=0.2)
    assert world.flight.state.energy_wh == with_battery
    world.flight.goto(place(50.0, 0.0))
    world.until(lambda: world.drone.position[2] > 20.0)
    with pytest.raises(FlightError, match="cannot drop"):
        world.flight.drop()
    world.arrive()
    world.flight.drop()
    assert world.until(lambda: not world.flight.state.payload_on_board) == pytest.approx(COURIER.drop_time_s, abs=0.2)


def test_goto_interrupts_loading(world: World) -> None:
    world.flight.load(1.0)
    world.run(2.0)
    world.flight.goto(place(40.0, 0.0))
    world.arrive()
    assert not world.flight.state.payload_on_board


def test_energy_follows_the_planners_model(world: World) -> None:
    world.flight.load(2.0)
    world.run(11.0)
    world.flight.goto(place(500.0, 0.0))
    world.until(lambda: not world.flight.state.landed)
    before_wh = world.flight.state.energy_wh
    took_s = world.arrive()
    expected_wh = float(cruise_power_w(COURIER, 2.0)) * took_s / 3600.0
    assert before_wh - world.flight.state.energy_wh == pytest.approx(expected_wh, rel=0.02)


def test_it_charges_at_the_depot(tmp_path: Path) -> None:
    (tmp_path / "state").write_text(json.dumps({"energy_wh": 100.0, "payload_kg": None}))
    world = World(tmp_path / "state")
    world.run(61.0)
    assert world.flight.state.energy_wh == pytest.approx(100.0 + COURIER.charge_power_w / 60.0, abs=0.5)


def test_an_empty_battery_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "state").write_text(json.dumps({"energy_wh": 1.0}))
    world = World(tmp_path / "state")
    world.flight.goto(place(1000.0, 0.0))
    world.until(lambda: world.flight.state.fault == "battery_empty", 60.0)


def test_without_odometry_it_hovers_then_reports_a_fault_until_odometry_returns(world: World) -> None:
    world.flight.goto(place(1000.0, 0.0))
    world.run(30.0)
    world.hears = False
    world.run(HOVER_AFTER_S + 0.3)
    assert world.sent[-1] == SetPoint()
    assert world.flight.state.fault == ""
    world.run(FAULT_AFTER_S)
    assert world.flight.state.fault == "odometry_lost"
    count = len(world.sent)
    world.run(6.0)
    assert len(world.sent) - count >= 6.0 * 9
    assert np.linalg.norm(world.drone.velocity) < 0.1
    world.hears = True
    world.run(0.2)
    assert world.flight.state.fault == ""
    world.arrive()


def test_a_suspended_process_does_not_report_missing_odometry(world: World) -> None:
    world.flight.goto(place(1000.0, 0.0))
    world.run(30.0)
    world.flight.step(60.0)
    assert world.flight.state.fault == ""
    world.flight.step(60.0)  # the tick may run before the odometry that is queued
    assert world.flight.state.fault == ""


def test_a_paused_simulation_is_no_fault(world: World) -> None:
    for _ in range(1000):
        world.flight.step(0.0)
    assert world.flight.state.fault == ""


def test_a_drone_upside_down_is_a_fault(world: World) -> None:
    world.flight.sensed(Odometry(world.time_s, (0.0, 0.0, 0.1), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    assert world.flight.state.fault == "tipped_over"


def test_after_a_restart_in_flight_with_a_package_it_continues_from_its_odometry(world: World) -> None:
    world.flight.load(2.0)
    world.run(11.0)
    world.flight.goto(place(1500.0, 0.0))
    world.run(40.0)
    spent_wh = world.flight.state.energy_wh
    world.begin()  # killed, not closed
    world.run(0.5)
    state = world.flight.state
    assert state.payload_on_board
    assert not state.landed
    assert state.energy_wh == pytest.approx(spent_wh, abs=1.0)
    assert state.local_position_m[0] == pytest.approx(world.drone.position[0], abs=0.1)
    world.run(10.0)
    assert np.linalg.norm(world.drone.velocity) < 0.1, "it hovers until it is told where to fly"
    assert world.drone.position[2] > 50.0
    world.flight.goto(place(1500.0, 0.0))
    world.arrive()
    assert world.distance_m(1500.0, 0.0) < 1.0


def test_closing_it_in_flight_leaves_the_drone_hovering(world: World) -> None:
    world.flight.goto(place(1500.0, 0.0))
    world.run(30.0)
    world.flight.close()
    assert world.sent[-1] == SetPoint()


def test_a_restarted_simulation_is_followed(world: World) -> None:
    world.flight.goto(place(300.0, 0.0))
    world.run(20.0)
    world.time_s = 0.0
    world.arrive()


def test_remaining_time_shrinks_to_nothing(world: World) -> None:
    world.flight.goto(place(600.0, 0.0))
    before_s = world.flight.remaining_s()
    assert before_s == pytest.approx(float(flight_time_s(600.0, COURIER)), abs=1.0)
    world.run(30.0)
    assert world.flight.remaining_s() < before_s - 15.0
    world.arrive()
    assert world.flight.remaining_s() == 0.0


def test_a_time_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlightError, match="time_scale 2"):
        GazeboFlight(FlightSetup("drone_1", COURIER, DEPOT, tmp_path / "state", 2.0), lambda set_point: None)


def test_an_invalid_state_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("{}")
    with pytest.raises(FlightError, match="not a flight state"):
        World(tmp_path / "state")
