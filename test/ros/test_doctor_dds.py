"""The doctor finds shared memory left by a killed DDS process, but not that of a running one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drone_orchestrator.bringup.local_fleet import dies_with_parent
from drone_orchestrator.cli.doctor.machine import left_in_shared_memory

pytest.importorskip("rclpy")

pytestmark = pytest.mark.ros

SHM = Path("/dev/shm")
_PROGRAM = "import rclpy, sys; rclpy.init(); n = rclpy.create_node('left'); print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def made() -> Iterator[set[str]]:
    """Names that a test found in shared memory. They are removed afterwards."""
    names: set[str] = set()
    yield names
    for name in names:
        (SHM / name).unlink(missing_ok=True)


def mapped(pid: int) -> set[str]:
    """Return the names of the DDS segments that the process uses, whatever others on this machine have there.

    A process also maps what belongs to others: tracing (LTTng) shares a file between all users.
    """
    words = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    names = {Path(each[5]).name for each in words if len(each) > 5 and each[5].startswith(f"{SHM}/")}
    return {name for name in names if name.startswith(("fastrtps_", "fastdds_", "sem.fast"))}


def test_only_the_segments_of_a_killed_process_count_as_left(made: set[str], domain: int) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FASTDDS", "FASTRTPS"))}
    environment |= {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    process = subprocess.Popen(
        [*dies_with_parent(), sys.executable, "-c", _PROGRAM],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        made |= mapped(process.pid)
        assert any(name.startswith("fastrtps_") for name in made), made
        assert not made & set(left_in_shared_memory()), "a running process uses them"
    finally:
        process.kill()
        process.wait()
    assert any(name.startswith("fastrtps_") for name in made & set(left_in_shared_memory()))
