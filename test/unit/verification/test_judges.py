"""Each judge objects to the history that was doctored for it, which breaks no invariant, and to no good one."""

from __future__ import annotations

from histories import History, order, to_loading

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.types import CancelRequest, Kind, SagaStatus
from drone_orchestrator.verification.checker import Invariant, check
from drone_orchestrator.verification.goodput import Goodput
from drone_orchestrator.verification.records import CheckReport

S = SagaStatus


def judged(history: History, judge: Invariant) -> CheckReport:
    report = check(history.changes, complete=True, judges=(judge,))
    assert not any(report.invariants.values()), report.violations
    assert set(report.judges) == {judge.id}
    return report


def objections(history: History, judge: Invariant) -> list[str]:
    return [violation.text for violation in judged(history, judge).violations]


# --- J7 goodput -------------------------------------------------------------------------------------------------------


def failed_at_first_sight(deadline_s: float | None, reason: str) -> History:
    history = History()
    history.leader()
    history.submit(order(deadline_s=deadline_s))
    history.accept(order(deadline_s=deadline_s))
    history.transition(history.event("m1", sagas.FAILED, S.FAILED, reason=reason))
    return history


def test_a_calm_region_that_fails_an_order_at_first_sight_is_noticed() -> None:
    report = judged(failed_at_first_sight(None, "no_capable_drone"), Goodput(60.0))
    assert not report.ok
    assert [(v.invariant, v.name, v.revisions) for v in report.violations] == [("J7", "goodput", (4,))]
    assert "m1 ended FAILED (no_capable_drone)" in report.violations[0].text


def test_in_a_calm_region_only_an_order_in_a_hurry_may_miss_its_deadline() -> None:
    assert objections(failed_at_first_sight(59.0, "deadline_exceeded"), Goodput(60.0)) == []
    assert objections(failed_at_first_sight(60.0, "deadline_exceeded"), Goodput(60.0))
    assert objections(failed_at_first_sight(59.0, "no_capable_drone"), Goodput(60.0))


def test_in_a_calm_region_an_order_is_cancelled_on_request_only() -> None:
    def cancelled(*, on_request: bool) -> History:
        history = to_loading()
        if on_request:
            history.write((Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 100.0)))
        history.abandon("m1", S.CANCELLED)
        history.compensate("m1", S.CANCELLED)
        if on_request:
            history.write((Kind.INBOX_CANCEL, "m1", None))
        return history

    assert objections(cancelled(on_request=True), Goodput(60.0)) == []
    assert objections(cancelled(on_request=False), Goodput(60.0))


def test_a_calm_region_that_delivers_is_not_complained_of() -> None:
    history = to_loading()
    history.deliver("m1")
    assert judged(history, Goodput(60.0)).ok
