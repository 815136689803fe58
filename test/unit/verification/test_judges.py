"""Each judge objects to the history that was doctored for it, which breaks no invariant, and to no good one."""

from __future__ import annotations

import pytest
from histories import History, order, to_loading

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.types import Breaker, BreakerState, CancelRequest, Kind, Order, Saga, SagaStatus
from drone_orchestrator.verification.cancel_honoured import CancelHonoured
from drone_orchestrator.verification.checker import Invariant, check
from drone_orchestrator.verification.fair_breaker import FairBreaker
from drone_orchestrator.verification.goodput import Goodput
from drone_orchestrator.verification.justified_end import JustifiedEnd
from drone_orchestrator.verification.park_with_cause import ParkWithCause
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


# --- J1 justified_end -------------------------------------------------------------------------------------------------


class EndWitnessed:
    """A run of which everything can be said. By default nothing failed in it, and everything was possible."""

    lost_grace_s = 30.0
    max_attempts = 2

    def __init__(self, *, late: bool = True, flown: bool = False, heard: bool = False, troubled: bool = True) -> None:
        self.late, self.flown, self.heard, self.troubled = late, flown, heard, troubled

    def may_be_late(self, saga: Saga, revision: int) -> bool:
        return self.late

    def must_be_late(self, order: Order, revision: int) -> bool:
        return False

    def can_be_flown(self, order: Order) -> bool:
        return self.flown

    def was_heard(self, drone_id: str, revision: int) -> bool:
        return self.heard

    def was_troubled(self, first: int, last: int) -> bool:
        return self.troubled


def lost(reason: str = "drone_lost_with_package") -> History:
    history = to_loading()
    history.release("m1", sagas.FAILED, S.FAILED, reason=reason)
    return history


def test_an_order_whose_drone_could_be_heard_was_not_lost() -> None:
    report = judged(lost(), JustifiedEnd(EndWitnessed(heard=True)))
    assert [(v.invariant, v.name, v.revisions) for v in report.violations] == [("J1", "justified_end", (7,))]
    assert "d1 could be heard within the grace of 30 s" in report.violations[0].text
    assert objections(lost(), JustifiedEnd(EndWitnessed(heard=False))) == []


def test_an_order_fails_for_known_reasons_only() -> None:
    assert objections(lost("the_weather"), JustifiedEnd())
    assert objections(lost(), JustifiedEnd()) == []


def test_an_order_fails_by_its_deadline_only_once_that_has_passed() -> None:
    history = failed_at_first_sight(3.0, "deadline_exceeded")
    assert objections(history, JustifiedEnd()) == []
    assert objections(history, JustifiedEnd(EndWitnessed(late=True))) == []
    assert objections(history, JustifiedEnd(EndWitnessed(late=False)))
    assert objections(failed_at_first_sight(None, "deadline_exceeded"), JustifiedEnd())


def test_an_order_that_the_fleet_can_fly_does_not_fail_for_want_of_a_drone() -> None:
    for reason in ("no_capable_drone", "no_fly_zone"):
        assert objections(failed_at_first_sight(None, reason), JustifiedEnd(EndWitnessed(flown=True)))
        assert objections(failed_at_first_sight(None, reason), JustifiedEnd(EndWitnessed(flown=False))) == []


def test_an_order_that_its_drones_refuse_fails_for_their_reason() -> None:
    for reason in ("invalid_order", "too_heavy"):
        assert objections(failed_at_first_sight(None, reason), JustifiedEnd()) == []
        assert objections(failed_at_first_sight(None, reason), JustifiedEnd(EndWitnessed(flown=True)))
    assert objections(failed_at_first_sight(None, "busy"), JustifiedEnd())


def undone(*, times: int) -> History:
    history = History()
    history.leader()
    history.submit(order())
    history.accept(order())
    for _ in range(times):
        history.assign("m1", "d1")
        history.abandon("m1")
        history.compensate("m1")
    history.transition(history.event("m1", sagas.FAILED, S.FAILED, reason="attempts_exhausted"))
    return history


def test_attempts_are_exhausted_when_all_were_made_and_something_undid_each() -> None:
    assert objections(undone(times=2), JustifiedEnd(EndWitnessed())) == []
    assert objections(undone(times=1), JustifiedEnd(EndWitnessed()))
    assert objections(undone(times=2), JustifiedEnd(EndWitnessed(troubled=False)))
    assert objections(undone(times=0), JustifiedEnd())


def test_an_order_that_is_undone_in_order_to_fail_is_judged_by_that_decision() -> None:
    """The deadline passes between that decision and the end of the compensation."""

    class PassesAt(EndWitnessed):
        def __init__(self, revision: int) -> None:
            super().__init__()
            self.revision = revision

        def may_be_late(self, saga: Saga, revision: int) -> bool:
            return revision >= self.revision

    def given_up() -> History:
        history = History()
        history.leader()
        wanted = order(deadline_s=5.0)
        history.submit(wanted)
        history.accept(wanted)
        history.assign("m1", "d1")
        reason = "deadline_exceeded"
        given_up = history.event("m1", sagas.ABANDONED, S.COMPENSATING, target=S.FAILED, reason=reason)
        history.transition(given_up)
        for _ in range(9):
            history.write((Kind.OTHER, "unrelated", "x"))
        history.release("m1", sagas.COMPENSATED, S.FAILED, reason=reason)
        return history

    assert objections(given_up(), JustifiedEnd(PassesAt(6)))
    assert objections(given_up(), JustifiedEnd(PassesAt(5))) == []


def test_an_order_whose_deadline_has_passed_is_not_loaded() -> None:
    class TooLate(EndWitnessed):
        def must_be_late(self, order: Order, revision: int) -> bool:
            return True

    history = to_loading()
    history.deliver("m1")
    text = "order m1 was cleared to load, although its deadline had passed"
    assert objections(history, JustifiedEnd(TooLate())) == [text]
    assert objections(history, JustifiedEnd(EndWitnessed())) == []


def test_a_person_may_end_an_order() -> None:
    history = to_loading()
    history.abandon("m1")
    history.transition(history.event("m1", sagas.PARKED, S.COMPENSATING, target=S.PENDING, reason="package_missing"))
    history.release("m1", sagas.RESOLVED, S.FAILED, reason="lost by ops")
    assert objections(history, JustifiedEnd(EndWitnessed(heard=True, late=False, flown=True))) == []


# --- J5 park_with_cause -----------------------------------------------------------------------------------------------


class ParkWitnessed:
    """A run in which the drone has its journal and nothing failed, unless said otherwise."""

    def __init__(
        self, *, grounded: bool = False, journal: str = "j1", on_board: bool = True, troubled: bool = False
    ) -> None:
        self.grounded, self.journal, self.on_board, self.troubled = grounded, journal, on_board, troubled

    def was_grounded(self, drone_id: str, revision: int) -> bool:
        return self.grounded

    def newest_journal(self, message_id: str, revision: int) -> str:
        return self.journal

    def was_on_board(self, message_id: str, revision: int) -> bool:
        return self.on_board

    def was_troubled(self, first: int, last: int) -> bool:
        return self.troubled


def parked(*reasons: str) -> History:
    """The order is parked for each reason in turn, and then resolved by a person."""
    history = to_loading()
    history.abandon("m1")
    for reason in reasons:
        history.transition(history.event("m1", sagas.PARKED, S.COMPENSATING, target=S.PENDING, reason=reason))
    history.release("m1", sagas.RESOLVED, S.FAILED, reason="lost by ops")
    return history


def test_a_drone_that_was_not_grounded_parks_no_order_as_grounded() -> None:
    history = parked("drone_grounded_with_package")
    report = judged(history, ParkWithCause(ParkWitnessed()))
    assert [(v.invariant, v.name, v.revisions) for v in report.violations] == [("J5", "park_with_cause", (8,))]
    assert "d1 has not been grounded that long" in report.violations[0].text
    assert objections(history, ParkWithCause(ParkWitnessed(grounded=True))) == []


def test_a_lost_journal_parks_an_order_only_if_the_drone_has_another() -> None:
    history = parked("journal_lost_with_package")
    assert objections(history, ParkWithCause(ParkWitnessed(journal="j1")))
    assert objections(history, ParkWithCause(ParkWitnessed(journal="j2"))) == []


def test_a_package_on_board_is_not_missing() -> None:
    history = parked("package_missing")
    assert objections(history, ParkWithCause(ParkWitnessed(on_board=True)))
    assert objections(history, ParkWithCause(ParkWitnessed(on_board=False))) == []


def test_a_drone_disobeys_or_forgets_only_when_something_has_failed() -> None:
    for reason in ("recall_not_obeyed", "drone_knows_nothing_of_it", "no_progress_with_package"):
        assert objections(parked(reason), ParkWithCause(ParkWitnessed()))
        assert objections(parked(reason), ParkWithCause(ParkWitnessed(troubled=True))) == []


def test_an_order_is_parked_for_known_reasons_only_and_judged_once() -> None:
    assert objections(parked("the_weather"), ParkWithCause())
    assert objections(parked("package_missing"), ParkWithCause()) == []
    assert len(objections(parked("package_missing", "package_missing"), ParkWithCause(ParkWitnessed()))) == 1


# --- J2 cancel_honoured -----------------------------------------------------------------------------------------------


class Witnessed:
    """A run in which each revision takes a second. Every drone in ``reach`` could be served all the time."""

    def __init__(self, *reach: str | None, drop_began_s: float | None = None) -> None:
        self.reach = reach
        self.began_s = drop_began_s

    def committed_s(self, revision: int) -> float:
        return float(revision)

    def drop_began_s(self, message_id: str) -> float | None:
        return self.began_s

    def served_s(self, drone_id: str | None, from_s: float, until_s: float) -> float:
        return until_s - from_s if drone_id in self.reach else 0.0


def delivered_although_cancelled(*, after: int) -> History:
    """The request is made at revision 7; the order is delivered ``after`` seconds later."""
    history = to_loading()
    history.write((Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 100.0)))
    history.load("m1")
    while history.revision < 6 + after:
        history.write((Kind.OTHER, "unrelated", "x"))
    history.deliver("m1")
    history.write((Kind.INBOX_CANCEL, "m1", None))
    return history


def test_a_cancellation_in_time_that_is_not_obeyed_is_noticed() -> None:
    report = judged(delivered_although_cancelled(after=10), CancelHonoured(Witnessed("d1"), 10.0))
    assert [(v.invariant, v.name, v.revisions) for v in report.violations] == [("J2", "cancel_honoured", (7, 17))]
    assert "m1 ended DELIVERED" in report.violations[0].text


def test_a_cancellation_that_comes_too_late_need_not_be_obeyed() -> None:
    history = delivered_although_cancelled(after=10)
    assert objections(history, CancelHonoured(Witnessed("d1"), 10.1)) == []
    assert objections(history, CancelHonoured(Witnessed("d1", drop_began_s=16.9), 10.0)) == []


def test_a_cancellation_need_not_be_obeyed_by_a_drone_out_of_reach() -> None:
    history = delivered_although_cancelled(after=10)
    assert objections(history, CancelHonoured(Witnessed(None, "d2"), 1.0)) == []


def test_a_cancellation_before_any_drone_is_the_leader_s_to_obey() -> None:
    history = History()
    history.leader()
    history.submit(order())
    history.write((Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 100.0)))
    for _ in range(9):
        history.write((Kind.OTHER, "unrelated", "x"))
    history.accept(order())
    history.assign("m1", "d1")
    history.clear("m1")
    history.deliver("m1")
    history.write((Kind.INBOX_CANCEL, "m1", None))
    assert objections(history, CancelHonoured(Witnessed(None), 10.0))
    assert objections(history, CancelHonoured(Witnessed("d1"), 10.0)) == []


def test_an_order_lost_on_its_way_back_was_cancelled_honourably() -> None:
    history = to_loading()
    history.write((Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 100.0)))
    history.abandon("m1", S.CANCELLED)
    for _ in range(20):
        history.write((Kind.OTHER, "unrelated", "x"))
    history.release("m1", sagas.FAILED, S.FAILED, reason="drone_lost_with_package")
    history.write((Kind.INBOX_CANCEL, "m1", None))
    assert objections(history, CancelHonoured(Witnessed("d1"), 5.0)) == []


# --- J4 fair_breaker --------------------------------------------------------------------------------------------------


class FaultsWitnessed:
    """A run in which something was wrong with the drone ``d1`` at some revisions."""

    def __init__(self, *revisions: int) -> None:
        self.revisions = revisions

    def was_at_fault(self, drone_id: str, first: int, last: int) -> bool:
        return drone_id == "d1" and any(first <= revision <= last for revision in self.revisions)


def with_failures(*states: BreakerState, succeeds_after: int = 0) -> History:
    """Return a history in which an attempt of ``d1`` fails for each state of its breaker: three revisions each."""
    history, failures = History(), 0
    history.leader()
    history.submit(order())
    history.accept(order())
    for number, state in enumerate(states, 1):
        history.assign("m1", "d1")
        failures += 1
        breaker = Breaker("d1", state, history.epoch, failures)
        step = history.event("m1", sagas.ABANDONED, S.COMPENSATING, target=S.PENDING, reason="busy")
        history.transition(step, (Kind.BREAKER, "d1", breaker))
        history.compensate("m1")
        if number == succeeds_after:
            failures = 0
            history.write((Kind.BREAKER, "d1", Breaker("d1", BreakerState.CLOSED, history.epoch)))
    history.write((Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 100.0)))
    last = history.event("m1", sagas.CANCELLED, S.CANCELLED, reason="customer_request")
    history.transition(last, (Kind.INBOX_CANCEL, "m1", None))
    return history


CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN


def test_a_breaker_that_opens_without_any_fault_of_its_drone_is_noticed() -> None:
    report = judged(with_failures(CLOSED, CLOSED, OPEN), FairBreaker(FaultsWitnessed()))
    assert [(v.invariant, v.name, v.revisions) for v in report.violations] == [("J4", "fair_breaker", (5, 8, 11))]
    assert "the breaker of d1 opened" in report.violations[0].text and "(busy)" in report.violations[0].text


@pytest.mark.parametrize("witnessed", [(4, 7), (4, 10), (7, 10), (4,), (7,), (10,)])
def test_each_failure_must_be_the_drones_own(witnessed: tuple[int, ...]) -> None:
    history = with_failures(CLOSED, CLOSED, OPEN)
    assert objections(history, FairBreaker(FaultsWitnessed(4, 7, 10))) == []
    assert objections(history, FairBreaker(FaultsWitnessed(*witnessed)))


def test_failures_count_for_a_breaker_only_if_it_opens_and_until_a_success() -> None:
    assert objections(with_failures(CLOSED, CLOSED), FairBreaker(FaultsWitnessed())) == []
    history = with_failures(CLOSED, OPEN, succeeds_after=1)
    assert objections(history, FairBreaker(FaultsWitnessed(8))) == []
