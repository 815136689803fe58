"""A drone's word against its payload sensor, and against the record: the order is parked and no second drone flies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenes import assign, cancel, carrying, command, dispatch, done, fly, flying, load, reports, say, sound
from world import World, make_order, make_report

from drone_orchestrator.core.leader.effects import AnswerClearance
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.reasons import Reason
from drone_orchestrator.core.types import (
    AcknowledgeOutcome,
    CommandAction,
    DeliveryOutcome,
    Order,
    Outcome,
    Phase,
    SagaStatus,
    Verdict,
)

S = SagaStatus
GRACE_S = 30.0
CLAIMS = [Outcome.DELIVERED, Outcome.NOT_LOADED, Outcome.RETURNED, Outcome.FAULT_BEFORE_LOADING]
NEVER_LOADED = [Outcome.NOT_LOADED, Outcome.FAULT_BEFORE_LOADING]
Reach = Callable[[World, Order], Order]


def make_world() -> World:
    return World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S))


def stays_parked(world: World, order: Order) -> None:
    """Assert that the order is parked for its contradiction, and that no other drone ever gets it."""
    saga = world.saga(order)
    assert (saga.status, saga.parked, saga.reason) == (S.COMPENSATING, True, Reason.OUTCOME_CONTRADICTED.value)
    world.pass_time(2 * GRACE_S, hear=[make_report("drone_2")], step_s=2.0)
    assert (world.saga(order).parked, world.saga(order).attempt) == (True, 1)
    sound(world)


@pytest.mark.parametrize("phase", [Phase.GROUNDED, Phase.IDLE, Phase.RETURNING, Phase.UNSPECIFIED])
@pytest.mark.parametrize("outcome", CLAIMS)
@pytest.mark.parametrize("reach", [load, fly])
def test_a_drone_that_claims_to_be_empty_beside_a_full_bay_parks_its_order(
    reach: Reach, outcome: Outcome, phase: Phase
) -> None:
    world = make_world()
    order = reach(world, make_order())
    say(world, done(order, outcome, phase=phase, package_on_board=True))
    stays_parked(world, order)
    assert [text for text in reports(world, "error") if "outcome_contradicted" in text]


@pytest.mark.parametrize("outcome", NEVER_LOADED)
@pytest.mark.parametrize("reach", [assign, dispatch])
def test_a_package_loaded_by_hand_before_clearance_parks_the_order(reach: Reach, outcome: Outcome) -> None:
    world = make_world()
    order = reach(world, make_order())
    say(world, done(order, outcome, phase=Phase.GROUNDED, package_on_board=True))
    stays_parked(world, order)
    assert world.leader.core.view.reservations == {}


@pytest.mark.parametrize("outcome", NEVER_LOADED)
def test_a_drone_that_was_seen_with_the_package_cannot_say_that_it_never_loaded(outcome: Outcome) -> None:
    """Its journal may have lost its last records, for example when the power went."""
    world = make_world()
    order = fly(world, make_order())
    say(world, done(order, outcome))
    stays_parked(world, order)


def test_a_recalled_drone_that_says_returned_with_a_full_bay_parks_its_order() -> None:
    world = make_world()
    order = fly(world, make_order())
    cancel(world, order)
    say(world, flying(order, phase=Phase.BRINGING_BACK))
    say(world, done(order, Outcome.RETURNED, package_on_board=True))
    stays_parked(world, order)
    assert world.saga(order).target is S.CANCELLED


def test_an_empty_bay_later_proves_nothing() -> None:
    world = make_world()
    order = load(world, make_order())
    say(world, done(order, Outcome.NOT_LOADED, package_on_board=True))
    say(world, done(order, Outcome.NOT_LOADED))  # somebody has unloaded it: where did they put it?
    stays_parked(world, order)


def test_the_outcome_is_acknowledged_once_the_order_is_parked() -> None:
    world = make_world()
    order = load(world, make_order())
    report = done(order, Outcome.NOT_LOADED, package_on_board=True)
    say(world, report)
    say(world, report)
    assert Outcome.NOT_LOADED in [a.outcome for a in world.leader.take(AcknowledgeOutcome)]


def test_an_order_that_was_parked_for_another_reason_is_not_settled_by_a_contradicted_word() -> None:
    world = make_world()
    order = fly(world, make_order())
    world.pass_time(GRACE_S + 2.0, hear=[flying(order, phase=Phase.GROUNDED)])
    assert world.saga(order).reason == Reason.DRONE_GROUNDED_WITH_PACKAGE.value
    say(world, done(order, Outcome.RETURNED, package_on_board=True))
    stays_parked(world, order)


def test_a_bay_that_is_full_for_the_next_order_contradicts_nothing() -> None:
    world, first, second = make_world(), make_order(1), make_order(2)
    fly(world, first)
    outcomes = (DeliveryOutcome(first.message_id, 1, Outcome.DELIVERED),)
    say(world, flying(second, outcomes=outcomes))
    assert world.saga(first).status is S.DELIVERED


# --- the other sources that a person or a request may contradict ----------------------------------------------------


@pytest.mark.parametrize("action", [CommandAction.RETURNED, CommandAction.DELIVERED])
def test_a_persons_word_is_refused_while_the_bay_is_full(action: CommandAction) -> None:
    world = make_world()
    order = load(world, make_order())
    say(world, done(order, Outcome.NOT_LOADED, package_on_board=True))
    say(world, make_report(phase=Phase.GROUNDED, package_on_board=True))
    reports(world, "warning")
    command(world, order, action)
    assert world.saga(order).parked
    assert any("payload sensor of drone_1" in text for text in reports(world, "warning"))
    say(world, make_report(phase=Phase.GROUNDED))  # a person took the package off
    command(world, order, action)
    assert world.saga(order).status is (S.PENDING if action is CommandAction.RETURNED else S.DELIVERED)


def test_a_drone_that_is_silent_does_not_contradict_a_person_for_ever() -> None:
    world = make_world()
    order = load(world, make_order())
    say(world, done(order, Outcome.NOT_LOADED, package_on_board=True))
    world.pass_time(GRACE_S, step_s=2.0)
    command(world, order, CommandAction.RETURNED)
    assert world.saga(order).status is S.PENDING


def test_a_retry_of_an_order_that_was_never_cleared_sends_another_drone() -> None:
    world = make_world()
    order = dispatch(world, make_order())
    say(world, done(order, Outcome.FAULT_BEFORE_LOADING, phase=Phase.GROUNDED, package_on_board=True))
    command(world, order, CommandAction.RETRY)
    world.pass_time(3.0, hear=[make_report("drone_2")])
    assert (world.saga(order).drone_id, world.saga(order).attempt) == ("drone_2", 2)
    sound(world)


@pytest.mark.parametrize("changes", [{"package_on_board": True}, {"phase": Phase.GROUNDED}])
def test_a_drone_that_reports_a_full_bay_or_that_it_is_grounded_is_not_cleared(changes: dict[str, object]) -> None:
    world = make_world()
    order = dispatch(world, make_order())
    say(world, carrying(order, **{"phase": Phase.AWAITING_CLEARANCE, **changes}))
    world.ask_clearance(1, "drone_1", order, 1)
    answers = [a.verdict for a in world.leader.take(AnswerClearance) if isinstance(a, AnswerClearance)]
    assert answers == [Verdict.ASK_AGAIN]
    assert world.saga(order).status is S.DISPATCHED
    say(world, carrying(order, phase=Phase.AWAITING_CLEARANCE))
    world.ask_clearance(2, "drone_1", order, 1)
    assert world.saga(order).status is S.LOADING
