"""A short run of ``fleetctl bench soak``: orders keep arriving, and etcd does not grow with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from drone_orchestrator.cli.bench.soak import OWN_KEYS, Sample, Soak, SoakResult
from drone_orchestrator.cli.main import fleetctl

pytestmark = [pytest.mark.etcd, pytest.mark.slow]

#: An order in the store: saga, id, and its events (accepted to delivered).
KEYS_PER_ORDER = 7


def test_etcd_stays_bounded_while_orders_keep_arriving_and_none_is_missing(tmp_path: Path) -> None:
    result = Soak(tmp_path, drones=40, outstanding=100, compaction=2, retention_s=1.0).run(1500)
    assert result.violations == ()
    assert (result.missing, result.archived) == (0, result.accepted) == (0, 1500)
    last = result.samples[-1]
    assert last.keys <= OWN_KEYS + last.orders * KEYS_PER_ORDER / 2, "history is archived more slowly than it arrives"
    assert result.left.keys <= OWN_KEYS, "only the region's own keys may be left"


def test_the_command_reports_its_figures(tmp_path: Path) -> None:
    picture = tmp_path / "soak.svg"
    arguments = ["--orders", "600", "--baseline-orders", "300", "--retention", "1", "--compaction", "2"]
    done = CliRunner().invoke(fleetctl, ["bench", "soak", *arguments, "--json", "--picture", str(picture)])
    document = json.loads(done.stdout.splitlines()[-1])
    assert (document["orders"], document["archived"], document["missing"], document["violations"]) == (600, 600, 0, 0)
    assert document["baseline_bytes_per_order"] > 500
    assert picture.read_text().startswith("<?xml")


def _result(**changes: object) -> SoakResult:
    samples = [Sample(float(s), 10 * s, 100, 1_000_000, 50_000_000) for s in range(16)]
    left = replace(samples[-1], keys=1)
    return replace(SoakResult(160, 16.0, samples, left, archived=160), **changes)  # type: ignore[arg-type]


def test_a_bounded_run_passes() -> None:
    assert _result().ok


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"missing": 2}, "2 orders are neither"),
        ({"left": Sample(20.0, 160, 8, 0, 0)}, "8 keys stayed"),
        ({"violations": ("I2: two drones",)}, "I2: two drones"),
        ({"samples": [Sample(0.0, 0, 0, 10 + s, 100) for s in range(40)]}, "etcd grew"),
        ({"samples": [Sample(0.0, 0, 0, 100, 10 + s) for s in range(40)]}, "memory grew"),
    ],
)
def test_growth_and_losses_are_reported(changes: dict[str, object], complaint: str) -> None:
    result = _result(**changes)
    assert not result.ok
    assert any(complaint in each for each in result.complaints)
