"""A fleet at the antimeridian decides, flies and is shown exactly like the same fleet elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fleets import HEAVY, LIGHT
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drone_orchestrator.bringup.gazebo import zone_model
from drone_orchestrator.core.admission import InvalidOrder, check_serviceable
from drone_orchestrator.core.planner import PlannedOrder
from drone_orchestrator.core.types import DroneReport, FleetSpec, GeoPoint, NoFlyZone, Order, Phase
from drone_orchestrator.core.zones import InvalidZone, airspace, far_zones
from drone_orchestrator.flight.kinematic import KinematicFlight
from drone_orchestrator.gateway.live_drones import LiveDrone, LiveDrones
from drone_orchestrator.planning.geo import distance_between_m, distance_m, enu_from_geo, geo_from_enu
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.simulation.physics import Packages, SimulatedFlight
from drone_orchestrator.simulation.scheduler import Scheduler
from drone_orchestrator.telemetry.scene import seen_drone

ELSEWHERE_DEG = 10.0

#: Places, as degrees north and east of the depot, up to about 20 km from it.
offsets = st.tuples(st.floats(-0.15, 0.15), st.floats(-0.3, 0.3))
seams = st.one_of(st.sampled_from([180.0, -180.0, 179.98]), st.floats(179.8, 180.0), st.floats(-180.0, -179.8))


@dataclass(frozen=True)
class Region:
    """A depot, and the places around it."""

    lat_deg: float
    lon_deg: float

    @property
    def depot(self) -> GeoPoint:
        return GeoPoint(self.lat_deg, self.lon_deg)

    def at(self, offset: tuple[float, float]) -> GeoPoint:
        north_deg, east_deg = offset
        return GeoPoint(self.lat_deg + north_deg, math.remainder(self.lon_deg + east_deg, 360.0))

    def fleet(self, *rings: list[tuple[float, float]]) -> FleetSpec:
        zones = tuple(NoFlyZone(f"z{i}", tuple(map(self.at, ring))) for i, ring in enumerate(rings))
        return FleetSpec("r", self.depot, 12_000.0, (LIGHT, HEAVY), zones)


pairs = st.tuples(st.floats(-84.5, 84.5), seams).map(
    lambda drawn: (Region(drawn[0], drawn[1]), Region(drawn[0], ELSEWHERE_DEG))
)


def same(pair: tuple[Region, Region], compute: Callable[[Region], Any], tolerance: float = 1e-3) -> None:
    """Assert that both regions give the same: numbers within the tolerance, all else exactly."""
    there, here = compute(pair[0]), compute(pair[1])
    assert there == pytest.approx(here, abs=tolerance)


def order(region: Region, destination: tuple[float, float], name: str = "m1", weight_kg: float = 1.0) -> Order:
    return Order(name, f"o-{name}", region.at(destination), weight_kg, 0.0)


@given(pairs, offsets, offsets)
def test_distances_and_positions_agree(pair: tuple[Region, Region], first: Any, second: Any) -> None:
    def compute(region: Region) -> list[float]:
        a, b = region.at(first), region.at(second)
        east, north = enu_from_geo(a.lat_deg, a.lon_deg, region.depot)
        back = geo_from_enu(east, north, region.depot)
        east_deg = math.remainder(float(back[1]) - region.lon_deg, 360.0)
        far_m = float(distance_m(a.lat_deg, a.lon_deg, b.lat_deg, b.lon_deg))
        place = airspace(region.fleet()).place(a)
        assert -180.0 <= float(back[1]) <= 180.0
        return [float(east), float(north), *place, far_m, distance_between_m(a, b), float(back[0]), east_deg]

    same(pair, compute)


@st.composite
def stars(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Draw a simple polygon, with its corners all around a centre."""
    north, east = draw(offsets)
    radii = draw(st.lists(st.floats(0.01, 0.1), min_size=3, max_size=6))
    angles = [2.0 * math.pi * i / len(radii) + 0.1 for i in range(len(radii))]
    return [
        (north + radius * math.sin(angle), east + radius * math.cos(angle))
        for radius, angle in zip(radii, angles, strict=True)
    ]


@given(pairs, stars(), offsets)
def test_zones_and_admission_agree(
    pair: tuple[Region, Region], ring: list[tuple[float, float]], destination: Any
) -> None:
    def verdict(region: Region, shift: float = 0.0) -> Any:
        fleet = region.fleet([(north + shift, east + shift) for north, east in ring])
        try:
            place = (destination[0] - shift, destination[1] - shift)
            check_serviceable(order(region, place), fleet, AssignmentPlanner().capable)
            return [0.0, *(away_m for _, away_m in far_zones(fleet))]
        except InvalidOrder as error:
            return error.code.value
        except InvalidZone as error:
            return error.problem

    # An exact tie may be judged either way.
    near = [verdict(pair[1], shift) for shift in (-1e-6, 0.0, 1e-6)]
    assume(near[0] == pytest.approx(near[1], abs=1.0) and near[1] == pytest.approx(near[2], abs=1.0))
    same(pair, verdict, 0.1)


@pytest.mark.parametrize("lon_deg", [ELSEWHERE_DEG, 179.98, -180.0])
def test_zones_far_outside_the_service_area_are_found(lon_deg: float) -> None:
    region = Region(-17.0, lon_deg)
    near, far = [(0.1, 0.1), (0.1, 0.2), (0.2, 0.2)], [(0.1, 0.25), (0.1, 0.3), (0.2, 0.3)]
    around = [(-1.0, -1.0), (-1.0, 1.0), (0.2, 1.0), (0.2, 0.9), (-0.9, 0.9), (-0.9, -1.0)]
    found = far_zones(region.fleet(near, far, around))
    assert [name for name, _ in found] == ["z1", "z2"]
    assert found[0][1] == pytest.approx(28_850.0, rel=0.01)  # its nearest corner: 0.1° north, 0.25° east


def test_longitudes_are_never_subtracted_without_wrapping() -> None:
    """A difference of longitudes is only right within ±180°."""
    root = Path(__file__).resolve().parents[2]
    difference = re.compile(r"\blon(_deg)?\s+-\s|-\s+[\w.]*\blon(_deg)?\b")
    kinds = ("src/**/*.py", "tools/**/*.py", "launch/**/*.py", "frontend/src/**/*.js*")
    sources = [path for kind in kinds for path in root.glob(kind)]
    lines = [(path.name, line) for path in sources for line in path.read_text(encoding="utf-8").splitlines()]
    found = [(name, line) for name, line in lines if difference.search(line)]
    assert len(found) >= 4  # the expression matches the existing ones
    assert [each for each in found if "remainder(" not in each[1] and "wrap(" not in each[1]] == []


def test_a_zone_across_the_antimeridian_is_judged() -> None:
    """The zone contains the meridian itself, and spans both signs of longitude."""
    region = Region(-17.0, 179.98)
    fleet = region.fleet([(-0.01, 0.015), (-0.01, 0.03), (0.01, 0.03), (0.01, 0.015)])
    assert {math.copysign(1.0, corner.lon_deg) for corner in fleet.no_fly_zones[0].corners} == {1.0, -1.0}
    space = airspace(fleet)
    assert space.zone_at(GeoPoint(-17.0, 180.0)) == space.zone_at(GeoPoint(-17.0, -180.0)) == "z0"
    with pytest.raises(InvalidOrder, match="no-fly zone z0"):
        check_serviceable(order(region, (0.0, 0.05)), fleet, AssignmentPlanner().capable)
    check_serviceable(order(region, (0.0, 0.01)), fleet, AssignmentPlanner().capable)


@given(pairs, st.lists(offsets, min_size=1, max_size=4), st.lists(offsets, min_size=1, max_size=4))
def test_plans_agree(pair: tuple[Region, Region], drones: list[Any], orders: list[Any]) -> None:
    rounded = [[(round(north, 3), round(east, 3)) for north, east in each] for each in (drones, orders)]
    assume(all(len(set(each)) == len(each) for each in rounded))

    def compute(region: Region) -> list[str]:
        reports = [
            DroneReport(f"d{i}", "heavy", "j", 1, Phase.IDLE, region.at(place), HEAVY.battery_wh)
            for i, place in enumerate(drones)
        ]
        wanted = [PlannedOrder(order(region, place, f"m{i}"), 0.0) for i, place in enumerate(orders)]
        return sorted(pairing.message_id for pairing in AssignmentPlanner().plan(region.fleet(), reports, wanted))

    assert compute(pair[0]) == compute(pair[1])


@settings(max_examples=20)
@given(pairs, offsets, st.floats(0.05, 0.95))
def test_flights_agree(pair: tuple[Region, Region], destination: Any, part: float) -> None:
    def compute(region: Region) -> list[float]:
        target = region.at(destination)
        kinematic = KinematicFlight(LIGHT, region.depot, may_forget=True)
        kinematic.goto(target)
        for _ in range(int(part * 200)):
            kinematic.step(1.0)
        scheduler = Scheduler(1000)
        simulated = SimulatedFlight("d1", LIGHT, region.depot, scheduler, Packages(region.depot), lambda: "m1")
        simulated.goto(target)
        scheduler.run_until(part * distance_between_m(region.depot, target) / LIGHT.cruise_speed_mps)
        numbers = [kinematic.state.energy_wh, simulated.state.energy_wh]
        for position in (kinematic.state.position, simulated.position):
            assert -180.0 <= position.lon_deg <= 180.0
            numbers += [position.lat_deg, math.remainder(position.lon_deg - region.lon_deg, 360.0)]
        return numbers

    same(pair, compute, 1e-6)


@given(pairs, offsets, offsets)
def test_views_agree(pair: tuple[Region, Region], place: Any, destination: Any) -> None:
    def compute(region: Region) -> list[float]:
        picture = LiveDrones(lambda: 0.0)
        for point in (region.depot, region.at(place)):
            picture.hear(LiveDrone("d1", "light", Phase.TO_DESTINATION, point))
        (live, _), *_ = picture.drones()
        space = airspace(region.fleet())
        report = DroneReport("d1", "light", "j", 1, Phase.TO_DESTINATION, region.at(place), 1.0, "m1", 1)
        seen = seen_drone(report, 60.0, 0.0, {"m1": order(region, destination)}, space)
        ring = [place, destination, (place[0] + 0.01, place[1])]
        model = zone_model(NoFlyZone("z", tuple(map(region.at, ring))), region.depot)
        points = [float(word) for each in model.iter("point") for word in (each.text or "").split()]
        heading = math.cos(live.heading_rad) if live.heading_rad is not None else 2.0
        return [heading, *seen.place, *(number for leg in seen.way for number in leg), *points]

    same(pair, compute, 0.11)  # the model rounds to one decimal
