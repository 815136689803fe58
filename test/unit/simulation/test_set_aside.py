"""An error that the core contains is still a defect in the simulation."""

from __future__ import annotations

from typing import Any

import pytest

from drone_orchestrator.core.leader.after_loading import AfterLoading
from drone_orchestrator.simulation.profile import PROFILES
from drone_orchestrator.simulation.world import World


def test_what_a_leader_sets_aside_is_a_problem_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a defect about one order")

    monkeypatch.setattr(AfterLoading, "_settle", fail)
    result = World(1, PROFILES["calm"]).run()
    assert any("aside" in problem and "a defect about one order" in problem for problem in result.problems)
