"""Short real runs of the benches that need a fleet."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from drone_orchestrator.bringup.local_fleet import dies_with_parent

pytestmark = [pytest.mark.ros, pytest.mark.etcd]


def run(*arguments: str) -> dict[str, Any]:
    command = [*dies_with_parent(), sys.executable, "-m", "drone_orchestrator.cli.main", "bench", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=270, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_scale_measures_a_small_fleet() -> None:
    (point,) = run("scale", "--drones", "4", "--seconds", "3")["points"]
    assert point["drones"] == 4
    assert 0.0 < point["leader_cpu_pct"] < 200.0
    assert 20.0 < point["leader_rss_mib"] < 1000.0
    assert point["heartbeat_jitter_p99_ms"] >= 0.0
    assert point["assign_p99_ms"] > 0.0


@pytest.mark.parametrize("whole", [False, True], ids=["pipeline", "fleet"])
def test_latency_counts_every_order_against_a_baseline(whole: bool) -> None:
    document = run("latency", "--rate", "4", "--seconds", "3", *(["--fleet"] if whole else []))
    assert document["whole_fleet"] is whole
    assert document["rate"] == 4.0
    assert document["n"] == 12
    assert 0.0 < document["p50_ms"] <= document["p99_ms"] <= document["max_ms"]
    assert document["baseline"]["n"] == 12
