"""The figures and charts of ``fleetctl bench failover`` and ``steadiness``."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from drone_orchestrator.cli.bench.failover import KINDS, picture, result
from drone_orchestrator.cli.bench.steadiness import gaps

SAMPLES_S = {"kill": [0.4, 0.3, 0.5], "hang": [0.6], "handover": [0.05, 0.07], "lease_only": [4.0, 5.0]}


def test_the_figures_are_computed_from_the_rounds() -> None:
    document = result(SAMPLES_S, aborted=0, violations=2)
    assert document["kill"] == {"n": 3, "p50_s": 0.4, "p99_s": 0.498, "max_s": 0.5}
    assert document["hang"] == {"n": 1, "p50_s": 0.6, "p99_s": 0.6, "max_s": 0.6}
    assert document["ratio_p50"] == pytest.approx(4.5 / 0.4)
    assert (document["aborted"], document["violations"]) == (0, 2)


def test_the_chart_has_a_dot_for_each_round() -> None:
    svg = ElementTree.fromstring(picture(result(SAMPLES_S, 0, 0)))
    rows = [g for g in svg.iter() if (g.get("id") or "").startswith("PathCollection")]
    dots = [sum(1 for element in row.iter() if element.tag.endswith("}use")) for row in rows]
    assert dots == [len(SAMPLES_S[kind]) for kind in KINDS]


def test_gaps_are_measured_between_heartbeats_and_none_without_heartbeats() -> None:
    assert gaps([0.1, 0.1, 0.3]) == {"heartbeats": 4, "gap_p50_s": 0.1, "gap_p99_s": 0.296, "gap_max_s": 0.3}
    assert gaps([])["heartbeats"] == 0
