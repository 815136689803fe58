"""The fleet under ROS 2's own launch: it comes up in order, delivers, survives, and shuts down in reverse.

``launch_pytest`` comes with a ROS 2 installation only; without it, ``test/ros/test_fleet.py`` runs the same
scenarios through the local runner.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_pytest", reason="launch_pytest comes with ROS 2 only")

import launch_pytest
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, RegisterEventHandler, SetEnvironmentVariable
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.events.process import ProcessExited, ProcessStarted
from launch.launch_description_sources import PythonLaunchDescriptionSource

from drone_orchestrator.bringup import dds
from drone_orchestrator.bringup.local_fleet import DomainReservation, free_port
from drone_orchestrator.bringup.plan import STOP_ORDER

pytestmark = pytest.mark.timeout(600)

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "fleet.launch.py"
PORT = free_port()
URL = f"http://127.0.0.1:{PORT}"
RESERVATION = DomainReservation()
ENVIRONMENT = {"ROS_DOMAIN_ID": str(RESERVATION.domain), **dds.loopback()}
FLEET = {
    "drones": "2",
    "drones_per_process": "1",
    "time_scale": "40.0",
    "lease_ttl_s": "2.0",
    "reservation_ttl_s": "3.0",
    "http_port": str(PORT),
}
ROLES = {"orchestrator": "orchestrator", "drone_executor": "drones", "saga_monitor": "monitor"}
STARTED: list[ProcessStarted] = []
EXITED: list[ProcessExited] = []


@launch_pytest.fixture(scope="module")
def fleet_description() -> LaunchDescription:
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    return LaunchDescription(
        [
            *(SetEnvironmentVariable(name, value) for name, value in ENVIRONMENT.items()),
            RegisterEventHandler(OnProcessStart(on_start=lambda event, context: STARTED.append(event))),
            RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: EXITED.append(event))),
            IncludeLaunchDescription(source, launch_arguments=FLEET.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


def role(event: ProcessStarted | ProcessExited) -> str:
    executable = next(Path(word).name for word in event.cmd if "/lib/drone_orchestrator/" in word)
    return ROLES.get(executable, "gateway")


def wait_for(what: Callable[[], Any], timeout_s: float, why: str) -> Any:
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        pause.wait(0.1)
    raise AssertionError(f"not within {timeout_s} s: {why}")


def ask(path: str, document: dict[str, object] | None = None) -> dict[str, Any]:
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60.0) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def ready() -> bool:
    try:
        return bool(ask("/readyz"))
    except OSError:
        return False


def submit(order_id: str) -> None:
    wait_for(ready, 180.0, "the gateway is ready")
    place = {"lat": 37.7749, "lon": -122.4194}
    ask("/orders", {"order_id": order_id, "destination": place, "package_weight_kg": 1.0})


def until(order_id: str, *statuses: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        found = ask(f"/orders/{order_id}")
        return found if found["status"] in statuses else None

    found: dict[str, Any] = wait_for(there, 180.0, f"{order_id} is {' or '.join(statuses)}")
    return found


def leader() -> str:
    def known() -> str | None:
        found = ask("/fleet")["leader"]
        return found["holder"] if found else None

    name: str = wait_for(known, 90.0, "a replica leads")
    return name


def pids(word: str) -> list[int]:
    """Return the running processes with ``word`` in their command lines, as launch reported them."""
    ended = {event.pid for event in EXITED}
    return [e.pid for e in STARTED if e.pid not in ended and any(word in part for part in e.cmd)]


_CHANGE_STATE = """
import sys
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
rclpy.init()
node = rclpy.create_node("operator")
client = node.create_client(ChangeState, f"/{sys.argv[1]}/change_state")
assert client.wait_for_service(60.0)
def answer(label, timeout_s):
    future = client.call_async(ChangeState.Request(transition=Transition(label=label)))
    rclpy.spin_until_future_complete(node, future, timeout_sec=timeout_s)
    return future.result() if future.done() else None
# A server drops its answer to a client that it has not discovered yet. Every node answers "no" to a label that does
# not exist; after that answer none is lost.
assert any(answer("none", 5.0) is not None for _ in range(10))
print(answer(sys.argv[2], 60.0).success)
rclpy.try_shutdown()
"""
DEACTIVATE, ACTIVATE = "deactivate", "activate"


def change_state(node: str, transition: str) -> bool:
    """Do the same as ``ros2 lifecycle set``; return whether it succeeded."""
    command = [sys.executable, "-c", _CHANGE_STATE, node, transition]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout.split()[-1] == "True"


@pytest.mark.launch(fixture=fleet_description)
def test_a_fleet_comes_up_in_order_and_an_order_is_delivered() -> None:
    submit("LAUNCHED")
    until("LAUNCHED", "DELIVERED")
    roles = list(dict.fromkeys(role(event) for event in STARTED))
    assert roles == list(reversed(STOP_ORDER))
    assert len(STARTED) == 7 and EXITED == []


@pytest.mark.launch(fixture=fleet_description)
def test_deactivating_the_leader_hands_leadership_over() -> None:
    before = leader()
    assert change_state(before, DEACTIVATE)
    wait_for(lambda: leader() != before, 90.0, "another one leads")
    submit("HANDED-OVER")
    until("HANDED-OVER", "DELIVERED")
    change_state(before, ACTIVATE)  # a standby again; activation alone makes no leader
    assert EXITED == []


@pytest.mark.launch(fixture=fleet_description)
def test_a_killed_leader_is_replaced_and_restarted() -> None:
    before = leader()
    submit("LEADER-DIES")
    until("LEADER-DIES", "IN_TRANSIT")
    [pid] = pids(f"__node:={before}")
    os.kill(pid, signal.SIGKILL)
    assert until("LEADER-DIES", "DELIVERED")["attempt"] == 1
    assert leader() != before
    wait_for(lambda: pids(f"__node:={before}"), 90.0, "the dead replica's process is back")


@pytest.mark.launch(fixture=fleet_description)
def test_a_killed_drone_process_is_restarted_and_finishes_its_order() -> None:
    submit("DRONE-DIES")
    until("DRONE-DIES", "IN_TRANSIT")
    before = pids("drone_executor")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert until("DRONE-DIES", "DELIVERED")["attempt"] == 1
    assert len(pids("drone_executor")) == 2 and not set(before) & set(pids("drone_executor"))


@pytest.mark.launch(fixture=fleet_description)
def test_a_fleet_shuts_down_in_reverse_and_cleanly() -> Iterator[None]:
    wait_for(lambda: len(pids("drone_orchestrator")) == 7, 90.0, "every process is up")
    before = len(EXITED)
    yield
    ended = EXITED[before:]
    assert [event.returncode for event in ended] == [0] * 7
    assert list(dict.fromkeys(role(event) for event in ended)) == list(STOP_ORDER)
