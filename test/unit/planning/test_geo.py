"""Positions and distances agree with published values and with each other."""

from __future__ import annotations

import numpy as np
import pytest

from drone_orchestrator.core.types import GeoPoint
from drone_orchestrator.planning.geo import (
    MEAN_RADIUS_M,
    BeyondHorizon,
    distance_between_m,
    distance_m,
    distance_of_units_m,
    enu_from_geo,
    geo_from_enu,
    units,
)

ZURICH = GeoPoint(47.3769, 8.5417)
PLACES = [ZURICH, GeoPoint(0.0, 0.0), GeoPoint(-33.9, 151.2), GeoPoint(64.1, -21.9), GeoPoint(-0.5, 179.999)]


def test_the_origin_is_zero() -> None:
    east_m, north_m = enu_from_geo(ZURICH.lat_deg, ZURICH.lon_deg, ZURICH)
    assert float(east_m) == pytest.approx(0.0, abs=1e-9)
    assert float(north_m) == pytest.approx(0.0, abs=1e-9)


def test_a_degree_at_the_equator_has_the_published_length() -> None:
    """At the equator a minute of arc is 1855.325 m east and 1842.905 m north (WGS 84)."""
    origin = GeoPoint(0.0, 0.0)
    east_m, north_m = enu_from_geo([0.0, 1 / 60], [1 / 60, 0.0], origin)
    assert east_m[0] == pytest.approx(1855.325, abs=1e-3)
    assert north_m[1] == pytest.approx(1842.905, abs=1e-3)


@pytest.mark.parametrize("origin", PLACES)
def test_positions_round_trip(origin: GeoPoint) -> None:
    east_m, north_m = np.meshgrid(np.linspace(-30_000, 30_000, 13), np.linspace(-30_000, 30_000, 13))
    lat_deg, lon_deg = geo_from_enu(east_m, north_m, origin)
    assert lat_deg.shape == east_m.shape
    again_east_m, again_north_m = enu_from_geo(lat_deg, lon_deg, origin)
    np.testing.assert_allclose(again_east_m, east_m, atol=1e-6)
    np.testing.assert_allclose(again_north_m, north_m, atol=1e-6)


@pytest.mark.parametrize("origin", PLACES)
def test_the_plane_and_the_sphere_agree_within_the_flattening(origin: GeoPoint) -> None:
    east_m, north_m = np.array([8_000.0, 0.0, -5_000.0]), np.array([0.0, 8_000.0, -5_000.0])
    lat_deg, lon_deg = geo_from_enu(east_m, north_m, origin)
    far_m = distance_m(origin.lat_deg, origin.lon_deg, lat_deg, lon_deg)
    np.testing.assert_allclose(far_m, np.hypot(east_m, north_m), rtol=6e-3)


def test_a_distance_has_the_published_value() -> None:
    """BNA–LAX, the usual example of the haversine formula: 2887.26 km on a sphere of 6372.8 km."""
    far_m = float(distance_m(36.12, -86.67, 33.94, -118.40))
    assert far_m == pytest.approx(2_887_259.95 * MEAN_RADIUS_M / 6_372_800.0, rel=1e-6)


def test_a_distance_is_exact_if_short_and_finite_between_antipodes() -> None:
    step_deg = np.degrees(0.01 / MEAN_RADIUS_M)  # 1 cm
    assert float(distance_m(47.0, 8.0, 47.0 + step_deg, 8.0)) == pytest.approx(0.01, rel=1e-5)
    assert float(distance_m(0.0, 0.0, 0.0, 180.0)) == pytest.approx(np.pi * MEAN_RADIUS_M)
    assert float(distance_m(0.0, 179.9, 0.0, -179.9)) == pytest.approx(np.radians(0.2) * MEAN_RADIUS_M)


def test_distances_broadcast() -> None:
    table_m = distance_m(np.zeros((3, 1)), np.arange(3.0)[:, None], np.zeros(4), np.arange(4.0))
    assert table_m.shape == (3, 4)
    assert table_m[2, 2] == 0.0
    two_degrees_m = distance_between_m(GeoPoint(0, 0), GeoPoint(0, 2))
    assert table_m[1, 3] == pytest.approx(two_degrees_m)
    assert table_m[2, 0] == pytest.approx(two_degrees_m)


def test_a_position_beyond_the_horizon_is_refused() -> None:
    with pytest.raises(BeyondHorizon, match="metres"):
        geo_from_enu(7e6, 0.0, ZURICH)


@pytest.mark.parametrize("degrees", [0.0, 0.001, 2.0, 20.0, 180.0])
def test_a_single_pair_without_arrays_gives_the_same_bits(degrees: float) -> None:
    first, second = GeoPoint(0.3, 0.7), GeoPoint(0.3, 0.7 + degrees)
    alone = distance_between_m(first, second)
    assert alone == float(distance_m(first.lat_deg, first.lon_deg, second.lat_deg, second.lon_deg))
    x, y = units([first]), units([second])
    assert alone == float(distance_of_units_m(x, y)[0])
