"""Positions on the ground: a local tangent plane, and distances. All functions take numbers or arrays and broadcast.

Sources: NGA.STND.0036, *World Geodetic System 1984* (ellipsoid); Navipedia, *Transformations between ECEF and ENU
coordinates* (tangent plane); H. Moritz, *Geodetic Reference System 1980* (mean radius).

Results are identical on every processor, because a seed of the simulation must give the same history everywhere. The
last bit of numpy's trigonometry and vector products depends on the instruction set, so they are not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ..core.types import GeoPoint
from .arrays import FloatArray

#: x, y and z of unit vectors, one after another.
Unit = tuple[FloatArray, FloatArray, FloatArray]

WGS84_A_M = 6_378_137.0  # semi-major axis
WGS84_F = 1.0 / 298.257223563  # flattening
WGS84_B_M = WGS84_A_M * (1.0 - WGS84_F)  # semi-minor axis
WGS84_E2 = WGS84_F * (2.0 - WGS84_F)  # first eccentricity, squared
MEAN_RADIUS_M = 6_371_008.8  # (2 a + b) / 3


# The C library's functions instead of numpy's. That is fast enough: points are few, and pairs need no trigonometry.
_sin, _cos, _atan2 = (np.vectorize(f, otypes=[np.float64]) for f in (math.sin, math.cos, math.atan2))
#: Up to this half chord (a distance of 640 km) the arcsine series below is exact to the last bits.
_SHORT = 0.05


Half = TypeVar("Half", float, FloatArray)


class BeyondHorizon(ValueError):
    """The point of the tangent plane has no ground below it: it is further from the origin than the Earth's radius."""


def enu_from_geo(lat_deg: ArrayLike, lon_deg: ArrayLike, origin: GeoPoint) -> tuple[FloatArray, FloatArray]:
    """Return east and north in metres, in the plane that touches the ellipsoid at ``origin``, of points on the ground.

    ``lat_deg`` and ``lon_deg`` broadcast; both results have the broadcast shape. Exact for points on the ellipsoid; at
    20 km from the origin, distances in the plane are 3 cm shorter than on the ground.
    """
    axes, start = _frame(origin)
    offset = _ecef(np.asarray(lat_deg, dtype=np.float64), np.asarray(lon_deg, dtype=np.float64)) - start
    return _dot(offset, axes[0]), _dot(offset, axes[1])


def geo_from_enu(east_m: ArrayLike, north_m: ArrayLike, origin: GeoPoint) -> tuple[FloatArray, FloatArray]:
    """Return latitude and longitude in degrees of the ground below points of the tangent plane, as ``enu_from_geo``
    inverted.

    The inputs broadcast; both results have the broadcast shape. Raises :class:`BeyondHorizon`.
    """
    axes, start = _frame(origin)
    east, north = np.broadcast_arrays(np.asarray(east_m, dtype=np.float64), np.asarray(north_m, dtype=np.float64))
    point = start + east[..., None] * axes[0] + north[..., None] * axes[1]
    # Go down from the plane to the ellipsoid: |s (point + u up)| = 1, quadratic in u, nearer root.
    scale = 1.0 / np.array([WGS84_A_M, WGS84_A_M, WGS84_B_M])
    scaled_up, scaled_point = scale * axes[2], scale * point
    a = _dot(scaled_up, scaled_up)
    half_b = _dot(scaled_point, scaled_up)
    c = _dot(scaled_point, scaled_point) - 1.0
    root = half_b * half_b - a * c
    if np.any(root < 0.0):
        raise BeyondHorizon("no ground below that point of the tangent plane: are east and north in metres?")
    ground = point - (c / (half_b + np.sqrt(root)))[..., None] * axes[2]
    x, y, z = ground[..., 0], ground[..., 1], ground[..., 2]
    lat = _atan2(z, (1.0 - WGS84_E2) * np.sqrt(x * x + y * y))
    return np.degrees(lat), np.degrees(_atan2(y, x))


def distance_m(lat1_deg: ArrayLike, lon1_deg: ArrayLike, lat2_deg: ArrayLike, lon2_deg: ArrayLike) -> FloatArray:
    """Return the great-circle distance in metres on the sphere of mean radius; within 0.6 % of the ellipsoid's.

    All four inputs broadcast; the result has the broadcast shape. The chord between unit vectors is the haversine
    formula in another form: as exact for short distances, without trigonometry per pair.
    """
    first = _unit(np.asarray(lat1_deg, dtype=np.float64), np.asarray(lon1_deg, dtype=np.float64))
    second = _unit(np.asarray(lat2_deg, dtype=np.float64), np.asarray(lon2_deg, dtype=np.float64))
    return distance_of_units_m(first, second)


def units(points: Sequence[GeoPoint]) -> Unit:
    """Return the unit vectors of points. Cached, because most drones do not move between calls."""
    table = np.array([_unit_of(point) for point in points], dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def distance_of_units_m(first: Unit, second: Unit) -> FloatArray:
    """Return :func:`distance_m` of points given by unit vectors, the same to the last bit. The inputs broadcast."""
    x, y, z = (p - q for p, q in zip(first, second, strict=True))
    half_chord = np.asarray(np.sqrt(x * x + y * y + z * z) / 2.0)
    angle = _arcsine_series(half_chord)
    if np.any(half_chord > _SHORT):
        angle = np.where(half_chord > _SHORT, np.arcsin(np.minimum(half_chord, 1.0)), angle)
    return np.asarray(2.0 * MEAN_RADIUS_M * angle, dtype=np.float64)


def _arcsine_series(half_chord: Half) -> Half:
    h2 = half_chord * half_chord
    return half_chord * (1.0 + h2 * (1 / 6 + h2 * (3 / 40 + h2 * (5 / 112 + h2 * (35 / 1152 + h2 * (63 / 2816))))))


def distance_between_m(first: GeoPoint, second: GeoPoint) -> float:
    """Return the great-circle distance of two points in metres: :func:`distance_m` without arrays, to the last bit."""
    x, y, z = (p - q for p, q in zip(_unit_of(first), _unit_of(second), strict=True))
    half_chord = math.sqrt(x * x + y * y + z * z) / 2.0
    angle = _arcsine_series(half_chord)
    if half_chord > _SHORT:
        angle = float(np.arcsin(min(half_chord, 1.0)))
    return 2.0 * MEAN_RADIUS_M * angle


@lru_cache(maxsize=4096)
def _unit_of(point: GeoPoint) -> tuple[float, float, float]:
    lat, lon = math.radians(point.lat_deg), math.radians(point.lon_deg)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


def _unit(lat_deg: FloatArray, lon_deg: FloatArray) -> Unit:
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    cos_lat = _cos(lat)
    return cos_lat * _cos(lon), cos_lat * _sin(lon), _sin(lat)


def _ecef(lat_deg: FloatArray, lon_deg: FloatArray) -> FloatArray:
    """Return Earth-centred coordinates of ground points in metres; shape ``(..., 3)``."""
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    sin_lat, cos_lat = _sin(lat), _cos(lat)
    normal_m = WGS84_A_M / np.sqrt(1.0 - WGS84_E2 * sin_lat * sin_lat)
    x = normal_m * cos_lat * _cos(lon)
    y = normal_m * cos_lat * _sin(lon)
    z = (1.0 - WGS84_E2) * normal_m * sin_lat
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _frame(origin: GeoPoint) -> tuple[FloatArray, FloatArray]:
    """Return unit vectors east, north, up as rows, and the origin itself, in Earth-centred coordinates."""
    lat, lon = math.radians(origin.lat_deg), math.radians(origin.lon_deg)
    sin_lat, cos_lat, sin_lon, cos_lon = math.sin(lat), math.cos(lat), math.sin(lon), math.cos(lon)
    axes = np.array(
        [
            [-sin_lon, cos_lon, 0.0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )
    return axes, _ecef(np.asarray(origin.lat_deg), np.asarray(origin.lon_deg))


def _dot(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the product of vectors along the last axis, of three elements, in the same order on every machine."""
    product = first * second
    return np.asarray(product[..., 0] + product[..., 1] + product[..., 2])
