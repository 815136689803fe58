"""Cancelled orders and lost drones: at any moment, the order ends once and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from scenes import (
    assign,
    cancel,
    carrying,
    dispatch,
    done,
    fly,
    flying,
    load,
    nothing_is_left,
    reports,
    run_by_deadlines,
    say,
    sound,
)
from world import World, make_order, make_report

from drone_orchestrator.core.leader.effects import AnswerClearance, RecallGoal, SendGoal
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import AcknowledgeOutcome, CancelRequest, Order, Outcome, Phase, SagaStatus, Verdict

S = SagaStatus


def in_inbox(world: World, order: Order) -> Order:
    """Submit the order while there is no leader."""
    world.crash(world.replicas[0])
    world.intake.submit(order)
    return order


def pending(world: World, order: Order) -> Order:
    world.run()
    world.intake.submit(order)
    world.run()
    assert world.saga(order).status is S.PENDING
    return order


def backing_off(world: World, order: Order) -> Order:
    dispatch(world, order)
    say(world, done(order, Outcome.NOT_LOADED, phase=Phase.GROUNDED))
    assert (world.saga(order).status, world.saga(order).attempt) == (S.PENDING, 1)
    return order


def compensating(world: World, order: Order) -> Order:
    """Bring the package on its way back, after an earlier cancellation."""
    fly(world, order)
    cancel(world, order)
    assert world.saga(order).status is S.COMPENSATING
    return order


BEFORE_LOADING = {
    "INBOX": in_inbox,
    "PENDING": pending,
    "BACKING_OFF": backing_off,
    "ASSIGNED": assign,
    "DISPATCHED": dispatch,
}
AFTER_LOADING = {"LOADING": load, "IN_TRANSIT": fly, "COMPENSATING": compensating}
Reach = Callable[[World, Order], Order]


@pytest.mark.parametrize("reach", BEFORE_LOADING.values(), ids=BEFORE_LOADING)
@pytest.mark.parametrize("drone_is_heard", [True, False])
def test_an_order_cancelled_before_loading_ends_at_once(reach: Reach, drone_is_heard: bool) -> None:
    world = World()
    order = reach(world, make_order())
    world.intake.request_cancel(CancelRequest(order.message_id, world.now.wall_s, "changed my mind"))
    if not world.replicas:
        world.add_replica("late")
    if drone_is_heard:
        world.hear(make_report("drone_9"))
    world.run()
    saga = world.saga(order)
    assert (saga.status, saga.reason, saga.drone_id) == (S.CANCELLED, "changed my mind", None)
    nothing_is_left(world, order)
    sound(world)


@pytest.mark.parametrize("reach", AFTER_LOADING.values(), ids=AFTER_LOADING)
@pytest.mark.parametrize(
    ("outcome", "end"),
    [(Outcome.RETURNED, S.CANCELLED), (Outcome.NOT_LOADED, S.CANCELLED), (Outcome.DELIVERED, S.DELIVERED)],
)
def test_an_order_cancelled_after_clearance_ends_as_the_drone_reports(
    reach: Reach, outcome: Outcome, end: SagaStatus
) -> None:
    world = World()
    order = reach(world, make_order())
    cancel(world, order)
    say(world, flying(order))
    assert world.saga(order).status is S.COMPENSATING
    assert world.leader.take(RecallGoal)
    say(world, done(order, outcome))
    assert world.saga(order).status is end
    nothing_is_left(world, order)
    sound(world)


def test_a_parked_order_that_is_cancelled_ends_when_the_drone_reports_its_return() -> None:
    world = World()
    order = fly(world, make_order())
    say(world, make_report(journal_id="fresh"))
    assert world.saga(order).parked
    cancel(world, order)
    say(world, done(order, Outcome.RETURNED))
    assert world.saga(order).status is S.CANCELLED
    nothing_is_left(world, order)
    sound(world)


@pytest.mark.parametrize("end", ["delivered", "cancelled", "failed"])
def test_a_cancel_request_after_the_end_changes_nothing_and_is_removed(end: str) -> None:
    world = World()
    order = make_order(package_weight_kg=50.0) if end == "failed" else make_order()
    if end == "delivered":
        fly(world, order)
        say(world, done(order, Outcome.DELIVERED))
    else:
        pending_or_failed(world, order)
        if end == "cancelled":
            cancel(world, order)
    before = world.saga(order)
    assert before.status.is_terminal
    cancel(world, order)
    assert world.saga(order) == before
    nothing_is_left(world, order)
    sound(world)


def pending_or_failed(world: World, order: Order) -> None:
    world.run()
    world.intake.submit(order)
    world.run()


def test_a_cancel_request_for_an_unknown_order_is_removed() -> None:
    world = World()
    world.run()
    world.intake.request_cancel(CancelRequest("nobody", 0.0))
    world.run()
    assert world.leader.core.view.cancels == {}


@pytest.mark.parametrize("reach", [dispatch, load, fly])
def test_a_cancel_request_during_an_outage_is_carried_out_afterwards(reach: Reach) -> None:
    world = World()
    order = reach(world, make_order())
    leader = world.leader
    world.backend.set_available(False, leader.name)
    world.intake.request_cancel(CancelRequest(order.message_id, world.now.wall_s))
    world.pass_time(2.0, step_s=0.25)
    assert world.saga(order).status in (S.DISPATCHED, S.LOADING, S.IN_TRANSIT)
    world.backend.set_available(True, leader.name)
    world.pass_time(3.0, hear=[carrying(order)], step_s=0.25)
    say(world, done(order, Outcome.NOT_LOADED))
    assert world.saga(order).status is S.CANCELLED
    nothing_is_left(world, order)
    sound(world)


def test_a_recall_is_repeated_with_growing_pauses_until_the_drone_obeys() -> None:
    world = World(dispatch=DispatchPolicy(recall_cap_s=8.0))
    order = fly(world, make_order())
    cancel(world, order)
    world.leader.take(RecallGoal)
    sent_at = []
    for _ in range(300):
        say(world, flying(order))
        sent_at += [world.mono_s] * len(world.leader.take(RecallGoal))
        world.advance(0.1)
    pauses = [later - earlier for earlier, later in pairwise(sent_at)]
    assert 5 <= len(sent_at) <= 12
    assert pauses[-1] > 2 * pauses[0]
    assert max(pauses) <= 8.0 + 0.2
    say(world, flying(order, phase=Phase.BRINGING_BACK))
    world.leader.take(RecallGoal)
    world.pass_time(30.0, hear=[flying(order, phase=Phase.BRINGING_BACK)])
    assert world.leader.take(RecallGoal) == []


def test_a_deadline_that_passes_before_loading_ends_the_order_and_frees_the_drone() -> None:
    for reach in (assign, dispatch):
        world = World()
        order = reach(world, make_order(deadline_s=5.0))
        world.pass_time(6.0, hear=[carrying(order)])
        assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "deadline_exceeded")
        nothing_is_left(world, order)
        sound(world)


def test_clearance_requested_after_the_deadline_is_refused() -> None:
    world = World()
    order = dispatch(world, make_order(deadline_s=3.0))
    world.mono_s += 3.5  # it passes before the order is looked at again
    world.ask_clearance(1, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.REFUSED]
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "deadline_exceeded")


def test_a_deadline_after_loading_does_not_stop_the_delivery() -> None:
    world = World()
    order = fly(world, make_order(deadline_s=5.0))
    world.pass_time(10.0, hear=[flying(order)])
    say(world, done(order, Outcome.DELIVERED))
    assert world.saga(order).status is S.DELIVERED


def test_the_deadline_of_an_order_on_a_silent_drone_is_noticed_in_time() -> None:
    world = World()
    order = assign(world, make_order(deadline_s=5.0))
    run_by_deadlines(world, 6.0)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "deadline_exceeded")
    nothing_is_left(world, order)


# --- lost drones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [assign, dispatch])
def test_an_order_lost_before_loading_goes_to_another_drone_and_the_lost_one_may_not_load(reach: Reach) -> None:
    world = World()
    order = reach(world, make_order())
    world.pass_time(15.0, hear=[make_report("drone_2")])
    assert (world.saga(order).drone_id, world.saga(order).attempt) == ("drone_2", 2)
    say(world, carrying(order, phase=Phase.AWAITING_CLEARANCE))
    world.leader.take(AnswerClearance)
    world.ask_clearance(1, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.REFUSED]
    say(world, done(order, Outcome.NOT_LOADED))
    assert [a.attempt for a in world.leader.take(AcknowledgeOutcome)] == [1]
    assert (world.saga(order).drone_id, world.saga(order).attempt) == ("drone_2", 2)
    sound(world)


def test_a_drone_lost_before_loading_flies_the_next_attempt_if_there_is_no_other() -> None:
    world = World()
    order = dispatch(world, make_order())
    world.pass_time(15.0)
    assert world.saga(order).status is S.PENDING
    say(world, done(order, Outcome.NOT_LOADED))
    world.pass_time(3.0, hear=[make_report()])
    assert (world.saga(order).status, world.saga(order).attempt) == (S.ASSIGNED, 2)
    sound(world)


@pytest.mark.parametrize("reach", [load, fly, compensating])
def test_an_order_lost_after_loading_goes_to_no_other_drone_and_an_operator_is_called(reach: Reach) -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=60.0))
    order = reach(world, make_order())
    world.pass_time(50.0, hear=[make_report("drone_2")])
    assert (world.saga(order).drone_id, world.saga(order).attempt) == ("drone_1", 1)
    assert not world.saga(order).status.is_terminal
    world.pass_time(15.0, hear=[make_report("drone_2")])
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "drone_lost_with_package")
    assert len(reports(world, "error")) == 1
    nothing_is_left(world, order)
    sound(world)


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.RETURNED])
def test_a_drone_that_returns_after_it_was_given_up_is_reported_once_and_flies_again(outcome: Outcome) -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=20.0))
    order, other = fly(world, make_order(1)), make_order(2)
    world.pass_time(30.0)
    assert world.saga(order).status is S.FAILED
    say(world, flying(order))
    reports(world, "warning")
    for _ in range(5):
        say(world, done(order, outcome))
    told = [text for text in reports(world, "warning") if order.order_id in text]
    assert len(told) == 1 and outcome.name in told[0]
    assert world.leader.take(AcknowledgeOutcome)
    assert world.saga(order).status is S.FAILED
    world.intake.submit(other)
    say(world, make_report())
    assert world.saga(other).drone_id == "drone_1"
    sound(world)


def test_a_drone_heard_again_within_its_grace_continues_unchanged() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=60.0))
    order = fly(world, make_order())
    for _ in range(3):
        world.pass_time(50.0)
        say(world, flying(order))
    assert world.saga(order).status is S.IN_TRANSIT
    say(world, done(order, Outcome.DELIVERED))
    nothing_is_left(world, order)


def test_a_new_leader_that_never_heard_the_drone_waits_a_full_grace() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=60.0))
    order = fly(world, make_order())
    world.crash(world.leader)
    world.add_replica("successor")
    world.pass_time(50.0)
    assert world.saga(order).status is S.IN_TRANSIT
    run_by_deadlines(world, world.mono_s + 30.0)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "drone_lost_with_package")


def test_a_drone_silent_before_loading_gets_no_goals_and_causes_no_wakes() -> None:
    world = World()
    order = assign(world, make_order())
    world.pass_time(4.0)
    world.leader.take(SendGoal)
    world.pass_time(4.0)
    assert world.leader.take(SendGoal) == []
    assert world.saga(order).status is S.ASSIGNED
