"""A fleet that is told to end during its start leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="launch_pytest comes with ROS 2 only")

import launch_pytest
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, RegisterEventHandler, SetEnvironmentVariable
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.launch_description_sources import PythonLaunchDescriptionSource

from drone_orchestrator.bringup import dds
from drone_orchestrator.bringup.local_fleet import DomainReservation

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "fleet.launch.py"
RESERVATION = DomainReservation()
STARTED = threading.Event()
ENDED: list[int] = []


@launch_pytest.fixture
def half_a_fleet() -> LaunchDescription:
    environment = {"ROS_DOMAIN_ID": str(RESERVATION.domain), **dds.loopback()}
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    return LaunchDescription(
        [
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            RegisterEventHandler(OnProcessStart(on_start=lambda event, context: STARTED.set())),
            RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: ENDED.append(event.pid))),
            IncludeLaunchDescription(source, launch_arguments={"drones": "1", "http_port": "0"}.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=half_a_fleet)
def test_a_fleet_told_to_end_while_it_waits_for_its_drones_ends_in_order() -> Iterator[None]:
    assert STARTED.wait(120.0)
    yield  # the fixture checks that launch ends with code 0
    assert len(ENDED) == 1  # the drones: nothing else had been started, and nothing was afterwards
