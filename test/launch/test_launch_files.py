"""Every launch file loads, describes its arguments, and starts the processes that it promises, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_pytest", reason="launch_pytest comes with ROS 2 only")

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueCoroutine, RegisterEventHandler
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from drone_orchestrator.bringup import launch_arguments, launching
from drone_orchestrator.bringup.launching import FleetProcess

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
FLEET = ["drones_1", "drones_2", "drones_3", "|"]
REPLICAS = ["orchestrator_a", "orchestrator_b", "orchestrator_c"]


def load(file: str, context: LaunchContext) -> LaunchDescription:
    return PythonLaunchDescriptionSource(str(LAUNCH / f"{file}.launch.py")).get_launch_description(context)


def steps(entities: Iterable[Any], context: LaunchContext) -> Iterator[str]:
    """Return the names of what would start, with ``|`` where the rest waits. Nothing is started."""
    late: list[Any] = []
    for entity in entities:
        if isinstance(entity, FleetProcess):
            yield entity.spec.name
        elif isinstance(entity, Node):
            yield entity.node_executable
        elif isinstance(entity, OpaqueCoroutine):
            yield "|"
            yield from steps(late, context)
        elif isinstance(entity, RegisterEventHandler):
            late = list(entity.event_handler.describe()[1])
        else:
            yield from steps(entity.visit(context) or [], context)


@pytest.fixture(autouse=True)
def rviz_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "require_rviz", lambda: None)


def started(file: str, **given: str) -> list[str]:
    context = LaunchContext()
    context.launch_configurations.update({"etcd_endpoints": "store:2379", "data_dir": "/nowhere", **given})
    return list(steps(load(file, context).entities, context))


@pytest.mark.parametrize("file", sorted(launch_arguments.FILES))
def test_a_file_describes_its_arguments(file: str) -> None:
    shown = load(file, LaunchContext()).get_launch_arguments()
    assert [each.name for each in shown] == [each.name for each in launch_arguments.of(file)]
    for argument, declared in zip(shown, launch_arguments.of(file), strict=True):
        assert argument.description.startswith(declared.description)


@pytest.mark.parametrize(
    ("file", "given", "wanted"),
    [
        ("fleet", {}, [*FLEET, *REPLICAS, "|", "saga_monitor", "order_gateway"]),
        ("fleet", {"monitor": "false", "gateway": "false"}, [*FLEET, *REPLICAS]),
        ("simulation", {"rviz": "true"}, [*FLEET, *REPLICAS, "|", "saga_monitor", "order_gateway", "rviz2"]),
        ("drones", {"drones": "3"}, ["drones_1", "drones_2"]),
        ("orchestrators", {"replicas": "3"}, REPLICAS),
        ("monitor", {}, ["saga_monitor"]),
        ("gateway", {}, ["order_gateway"]),
        ("rviz", {}, ["rviz2"]),
        ("drone", {"drone_id": "drone_7"}, ["drone_7"]),
        ("ground_station", {}, [launch_arguments.host_replica(), "|", "saga_monitor", "order_gateway"]),
        ("ground_station", {"orchestrator": "false", "gateway": "false"}, ["saga_monitor"]),
        ("ground_station", {"gateway": "false", "monitor": "false"}, [launch_arguments.host_replica()]),
        ("edge", {"region": "bay", "replica": "near"}, ["near"]),
        ("edge", {"region": "bay", "replica": "near", "gateway": "true"}, ["near", "|", "order_gateway"]),
    ],
)
def test_a_file_starts_the_processes_that_it_promises(file: str, given: dict[str, str], wanted: list[str]) -> None:
    assert started(file, **given) == wanted
