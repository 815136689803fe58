"""No order stays in a state for longer than its bound while what it waits for is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from world import COURIER, FLEET, World, make_order, make_report

from drone_orchestrator.core.leader.bounds import BOUNDS, WAITS, AtBound, longest_stay_s
from drone_orchestrator.core.leader.effects import RecallGoal, Report, SendGoal
from drone_orchestrator.core.policies import DRONE_SILENT_S
from drone_orchestrator.core.reasons import Reason
from drone_orchestrator.core.types import (
    CancelRequest,
    CommandAction,
    DeliveryOutcome,
    DroneReport,
    OperatorCommand,
    Outcome,
    Phase,
    Saga,
    SagaStatus,
)

S = SagaStatus
ORDER = make_order(1)
GOAL = make_report(message_id="m1", attempt=1)
#: Time (s) beyond a bound within which the leader has acted on it.
SOON_S = 10.0


def bound_s(phase: Phase) -> float:
    return longest_stay_s(FLEET, COURIER, phase)


def dispatched() -> World:
    world = World()
    world.run()
    world.intake.submit(ORDER)
    world.hear(make_report())
    world.run()
    world.accept_goals()
    assert world.saga(ORDER).status is S.DISPATCHED
    return world


def loading() -> World:
    world = dispatched()
    world.hear(replace(GOAL, phase=Phase.AWAITING_CLEARANCE))
    world.run()
    world.ask_clearance(1, "drone_1", ORDER, 1)
    assert world.saga(ORDER).status is S.LOADING
    return world


def in_transit() -> World:
    world = loading()
    world.hear(replace(GOAL, phase=Phase.TO_DESTINATION, package_on_board=True))
    world.run()
    assert world.saga(ORDER).status is S.IN_TRANSIT
    return world


def stay(world: World, report: DroneReport, seconds: float) -> Saga:
    """Hear the same report for ``seconds``; return the order's saga."""
    world.pass_time(seconds, hear=[report], step_s=1.0)
    return world.saga(ORDER)


def test_every_state_that_an_order_can_stay_in_has_a_bound() -> None:
    assert set(WAITS) == {status for status in S if not status.is_terminal}
    with_goal = set(Phase) - {Phase.UNSPECIFIED, Phase.IDLE, Phase.RETURNING, Phase.GROUNDED}
    assert set(BOUNDS) == with_goal


@pytest.mark.parametrize("phase", [Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE])
def test_a_dispatched_order_leaves_a_drone_that_does_not_get_on(phase: Phase) -> None:
    world, report = dispatched(), replace(GOAL, phase=phase)
    assert stay(world, report, bound_s(phase) - SOON_S).status is S.DISPATCHED
    world.leader.take(RecallGoal)
    saga = stay(world, report, 2 * SOON_S)
    assert (saga.status, saga.reason, saga.drone_id) == (S.PENDING, Reason.NO_PROGRESS, None)
    assert world.leader.take(RecallGoal)
    assert not world.leader.core.view.breakers, "it may be the leader that hears no requests"
    assert WAITS[S.DISPATCHED].at_bound is AtBound.RETRIED


def test_the_order_goes_to_another_drone_then() -> None:
    world, stuck = dispatched(), replace(GOAL, phase=Phase.AWAITING_CLEARANCE)
    world.pass_time(bound_s(stuck.phase) + SOON_S, hear=[stuck, make_report("drone_2")], step_s=1.0)
    assert "drone_2" in {goal.drone_id for goal in world.leader.take(SendGoal) if isinstance(goal, SendGoal)}


def test_a_drone_that_does_not_load_is_recalled_and_may_close_the_goal() -> None:
    world, report = loading(), replace(GOAL, phase=Phase.LOADING)
    assert stay(world, report, bound_s(Phase.LOADING) - SOON_S).status is S.LOADING
    world.leader.take(RecallGoal)
    saga = stay(world, report, 2 * SOON_S)
    assert (saga.status, saga.target, saga.reason) == (S.COMPENSATING, S.PENDING, Reason.NO_PROGRESS)
    assert world.leader.take(RecallGoal) and not saga.parked
    closed = make_report(outcomes=(DeliveryOutcome("m1", 1, Outcome.NOT_LOADED, reason="recalled"),))
    world.hear(closed)
    world.run()
    assert world.saga(ORDER).status is S.PENDING and not world.leader.core.view.breakers


def test_a_drone_that_gets_no_answer_to_its_request_is_recalled() -> None:
    world, report = loading(), replace(GOAL, phase=Phase.AWAITING_CLEARANCE)
    saga = stay(world, report, bound_s(Phase.AWAITING_CLEARANCE) + SOON_S)
    assert (saga.status, saga.reason) == (S.COMPENSATING, Reason.NO_PROGRESS)


def test_an_order_whose_drone_neither_loads_nor_obeys_is_parked_and_keeps_its_drone() -> None:
    world, report = loading(), replace(GOAL, phase=Phase.LOADING)
    saga = stay(world, report, 3600.0)
    assert saga.parked and saga.drone_id == "drone_1" and saga.reason == Reason.RECALL_NOT_OBEYED
    assert world.leader.core.view.reservations["drone_1"].value.message_id == "m1"
    assert any("must decide" in told.text for told in world.leader.take(Report) if isinstance(told, Report))


@pytest.mark.parametrize("phase", [Phase.TO_DESTINATION, Phase.DROPPING])
def test_an_order_in_transit_that_does_not_move_is_parked_and_may_still_be_delivered(phase: Phase) -> None:
    world, report = in_transit(), replace(GOAL, phase=phase, package_on_board=True)
    assert not stay(world, report, bound_s(phase) - SOON_S).parked
    saga = stay(world, report, 2 * SOON_S)
    assert saga.parked and saga.reason == Reason.NO_PROGRESS_WITH_PACKAGE and saga.drone_id == "drone_1"
    assert not world.leader.take(RecallGoal), "a person decides what the drone shall do"
    world.hear(make_report(outcomes=(DeliveryOutcome("m1", 1, Outcome.DELIVERED),)))
    world.run()
    assert world.saga(ORDER).status is S.DELIVERED


@pytest.mark.parametrize("phase", [Phase.BRINGING_BACK, Phase.DROPPING])
def test_a_recalled_drone_that_obeys_and_does_not_arrive_parks_the_order(phase: Phase) -> None:
    world, report = in_transit(), replace(GOAL, phase=phase, package_on_board=True)
    world.intake.request_cancel(CancelRequest("m1", 0.0))
    saga = stay(world, report, bound_s(phase) - SOON_S)
    assert saga.status is S.COMPENSATING and not saga.parked
    saga = stay(world, report, 2 * SOON_S)
    assert saga.parked and saga.reason == Reason.NO_PROGRESS_WITH_PACKAGE and saga.target is S.CANCELLED


def test_a_retry_by_a_person_gets_the_whole_time_again() -> None:
    world, report = in_transit(), replace(GOAL, phase=Phase.BRINGING_BACK, package_on_board=True)
    assert stay(world, report, bound_s(Phase.BRINGING_BACK) + SOON_S).parked
    world.intake.request_command(OperatorCommand("m1", CommandAction.RETRY, 0.0, by="someone"))
    assert not stay(world, report, bound_s(Phase.BRINGING_BACK) - SOON_S).parked
    assert stay(world, report, 2 * SOON_S).parked


# --- what does not count ----------------------------------------------------------------------------------------------


def test_a_drone_that_gets_on_is_left_alone() -> None:
    world = dispatched()
    for phase in (Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE):
        assert stay(world, replace(GOAL, phase=phase), bound_s(phase) - SOON_S).status is S.DISPATCHED
    world.ask_clearance(1, "drone_1", ORDER, 1)
    assert stay(world, replace(GOAL, phase=Phase.LOADING), bound_s(Phase.LOADING) - SOON_S).status is S.LOADING


def _silence(world: World) -> None:
    world.pass_time(15.0)


def _store_outage(world: World) -> None:
    world.backend.set_available(False)
    world.pass_time(2.0, hear=[replace(GOAL, phase=Phase.LOADING)], step_s=1.0)
    world.backend.set_available(True)


@pytest.mark.parametrize(("interruption", "counts_s"), [(_silence, DRONE_SILENT_S), (_store_outage, DRONE_SILENT_S)])
def test_only_the_time_counts_in_which_the_drone_is_heard_and_the_leader_can_act(
    interruption: Callable[[World], None], counts_s: float
) -> None:
    world, report = loading(), replace(GOAL, phase=Phase.LOADING)
    stay(world, report, bound_s(Phase.LOADING) / 2)
    interruption(world)
    left_s = bound_s(Phase.LOADING) / 2 - counts_s - SOON_S
    assert stay(world, report, left_s).status is S.LOADING
    assert stay(world, report, 2 * SOON_S + counts_s).status is S.COMPENSATING


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_no_wall_clock_ends_a_wait(jump_s: float) -> None:
    world, report = loading(), replace(GOAL, phase=Phase.LOADING)
    stay(world, report, 20.0)
    world.wall_offset_s += jump_s
    assert stay(world, report, bound_s(Phase.LOADING) - 20.0 - SOON_S).status is S.LOADING
    assert stay(world, report, 2 * SOON_S).status is S.COMPENSATING


def test_a_new_leader_counts_from_the_beginning() -> None:
    world, report = loading(), replace(GOAL, phase=Phase.LOADING)
    stay(world, report, bound_s(Phase.LOADING) - SOON_S)
    world.add_replica("orchestrator_9")
    world.crash(world.leader)
    world.pass_time(10.0, hear=[report], step_s=1.0)
    assert world.leader.name == "orchestrator_9"
    assert stay(world, report, bound_s(Phase.LOADING) - SOON_S - 10.0).status is S.LOADING
    assert stay(world, report, 2 * SOON_S + 10.0).status is S.COMPENSATING
