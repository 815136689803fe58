"""Times and energies follow the stated model."""

from __future__ import annotations

import numpy as np
import pytest

from drone_orchestrator.core.types import DroneClass
from drone_orchestrator.planning.energy import (
    MIN_LEG_M,
    cruise_power_w,
    delivery_time_s,
    flight_time_s,
    mission_energy_wh,
)

LIGHT = DroneClass(
    name="light",
    max_payload_kg=3.0,
    cruise_speed_mps=20.0,
    climb_speed_mps=5.0,
    cruise_altitude_m=100.0,
    battery_wh=500.0,
    empty_mass_kg=3.0,
    hover_power_w=360.0,
    load_time_s=10.0,
    drop_time_s=5.0,
)


def test_empty_power_is_hover_power() -> None:
    assert float(cruise_power_w(LIGHT, 0.0)) == 360.0


def test_power_grows_with_mass_to_the_three_halves() -> None:
    np.testing.assert_allclose(cruise_power_w(LIGHT, [0.0, 3.0, 9.0]), [360.0, 360.0 * 2**1.5, 360.0 * 8.0])


def test_a_leg_consists_of_climb_cruise_and_descent() -> None:
    assert float(flight_time_s(2_000.0, LIGHT)) == pytest.approx(20.0 + 100.0 + 20.0)


def test_a_leg_within_position_noise_is_not_flown() -> None:
    np.testing.assert_array_equal(flight_time_s([0.0, MIN_LEG_M / 2], LIGHT), [0.0, 0.0])


def test_a_delivery_is_flight_load_flight_drop() -> None:
    assert float(delivery_time_s(2_000.0, 4_000.0, LIGHT)) == pytest.approx(140.0 + 10.0 + 240.0 + 5.0)
    assert float(delivery_time_s(0.0, 4_000.0, LIGHT)) == pytest.approx(10.0 + 240.0 + 5.0)


def test_mission_energy_matches_a_calculation_by_hand() -> None:
    """140 s to the pickup and 190 s home at 360 W; 240 s with the package and a 5 s drop at 360 W x 2^1.5."""
    need_wh = float(mission_energy_wh(2_000.0, 4_000.0, 3_000.0, 3.0, LIGHT))
    assert need_wh == pytest.approx((360.0 * (140.0 + 190.0) + 360.0 * 2**1.5 * 245.0) / 3600.0)


def test_mission_energy_broadcasts_drones_over_orders() -> None:
    to_pickup_m = np.array([[0.0, 500.0], [1_000.0, 2_000.0], [50.0, 60.0]])
    need_wh = mission_energy_wh(to_pickup_m, np.array([1e3, 2e3]), np.array([1e3, 2e3]), np.array([0.5, 1.0]), LIGHT)
    assert need_wh.shape == (3, 2)
    assert need_wh[1, 1] == pytest.approx(float(mission_energy_wh(2_000.0, 2e3, 2e3, 1.0, LIGHT)))


@pytest.mark.parametrize("argument", range(4))
def test_a_longer_or_heavier_mission_never_costs_less(argument: int) -> None:
    values = np.linspace(10.0, 9_000.0, 50) if argument < 3 else np.linspace(0.0, 3.0, 50)
    arguments = [1_000.0, 1_000.0, 1_000.0, 1.0, LIGHT]
    arguments[argument] = values
    assert np.all(np.diff(mission_energy_wh(*arguments)) > 0.0)
