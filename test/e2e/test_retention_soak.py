"""A short run of ``benchmarks/retention_soak.py``: orders go on and on, and etcd does not grow with them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.etcd, pytest.mark.slow, pytest.mark.timeout(90)]

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "retention_soak.py"
#: An order in the store: saga, id, and its events (accepted to delivered).
KEYS_PER_ORDER = 7


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("retention_soak", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_etcd_stays_bounded_while_orders_go_on_and_none_is_missing(soak: ModuleType, tmp_path: Path) -> None:
    run = soak.Soak(tmp_path, seconds=12.0, retention_s=1.0, drones=40, outstanding=100, compaction="2s")
    result = run.run()
    assert result.report.violations == ()
    assert (result.missing, result.report.archived) == (0, result.accepted)
    assert result.accepted >= 300, "too few orders to show anything"
    last = result.samples[-1]
    assert last.keys <= last.orders * KEYS_PER_ORDER / 2, "history does not leave as fast as it comes"
    assert result.left.keys <= 1, "only the leader's key may be left"
    assert result.left.in_use_bytes <= result.peak_bytes / 3, "etcd does not give its space back"
