"""A fleet that is included in a group of actions keeps the group's namespace, remappings and environment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="launch_pytest comes with ROS 2 only")

import launch_pytest
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription, RegisterEventHandler, SetEnvironmentVariable
from launch.event_handlers import OnProcessStart
from launch.events.process import ProcessStarted
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetRemap

from drone_orchestrator.bringup import dds
from drone_orchestrator.bringup.local_fleet import DomainReservation

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "fleet.launch.py"
RESERVATION, ELSEWHERE = DomainReservation(), DomainReservation()
#: One drone process, one orchestrator, monitor and gateway, each after the one before is up.
PROCESSES = 4
STARTED: list[tuple[list[str], str]] = []
ALL = threading.Event()


def started(event: ProcessStarted, _: object) -> None:
    STARTED.append((list(event.cmd), Path(f"/proc/{event.pid}/environ").read_text(errors="replace")))
    if len(STARTED) == PROCESSES:
        ALL.set()


@launch_pytest.fixture
def a_fleet_in_a_group() -> LaunchDescription:
    environment = {"ROS_DOMAIN_ID": str(RESERVATION.domain), **dds.loopback()}
    fleet = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH_FILE)),
        launch_arguments={"drones": "1", "replicas": "1", "http_port": "0"}.items(),
    )
    return LaunchDescription(
        [
            SetEnvironmentVariable("ROS_DOMAIN_ID", str(ELSEWHERE.domain)),
            RegisterEventHandler(OnProcessStart(on_start=started)),
            GroupAction(
                [
                    *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
                    PushRosNamespace("site1"),
                    SetRemap("saga_table", "table_of_site1"),
                    fleet,
                ]
            ),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=a_fleet_in_a_group)
def test_every_step_of_a_fleet_starts_in_the_scope_of_its_group() -> Iterator[None]:
    # Launch would wait 60 s for the two steps if it looked for their nodes by other names, or in another domain.
    assert ALL.wait(45.0)
    for command, environment in STARTED:
        assert "__ns:=/site1" in command, command
        assert "saga_table:=table_of_site1" in command, command
        assert f"ROS_DOMAIN_ID={RESERVATION.domain}" in environment.split("\0"), command
    yield
