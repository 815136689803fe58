"""The kinematic flight model agrees with the planner's formulas and with physical limits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from drone_orchestrator.core.types import DroneClass, GeoPoint
from drone_orchestrator.flight.controller import FlightError
from drone_orchestrator.flight.kinematic import ACCELERATION_MPS2, KinematicFlight
from drone_orchestrator.planning.energy import cruise_power_w, flight_time_s, mission_energy_wh
from drone_orchestrator.planning.geo import distance_between_m, geo_from_enu

DEPOT = GeoPoint(37.7577, -122.3876)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0, load_time_s=10.0, drop_time_s=5.0)
SPEEDING_UP_S = COURIER.cruise_speed_mps / ACCELERATION_MPS2


def place(east_m: float, north_m: float) -> GeoPoint:
    lat, lon = geo_from_enu(east_m, north_m, DEPOT)
    return GeoPoint(float(lat), float(lon))


def fly(flight: KinematicFlight, until: str, dt_s: float = 0.1, limit_s: float = 2000.0) -> float:
    """Fly until the field ``until`` of the state is true. Return the seconds that took."""
    passed_s = 0.0
    while not getattr(flight.state, until):
        flight.step(dt_s)
        passed_s += dt_s
        assert passed_s < limit_s, f"not {until} after {limit_s} s"
    return passed_s


def run(flight: KinematicFlight, seconds: float, dt_s: float = 0.1) -> None:
    for _ in range(round(seconds / dt_s)):
        flight.step(dt_s)


def test_a_drone_starts_at_the_depot_charged_and_empty() -> None:
    state = KinematicFlight(COURIER, DEPOT).state
    assert (state.landed, state.payload_on_board, state.at_target, state.fault) == (True, False, False, "")
    assert state.energy_wh == COURIER.battery_wh
    assert distance_between_m(state.position, DEPOT) < 0.01


@pytest.mark.parametrize("distance_m", [300.0, 1000.0, 4000.0])
def test_a_leg_takes_the_planned_time_plus_acceleration(distance_m: float) -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(place(0.6 * distance_m, -0.8 * distance_m))
    planned_s = float(flight_time_s(distance_m, COURIER))
    assert fly(flight, "at_target") == pytest.approx(planned_s + SPEEDING_UP_S, abs=1.0)
    assert distance_between_m(flight.state.position, place(0.6 * distance_m, -0.8 * distance_m)) < 0.5


def test_a_short_leg_never_reaches_cruise_speed() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    distance_m = 50.0
    flight.goto(place(distance_m, 0.0))
    vertical_s = 2 * COURIER.cruise_altitude_m / COURIER.climb_speed_mps
    analytic_s = vertical_s + 2 * math.sqrt(distance_m / ACCELERATION_MPS2)
    assert fly(flight, "at_target") == pytest.approx(analytic_s, abs=1.0)


@pytest.mark.parametrize("dt_s", [0.02, 1.0, 7.0])
def test_the_result_does_not_depend_on_the_step_length(dt_s: float) -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(place(1000.0, 500.0))
    fine = KinematicFlight(COURIER, DEPOT)
    fine.goto(place(1000.0, 500.0))
    assert fly(flight, "at_target", dt_s) == pytest.approx(fly(fine, "at_target", 0.05), abs=dt_s + 1.0)
    assert flight.state.energy_wh == pytest.approx(fine.state.energy_wh, abs=0.2)


def test_time_scale_makes_time_pass_faster() -> None:
    flight = KinematicFlight(COURIER, DEPOT, time_scale=10.0)
    flight.goto(place(1000.0, 0.0))
    assert fly(flight, "at_target") == pytest.approx((50.0 + 24.0 + SPEEDING_UP_S) / 10.0, abs=0.3)


def test_speed_and_acceleration_stay_within_their_limits() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(place(800.0, 0.0))
    dt_s, last, fastest = 0.1, (0.0, 0.0), 0.0
    while not flight.state.at_target:
        flight.step(dt_s)
        east, north, up = flight.state.local_velocity_mps
        fastest = max(fastest, math.hypot(east, north))
        assert math.hypot(east - last[0], north - last[1]) <= 2.1 * ACCELERATION_MPS2 * dt_s
        assert abs(up) <= COURIER.climb_speed_mps
        if math.hypot(east, north) > 1.0:
            assert flight.state.local_position_m[2] == pytest.approx(COURIER.cruise_altitude_m)
        last = (east, north)
    assert fastest == pytest.approx(COURIER.cruise_speed_mps, rel=1e-3)


def test_a_new_target_in_flight_is_reached() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(place(2000.0, 0.0))
    run(flight, 40.0)
    assert not flight.state.landed
    flight.goto(place(0.0, 500.0))
    fly(flight, "at_target")
    assert distance_between_m(flight.state.position, place(0.0, 500.0)) < 0.5


def test_the_heading_follows_the_flight() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(place(-1000.0, 0.0))
    run(flight, 30.0)
    assert abs(flight.state.heading_rad) == pytest.approx(math.pi, abs=0.01)


def test_hold_lands_on_the_spot() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(place(2000.0, 0.0))
    run(flight, 40.0)
    before = flight.state.position
    flight.hold()
    fly(flight, "landed")
    assert distance_between_m(flight.state.position, before) < 60.0
    assert flight.state.local_velocity_mps == (0.0, 0.0, 0.0)


def test_loading_takes_its_time_and_shows_in_the_sensor() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.load(2.0)
    run(flight, COURIER.load_time_s - 0.2)
    assert not flight.state.payload_on_board
    run(flight, 0.4)
    assert flight.state.payload_on_board


def test_interrupted_loading_leaves_the_package() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.load(2.0)
    run(flight, 5.0)
    flight.hold()
    run(flight, 20.0)
    assert not flight.state.payload_on_board


def test_a_repeated_command_does_not_start_over() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    for _ in range(12):
        flight.load(2.0)
        run(flight, 1.0)
    assert flight.state.payload_on_board


@pytest.mark.parametrize("act", ["load", "drop"])
def test_nothing_is_loaded_or_dropped_in_the_air(act: str) -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    if act == "drop":
        flight.load(1.0)
        fly(flight, "payload_on_board")
    flight.goto(place(1000.0, 0.0))
    run(flight, 5.0)
    with pytest.raises(FlightError):
        flight.load(1.0) if act == "load" else flight.drop()


def test_flight_power_grows_with_mass_to_the_power_of_one_and_a_half() -> None:
    used_wh = []
    for payload_kg in (None, 3.0):
        flight = KinematicFlight(COURIER, DEPOT)
        if payload_kg:
            flight.load(payload_kg)
            fly(flight, "payload_on_board")
        flight.goto(place(1000.0, 0.0))
        seconds = fly(flight, "at_target")
        used_wh.append(COURIER.battery_wh - flight.state.energy_wh)
        assert used_wh[-1] == pytest.approx(
            float(cruise_power_w(COURIER, payload_kg or 0.0)) * seconds / 3600, rel=0.01
        )
    assert used_wh[1] / used_wh[0] == pytest.approx(1.5**1.5, rel=0.01)


def test_a_mission_costs_the_planned_energy_plus_acceleration() -> None:
    pickup, destination = place(500.0, 0.0), place(500.0, 1500.0)
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(pickup)
    fly(flight, "at_target")
    flight.load(2.0)
    fly(flight, "payload_on_board")
    flight.goto(destination)
    fly(flight, "at_target")
    flight.drop()
    while flight.state.payload_on_board:
        flight.step(0.1)
    flight.goto(DEPOT)
    fly(flight, "at_target", dt_s=0.02)
    planned_wh = float(mission_energy_wh(500.0, 1500.0, math.hypot(500.0, 1500.0), 2.0, COURIER))
    extra_wh = SPEEDING_UP_S * (2 * float(cruise_power_w(COURIER, 0.0)) + float(cruise_power_w(COURIER, 2.0))) / 3600
    assert COURIER.battery_wh - flight.state.energy_wh == pytest.approx(planned_wh + extra_wh, rel=0.01)


def test_the_battery_charges_only_at_the_depot_and_never_beyond_full() -> None:
    flight = KinematicFlight(COURIER, DEPOT)
    flight.goto(place(1000.0, 0.0))
    fly(flight, "at_target")
    away_wh = flight.state.energy_wh
    run(flight, 60.0)
    assert flight.state.energy_wh == away_wh
    flight.goto(DEPOT)
    fly(flight, "at_target", dt_s=0.02)
    home_wh = flight.state.energy_wh
    run(flight, 36.0)
    assert flight.state.energy_wh == pytest.approx(home_wh + COURIER.charge_power_w * 36.0 / 3600, rel=0.001)
    run(flight, 36000.0, dt_s=100.0)
    assert flight.state.energy_wh == COURIER.battery_wh


def test_an_empty_battery_is_a_fault() -> None:
    tiny = DroneClass("tiny", 1.0, 20.0, 5.0, 60.0, 3.0, 6.0, 700.0)
    flight = KinematicFlight(tiny, DEPOT)
    flight.goto(place(2000.0, 0.0))
    run(flight, 30.0)
    assert flight.state.fault == "battery_empty"
    assert flight.state.energy_wh == 0.0


def test_remaining_time_counts_down_to_the_arrival() -> None:
    flight = KinematicFlight(COURIER, DEPOT, time_scale=2.0)
    flight.goto(place(2000.0, 0.0))
    assert flight.remaining_s() == pytest.approx((100.0 + 24.0) / 2)
    run(flight, 20.0)
    estimate_s = flight.remaining_s()
    assert estimate_s == pytest.approx(fly(flight, "at_target"), abs=6.0)
    assert flight.remaining_s() == 0.0


def test_payload_position_and_charge_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "d1.flight.json"
    flight = KinematicFlight(COURIER, DEPOT, path)
    flight.load(2.0)
    fly(flight, "payload_on_board")
    assert KinematicFlight(COURIER, DEPOT, path).state.payload_on_board  # at once, not gradually
    flight.goto(place(1000.0, 0.0))
    run(flight, 40.0)
    after = KinematicFlight(COURIER, DEPOT, path)
    assert distance_between_m(after.state.position, flight.state.position) <= COURIER.cruise_speed_mps * 1.1
    assert after.state.energy_wh == pytest.approx(flight.state.energy_wh, abs=1.0)
    after.goto(place(1000.0, 0.0))
    fly(after, "at_target")
    after.drop()
    run(after, COURIER.drop_time_s + 0.1)
    assert json.loads(path.read_text())["payload_kg"] is None
