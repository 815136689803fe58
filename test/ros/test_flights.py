"""Flight stacks are found by name, in any package that registers one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from drone_orchestrator.bringup.gazebo import bridge
from drone_orchestrator.core.types import DroneClass, GeoPoint
from drone_orchestrator.flight.controller import FlightSetup
from drone_orchestrator.flight.kinematic import KinematicFlight
from drone_orchestrator.nodes.drone_executor.flight_plugins import load_flight
from drone_orchestrator.ros import names
from drone_orchestrator.ros.process import ConfigurationError

DEPOT = GeoPoint(37.7577, -122.3876)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0)
NO_NODE: Any = None  # the flights here speak no ROS


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that registers two flight stacks, one of which cannot be imported."""
    described = tmp_path / "glider-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: glider\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[drone_orchestrator.flight]\nglider = glider:fly\nkite = glider:no_such_function\n"
    )
    (tmp_path / "glider.py").write_text("def fly(setup, node):\n    return ('gliding', setup.drone_id, node)\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_built_in_model_is_the_kinematic_one_and_starts_at_the_depot(tmp_path: Path) -> None:
    setup = FlightSetup("drone_1", COURIER, DEPOT, tmp_path / "drone_1.flight.json", time_scale=10.0)
    flight = load_flight("kinematic")(setup, NO_NODE)
    assert isinstance(flight, KinematicFlight)
    assert flight.ready
    assert flight.state.energy_wh == COURIER.battery_wh
    flight.close()
    assert setup.path.exists()


def test_a_flight_stack_of_another_package_is_found(other_package: Path) -> None:
    made: Any = load_flight("glider")(FlightSetup("drone_7", COURIER, DEPOT, other_package / "state"), NO_NODE)
    assert made == ("gliding", "drone_7", None)


def test_an_unknown_flight_stack_is_refused_and_the_known_ones_are_named(other_package: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'broomstick' is not registered; known: .*glider.*kinematic"):
        load_flight("broomstick")


def test_a_registered_flight_stack_that_is_not_installed_is_refused(other_package: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'kite'.*no_such_function"):
        load_flight("kite")


def test_the_gazebo_backend_speaks_the_topics_that_the_bridge_carries() -> None:
    carried = {entry["ros_topic_name"]: entry["ros_type_name"] for entry in bridge(["drone_1"])}
    assert carried[names.drone_odometry("drone_1")] == "nav_msgs/msg/Odometry"
    assert carried[names.drone_set_point("drone_1")] == "geometry_msgs/msg/Twist"
    assert carried[names.drone_motors("drone_1")] == "std_msgs/msg/Bool"
