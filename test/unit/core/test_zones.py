"""No-fly zones: orders that they refuse, drones that they bar, and zones that are not valid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fleets import DEPOT, FLEET, LIGHT, at, drone, wanted

from drone_orchestrator.bringup import town
from drone_orchestrator.bringup.fleet_config import load
from drone_orchestrator.core.admission import Code, InvalidOrder, check_serviceable
from drone_orchestrator.core.types import DroneReport, FleetSpec, GeoPoint, NoFlyZone, Phase
from drone_orchestrator.core.zones import MAX_CORNERS, MAX_ZONES, InvalidZone, airspace, blocked_way
from drone_orchestrator.planning.feasibility import feasible
from drone_orchestrator.planning.geo import enu_from_geo
from drone_orchestrator.planning.legs import measure
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.planning.single import soonest

PLANNER = AssignmentPlanner()


def zone(*corners_m: tuple[float, float], name: str = "school") -> NoFlyZone:
    """Return a zone with its corners in metres east and north of the depot."""
    return NoFlyZone(name, tuple(at(east, north) for east, north in corners_m))


def square(east_m: float, north_m: float, half_m: float = 200.0, name: str = "school") -> NoFlyZone:
    low_e, high_e, low_n, high_n = east_m - half_m, east_m + half_m, north_m - half_m, north_m + half_m
    return zone((low_e, low_n), (high_e, low_n), (high_e, high_n), (low_e, high_n), name=name)


def with_zones(*zones: NoFlyZone) -> FleetSpec:
    return replace(FLEET, no_fly_zones=zones)


def flies(fleet: FleetSpec, one: DroneReport, **fields: Any) -> bool:
    return bool(PLANNER.plan(fleet, [one], [wanted(**fields)]))


# --- orders -----------------------------------------------------------------------------------------------------------

ACROSS = with_zones(square(1_000.0, 0.0))


@pytest.mark.parametrize(
    ("fields", "culprit", "text"),
    [
        ({"destination": at(1_050.0, 20.0)}, "destination", "lies in the no-fly zone school"),
        (
            {"destination": at(2_000.0, 0.0)},
            "destination",
            "the straight way from the depot to the destination crosses the no-fly zone school",
        ),
        (
            {"pickup": at(1_000.0, 0.0), "destination": at(0.0, 500.0)},
            "pickup",
            "lies in the no-fly zone school",
        ),
        (
            {"pickup": at(2_000.0, 0.0), "destination": at(2_000.0, 1_000.0)},
            "pickup",
            "the straight way from the depot to the pickup crosses the no-fly zone school",
        ),
        (
            {"pickup": at(1_000.0, 1_000.0), "destination": at(1_000.0, -1_000.0)},
            "destination",
            "the straight way from the pickup to the destination crosses the no-fly zone school",
        ),
        (
            {"pickup": at(2_000.0, 2_000.0), "destination": at(2_000.0, 0.0)},
            "destination",
            "the straight way back from the destination crosses the no-fly zone school",
        ),
    ],
)
def test_an_order_that_must_cross_a_zone_is_refused(fields: dict[str, Any], culprit: str, text: str) -> None:
    order = wanted(**fields).order

    with pytest.raises(InvalidOrder) as caught:
        check_serviceable(order, ACROSS, PLANNER.capable)

    assert (caught.value.field, caught.value.reason, caught.value.code) == (culprit, text, Code.NO_FLY_ZONE)
    assert not PLANNER.capable(ACROSS, order)
    assert PLANNER.capable(FLEET, order) and flies(FLEET, drone(), **fields)
    assert not flies(ACROSS, drone(), **fields)


@pytest.mark.parametrize("destination", [at(0.0, 1_000.0), at(-1_000.0, 0.0), at(2_000.0, 700.0), at(600.0, 0.0)])
def test_an_order_that_passes_beside_a_zone_is_flown(destination: GeoPoint) -> None:
    check_serviceable(wanted(destination=destination).order, ACROSS, PLANNER.capable)

    assert flies(ACROSS, drone(), destination=destination)


def test_only_the_orders_that_cross_a_zone_are_left_out() -> None:
    orders = [wanted("across", destination=at(2_000.0, 0.0)), wanted("past", destination=at(0.0, 1_000.0))]

    pairs = PLANNER.plan(ACROSS, [drone("d1"), drone("d2")], orders)

    assert [pair.message_id for pair in pairs] == ["past"]


def test_one_zone_of_many_is_named() -> None:
    fleet = with_zones(square(0.0, 1_000.0, name="prison"), square(1_000.0, 0.0), square(1_600.0, 0.0, name="stadium"))

    blocked = blocked_way(fleet, wanted(destination=at(2_000.0, 0.0)).order)

    assert blocked is not None and blocked.zone == "school"


# --- drones -----------------------------------------------------------------------------------------------------------


def test_a_returning_drone_gets_no_order_across_a_zone() -> None:
    """The order's own path is clear, but the drone's path to the pickup is not."""
    mission = {"pickup": at(2_000.0, -600.0), "destination": at(1_000.0, -1_000.0)}
    home, beyond = drone(), drone(position=at(2_000.0, 600.0), phase=Phase.RETURNING)

    assert flies(FLEET, beyond, **mission)
    assert flies(with_zones(square(2_000.0, 0.0)), home, **mission)
    assert not flies(with_zones(square(2_000.0, 0.0)), beyond, **mission)


def test_a_drone_gets_no_order_if_turning_around_later_would_cross_a_zone() -> None:
    """The zone lies inside the triangle of drone, pickup and depot. No side touches it, but the path home from half-way
    to the pickup would cross it, and so would the path to the pickup from half-way home."""
    mission = {"pickup": at(2_000.0, -1_500.0), "destination": at(1_000.0, -1_500.0)}
    beyond = drone(position=at(2_000.0, 1_500.0), phase=Phase.RETURNING)

    assert not flies(with_zones(square(1_500.0, 0.0, half_m=100.0)), beyond, **mission)
    assert flies(with_zones(square(2_500.0, 0.0, half_m=100.0)), beyond, **mission)


def test_only_the_drone_behind_a_zone_is_left_out() -> None:
    drones = [drone("beyond", position=at(2_000.0, 600.0), phase=Phase.RETURNING), drone("home")]
    orders = [
        wanted("far", pickup=at(2_000.0, -600.0), destination=at(1_000.0, -1_000.0)),
        wanted("near", destination=at(-500.0, 0.0)),
    ]

    pairs = PLANNER.plan(with_zones(square(2_000.0, 0.0)), drones, orders)

    assert {pair.message_id: pair.drone_id for pair in pairs} == {"far": "home", "near": "beyond"}


@pytest.mark.parametrize("each_way", [4, 6])  # one by one, and with arrays
def test_many_pairs_are_judged_like_a_single_one(each_way: int) -> None:
    fleet = with_zones(square(1_000.0, 0.0), square(-800.0, 900.0, name="park"))
    steps = [(index - each_way / 2) * 6_000.0 / each_way for index in range(each_way)]
    orders = [
        wanted(f"o{i}_{j}", destination=at(east, north), pickup=at(north, east) if (i + j) % 3 == 0 else None).order
        for i, east in enumerate(steps)
        for j, north in enumerate(steps)
    ]
    drones = [
        drone("home", LIGHT),
        drone("east", LIGHT, phase=Phase.RETURNING, position=at(2_500.0, 100.0)),
        drone("north", LIGHT, phase=Phase.RETURNING, position=at(-900.0, 2_000.0)),
    ]
    mask = feasible(fleet, drones, orders, measure(fleet, drones, orders))
    alone = [[soonest(fleet, [one], order) is not None for order in orders] for one in drones]
    assert mask.tolist() == alone
    assert 0 < mask.sum() < mask.size


def test_paths_are_not_checked_for_drones_without_the_energy() -> None:
    fleet = with_zones(square(1_000.0, 0.0))
    orders = [wanted(f"o{n}", destination=at(0.0, 500.0 + n)).order for n in range(3)]
    empty = [drone("empty", LIGHT, energy_wh=0.0)]
    assert not feasible(fleet, empty, orders, measure(fleet, empty, orders)).any()


def test_without_free_drones_there_is_nothing_to_judge() -> None:
    assert PLANNER.plan(ACROSS, [drone(phase=Phase.DROPPING)], [wanted()]) == []


# --- zones ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (zone((1e3, 0.0), (2e3, 0.0)), "school: must have 3 to 256 corners, got 2"),
        (NoFlyZone("school", (at(1e3, 0.0),) * (MAX_CORNERS + 1)), "school: must have 3 to 256 corners, got 257"),
        (zone((1e3, 0.0), (2e3, 0.0), (2e3, 0.0), (1e3, 1e3)), "school: two consecutive corners are the same"),
        (zone((1e3, 0.0), (2e3, 0.0), (2e3, 1e3), (1e3, 0.0)), "school: two consecutive corners are the same"),
        (zone((1e3, 1e3), (2e3, 2e3), (2e3, 1e3), (1e3, 2e3)), "school: its edges cross or touch"),
        (zone((1e3, 1e3), (3e3, 1e3), (2e3, 2e3), (2e3, 1e3), (1.5e3, 3e3)), "school: its edges cross or touch"),
        (zone((1e3, 0.0), (2e3, 0.0), (2e3, 1e3), (2e3, 0.0)), "school: an edge runs back over the one before it"),
        (NoFlyZone("school", (GeoPoint(-47.4, -171.5), at(1e3, 0.0), at(0, 1e3))), "within 1000 km of the depot"),
        (NoFlyZone("school", (GeoPoint(float("nan"), 8.5), at(1e3, 0.0), at(0, 1e3))), "within 1000 km"),
        (square(50.0, 50.0), "school: the depot lies in it"),
        (square(200.0, 0.0), "school: the depot lies in it"),
        (square(1e3, 0.0, name="the school"), "a zone's name must be a letter, then"),
        (square(1e3, 0.0, name="s" * 33), "at most 32 characters"),
    ],
)
def test_an_invalid_zone_is_refused(bad: NoFlyZone, text: str) -> None:
    with pytest.raises(InvalidZone) as caught:
        airspace(with_zones(bad))

    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_names_and_number_of_zones_are_bounded() -> None:
    with pytest.raises(InvalidZone, match="school: two zones have this name"):
        airspace(with_zones(square(1e3, 0.0), square(-1e3, 0.0)))
    with pytest.raises(InvalidZone, match="there must be at most 256 zones, got 257"):
        airspace(with_zones(*(square(1e3, 0.0, name=f"z{i}") for i in range(MAX_ZONES + 1))))


@pytest.mark.parametrize(("east_m", "north_m"), [(0.0, 0.0), (7_000.0, -3_000.0), (-90_000.0, 40_000.0)])
def test_zones_use_the_same_plane_as_flights(east_m: float, north_m: float) -> None:
    point = at(east_m, north_m)
    there = enu_from_geo(point.lat_deg, point.lon_deg, DEPOT)

    assert airspace(FLEET).place(point) == pytest.approx((float(there[0]), float(there[1])), abs=1e-6)
    assert airspace(FLEET).place(DEPOT) == (0.0, 0.0)


def test_the_packaged_zone_is_within_the_service_area_but_blocks_no_example() -> None:
    fleet = load()
    (island,) = fleet.no_fly_zones
    space = airspace(fleet)
    assert space.zone_at(GeoPoint(37.8100, -122.3650)) == island.name

    places = [GeoPoint(lat + shift, lon + slip) for _, lat, lon in town.PLACES for shift in (0, 0.001, -0.001)
              for slip in (0, 0.001, -0.001)]  # fmt: skip
    for place in [*places, GeoPoint(37.7749, -122.4194)]:
        check_serviceable(wanted(destination=place, package_weight_kg=0.5).order, fleet, PLANNER.capable)
    with pytest.raises(InvalidOrder, match=f"lies in the no-fly zone {island.name}"):
        check_serviceable(wanted(destination=GeoPoint(37.81, -122.365)).order, fleet, PLANNER.capable)


def test_a_class_that_cannot_serve_the_order_changes_nothing() -> None:
    assert not flies(ACROSS, drone(drone_class=LIGHT), destination=at(2_000.0, 0.0), drone_class="heavy")
