"""Every mistake in a hand-written file gives a one-line error with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone_orchestrator.bringup import fleet_config, gazebo
from drone_orchestrator.bringup.operator_files import FileRefused, decode, json_line, parse_json, parse_yaml
from drone_orchestrator.bringup.paths import default_fleet_config
from drone_orchestrator.bringup.plan import FleetOptions, processes

PACKAGED = default_fleet_config().read_text(encoding="utf-8")


def refusal(text: str | bytes, folder: Path) -> str:
    path = folder / "fleet.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    with pytest.raises(FileRefused) as caught:
        fleet_config.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")
    return str(caught.value).removeprefix(f"{path}:").strip()


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


REGION = line_of(PACKAGED, "region:")
DEPOT = line_of(PACKAGED, "depot:")
RADIUS = line_of(PACKAGED, "service_radius_m:")
ZONE = line_of(PACKAGED, "yerba_buena_island:")
PAYLOAD = line_of(PACKAGED, "max_payload_kg:")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("region: san_francisco", "region: a\nregion: b", f"{REGION + 1}: region: must be unique, is in line {REGION}"),
        ("region: san_francisco", "region: no", f"{REGION}: region: YAML readers differ on no (true or false"),
        ("region: san_francisco", "region: 12", f"{REGION}: region: must be a text, got the number 12"),
        ("region: san_francisco", "region:", f"{REGION}: region: must be a text, got nothing"),
        ("region: san_francisco", "region: ''", f"{REGION}: region: must not be empty"),
        ("region: san_francisco", "area: x", "area: unknown; known are region, depot"),
        ("region: san_francisco\n", "", "region is required, and missing"),
        ("region: san_francisco", "region: san\tfrancisco\n\tx: y", "not with tabs"),
        ("region: san_francisco", "region: &anchor san", f"{REGION}: anchors and aliases"),
        ("region: san_francisco", "region: !!str san", f"{REGION}: tags"),
        ("region: san_francisco", "<<: {region: x}", f"{REGION}: merge keys"),
        ("region: san_francisco", "1: x\nregion: x", f"{REGION}: a name must be a text: put 1 in quotes"),
        ("region: san_francisco", "on: x\nregion: x", f"{REGION}: a name must be a text: put on in quotes"),
        ("region: san_francisco", "? [a, b]\n: x", f"{REGION}: a name must be a text"),
        ("region: san_francisco", "---\nregion: x\n---", "expected a single document"),
        ("depot: {", "depot: [", f"{DEPOT}: "),
        ("lat_deg: 37.7577", "lat_deg: 91", f"{DEPOT}: depot.lat_deg: must be at least -90 and at most 90, got 91"),
        ("lat_deg: 37.7577", "lat_deg: -86.5", f"{DEPOT}: depot.lat_deg: must be from -85 to 85, got -86.5: east"),
        ("lat_deg: 37.7577", "lat_deg: '37.7'", f"{DEPOT}: depot.lat_deg: must be a number, got the text '37.7'"),
        (
            "lat_deg: 37.7577",
            "lat_deg: 37:45",
            f"{DEPOT}: depot.lat_deg: YAML readers differ on 37:45 (a number to some)",
        ),
        ("lat_deg: 37.7577", "lat_deg: true", f"{DEPOT}: depot.lat_deg: must be a number, got true"),
        (
            "lat_deg: 37.7577",
            "lat_deg: .nan",
            f"{DEPOT}: depot.lat_deg: YAML readers differ on .nan (a number to some)",
        ),
        ("lat_deg: 37.7577", "lat_deg: 1e999", f"{DEPOT}: depot.lat_deg: must be a finite number"),
        ("lat_deg: 37.7577", "lat_deg: 37, lat_deg: 38", f"{DEPOT}: depot.lat_deg: must be unique"),
        ("lat_deg: 37.7577, ", "", f"{DEPOT}: depot: lat_deg is required, and missing"),
        ("lat_deg: 37.7577", "lat_deg: 37, alt: 1", f"{DEPOT}: depot.alt: unknown; known are lat_deg, lon_deg"),
        (
            "service_radius_m: 8000.0",
            "service_radius_m: 8_000",
            f"{RADIUS}: service_radius_m: YAML readers differ on 8_000 (a number",
        ),
        (
            "service_radius_m: 8000.0",
            "service_radius_m: 010",
            f"{RADIUS}: service_radius_m: YAML readers differ on 010 (a number",
        ),
        (
            "service_radius_m: 8000.0",
            "service_radius_m: 0x1F",
            f"{RADIUS}: service_radius_m: YAML readers differ on 0x1F (a number",
        ),
        (
            "service_radius_m: 8000.0",
            "service_radius_m: 2026-01-01",
            f"{RADIUS}: service_radius_m: YAML readers differ on 2026-01-01 (a date",
        ),
        ("service_radius_m: 8000.0", "service_radius_m: 6e5", f"{RADIUS}: service_radius_m: must be above 0 and at"),
        ("service_radius_m: 8000.0", "service_radius_m: 0", f"{RADIUS}: service_radius_m: must be above 0"),
        ("drone_classes:", "classes:", "classes: unknown"),
        ("max_payload_kg: 3.0", "max_payload_kg: [3]", f"{PAYLOAD}: drone_classes.courier.max_payload_kg: must be a"),
        (
            "max_payload_kg: 3.0",
            "max_payload_kg: 3\n    max_payload_kg: 4",
            f"{PAYLOAD + 1}: drone_classes.courier.max",
        ),
        ("max_payload_kg: 3.0", "max_payload: 3", f"{PAYLOAD}: drone_classes.courier.max_payload: unknown"),
        ("  courier:", "  the courier:", "the name of a class must be"),
        ("  heavy:", "  courier:", "drone_classes.courier: must be unique"),
        ("no_fly_zones:", "no_fly_zones: 7\nnone:", "none: unknown; known are region"),
        ("yerba_buena_island: ", '"a\\tb": ', f"{ZONE}: no_fly_zones.a\\tb: a zone's name must be a letter"),
    ],
)
def test_a_mistake_in_the_fleet_description_is_named(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in PACKAGED
    assert says in refusal(PACKAGED.replace(before, after, 1), tmp_path)


def test_a_zone_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    """Otherwise the second would replace the first, and drones would fly through it."""
    zone = PACKAGED[PACKAGED.index("  yerba_buena_island:") : PACKAGED.index("drone_classes:")]
    twice = PACKAGED.replace(zone, zone + zone)
    line = line_of(twice, "yerba_buena_island:") + zone.count("\n")
    says = f"{line}: no_fly_zones.yerba_buena_island: must be unique, is in line {ZONE} already"
    assert refusal(twice, tmp_path).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must not be empty"),
        ("# only a remark\n", "must not be empty"),
        ("- a\n- b\n", "1: must be a mapping, got a list"),
        ("san_francisco\n", "1: must be a mapping, got the text 'san_francisco'"),
        ("a: [1, 2", "1: "),
        (b"region: \xff\xfe\n", "1: must be UTF-8"),
        (b"a: b\nregion: \xe9\n", "2: must be UTF-8"),
        ("a: b\nregion: a\x00b\n", "2: character 0x0 is not allowed"),
        ("[" * 20_000, "nested too deeply"),
        ("x" * ((1 << 20) + 1), "must have at most 1024 KiB"),
    ],
)
def test_a_file_that_is_no_fleet_description_is_refused(tmp_path: Path, text: str | bytes, says: str) -> None:
    assert says in refusal(text, tmp_path)


def test_a_folder_or_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(FileRefused, match=f"^{path}: "):
            fleet_config.load(path)


def test_output_of_common_editors_is_read(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, numbers without a decimal point, quoted text."""
    path = tmp_path / "fleet.yaml"
    text = PACKAGED.replace("8000.0", "8e3").replace("san_francisco", '"no"').replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    fleet = fleet_config.load(path)
    assert (fleet.service_radius_m, fleet.region) == (8000.0, "no")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("", "pattern is missing; it is required to start simulated drones"),
        ("pattern: courier", "pattern: must be a list, got the text 'courier'"),
        ("pattern: []", "pattern: must have at least 1, got 0"),
        ("pattern: [courier, hevy]", "pattern[1]: must be one of the drone_classes (courier, heavy), got 'hevy'"),
        ("pattern: [[courier]]", "pattern[0]: must be a text, got a list"),
    ],
)
def test_an_invalid_pattern_is_named(tmp_path: Path, given_: str, says: str) -> None:
    lines = [line for line in PACKAGED.splitlines() if not line.startswith("pattern")]
    path = tmp_path / "fleet.yaml"
    path.write_text("\n".join([*lines, given_]), encoding="utf-8")
    with pytest.raises(FileRefused) as caught:
        fleet_config.pattern(path)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "mine.yaml: must not be empty"),
        ("- a", "mine.yaml:1: must be a mapping"),
        ("/**/orchestrator: 7", "mine.yaml:1: /**/orchestrator: must be a mapping"),
        ("/**/orchestrator:\n  ros_parameters: {}", "mine.yaml:2: /**/orchestrator.ros_parameters: unknown"),
        ("/**/orchestrator: {ros__parameters: [1]}", "ros__parameters: must be a mapping, got a list"),
        (
            "/**/orchestrator:\n  ros__parameters:\n    a: 1\n    a: 2",
            "mine.yaml:4: /**/orchestrator.ros__parameters.a",
        ),
        ("x: {}\nx: {}", "mine.yaml:2: x: must be unique"),
        ("/**/orchestrator:\n  ros__parameters:\n    a: {b: 1}", "must be a parameter's value"),
        ("/**/orchestrator:\n  ros__parameters:\n    a: yes", "YAML readers differ on yes (true or false"),
    ],
)
def test_a_mistake_in_a_parameter_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        processes(FleetOptions(params_file=str(path)))
    assert says in str(caught.value)


def test_parameters_of_foreign_nodes_are_not_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "/lidar:\n  ros__parameters: {range_max: .inf, on: yes}\n".replace("on:", "spin:"), encoding="utf-8"
    )
    FleetOptions(params_file=str(path))


def test_a_mistake_in_the_bridge_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    path.write_text("- ros_topic_name: a\n- 7\n", encoding="utf-8")
    with pytest.raises(gazebo.GazeboError, match=r"bridge.yaml:2: \[1\]: must be a mapping, got the number 7"):
        gazebo.bridge(["drone_1"], path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f:1: must not be empty"),
        ("[\n  {,}\n]", "f:2: not JSON"),
        ('[\n {"a": 1},\n {"a": 1,\n  "a": 2}\n]', "f:4: [1].a: must be unique, is there already"),
        ('{"a": {"b": 1,\n "c": {"b": 1, "d": 2,\n "d": 3}}}', "f:3: a.c.d: must be unique"),
        ('{"x": {"d": 1}, "a": {"d": 1,\n "d": 3}}', "f:2: a.d: must be unique"),
        ('[{"a": 1,\n"b": NaN}]', "f:2: [0].b: must be a finite number, got NaN"),
        ('{"a": [1,\n -1e999]}', "f:2: a[1]: must be a finite number, got -1e999"),
        ('"\\ud800"', "half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "f: not JSON"),
    ],
)
def test_a_mistake_in_json_is_named(text: str, says: str) -> None:
    with pytest.raises(FileRefused) as caught:
        parse_json(text, "f")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_line_of_a_field_is_found() -> None:
    text = '[\n {"a": 1},\n {"a": {"x": "],{\\"",\n   "b": [1,\n 2]}}\n]'
    assert [json_line(text, each) for each in ("[0].a", "[1]", "[1].a.b[1]", "[1].a.missing")] == [2, 3, 5, 3]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_valid_json_is_read_unchanged(document: object) -> None:
    text = json.dumps(document, indent=1)
    if "\\ud" not in text.lower():
        assert parse_json(text, "f") == document
        json_line(text, "x")


noise = st.text(alphabet="ab:-[]{}&*!<>|'\"#\n\t 1.,?%@`~", max_size=60).map(str.encode)


@given(st.binary(max_size=200) | noise)
def test_any_invalid_content_gives_a_one_line_error(raw: bytes) -> None:
    for parse in (parse_yaml, parse_json):
        try:
            parse(decode(raw, "any"), "any")
        except FileRefused as error:
            assert str(error).startswith("any:") and len(str(error).splitlines()) == 1
