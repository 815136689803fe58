"""The figures and charts of ``fleetctl bench scale`` and ``bench latency``."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from drone_orchestrator.cli.bench import latency, scale
from drone_orchestrator.cli.bench.order_probe import percentile_ms
from drone_orchestrator.cli.commands.bench import bench

MACHINE = {"cpus": 2}


def point(drones: int, cpu: float) -> dict[str, object]:
    return {
        "drones": drones,
        "leader_cpu_pct": cpu,
        "host_cpu_pct": cpu,
        "heartbeat_jitter_p99_ms": 3.0,
        "assign_p99_ms": 9.0,
    }


def test_percentiles_are_in_milliseconds() -> None:
    assert percentile_ms([0.001, 0.002, 0.003], 50) == 2.0
    assert percentile_ms([0.001, 0.002, 0.003], 100) == 3.0


def test_jitter_is_the_delay_of_a_heartbeat_and_an_early_one_counts_as_punctual() -> None:
    assert scale.jitter_p99_ms([0.1, 0.1, 0.06], 0.1) == 0.0
    assert scale.jitter_p99_ms([0.25], 0.1) == pytest.approx(150.0)


@pytest.mark.parametrize("sizes", ["", "10,,20", "ten", "0", "10,1001"])
def test_invalid_sizes_are_a_usage_error(sizes: str) -> None:
    answer = CliRunner().invoke(bench, ["scale", "--drones", sizes])
    assert answer.exit_code == 2


def test_the_scale_chart_shows_proportional_growth_beside_the_measurements() -> None:
    points = [point(10, 5.0), point(200, 50.0)]
    assert "in proportion" in scale.picture({"points": points, "machine": MACHINE})
    assert "in proportion" not in scale.picture({"points": points[:1], "machine": MACHINE})


def test_the_latency_chart_has_a_row_for_the_naive_pipeline() -> None:
    figures = {"rate": 50.0, "n": 2, "p50_ms": 5.0, "p99_ms": 6.0}
    svg = latency.picture(
        {**figures, "whole_fleet": False, "samples_ms": [5.0, 6.0], "baseline_samples_ms": [2.0, 3.0]}
    )
    assert "naive pipeline" in svg
