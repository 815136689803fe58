"""The fleet under ROS 2's own launch: it comes up, delivers, survives its leader, and shuts down cleanly.

``launch_pytest`` comes with a ROS 2 installation only; where it is missing, ``test/ros/test_fleet.py`` runs the same
scenarios through the local runner.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

launch_pytest = pytest.importorskip("launch_pytest", reason="launch_pytest comes with ROS 2 only")

from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

from drone_orchestrator.bringup.runner import free_port  # noqa: E402

pytestmark = [pytest.mark.launch, pytest.mark.timeout(180)]

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "fleet.launch.py"
PORT = free_port()
URL = f"http://127.0.0.1:{PORT}"


@launch_pytest.fixture(scope="module")
def fleet_description() -> LaunchDescription:
    arguments = {"drones": "2", "time_scale": "40.0", "lease_ttl_s": "2.0", "http_port": str(PORT)}
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    return LaunchDescription(
        [
            IncludeLaunchDescription(source, launch_arguments=arguments.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


def ask(path: str, document: dict[str, object] | None = None, timeout_s: float = 60.0) -> dict[str, object]:
    """The gateway's answer; asks again until it listens."""
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5.0) as answer:
                found: dict[str, object] = json.load(answer)
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def deliver(order_id: str) -> None:
    place = {"lat": 37.7605, "lon": -122.4009}
    ask("/orders", {"order_id": order_id, "destination": place, "package_weight_kg": 1.0})
    deadline = time.monotonic() + 90.0
    while ask(f"/orders/{order_id}")["status"] != "DELIVERED":
        assert time.monotonic() < deadline, f"{order_id} was not delivered in time"
        time.sleep(0.2)


@pytest.mark.launch(fixture=fleet_description)
def test_an_order_is_delivered() -> None:
    deliver("LAUNCHED")


@pytest.mark.launch(fixture=fleet_description)
def test_a_killed_leader_is_replaced() -> None:
    import psutil

    leader = ask("/fleet")["leader"]
    assert isinstance(leader, dict)
    name = f"__node:={leader['holder']}"
    me = psutil.Process(os.getpid())
    pid = next(p.pid for p in me.children(recursive=True) if name in p.cmdline())
    os.kill(pid, signal.SIGKILL)
    deliver("AFTER-THE-LEADER")
