"""A process that must start again closes first, and ends instead if it was also asked to end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.bringup import dds

pytest.importorskip("rclpy")

pytestmark = pytest.mark.ros

_PROGRAM = """
import os, signal, sys
from rclpy.node import Node
from drone_orchestrator.ros.process import StartAgain, run_node

class Application:
    def __init__(self):
        self.node = Node("again")
        self.nodes = (self.node,)
        self.first = not os.path.exists(sys.argv[1])
        print("start", os.getpid(), *sys.argv[2:], len(os.listdir("/proc/self/fd")))
        self.node.create_timer(0.01, self.tick)

    def tick(self):
        if not self.first:
            os.kill(os.getpid(), signal.SIGTERM)
            self.first = True
        elif os.path.exists(sys.argv[1]):
            pass  # the signal is on its way
        else:
            open(sys.argv[1], "w").close()
            raise StartAgain("so it must be")

    def close(self):
        print("close")
        self.node.destroy_node()
        if "--ended" in sys.argv:
            os.kill(os.getpid(), signal.SIGTERM)

raise SystemExit(run_node(Application))
"""


def run(mark: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(mark), *arguments],
        env={**os.environ, **dds.loopback()},
        capture_output=True,
        text=True,
        timeout=180.0,
        check=False,
    )


def test_it_closes_and_starts_again_with_the_same_process_id_and_arguments(tmp_path: Path) -> None:
    done = run(tmp_path / "mark", "--word")
    assert done.returncode == 0, done.stderr
    first, closed, second, closed_again = done.stdout.splitlines()
    assert first == second  # its process id, its arguments, and no file left open by the first
    assert first.split()[2] == "--word"
    assert closed == closed_again == "close"
    assert done.stderr.strip() == "-c: starting again: so it must be"


def test_a_signal_while_it_closes_ends_it(tmp_path: Path) -> None:
    done = run(tmp_path / "mark", "--ended")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["start", "close"]
