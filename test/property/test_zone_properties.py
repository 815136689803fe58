"""Core and planner judge zones alike, and as exact geometry does (GEOS, through shapely)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fleets import FLEET, at, drone, wanted
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("shapely")

from shapely.geometry import LineString, Point, Polygon

from drone_orchestrator.core.types import DroneReport, GeoPoint, NoFlyZone, Order, Phase
from drone_orchestrator.core.zones import Airspace, InvalidZone, Place, Shape, airspace, blocked_way
from drone_orchestrator.planning.feasibility import feasible
from drone_orchestrator.planning.legs import measure
from drone_orchestrator.planning.zones import any_triangle_meets, any_way_meets

# Integers on a coarse grid: paths that touch, run along edges and end on corners are common, and exact.
grid = st.integers(-6, 6).map(float)
places = st.tuples(grid, grid)
rings = st.lists(places, min_size=3, max_size=7)


class Plane(Airspace):
    """An airspace whose plane is the grid: one step is an eighth of a degree, exactly."""

    def place(self, point: GeoPoint) -> Place:
        return point.lon_deg * 8.0, point.lat_deg * 8.0


def plane_of(corners: list[Place]) -> Plane:
    depot_outside = GeoPoint(1.0, 1.0)
    return Plane(depot_outside, [NoFlyZone("z", tuple(GeoPoint(north / 8.0, east / 8.0) for east, north in corners))])


@given(rings)
def test_only_a_simple_polygon_is_a_zone(corners: list[Place]) -> None:
    # GEOS accepts a repeated corner; we do not.
    assume(all(p != q for p, q in zip(corners, [*corners[1:], corners[0]], strict=True)))
    try:
        plane_of(corners)
        simple = True
    except InvalidZone:
        simple = False
    assert simple is bool(Polygon(corners).is_valid)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Draw a simple ring: few are, but most of those whose corners are sorted around a point."""
    corners = draw(st.lists(places, min_size=3, max_size=7, unique=True))
    middle = draw(places)
    corners.sort(key=lambda corner: (math.atan2(corner[1] - middle[1], corner[0] - middle[0]), corner))
    try:
        return plane_of(corners).shapes[0]
    except InvalidZone:
        assume(False)
        raise AssertionError from None


@given(shapes(), st.lists(st.tuples(places, places), min_size=1, max_size=20))
def test_a_path_meets_a_zone_if_they_share_a_point(shape: Shape, ways: list[tuple[Place, Place]]) -> None:
    polygon = Polygon(shape.corners)
    exact = [bool((Point(a) if a == b else LineString([a, b])).intersects(polygon)) for a, b in ways]
    plane = plane_of(list(shape.corners))

    assert [plane.zone_between(a, b) is not None for a, b in ways] == exact
    starts, ends = (np.array([way[i] for way in ways]) for i in (0, 1))
    assert any_way_meets(starts, ends, [shape]).tolist() == exact


@given(shapes(), st.lists(st.tuples(places, places), min_size=1, max_size=20))
def test_a_triangle_meets_a_zone_if_they_share_a_point(shape: Shape, pairs: list[tuple[Place, Place]]) -> None:
    polygon, depot = Polygon(shape.corners), (0.0, 0.0)
    # The side from the depot to the pickup is part of the order's own path, judged before.
    judged = [(a, b) for a, b in pairs if not (Point(b) if b == depot else LineString([depot, b])).intersects(polygon)]
    assume(judged)
    exact = []
    for a, b in judged:
        hull = Polygon([a, b, depot]).convex_hull if len({a, b, depot}) == 3 else LineString([a, b, depot])
        exact.append(bool(hull.intersects(polygon)))
    drones, pickups = (np.array([pair[i] for pair in judged]) for i in (0, 1))

    assert any_triangle_meets(drones, pickups, [shape]).tolist() == exact


metres = st.floats(-3_000.0, 3_000.0)
points = st.builds(at, metres, metres)


@st.composite
def missions(draw: st.DrawFn) -> tuple[tuple[NoFlyZone, ...], list[DroneReport], list[Order]]:
    zones = []
    for i in range(draw(st.integers(1, 3))):
        east, north, size = draw(metres), draw(metres), draw(st.floats(50.0, 800.0))
        assume(max(abs(east), abs(north)) > size)
        corners = [(size, 0.0), (0.0, size), (-size, 0.0), (0.0, -size)]
        zones.append(NoFlyZone(f"z{i}", tuple(at(east + e, north + n) for e, n in corners)))
    drones = [
        drone(f"d{i}", position=draw(points), phase=draw(st.sampled_from([Phase.IDLE, Phase.RETURNING])))
        for i in range(draw(st.integers(0, 4)))
    ]
    orders = [
        wanted(f"m{i}", destination=draw(points), pickup=draw(st.none() | points)).order
        for i in range(draw(st.integers(0, 5)))
    ]
    return tuple(zones), [drone("home"), *drones], orders


@given(missions())
def test_the_mask_agrees_with_each_pair_judged_alone(
    mission: tuple[tuple[NoFlyZone, ...], list[DroneReport], list[Order]],
) -> None:
    zones, drones, orders = mission
    assume(orders)
    fleet = replace(FLEET, no_fly_zones=zones)
    without = feasible(FLEET, drones, orders, measure(FLEET, drones, orders))
    mask = feasible(fleet, drones, orders, measure(fleet, drones, orders))

    space = airspace(fleet)
    polygons = [Polygon(shape.corners) for shape in space.shapes]

    def clear(one: DroneReport, order: Order) -> bool:
        if blocked_way(fleet, order):
            return False
        pickup = (0.0, 0.0) if order.pickup is None else space.place(order.pickup)
        hull = LineString([space.place(one.position), pickup, (0.0, 0.0)]).convex_hull
        return not any(hull.intersects(polygon) for polygon in polygons)

    expected = [[bool(without[i, j]) and clear(d, o) for j, o in enumerate(orders)] for i, d in enumerate(drones)]
    assert mask.tolist() == expected
    # A drone at the depot is barred only from orders that intake refuses, so no order waits forever.
    assert mask[0].tolist() == [
        bool(without[0, j]) and blocked_way(fleet, order) is None for j, order in enumerate(orders)
    ]


def test_the_oracle_counts_touching() -> None:
    assert Point(0.0, 0.0).intersects(Polygon([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]))
    with pytest.raises(InvalidZone):
        plane_of([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)])
