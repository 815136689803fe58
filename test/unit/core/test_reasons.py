"""Every reason has a consequence and a meaning, is used, and is documented if it needs an operator."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from drone_orchestrator.core.reasons import Consequence, GoalRefusal, Reason, RecallRefusal, RefusalCause
from drone_orchestrator.core.types import DeliveryOutcome, Outcome

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "src" / "drone_orchestrator").rglob("*.py"))
#: Reasons named after outcomes: they apply if the drone gives no reason of its own.
OF_OUTCOMES = {Reason.NOT_LOADED, Reason.FAULT_BEFORE_LOADING, Reason.RETURNED}


def _table(page: str, heading: str) -> list[str]:
    """Return the first column of the first table after ``heading``."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1]
    rows = re.search(r"^\| reason .*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert rows is not None
    return [row.split("|")[1].strip().strip("`") for row in rows.group(1).splitlines()]


def test_a_reason_is_shown_as_its_text() -> None:
    reason = Reason.NO_FLY_ZONE
    assert (str(reason), f"{reason}", json.dumps(reason)) == ("no_fly_zone", "no_fly_zone", '"no_fly_zone"')
    assert {reason: 1}["no_fly_zone"] == 1 and Reason("no_fly_zone") is reason


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_meaning(reason: Reason) -> None:
    assert reason.meaning.endswith(".")
    assert f"| `{reason}` | {reason.meaning} |" in (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")


def test_every_reason_has_a_consequence() -> None:
    by_consequence = [reason for consequence in Consequence for reason in Reason.that(consequence)]
    assert sorted(by_consequence) == sorted(Reason)


def test_the_runbook_covers_every_reason_to_fail() -> None:
    of_orders = GoalRefusal.of(RefusalCause.ORDER)
    assert _table("runbooks.md", "SagaFailed") == [*Reason.that(Consequence.FAILS), *of_orders, "lost by …"]


def test_the_operations_page_covers_every_reason_to_park() -> None:
    assert _table("operations.md", "Parked orders") == list(Reason.that(Consequence.PARKS))


def test_every_reason_and_refusal_is_used() -> None:
    named = {
        (node.value.id, node.attr)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert [r for r in Reason if ("Reason", r.name) not in named and r not in OF_OUTCOMES] == []
    assert [r for r in GoalRefusal if ("GoalRefusal", r.name) not in named] == []
    assert [r for r in RecallRefusal if ("RecallRefusal", r.name) not in named] == []


@pytest.mark.parametrize("refusal", GoalRefusal)
def test_every_refusal_has_a_cause_and_a_meaning(refusal: GoalRefusal) -> None:
    assert refusal.cause is not RefusalCause.UNSPECIFIED
    row = f"| `{refusal}` | {refusal.meaning} |"
    assert row in (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")


def test_causes_have_the_numbers_of_the_message() -> None:
    text = (ROOT / "src" / "drone_interfaces" / "msg" / "GoalRefusal.msg").read_text(encoding="utf-8")
    assert dict(re.findall(r"^uint8 (\w+)=(\d+)", text, re.MULTILINE)) == {c.name: str(int(c)) for c in RefusalCause}


def test_the_core_refers_to_reasons_by_name() -> None:
    spelled = {str(reason) for reason in Reason if "_" in reason.value}
    found = [
        f"{path.name}:{node.lineno}: {node.value}"
        for path in SOURCES
        if path.parts[-2] in ("leader", "drone", "telemetry")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in spelled
    ]
    assert found == []


@pytest.mark.parametrize("reason", sorted(OF_OUTCOMES))
def test_an_outcome_without_a_reason_gives_its_name_as_the_reason(reason: Reason) -> None:
    outcome = Outcome[reason.name]
    assert DeliveryOutcome("m", 1, outcome).why == reason
    assert DeliveryOutcome("m", 1, outcome, reason="battery_empty").why == "battery_empty"
