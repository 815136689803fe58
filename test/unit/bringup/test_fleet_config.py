"""The fleet description: the bounds of its lanes, and a one-line error that names the field for every mistake."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from drone_orchestrator.bringup.fleet_config import cautions, load, pattern, save
from drone_orchestrator.bringup.operator_files import FileRefused
from drone_orchestrator.bringup.paths import default_fleet_config
from drone_orchestrator.core.types import GeoPoint

LANE = {"max_waiting": 7, "max_in_flight": 8, "intake_rate_per_s": 2.5, "intake_burst": 9, "lend_fraction": 0.25}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.yaml"


def write(path: Path, **lane: Any) -> Path:
    """Write the packaged fleet with these fields of the class ``courier``; a field that is ``None`` is left out."""
    document = yaml.safe_load(default_fleet_config().read_text(encoding="utf-8"))
    courier = {**document["drone_classes"]["courier"], **lane}
    document["drone_classes"]["courier"] = {name: value for name, value in courier.items() if value is not None}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def test_a_lane_has_the_bounds_that_the_file_gives_it(path: Path) -> None:
    courier = load(write(path, **LANE)).classes[0]

    assert {name: getattr(courier, name) for name in LANE} == LANE
    assert isinstance(courier.max_waiting, int)


def test_a_lane_without_bounds_has_the_default_ones(path: Path) -> None:
    courier = load(write(path, **dict.fromkeys(LANE))).classes[0]

    assert (courier.max_waiting, courier.max_in_flight, courier.intake_burst) == (1000, 1000, 400)
    assert (courier.intake_rate_per_s, courier.lend_fraction) == (200.0, 0.5)


def test_a_class_may_lend_none_or_all_of_its_drones(path: Path) -> None:
    assert [load(write(path, lend_fraction=given)).classes[0].lend_fraction for given in (0, 1.0)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_waiting", 0),
        ("max_waiting", 0.5),
        ("max_waiting", True),
        ("max_in_flight", -1),
        ("max_in_flight", "many"),
        ("intake_burst", 0),
        ("intake_burst", 1.5),
        ("intake_rate_per_s", 0),
        ("intake_rate_per_s", float("inf")),
        ("lend_fraction", -0.1),
        ("lend_fraction", 1.1),
        ("lend_fraction", float("nan")),
        ("reserve_fraction", 1.0),
        ("max_wating", 5),
    ],
)
def test_an_invalid_bound_is_named(path: Path, field: str, value: Any) -> None:
    with pytest.raises(FileRefused) as caught:
        load(write(path, **{field: value}))

    assert field in str(caught.value) and "courier" in str(caught.value)
    assert "\n" not in str(caught.value)


SQUARE = [
    {"lat_deg": lat, "lon_deg": lon} for lat, lon in ((37.8, -122.4), (37.8, -122.3), (37.9, -122.3), (37.9, -122.4))
]


def write_zones(path: Path, zones: Any) -> Path:
    document = {**yaml.safe_load(default_fleet_config().read_text(encoding="utf-8")), "no_fly_zones": zones}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def test_a_saved_fleet_is_loaded_equal(path: Path) -> None:
    fleet = load()
    assert load(save(path, fleet)) == fleet
    assert pattern(path) == tuple(each.name for each in fleet.classes)


def test_zones_are_read_from_the_file(path: Path) -> None:
    (zone,) = load(write_zones(path, {"parade": SQUARE})).no_fly_zones

    assert (zone.name, len(zone.corners), zone.corners[1]) == ("parade", 4, GeoPoint(37.8, -122.3))
    assert load(write_zones(path, None)).no_fly_zones == load(write_zones(path, {})).no_fly_zones == ()


@pytest.mark.parametrize(
    ("zones", "text"),
    [
        ([SQUARE], "no_fly_zones: must be a mapping, got a list"),
        ({"parade": "everywhere"}, "no_fly_zones.parade: must be a list, got the text 'everywhere'"),
        ({7: SQUARE}, "no_fly_zones: a name must be a text: put 7 in quotes"),
        ({"parade": [*SQUARE, {"lat": 37.8, "lon": -122.4}]}, "no_fly_zones.parade[4].lat: unknown"),
        ({"parade": [*SQUARE, {"lat_deg": 91, "lon_deg": 0}]}, "no_fly_zones.parade[4].lat_deg: must be at least -90"),
        ({"parade": SQUARE[:2]}, "no_fly_zones.parade: must have 3 to 256 corners, got 2"),
        ({"parade": [SQUARE[i] for i in (0, 2, 1, 3)]}, "no_fly_zones.parade: its edges cross"),
        ({"the parade": SQUARE}, "no_fly_zones.the parade: a zone's name must be"),
    ],
)
def test_an_invalid_zone_is_named(path: Path, zones: Any, text: str) -> None:
    with pytest.raises(FileRefused) as caught:
        load(write_zones(path, zones))

    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_documented_example_is_a_valid_fleet(path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "howto" / "fleet_description.md").read_text(encoding="utf-8")
    path.write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert (load(path).region, pattern(path)) == ("suva", ("courier",))


@pytest.mark.parametrize("east", [0.0, 302.4])  # the last one puts its corners at longitudes of ±180°
def test_a_closed_ring_is_the_polygon_without_its_last_corner(path: Path, east: float) -> None:
    ring = [{**corner, "lon_deg": round(math.remainder(corner["lon_deg"] + east, 360.0), 4)} for corner in SQUARE]
    closed = [*ring, {**ring[0], "lon_deg": -180.0 if east else ring[0]["lon_deg"]}]
    depot = {"lat_deg": 37.7577, "lon_deg": 179.9 if east else -122.3876}
    zones = []
    for corners in (ring, closed):
        document = yaml.safe_load(write_zones(path, {"parade": corners}).read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**document, "depot": depot}), encoding="utf-8")
        zones.append(load(path).no_fly_zones)
    assert zones[0] == zones[1]


def test_a_misplaced_zone_gives_a_warning(path: Path) -> None:
    west = [{**corner, "lon_deg": corner["lon_deg"] - 1.0} for corner in SQUARE]
    fleet = load(write_zones(path, {"near": SQUARE, "parade": west}))
    [caution] = cautions(fleet)
    assert "no_fly_zones.parade: lies 8" in caution and "km from the depot" in caution
    assert cautions(load()) == []
