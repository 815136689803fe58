"""Parked orders: their compensation failed, so an operator decides unless the drone reports after all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenes import (
    assign,
    cancel,
    carrying,
    command,
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
from world import COURIER, FLEET, World, make_order, make_report

from drone_orchestrator.core.changes import Fate
from drone_orchestrator.core.leader.bounds import longest_stay_s
from drone_orchestrator.core.leader.effects import Commit, RecallGoal
from drone_orchestrator.core.leader.events import CommitDone
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.reasons import Consequence, Reason
from drone_orchestrator.core.types import (
    AcknowledgeOutcome,
    CancelRequest,
    CommandAction,
    OperatorCommand,
    Order,
    Outcome,
    Phase,
    SagaStatus,
)
from drone_orchestrator.store.kv import Put
from drone_orchestrator.store.memory import MemoryDriver

S = SagaStatus
GRACE_S = 30.0


def make_world() -> World:
    return World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S, max_recall_tries=3, recall_cap_s=2.0))


# --- the reasons ----------------------------------------------------------------------------------------------------


def grounded(world: World, order: Order) -> None:
    fly(world, order)
    world.pass_time(GRACE_S + 2.0, hear=[flying(order, phase=Phase.GROUNDED)])


def journal_lost(world: World, order: Order) -> None:
    fly(world, order)
    say(world, make_report(journal_id="fresh"))


def package_missing(world: World, order: Order) -> None:
    fly(world, order)
    say(world, done(order, Outcome.PACKAGE_MISSING))


def disobedient(world: World, order: Order) -> None:
    fly(world, order)
    cancel(world, order)
    world.pass_time(15.0, hear=[flying(order)])


def unknown_to_its_drone(world: World, order: Order) -> None:
    fly(world, order)
    world.pass_time(GRACE_S + 2.0, hear=[make_report()])


def stuck(world: World, order: Order) -> None:
    fly(world, order)
    longest_s = longest_stay_s(FLEET, COURIER, Phase.TO_DESTINATION)
    world.pass_time(longest_s + 5.0, hear=[flying(order)], step_s=2.0)


def contradicted_by_its_sensor(world: World, order: Order) -> None:
    fly(world, order)
    say(world, done(order, Outcome.RETURNED, package_on_board=True))


REASONS: dict[str, Callable[[World, Order], None]] = {
    Reason.DRONE_GROUNDED_WITH_PACKAGE.value: grounded,
    Reason.JOURNAL_LOST_WITH_PACKAGE.value: journal_lost,
    Reason.PACKAGE_MISSING.value: package_missing,
    Reason.RECALL_NOT_OBEYED.value: disobedient,
    Reason.GOAL_UNKNOWN_TO_DRONE.value: unknown_to_its_drone,
    Reason.NO_PROGRESS_WITH_PACKAGE.value: stuck,
    Reason.OUTCOME_CONTRADICTED.value: contradicted_by_its_sensor,
}


def test_every_reason_to_park_is_tested_here() -> None:
    assert set(REASONS) == set(Reason.that(Consequence.PARKS))


def parked(world: World, reason: str) -> Order:
    order = make_order()
    REASONS[reason](world, order)
    saga = world.saga(order)
    assert (saga.status, saga.parked, saga.reason) == (S.COMPENSATING, True, reason)
    return order


@pytest.mark.parametrize("reason", REASONS)
def test_an_order_that_cannot_be_compensated_is_parked_and_an_operator_called_once(reason: str) -> None:
    world = make_world()
    order = parked(world, reason)
    assert [text for text in reports(world, "error") if reason in text and order.order_id in text]
    world.pass_time(3 * GRACE_S, hear=[make_report("drone_2")], step_s=2.0)
    assert reports(world, "error") == []
    assert world.saga(order).parked
    assert world.saga(order).target is (S.CANCELLED if reason == "recall_not_obeyed" else S.PENDING)
    sound(world)


def test_a_parked_order_that_was_cancelled_keeps_cancelled_as_its_target() -> None:
    world, order = make_world(), make_order()
    fly(world, order)
    world.pass_time(10.0)
    cancel(world, order)  # the drone is silent: nothing can be recalled
    say(world, make_report(journal_id="fresh"))
    assert (world.saga(order).parked, world.saga(order).target) == (True, S.CANCELLED)


@pytest.mark.parametrize("reason", ["journal_lost_with_package", "package_missing"])
def test_a_drone_that_cannot_help_any_further_is_free_for_other_orders(reason: str) -> None:
    world, other = make_world(), make_order(2)
    parked(world, reason)
    world.intake.submit(other)
    say(world, make_report(journal_id="fresh"))
    assert world.saga(other).drone_id == "drone_1"
    sound(world)


@pytest.mark.parametrize("reason", ["drone_grounded_with_package", "recall_not_obeyed", "no_progress_with_package"])
def test_a_drone_that_may_have_the_package_stays_reserved(reason: str) -> None:
    world = make_world()
    parked(world, reason)
    assert list(world.leader.core.view.reservations) == ["drone_1"]


def test_an_order_whose_drone_flies_again_within_its_grace_is_not_parked() -> None:
    world, order = make_world(), make_order()
    fly(world, order)
    for _ in range(3):
        world.pass_time(GRACE_S - 5.0, hear=[flying(order, phase=Phase.GROUNDED)])
        say(world, flying(order))
    assert world.saga(order).status is S.IN_TRANSIT


def test_the_order_of_a_grounded_drone_is_parked_when_its_grace_ends() -> None:
    world, order = make_world(), make_order()
    fly(world, order)
    say(world, flying(order, phase=Phase.GROUNDED))
    for _ in range(50):
        say(world, flying(order, phase=Phase.GROUNDED))
        run_by_deadlines(world, world.mono_s + 1.0)
    assert world.saga(order).parked


# --- the commands ---------------------------------------------------------------------------------------------------

#: The operators' commands, and the status to which each leads an order whose target is PENDING.
DECISIONS = {
    CommandAction.RETURNED: S.PENDING,
    CommandAction.DELIVERED: S.DELIVERED,
    CommandAction.LOST: S.FAILED,
}
LAST_WORD = {
    "drone_grounded_with_package": lambda order: carrying(order, phase=Phase.GROUNDED),
    "journal_lost_with_package": lambda order: make_report(journal_id="fresh"),
    "package_missing": lambda order: done(order, Outcome.PACKAGE_MISSING),
    "recall_not_obeyed": lambda order: carrying(order, phase=Phase.GROUNDED),
    "drone_knows_nothing_of_it": lambda order: make_report(),
    "no_progress_with_package": lambda order: carrying(order, phase=Phase.GROUNDED),
    "outcome_contradicted": lambda order: done(order, Outcome.RETURNED),
}


@pytest.mark.parametrize("action", DECISIONS)
@pytest.mark.parametrize("reason", REASONS)
def test_an_operators_command_decides_the_order(reason: str, action: CommandAction) -> None:
    world = make_world()
    order = parked(world, reason)
    target = world.saga(order).target
    say(world, LAST_WORD[reason](order))
    world.pass_time(GRACE_S, step_s=2.0)  # from now on silent: its last report counts
    command(world, order, action)
    saga = world.saga(order)
    wanted = target if action is CommandAction.RETURNED else DECISIONS[action]
    assert (saga.status, saga.parked, saga.reason) == (wanted, False, f"{action.value} by ops")
    assert world.leader.core.view.reservations == {}
    assert world.leader.core.view.commands == {}
    if saga.status.is_terminal:
        nothing_is_left(world, order)
    else:
        world.pass_time(1.0, hear=[make_report("drone_2")])
        assert (world.saga(order).drone_id, world.saga(order).attempt) == ("drone_2", 2)
    sound(world)


def test_the_record_names_an_operator_even_if_the_command_does_not() -> None:
    world = make_world()
    order = parked(world, "journal_lost_with_package")
    command(world, order, CommandAction.LOST, by="")
    assert world.saga(order).reason == "lost by an operator"


def test_retry_recalls_again_with_a_fresh_budget() -> None:
    world = make_world()
    order = parked(world, "recall_not_obeyed")
    world.leader.take(RecallGoal)
    say(world, flying(order))
    command(world, order, CommandAction.RETRY)
    assert (world.saga(order).status, world.saga(order).parked) == (S.COMPENSATING, False)
    assert len(world.leader.take(RecallGoal)) == 1
    say(world, flying(order, phase=Phase.BRINGING_BACK))
    say(world, done(order, Outcome.RETURNED))
    assert world.saga(order).status is S.CANCELLED
    nothing_is_left(world, order)
    sound(world)


def test_an_order_whose_retry_fails_is_parked_again() -> None:
    world = make_world()
    order = parked(world, "recall_not_obeyed")
    command(world, order, CommandAction.RETRY)
    world.pass_time(15.0, hear=[flying(order)])
    assert (world.saga(order).parked, world.saga(order).reason) == (True, "recall_not_obeyed")
    kinds = [e.type for e in world.intake.events(order.message_id)]
    assert (kinds.count("parked"), kinds.count("retried")) == (2, 1)
    sound(world)


@pytest.mark.parametrize("action", [CommandAction.RETURNED])
@pytest.mark.parametrize("phase", [Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE, Phase.LOADING, Phase.TO_DESTINATION])
def test_returned_is_refused_while_the_drone_may_still_load(phase: Phase, action: CommandAction) -> None:
    world = make_world()
    order = parked(world, "recall_not_obeyed")
    say(world, carrying(order, phase=phase, package_on_board=phase is Phase.TO_DESTINATION))
    reports(world, "warning")
    command(world, order, action)
    assert (world.saga(order).status, world.saga(order).parked) == (S.COMPENSATING, True)
    assert len(reports(world, "warning")) == 1
    assert world.leader.core.view.commands == {}, "a refused command leaves the inbox"
    say(world, carrying(order, phase=Phase.GROUNDED))
    command(world, order, action)
    assert world.saga(order).status is S.CANCELLED, "and the command may be repeated"
    sound(world)


def test_returned_is_refused_by_a_leader_that_has_never_heard_the_drone() -> None:
    world = make_world()
    order = parked(world, "recall_not_obeyed")
    world.crash(world.leader)
    world.add_replica("successor")
    world.pass_time(8.0)
    command(world, order, CommandAction.RETURNED)
    assert world.saga(order).parked
    assert any("never heard" in text for text in reports(world, "warning"))
    assert world.leader.core.view.commands == {}


@pytest.mark.parametrize("reach", [assign, dispatch, load, fly])
@pytest.mark.parametrize("action", CommandAction)
def test_a_command_for_an_order_that_is_not_parked_is_refused_and_removed(
    reach: Callable[[World, Order], Order], action: CommandAction
) -> None:
    world = make_world()
    order = reach(world, make_order())
    before = world.saga(order)
    reports(world, "warning")
    command(world, order, action)
    assert world.saga(order) == before
    assert world.leader.core.view.commands == {}
    assert len(reports(world, "warning")) == 1
    sound(world)


def test_a_command_for_an_ended_or_unknown_order_is_removed() -> None:
    world = make_world()
    order = fly(world, make_order())
    say(world, done(order, Outcome.DELIVERED))
    command(world, order, CommandAction.LOST)
    assert world.saga(order).status is S.DELIVERED
    nothing_is_left(world, order)
    world.intake.request_command(OperatorCommand("nobody", CommandAction.LOST, 0.0))
    world.run()
    assert world.leader.core.view.commands == {}


def test_an_unreadable_command_does_not_block_the_next() -> None:
    world = make_world()
    order = parked(world, "journal_lost_with_package")
    key = f"/drone_orchestrator/sf/inbox/commands/{order.message_id}"
    MemoryDriver(world.backend, "somebody").txn([], [Put(key, b'{"action": "teleport"}')])
    world.run()
    assert world.leader.core.view.commands == {}
    command(world, order, CommandAction.LOST)
    assert world.saga(order).status is S.FAILED


def test_a_command_given_without_a_leader_is_carried_out_by_the_next() -> None:
    world = make_world()
    order = parked(world, "journal_lost_with_package")
    world.crash(world.leader)
    world.intake.request_command(OperatorCommand(order.message_id, CommandAction.DELIVERED, 0.0, "ops"))
    world.add_replica("successor")
    world.pass_time(8.0)
    assert world.saga(order).status is S.DELIVERED
    nothing_is_left(world, order)
    sound(world)


def test_a_parked_order_that_is_cancelled_ends_cancelled_when_its_package_is_back() -> None:
    world = make_world()
    order = parked(world, "journal_lost_with_package")
    cancel(world, order)
    assert world.saga(order).parked
    command(world, order, CommandAction.RETURNED)
    assert world.saga(order).status is S.CANCELLED
    nothing_is_left(world, order)
    sound(world)


# --- recovery without an operator -----------------------------------------------------------------------------------


#: A missing package closes the goal in the journal: there will be no other outcome. A contradicted one counts no more.
@pytest.mark.parametrize("reason", sorted(REASONS.keys() - {"package_missing", "outcome_contradicted"}))
@pytest.mark.parametrize(
    ("outcome", "ends"),
    [(Outcome.DELIVERED, "delivered"), (Outcome.RETURNED, "target"), (Outcome.NOT_LOADED, "target")],
)
def test_a_late_report_of_the_drone_ends_the_parking(reason: str, outcome: Outcome, ends: str) -> None:
    world = make_world()
    order = parked(world, reason)
    target = world.saga(order).target
    world.leader.take(AcknowledgeOutcome)
    say(world, done(order, outcome))
    assert world.saga(order).status is (S.DELIVERED if ends == "delivered" else target)
    assert [a.outcome for a in world.leader.take(AcknowledgeOutcome)][:1] == [outcome]
    assert world.leader.core.view.reservations == {}
    sound(world)


def test_a_report_from_another_journal_does_not_end_the_parking() -> None:
    world = make_world()
    order = parked(world, "journal_lost_with_package")
    say(world, done(order, Outcome.DELIVERED, journal_id="fresh"))
    assert world.saga(order).parked


def test_a_missing_package_is_parked_first_and_acknowledged_afterwards() -> None:
    world = make_world()
    order = fly(world, make_order())
    world.leader.take(AcknowledgeOutcome)
    world.backend.set_available(False, "orchestrator_0")
    say(world, done(order, Outcome.PACKAGE_MISSING))
    assert world.leader.take(AcknowledgeOutcome) == []
    world.backend.set_available(True, "orchestrator_0")
    world.pass_time(2.0, hear=[done(order, Outcome.PACKAGE_MISSING)])
    assert world.saga(order).parked
    assert Outcome.PACKAGE_MISSING in [a.outcome for a in world.leader.take(AcknowledgeOutcome)]


def test_a_parked_order_costs_no_wakes() -> None:
    world = make_world()
    parked(world, "journal_lost_with_package")
    world.pass_time(GRACE_S)
    assert run_by_deadlines(world, world.mono_s + 60.0) < 100  # lease refreshes, once a second


# --- the drone of a parked order --------------------------------------------------------------------------------------


def test_returned_is_refused_while_a_grounded_drone_reports_the_package_on_board() -> None:
    """Lifting the grounding would send the drone on its way with the package."""
    world = make_world()
    order = parked(world, "drone_grounded_with_package")
    reports(world, "warning")
    command(world, order, CommandAction.RETURNED)
    assert world.saga(order).parked
    assert len(reports(world, "warning")) == 1
    say(world, carrying(order, phase=Phase.GROUNDED))  # a person removed the package
    command(world, order, CommandAction.RETURNED)
    assert world.saga(order).status is S.PENDING
    sound(world)


def test_a_drone_that_closes_the_goal_of_a_parked_order_is_free() -> None:
    world = make_world()
    order = parked(world, "drone_grounded_with_package")
    reports(world, "error")
    say(world, done(order, Outcome.PACKAGE_MISSING))
    assert Outcome.PACKAGE_MISSING in [a.outcome for a in world.leader.take(AcknowledgeOutcome)]
    world.pass_time(2.0, hear=[make_report()])
    assert world.saga(order).parked
    assert world.leader.core.view.reservations == {}
    assert reports(world, "error") == [], "an operator who was already called is not called again"
    sound(world)


def test_a_drone_that_lost_its_journal_during_the_parking_is_free() -> None:
    world = make_world()
    order = parked(world, "drone_grounded_with_package")
    world.pass_time(2.0, hear=[make_report(journal_id="fresh")])
    assert world.saga(order).parked
    assert world.leader.core.view.reservations == {}
    sound(world)


def test_no_operator_is_called_before_the_order_is_parked() -> None:
    world = make_world()
    order = fly(world, make_order())
    leader = world.leader
    world.backend.set_available(False, leader.name)
    world.pass_time(3.0, hear=[make_report(journal_id="fresh")], step_s=0.1)
    assert reports(world, "error") == []
    world.backend.set_available(True, leader.name)
    world.pass_time(3.0, hear=[make_report(journal_id="fresh")], step_s=0.1)
    assert world.saga(order).parked
    assert len(reports(world, "error")) == 1


@pytest.mark.parametrize("reach", [load, fly])
def test_an_order_unknown_to_its_healthy_drone_is_parked(
    reach: Callable[[World, Order], Order],
) -> None:
    world = make_world()
    order = reach(world, make_order())
    world.pass_time(GRACE_S - 5.0, hear=[make_report()])
    say(world, flying(order))
    world.pass_time(GRACE_S - 5.0, hear=[make_report()])
    assert not world.saga(order).parked, "meanwhile the drone had known it"
    world.pass_time(10.0, hear=[make_report()])
    assert (world.saga(order).parked, world.saga(order).reason) == (True, "drone_knows_nothing_of_it")
    sound(world)


def test_a_cancel_request_that_arrives_before_its_order_is_kept() -> None:
    """The leader saw only the cancel request; the order is there when its commit arrives."""
    world = World()
    world.run()
    order = make_order()
    leader = world.leader
    world.intake.request_cancel(CancelRequest(order.message_id, 1.0))
    world.backend.pump()
    events, leader.inbox = leader.inbox, []
    (discard,) = (e for e in leader.core.step(events, world.now) if isinstance(e, Commit))
    world.intake.submit(order)
    result = leader.store.commit(discard.epoch, [discard.change])[0]
    assert result.fate is Fate.CONFLICT
    leader.inbox.append(CommitDone(discard, result.fate))
    world.advance(1.0)
    assert world.saga(order).status is S.CANCELLED
