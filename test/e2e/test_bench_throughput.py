"""Short runs of benches on a real etcd: their figures are those of the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.bringup.local_fleet import dies_with_parent

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.etcd


@pytest.mark.parametrize("way", [(), ("--http", "--clients", "8")], ids=["store", "http"])
def test_throughput_reports_rates_of_a_durable_store_beside_its_baseline(tmp_path: Path, way: tuple[str, ...]) -> None:
    if way:
        pytest.importorskip("rclpy")
    picture = tmp_path / "throughput.svg"
    command = [
        *dies_with_parent(),
        sys.executable,
        "-m",
        "drone_orchestrator.cli.main",
        "bench",
        "throughput",
        "--json",
    ]
    options = ["--drones", "60", "--rounds", "2", "--picture", str(picture), *way]
    run = subprocess.run([*command, *options], capture_output=True, text=True, timeout=270, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert {"orders", "orders_per_s", "baseline_orders_per_s", "ratio", "fsync"} <= figures.keys()
    assert (figures["orders"], figures["fsync"]) == (120, True)
    assert figures["ratio"] == pytest.approx(figures["orders_per_s"] / figures["baseline_orders_per_s"], rel=0.01)
    assert figures["delivered_per_s"] > 0.0
    assert "all steps" in picture.read_text(encoding="utf-8")


def test_lanes_floods_one_lane_and_times_another() -> None:
    command = [*dies_with_parent(), sys.executable, "-m", "drone_orchestrator.cli.main", "bench", "lanes", "--json"]
    # One waiting order fills the lane, and refusing is much faster than assigning, on any machine.
    options = ["--seconds", "2", "--flood-rate", "1000", "--waiting", "1"]
    run = subprocess.run([*command, *options], capture_output=True, text=True, timeout=270, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert figures["quiet"]["n"] == figures["flooded"]["n"] == 40
    assert figures["flood_accepted"] > 0 and figures["flood_refused"] > 0
    assert figures["ratio_p50"] == pytest.approx(figures["flooded"]["p50_ms"] / figures["quiet"]["p50_ms"], rel=0.01)


def test_the_leader_s_cost_of_an_order_is_reported_by_stage() -> None:
    command = [
        *dies_with_parent(),
        sys.executable,
        str(ROOT / "benchmarks" / "leader_cost.py"),
        "--orders",
        "60",
        "--rounds",
    ]
    run = subprocess.run([*command, "2"], capture_output=True, text=True, timeout=270, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    stages, by_json = figures["us_per_order"], figures["by_json_us_per_order"]
    assert set(stages) == set(by_json) >= {"decide", "commit", "echo in"}
    assert all(figure > 0.0 for figure in [*stages.values(), *by_json.values()])
    wrong = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=270, check=False)
    assert wrong.returncode == 2 and wrong.stderr.splitlines()[-1].endswith("must be at least 1")
