"""The saga obeys its table for any input, has no dead ends, and refuses a shuffled history."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import EVENT_TYPES, events, numbers, orders, sagas

from drone_orchestrator.core import saga as core
from drone_orchestrator.core.saga import TRANSITIONS, IllegalTransition, apply, begin, fold, next_event
from drone_orchestrator.core.types import GeoPoint, Order, Saga, SagaEvent, SagaStatus

S = SagaStatus


@st.composite
def histories(draw: st.DrawFn, most: int = 25) -> list[SagaEvent]:
    """Draw a path through the table, built as the leader builds it."""
    order = draw(orders(st.just("m1")))
    history = [begin(order, now_s=draw(numbers), epoch=draw(st.integers(1, 9)))]
    saga = apply(None, history[0])
    for _ in range(draw(st.integers(0, most))):
        steps = [
            (type_, to)
            for (status, type_), targets in TRANSITIONS.items()
            for to in sorted(targets)
            if status is saga.status
            and not (type_ == core.COMPENSATED and to is not saga.target)
            and not (type_ in (core.RETRIED, core.RESOLVED) and not saga.parked)
        ]
        if not steps:
            break
        type_, to = draw(st.sampled_from(steps))
        undoing = draw(st.sampled_from([S.PENDING, S.CANCELLED, S.FAILED])) if type_ == core.ABANDONED else saga.target
        event = next_event(
            saga,
            type_,
            to,
            now_s=draw(numbers),
            epoch=saga.epoch + draw(st.integers(0, 2)),
            drone_id=draw(st.sampled_from(["d1", "d2"])) if type_ == core.ASSIGNED else None,
            journal_id="j" if type_ == core.CLEARED else None,
            reason=draw(st.sampled_from([None, "because"])),
            target=undoing if to is S.COMPENSATING else None,
        )
        history.append(event)
        saga = apply(saga, event)
    return history


@settings(max_examples=20)
@given(sagas(st.just("m1")), events(st.just("m1")), st.booleans())
def test_every_status_and_event_follow_the_table_or_are_refused(saga: Saga, event: SagaEvent, fits: bool) -> None:
    for status, type_, to in product([None, *S], [*EVENT_TYPES, "invented"], S):
        before = None if status is None else replace(saga, status=status)
        step = replace(event, type=type_, to_status=to, from_status=status)
        if fits:
            n, attempt = (1, 0) if before is None else (before.event_count + 1, before.attempt)
            step = replace(step, n=n, attempt=attempt + (type_ == core.ASSIGNED))
        allowed = to in TRANSITIONS.get((status, type_), frozenset())
        try:
            after = apply(before, step)
        except IllegalTransition:
            # An allowed event with the right number may be refused for two reasons only.
            unparked = type_ in (core.RETRIED, core.RESOLVED) and not (before and before.parked)
            assert not (allowed and fits) or unparked or (before is None and step.order is None)
            continue
        assert allowed
        assert (after.status, after.event_count) == (step.to_status, step.n)
        assert after.parked is (type_ == core.PARKED)
        assert before is None or (after.order, after.created_at) == (before.order, before.created_at)


def test_only_terminal_states_have_no_exit_and_every_state_can_reach_one() -> None:
    ways = {status: {to for (of, _), tos in TRANSITIONS.items() if of is status for to in tos} for status in S}
    assert {status for status, to in ways.items() if not to} == {s for s in S if s.is_terminal}
    ends = {s for s in S if s.is_terminal}
    for _ in S:
        ends |= {status for status, to in ways.items() if to & ends}
    assert ends == set(S)
    reached = {S.PENDING}
    for _ in S:
        reached |= {to for status in list(reached) for to in ways[status]}
    assert reached == set(S)


@given(histories(), st.data())
def test_a_history_can_be_folded_in_any_two_parts(history: list[SagaEvent], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(history)))
    saga = fold(history[:cut])
    for event in history[cut:]:
        saga = apply(saga, event)
    assert saga == fold(history)


@given(histories())
def test_the_promises_of_a_state_hold_after_every_event(history: list[SagaEvent]) -> None:
    for cut in range(1, len(history) + 1):
        saga = fold(history[:cut])
        assert saga is not None
        assert saga.event_count == cut
        assert (saga.target is not None) is (saga.status is S.COMPENSATING)
        assert saga.status is S.COMPENSATING or not saga.parked
        assert saga.status not in (S.PENDING, S.CANCELLED) or saga.drone_id is None
        if saga.status in (S.ASSIGNED, S.DISPATCHED):
            assert saga.drone_id and saga.journal_id is None
        if saga.status.package_may_be_out:
            assert saga.drone_id and saga.journal_id


@given(histories(), st.data())
def test_a_history_with_a_gap_a_duplicate_or_a_swap_is_refused(history: list[SagaEvent], data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(history) - 1))
    broken = list(history)
    match data.draw(st.sampled_from(["hole", "echo", "swap"])):
        case "hole" if where < len(history) - 1:
            del broken[where]
        case "swap" if where < len(history) - 1:
            broken[where : where + 2] = reversed(broken[where : where + 2])
        case _:
            broken.insert(where, history[where])
    with pytest.raises(IllegalTransition):
        fold(broken)


@given(histories(), orders(st.just("m2")))
def test_an_event_of_another_order_is_refused(history: list[SagaEvent], other: Order) -> None:
    foreign = replace(history[-1], message_id="m2", order=other if len(history) == 1 else None)
    with pytest.raises(IllegalTransition):
        fold([*history[:-1], foreign] if len(history) > 1 else [foreign, *history])


def test_an_event_with_the_wrong_previous_status_is_refused() -> None:
    first = begin(Order("m1", "o1", GeoPoint(0.0, 0.0), 1.0, 0.0), now_s=0.0, epoch=1)
    saga = apply(None, first)
    step = next_event(saga, core.ASSIGNED, S.ASSIGNED, now_s=0.0, epoch=1, drone_id="d1")
    with pytest.raises(IllegalTransition):
        apply(saga, replace(step, from_status=S.LOADING))


def test_the_table_names_no_event_that_cannot_happen() -> None:
    named = {value for name, value in vars(core).items() if name.isupper() and isinstance(value, str)}
    assert {type_ for _, type_ in TRANSITIONS} == named
    assert all(targets for targets in TRANSITIONS.values())
