"""``fleetctl bench failover`` on a small fleet of real processes: one round of each kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.bringup.local_fleet import dies_with_parent

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.timeout(600)]


def test_a_round_of_each_kind_without_an_aborted_delivery(tmp_path: Path) -> None:
    picture = tmp_path / "failover.svg"
    command = [*dies_with_parent(), sys.executable, "-m", "drone_orchestrator.cli.main", "bench", "failover", "--json"]
    command += ["--kills", "1", "--drones", "6", "--picture", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=570, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1, "stdout must be one JSON object"
    for kind in ("kill", "hang", "handover", "lease_only"):
        assert document[kind]["n"] == 1
    assert (document["aborted"], document["violations"]) == (0, 0)
    fast = max(document[kind]["max_s"] for kind in ("kill", "hang", "handover"))
    assert fast < document["lease_only"]["p50_s"], "a standby that misses heartbeats does not wait for the lease"
    assert picture.read_text().startswith("<?xml")
