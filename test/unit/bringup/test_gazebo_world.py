"""Gazebo's world, models and bridge: valid SDF, able to fly, and with the same topics as the nodes."""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import yaml
from sdf_parser import complaints
from sdf_structure import faults

from drone_orchestrator.bringup import fleet_config, gazebo
from drone_orchestrator.bringup.gazebo import GazeboError
from drone_orchestrator.core.types import DroneClass, FleetSpec, GeoPoint, NoFlyZone
from drone_orchestrator.flight.battery import DEPOT_RADIUS_M

ROOT = Path(__file__).resolve().parents[3]
GAZEBO = ROOT / "config" / "gazebo"
SDF = sorted(GAZEBO.rglob("*.sdf"))
FLEET = fleet_config.load(ROOT / "config" / "fleet.yaml")
CLASSES, DEPOT = FLEET.classes, FLEET.depot
PALACE = NoFlyZone("palace", (GeoPoint(51.5, -0.125), GeoPoint(51.5, -0.124), GeoPoint(51.501, -0.125)))
LONDON = FleetSpec("london", GeoPoint(51.5, -0.125), 5000.0, CLASSES, (PALACE,))
GRAVITY_MPS2 = 9.81


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_gazebo", ROOT / "tools" / "generate_gazebo.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def model(drone_class: DroneClass) -> ElementTree.Element:
    root = ElementTree.parse(GAZEBO / "models" / drone_class.name / "model.sdf").getroot()
    found = root.find("model")
    assert found is not None
    return found


def number(element: ElementTree.Element, path: str) -> float:
    text = element.findtext(path)
    assert text is not None, path
    return float(text)


def motors(drone: ElementTree.Element) -> list[ElementTree.Element]:
    return [each for each in drone.iterfind("plugin") if each.get("name") == "gz::sim::systems::MulticopterMotorModel"]


def controller(drone: ElementTree.Element) -> ElementTree.Element:
    name = "gz::sim::systems::MulticopterVelocityControl"
    [found] = [each for each in drone.iterfind("plugin") if each.get("name") == name]
    return found


def test_the_files_match_the_generator() -> None:
    written = generator().files()
    assert {path for path in written if path.suffix == ".sdf"} == set(SDF)
    for path, text in written.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run tools/generate_gazebo.py"


# --- valid SDF --------------------------------------------------------------------------------------------------------


def generated_by_the_launch_file() -> dict[str, str]:
    return {
        "drone": gazebo.model_for("drone_7", "courier", gazebo.default_models()),
        "world": gazebo.world_for(LONDON, gazebo.default_world().read_text(), "town.sdf"),
    }


@pytest.mark.parametrize("path", SDF, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_has_a_valid_structure(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


def test_what_the_launch_file_generates_has_a_valid_structure() -> None:
    for text in generated_by_the_launch_file().values():
        assert faults(text) == []


@pytest.mark.parametrize("path", SDF, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_real_parser_accepts_every_file(path: Path) -> None:
    assert complaints(path) == ""


@pytest.mark.parametrize("name", ["drone", "world"])
def test_a_real_parser_accepts_what_the_launch_file_generates(tmp_path: Path, name: str) -> None:
    written = tmp_path / f"{name}.sdf"
    written.write_text(generated_by_the_launch_file()[name], encoding="utf-8")
    assert complaints(written) == ""


BREAKAGES = [
    ("worlds/town.sdf", "</link>", "</lonk>", "not XML"),
    ("models/courier/model.sdf", "<child>rotor_1</child>", "<child>nowhere</child>", "is no other link: nowhere"),
    ("models/courier/model.sdf", 'type="revolute"', 'type="revolving"', "must not be 'revolving'"),
    ("models/heavy/model.sdf", '<link name="rotor_2">', '<link name="rotor_1">', "the name rotor_1 is taken 2 times"),
    ("models/heavy/model.sdf", "<xyz>0 0 1</xyz>", "<xyz>up</xyz>", "must hold numbers, got 'up'"),
]


@pytest.mark.parametrize(("path", "sound", "broken", "says"), BREAKAGES)
def test_a_broken_copy_is_refused(path: str, sound: str, broken: str, says: str) -> None:
    text = (GAZEBO / path).read_text(encoding="utf-8")
    assert sound in text
    assert says in "\n".join(faults(text.replace(sound, broken, 1)))


@pytest.mark.parametrize(("path", "sound", "broken", "says"), BREAKAGES)
def test_a_real_parser_refuses_a_broken_copy(tmp_path: Path, path: str, sound: str, broken: str, says: str) -> None:
    copy = tmp_path / "copy.sdf"
    copy.write_text((GAZEBO / path).read_text(encoding="utf-8").replace(sound, broken, 1), encoding="utf-8")
    assert complaints(copy) != "", f"but the structure check says: {says}"


@pytest.mark.parametrize(
    ("sound", "broken", "says"),
    [
        ("<mass>5.28</mass>", "", "<inertial> has 0 <mass>"),
        ("<mass>5.28</mass>", "<mass>0</mass>", "<mass> must be positive"),
        ("<mass>5.28</mass>", "<mass>5.28</mass><weight>5</weight>", "unknown element <weight>"),
        ("<pose>0 0 0.29 0 0 0</pose>", "<pose>0 0 0.29</pose>", "must hold 6 numbers, got 3"),
        ("<sphere>", "<sphere/><sphere>", "a geometry must be one shape, got 2"),
        ('<joint name="rotor_0_joint"', '<joint name="rotor_0"', "the name rotor_0 is taken 2 times"),
        ("<parent>base_link</parent>", "<parent>rotor_0</parent>", "is no other link"),
        ("<plugin filename=", "<plugin file=", "<plugin> lacks the attribute filename"),
        ('<sdf version="1.9">', '<sdf version="2.0">', "must not be '2.0'"),
    ],
)
def test_the_structure_check_finds_every_mistake(sound: str, broken: str, says: str) -> None:
    text = (GAZEBO / "models" / "courier" / "model.sdf").read_text(encoding="utf-8")
    assert sound in text
    assert says in "\n".join(faults(text.replace(sound, broken, 1)))


# --- physics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drone_class", CLASSES, ids=lambda each: each.name)
def test_a_quadrotor_can_hover_and_has_thrust_to_spare_with_its_heaviest_package(drone_class: DroneClass) -> None:
    drone = model(drone_class)
    mass_kg = sum(float(each.text or "") for each in drone.iterfind("link/inertial/mass"))
    assert mass_kg == pytest.approx(drone_class.empty_mass_kg, rel=1e-4)
    weight_n = (mass_kg + drone_class.max_payload_kg) * GRAVITY_MPS2
    thrusts = [number(each, "motorConstant") * number(each, "maxRotVelocity") ** 2 for each in motors(drone)]
    assert len(thrusts) == 4
    assert sum(thrusts) > 1.5 * weight_n
    hover = math.sqrt(weight_n / 4 / number(motors(drone)[0], "motorConstant"))
    assert hover < 0.8 * number(motors(drone)[0], "maxRotVelocity")


@pytest.mark.parametrize("drone_class", CLASSES, ids=lambda each: each.name)
def test_inertias_are_physically_possible(drone_class: DroneClass) -> None:
    for inertia in model(drone_class).iterfind("link/inertial/inertia"):
        moments = sorted(number(inertia, axis) for axis in ("ixx", "iyy", "izz"))
        assert moments[0] > 0.0
        assert moments[2] <= moments[0] + moments[1] + 1e-9, "the triangle inequality of moments of inertia"


@pytest.mark.parametrize("drone_class", CLASSES, ids=lambda each: each.name)
def test_the_controller_agrees_with_the_motors(drone_class: DroneClass) -> None:
    drone = model(drone_class)
    turning = {"cw": "-1", "ccw": "1"}
    rotors = list(controller(drone).iterfind("rotorConfiguration/rotor"))
    torque = [0.0, 0.0, 0.0]
    for rotor, motor in zip(rotors, motors(drone), strict=True):
        assert rotor.findtext("jointName") == motor.findtext("jointName")
        assert rotor.findtext("forceConstant") == motor.findtext("motorConstant")
        assert rotor.findtext("momentConstant") == motor.findtext("momentConstant")
        assert rotor.findtext("direction") == turning[motor.findtext("turningDirection") or ""]
        [link] = [each for each in drone.iterfind("link") if each.get("name") == motor.findtext("linkName")]
        east, north = map(float, (link.findtext("pose") or "").split()[:2])
        for axis, lever in enumerate((east, north, float(rotor.findtext("direction") or ""))):
            torque[axis] += lever
    assert torque == pytest.approx([0.0, 0.0, 0.0], abs=1e-6), "equal thrusts do not turn it"
    fastest = min(map(float, (controller(drone).findtext("maximumLinearVelocity") or "").split()))
    assert fastest > drone_class.cruise_speed_mps


def test_a_model_stands_on_the_ground_at_height_0() -> None:
    for drone_class in CLASSES:
        [base] = [each for each in model(drone_class).iterfind("link") if each.get("name") == "base_link"]
        up = float((base.findtext("pose") or "").split()[2])
        lowest = min(
            up
            + float((each.findtext("pose") or "0 0 0").split()[2])
            - float((each.findtext("geometry/box/size") or "").split()[2]) / 2
            for each in base.iterfind("collision")
        )
        assert lowest == pytest.approx(0.0, abs=1e-6)


# --- the world --------------------------------------------------------------------------------------------------------


def test_the_world_has_everything_that_flying_needs() -> None:
    world = ElementTree.parse(gazebo.default_world()).getroot().find("world")
    assert world is not None
    systems = {each.get("name", "").rsplit("::", 1)[-1] for each in world.iterfind("plugin")}
    assert {"Physics", "Sensors", "UserCommands", "SceneBroadcaster"} <= systems
    place = world.find("spherical_coordinates")
    assert place is not None
    assert (number(place, "latitude_deg"), number(place, "longitude_deg")) == (DEPOT.lat_deg, DEPOT.lon_deg)
    assert (place.findtext("world_frame_orientation"), number(place, "heading_deg")) == ("ENU", 0.0)


def test_no_building_is_in_the_way() -> None:
    tool = generator()
    lowest_cruise_m = min(each.cruise_altitude_m for each in CLASSES)
    for east, north, length, width, height in tool.HOUSES:
        assert height < lowest_cruise_m - 15.0, "drones cruise above the roofs"
        assert math.hypot(abs(east) - length / 2, abs(north) - width / 2) > 2 * DEPOT_RADIUS_M
    boxes = tool.HOUSES
    for (e1, n1, l1, w1, _), (e2, n2, l2, w2, _) in itertools.combinations(boxes, 2):
        assert abs(e1 - e2) > (l1 + l2) / 2 or abs(n1 - n2) > (w1 + w2) / 2, "houses stand apart"


def test_zones_are_visible_but_not_solid() -> None:
    zones = zones_of(gazebo.default_world().read_text())
    assert list(zones) == [each.name for each in FLEET.no_fly_zones] != []
    for zone in zones.values():
        assert zone.find("link/collision") is None
        assert 0.0 < number(zone, "link/visual/transparency") < 1.0
        assert number(zone, "link/visual/geometry/polyline/height") > max(each.cruise_altitude_m for each in CLASSES)


def zones_of(sdf: str) -> dict[str, ElementTree.Element]:
    models = ElementTree.fromstring(sdf).iterfind("world/model")
    named = {each.get("name", ""): each for each in models}
    return {name.removeprefix("no_fly_zone_"): each for name, each in named.items() if name.startswith("no_fly_zone_")}


def test_origin_and_zones_follow_the_fleet() -> None:
    moved = gazebo.world_for(LONDON, gazebo.default_world().read_text(), "town.sdf")
    [(name, zone)] = zones_of(moved).items()
    assert name == "palace"
    corners = [
        tuple(map(float, (each.text or "").split())) for each in zone.iterfind("link/visual/geometry/polyline/point")
    ]
    assert corners == [(0.0, 0.0), pytest.approx((69.4, 0.0), abs=0.2), pytest.approx((0.0, 111.3), abs=0.2)]
    place = ElementTree.fromstring(moved).find("world/spherical_coordinates")
    assert place is not None
    assert (number(place, "latitude_deg"), number(place, "longitude_deg")) == (51.5, -0.125)
    assert gazebo.world_name(moved, "town.sdf") == "town"


@pytest.mark.parametrize(
    ("sdf", "says"),
    [
        ("<sdf>", "town.sdf: not SDF: "),
        ("<sdf/>", "town.sdf has no world"),
        ("<sdf><world/></sdf>", "town.sdf: its world has no spherical_coordinates"),
    ],
)
def test_a_world_that_cannot_be_used_is_refused(sdf: str, says: str) -> None:
    with pytest.raises(GazeboError, match=re.escape(says)):
        gazebo.world_for(FLEET, sdf, "town.sdf")


def test_a_world_without_a_name_is_refused() -> None:
    with pytest.raises(GazeboError, match="no name"):
        gazebo.world_name("<sdf><world/></sdf>", "town.sdf")


# --- drones -----------------------------------------------------------------------------------------------------------


def test_every_drone_has_its_own_pad_where_it_charges() -> None:
    found = gazebo.pads(25)
    assert found[0] == (0.0, 0.0)
    assert all(math.hypot(*pad) < DEPOT_RADIUS_M for pad in found)
    assert min(math.dist(a, b) for a, b in itertools.combinations(found, 2)) > 3.0
    with pytest.raises(GazeboError, match=r"at most 25, .*, got 26"):
        gazebo.pads(26)


def test_a_drone_is_named_and_listens_to_its_own_topics() -> None:
    drone = ElementTree.fromstring(gazebo.model_for("drone_7", "heavy", gazebo.default_models())).find("model")
    assert drone is not None
    assert drone.get("name") == "drone_7"
    assert {each.text for each in drone.iterfind("plugin/robotNamespace")} == {"drone_7"}


def test_a_class_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GazeboError, match="drone class glider needs a quadrotor there"):
        gazebo.model_for("drone_1", "glider", gazebo.default_models())
    (tmp_path / "glider").mkdir()
    (tmp_path / "glider" / "model.sdf").write_text("<sdf><model name='glider'/></sdf>")
    with pytest.raises(GazeboError, match="robotNamespace"):
        gazebo.model_for("drone_1", "glider", tmp_path)


def test_the_bridge_forwards_every_topic_of_every_drone() -> None:
    entries = gazebo.bridge(["drone_1", "drone_2"])
    assert [each["gz_topic_name"] for each in entries].count("/clock") == 1
    assert len(entries) == 1 + 3 * 2
    assert not any("<" in str(each) for each in entries)
    assert all(each["direction"] in ("GZ_TO_ROS", "ROS_TO_GZ") for each in entries)
    assert yaml.safe_load(yaml.safe_dump(entries)) == entries
    drone = ElementTree.fromstring(gazebo.model_for("drone_2", "courier", gazebo.default_models())).find("model")
    assert drone is not None
    flown = controller(drone)
    listens = {f"/drone_2/{flown.findtext('commandSubTopic')}", f"/drone_2/{flown.findtext('enableSubTopic')}"}
    carried = {str(each["gz_topic_name"]) for each in entries if each["direction"] == "ROS_TO_GZ"}
    assert listens <= carried
