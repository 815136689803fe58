"""What a DDS process that was killed leaves in shared memory is found, what a living one uses is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drone_orchestrator.cli.doctor.machine import left_in_shared_memory

pytest.importorskip("rclpy")

pytestmark = pytest.mark.ros

SHM = Path("/dev/shm")
_PROGRAM = "import rclpy, sys; rclpy.init(); n = rclpy.create_node('left'); print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def clean() -> Iterator[set[str]]:
    """What was in shared memory before; what came since goes afterwards."""
    before = {path.name for path in SHM.iterdir()}
    yield before
    for name in set(left_in_shared_memory()) - before:
        (SHM / name).unlink(missing_ok=True)


def test_a_killed_process_leaves_segments_and_a_living_one_uses_them(clean: set[str], domain: int) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FASTDDS", "FASTRTPS"))}
    environment |= {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        made = {path.name for path in SHM.iterdir()} - clean
        assert any(name.startswith("fastrtps_") for name in made), made
        assert not made & set(left_in_shared_memory()), "it lives, and uses them"
    finally:
        process.kill()
        process.wait()
    assert any(name.startswith("fastrtps_") for name in made & set(left_in_shared_memory()))
