"""The simulation notices every broken rule, and complains of nothing if no rule is broken."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hunt import BOUND, SUITE_SEEDS, hunt, hunt_all
from mutants import MUTANTS, Mutant, Patch

from drone_orchestrator.core.leader.steps import Steps
from drone_orchestrator.core.leader.usefulness import Usefulness
from drone_orchestrator.simulation.profile import INTENSE
from drone_orchestrator.simulation.seeds import run_seed
from drone_orchestrator.verification.records import INVARIANTS, JUDGES

GUARANTEES = Path(__file__).parents[2] / "docs" / "guarantees.md"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_mutant_breaks_what_it_attacks_and_the_same_seeds_pass_without_one():
    catches, failing = hunt_all(list(MUTANTS), os.cpu_count() or 1, known=SUITE_SEEDS)
    missed = [f"{catch.mutant} ({catch.attacks}): {catch.text}" for catch in catches if not catch.caught]
    assert not missed, f"not caught within {BOUND} seeds:\n" + "\n".join(missed)
    assert [catch.mutant for catch in catches] == list(MUTANTS)
    assert not failing, [(result.seed, result.problems) for result in failing]


def test_every_invariant_and_every_judge_is_attacked():
    assert {mutant.invariant for mutant in MUTANTS.values()} == {*INVARIANTS, *JUDGES}
    assert len(MUTANTS) >= 16


def test_the_guarantees_page_lists_every_mutant_with_the_rule_that_it_leaves_out():
    rows = [line.split("|") for line in GUARANTEES.read_text().partition("\n## The mutants\n")[2].splitlines()]
    listed = {row[1].strip(): row[2].strip() for row in rows if len(row) > 2 and row[1].strip().startswith("`")}
    assert listed == {f"`{mutant.name}`": mutant.rule for mutant in MUTANTS.values()}


def test_a_mutant_leaves_nothing_broken_behind():
    before = run_seed(0, INTENSE).trace_hash
    for mutant in MUTANTS.values():
        with mutant.alive():
            pass
    assert run_seed(0, INTENSE).trace_hash == before


def _does_nothing(patch: Patch) -> None:
    """Leaves out no rule."""


def _dies(patch: Patch) -> None:
    """Raises an exception in the core."""
    patch.replace(Steps, "schedule", None)


@pytest.mark.parametrize(("apply", "why"), [(_does_nothing, "survived"), (_dies, "exception")])
def test_neither_a_harmless_mutant_nor_one_that_only_dies_counts_as_caught(monkeypatch, apply, why):
    monkeypatch.setitem(MUTANTS, "probe", Mutant("probe", "I3", "", apply))
    catch = hunt("probe", bound=2)
    assert not catch.caught
    assert why in catch.text


def _other_signature(patch: Patch) -> None:
    patch.replace(Usefulness, "judge", lambda usefulness, senses, now: ("", False))


def test_a_mutant_whose_call_went_out_of_date_is_refused_before_any_seed_runs():
    with pytest.raises(TypeError, match=r"judge\(.*others_can.*takes other arguments"), _alive(_other_signature):
        pass


def _alive(apply: Callable[[Patch], None]) -> AbstractContextManager[None]:
    return Mutant("probe", "I3", "", apply).alive()
