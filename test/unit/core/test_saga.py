"""The saga's fold: which events may follow each other, and what each leaves in the record."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import make_order

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.saga import TRANSITIONS, IllegalTransition, apply, begin, fold, next_event
from drone_orchestrator.core.types import Saga, SagaEvent, SagaStatus

S = SagaStatus
ORDER = make_order()


def accepted() -> Saga:
    return apply(None, begin(ORDER, now_s=1.0, epoch=3))


def step(saga: Saga, type_: str, to: SagaStatus, **fields: object) -> Saga:
    return apply(saga, event(saga, type_, to, **fields))


def event(saga: Saga, type_: str, to: SagaStatus, **fields: object) -> SagaEvent:
    return next_event(saga, type_, to, now_s=2.0, epoch=4, **fields)  # type: ignore[arg-type]


def loading() -> Saga:
    assigned = step(accepted(), sagas.ASSIGNED, S.ASSIGNED, drone_id="d")
    return step(assigned, sagas.CLEARED, S.LOADING, journal_id="j")


def compensating(target: SagaStatus = S.PENDING) -> Saga:
    return step(loading(), sagas.ABANDONED, S.COMPENSATING, reason="why", target=target)


def parked() -> Saga:
    return step(compensating(), sagas.PARKED, S.COMPENSATING, reason="stuck", target=S.PENDING)


def test_only_steps_in_the_table_are_allowed() -> None:
    """A step from any status, by any event, to any status is allowed if and only if the table says so."""
    examples = {
        None: None,
        S.PENDING: accepted(),
        S.ASSIGNED: step(accepted(), sagas.ASSIGNED, S.ASSIGNED, drone_id="d"),
        S.LOADING: loading(),
        S.COMPENSATING: parked(),
    }
    for status in set(S) - set(examples):
        examples[status] = replace(loading(), status=status)
    triggers = {trigger for _, trigger in TRANSITIONS}
    for status, saga in examples.items():
        for trigger in triggers:
            for to in S:
                made = begin(ORDER, now_s=1.0, epoch=3) if saga is None else event(saga, trigger, to)
                made = replace(made, type=trigger, to_status=to)
                if to in TRANSITIONS.get((status, trigger), ()):
                    assert apply(saga, made).status is to
                else:
                    with pytest.raises(IllegalTransition):
                        apply(saga, made)


def test_no_event_follows_a_terminal_status() -> None:
    assert not [status for status, _ in TRANSITIONS if status is not None and status.is_terminal]


@pytest.mark.parametrize(
    "change",
    [{"n": 3}, {"n": 1}, {"attempt": 2}, {"message_id": "another"}, {"from_status": S.LOADING}],
)
def test_an_event_out_of_sequence_is_refused(change: dict[str, object]) -> None:
    good = event(accepted(), sagas.CANCELLED, S.CANCELLED, reason="why")
    with pytest.raises(IllegalTransition):
        apply(accepted(), replace(good, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"n": 2}, {"order": None}, {"message_id": "another"}])
def test_the_first_event_carries_its_order_and_is_number_one(change: dict[str, object]) -> None:
    with pytest.raises(IllegalTransition, match="first event"):
        apply(None, replace(begin(ORDER, now_s=1.0, epoch=3), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(("trigger", "to"), [(sagas.RETRIED, S.COMPENSATING), (sagas.RESOLVED, S.DELIVERED)])
def test_only_a_parked_order_waits_for_an_operator(trigger: str, to: SagaStatus) -> None:
    with pytest.raises(IllegalTransition, match="not parked"):
        apply(compensating(), event(compensating(), trigger, to))
    assert apply(parked(), event(parked(), trigger, to)).parked is False


def test_an_assignment_is_a_new_attempt_without_a_journal() -> None:
    waiting = step(compensating(), sagas.COMPENSATED, S.PENDING, reason="why", not_before=9.0)
    assert (waiting.drone_id, waiting.journal_id, waiting.target, waiting.not_before) == (None, None, None, 9.0)
    again = step(waiting, sagas.ASSIGNED, S.ASSIGNED, drone_id="e")
    assert (again.attempt, again.drone_id, again.journal_id, again.not_before) == (2, "e", None, 0.0)


def test_drone_and_journal_stay_on_record_until_the_package_is_back() -> None:
    assert (parked().drone_id, parked().journal_id) == ("d", "j")
    lost = step(parked(), sagas.RESOLVED, S.FAILED, reason="lost")
    assert (lost.drone_id, lost.journal_id, lost.reason) == ("d", "j", "lost")
    gone = step(compensating(S.CANCELLED), sagas.COMPENSATED, S.CANCELLED, reason="why")
    assert (gone.drone_id, gone.journal_id) == (None, None)


def test_a_history_folds_to_its_state_and_an_empty_one_to_none() -> None:
    first = begin(ORDER, now_s=1.0, epoch=3)
    second = event(apply(None, first), sagas.CANCELLED, S.CANCELLED, reason="why")
    folded = fold([first, second])
    assert folded is not None
    assert (folded.status, folded.event_count, folded.updated_at, folded.epoch) == (S.CANCELLED, 2, 2.0, 4)
    assert fold([]) is None
