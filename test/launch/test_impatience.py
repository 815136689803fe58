"""Ctrl-C pressed again and again ends a launch as one does: in order, with nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="launch_pytest comes with ROS 2 only")

from drone_orchestrator.bringup import dds
from drone_orchestrator.bringup.local_fleet import DomainReservation

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "fleet.launch.py"
#: What `ros2 launch` does with a file.
PROGRAM = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = {"drones": "1", "replicas": "1", "http_port": "0"}
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments.items())])
)
sys.exit(service.run())
"""
PID = re.compile(r"process started with pid \[(\d+)\]")


@pytest.mark.parametrize("ready", ["process started with pid", "accepting orders at"], ids=["early", "ready"])
@pytest.mark.parametrize("presses", [2, 20])
def test_an_impatient_user_does_not_stop_the_shutdown(ready: str, presses: int) -> None:
    reservation = DomainReservation()
    environment = {**os.environ, **dds.loopback(), "ROS_DOMAIN_ID": str(reservation.domain), "PYTHONUNBUFFERED": "1"}
    launch = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(LAUNCH_FILE)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    try:
        assert launch.stdout is not None
        for line in launch.stdout:
            said.append(line)
            if ready in line:
                break
        for _ in range(presses):
            os.killpg(launch.pid, signal.SIGINT)
            threading.Event().wait(0.05)  # about the pace of a double press
        rest, _ = launch.communicate(timeout=120)
        said += rest.splitlines(keepends=True)
    finally:
        launch.kill()
        reservation.release()
    told = "".join(said)
    assert launch.returncode == 0, told
    assert "Traceback" not in told
    assert not [pid for pid in PID.findall(told) if Path("/proc", pid).exists()], told
