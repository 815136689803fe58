"""Messages at the wrong time or about other orders are handled, and the leader's memory stays bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import assign, carrying, done, fly, load, say, sound
from world import FLEET, World, make_order, make_report

from drone_orchestrator.core.leader.effects import AnswerClearance, RecallGoal, Report, SendGoal, StopLeading
from drone_orchestrator.core.leader.events import (
    ClearanceRequested,
    DroneHeard,
    GoalAnswered,
    GoalUnreachable,
    LeaseLost,
    OperatorResign,
    ViewLoaded,
)
from drone_orchestrator.core.leader.orchestrator import Orchestrator
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import (
    CancelRequest,
    Instant,
    LeaderRecord,
    Outcome,
    Phase,
    SagaStatus,
    Snapshot,
    Verdict,
)
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.store.kv import Put
from drone_orchestrator.store.memory import MemoryDriver

S = SagaStatus


@pytest.fixture
def world(request):
    """Check after each test that the history keeps the invariants, unless the test tampers with the store."""
    world = World()
    yield world
    if "tampered" not in request.keywords:
        sound(world)


def verdicts(world):
    return [(a.verdict, a.reason) for a in world.leader.take(AnswerClearance)]


def test_clearance_for_an_unknown_order_is_refused(world):
    world.run()
    world.ask_clearance(1, "drone_1", make_order(9), 1)
    assert verdicts(world) == [(Verdict.REFUSED, "unknown_order")]
    assert world.leader.core.dispatcher._state.term.orders == {}


def test_clearance_for_another_drone_or_an_older_attempt_is_refused(world):
    order = make_order()
    assign(world, order)
    world.ask_clearance(1, "drone_2", order, 1)
    world.ask_clearance(2, "drone_1", order, 0)
    assert verdicts(world) == [(Verdict.REFUSED, "superseded")] * 2
    assert world.saga(order).status is S.ASSIGNED


def test_clearance_for_an_attempt_not_yet_seen_is_neither_granted_nor_refused(world):
    order = make_order()
    assign(world, order)
    world.ask_clearance(1, "drone_1", order, 2)
    assert verdicts(world) == [(Verdict.ASK_AGAIN, "")]
    say(world, carrying(order))
    world.ask_clearance(2, "drone_1", order, 1)
    world.leader.take(AnswerClearance)
    world.ask_clearance(3, "drone_1", order, 2)
    assert verdicts(world) == [(Verdict.ASK_AGAIN, "")]


def test_clearance_waits_until_request_and_report_name_the_same_journal(world):
    order = make_order()
    assign(world, order)
    world.ask_clearance(1, "drone_1", order, 1, journal="fresh")
    assert verdicts(world) == [(Verdict.ASK_AGAIN, "")]
    world.hear(carrying(order, journal_id="fresh"))
    world.run()
    world.ask_clearance(2, "drone_1", order, 1, journal="fresh")
    assert verdicts(world) == [(Verdict.GRANTED, "")]
    assert world.saga(order).journal_id == "fresh"


def test_a_repeated_clearance_request_answers_the_one_that_waits(world):
    order = make_order()
    assign(world, order)
    leader = world.leader
    first, second = (ClearanceRequested(n, "drone_1", order.message_id, 1, "journal-of-drone_1", 0) for n in (1, 2))
    leader.inbox += [first, second]  # both before the commit of the first is done
    world.run()
    answers = [(a.request_id, a.verdict) for a in leader.take(AnswerClearance)]
    assert answers == [(1, Verdict.GRANTED), (2, Verdict.GRANTED)]
    third, fourth, fifth = (replace(first, request_id=n) for n in (3, 4, 5))
    leader.core.dispatcher._state.term.of(order.message_id).busy = True  # a commit is in flight
    leader.inbox += [third, fourth, fifth]
    world.step_once(leader)
    assert [(a.request_id, a.verdict) for a in leader.take(AnswerClearance)] == [
        (3, Verdict.ASK_AGAIN),
        (4, Verdict.ASK_AGAIN),
    ]


def test_a_clearance_request_after_loading_is_answered_ask_again(world):
    order = make_order()
    fly(world, order)
    world.leader.take(AnswerClearance)
    world.ask_clearance(2, "drone_1", order, 1)
    assert verdicts(world) == [(Verdict.ASK_AGAIN, "")]


def test_a_standby_says_that_it_does_not_lead_and_gives_no_clearance():
    world = World(replicas=2)
    order = make_order()
    assign(world, order)
    standby = next(r for r in world.replicas if r is not world.leader)
    standby.inbox.append(ClearanceRequested(1, "drone_1", order.message_id, 1, "journal-of-drone_1", 0))
    standby.inbox.append(GoalUnreachable("drone_1", order.message_id, 1))
    standby.inbox.append(GoalAnswered("drone_1", order.message_id, 1, True))
    world.run()
    assert [a.verdict for a in standby.take(AnswerClearance)] == [Verdict.NOT_LEADER]
    assert world.saga(order).status is S.ASSIGNED


def test_a_leader_that_steps_down_answers_pending_clearance_requests(world):
    order = make_order()
    assign(world, order)
    leader = world.leader
    leader.core.dispatcher._state.term.of(order.message_id).busy = True  # a commit is in flight
    leader.inbox.append(ClearanceRequested(1, "drone_1", order.message_id, 1, "journal-of-drone_1", 0))
    leader.inbox.append(OperatorResign())
    world.step_once(leader)
    assert [a.verdict for a in leader.take(AnswerClearance)] == [Verdict.NOT_LEADER]


def test_an_unsent_or_refused_goal_counts_as_one_try_and_is_repeated_after_a_pause(world):
    order = make_order()
    assign(world, order)
    world.leader.take(SendGoal)
    for _ in range(20):
        world.tell(GoalUnreachable("drone_1", order.message_id, 1))
        world.tell(GoalAnswered("drone_1", order.message_id, 1, False))
    assert world.leader.take(SendGoal) == []
    world.pass_time(1.0, hear=[make_report()])
    assert len(world.leader.take(SendGoal)) == 1


def test_an_answer_to_a_goal_of_an_earlier_attempt_changes_nothing(world):
    order = make_order()
    assign(world, order)
    world.tell(GoalAnswered("drone_1", order.message_id, 7, True))
    assert world.saga(order).status is S.ASSIGNED


def test_a_lease_unknown_to_the_store_ends_the_term(world):
    world.run()
    leader, epoch = world.leader, world.leader.core.epoch
    world.tell(LeaseLost(epoch - 1))
    assert leader.core.epoch == epoch
    leader.inbox.append(LeaseLost(epoch))
    world.step_once(leader)
    assert leader.core.role.value == "standby"
    assert leader.take(StopLeading)
    world.pass_time(2.0)
    assert world.leader.core.epoch > epoch


def test_a_replica_that_may_not_campaign_stays_out():
    core = Orchestrator(LeaderRecord("x", "x-1", 0.0), FLEET, AssignmentPlanner(), campaigns=False)
    assert core.step([ViewLoaded(Snapshot(1))], Instant(0.0, 0.0)) == []
    assert (core.role.value, core.next_deadline()) == ("retired", None)


def test_nothing_is_decided_before_the_view_is_loaded():
    core = Orchestrator(LeaderRecord("x", "x-1", 0.0), FLEET, AssignmentPlanner())
    assert core.step([DroneHeard(make_report())], Instant(0.0, 0.0)) == []
    assert core.next_deadline() is None


@pytest.mark.parametrize("kind", ["cancels", "commands"])
def test_an_unreadable_request_is_removed_and_reported(world, kind, request):
    request.keywords["tampered"] = True
    order = make_order()
    assign(world, order)
    MemoryDriver(world.backend, "x").txn([], [Put(f"/drone_orchestrator/sf/inbox/{kind}/{order.message_id}", b"{")])
    world.run()
    assert (world.leader.core.view.cancels, world.leader.core.view.commands) == ({}, {})
    assert any("set aside" in r.text for r in world.leader.take(Report))
    assert world.saga(order).status is S.ASSIGNED


def test_an_unreadable_reservation_excludes_its_own_drone_only(world, request):
    request.keywords["tampered"] = True
    world.run()
    MemoryDriver(world.backend, "x").txn([], [Put("/drone_orchestrator/sf/assignments/drone_1", b"{")])
    first, second = make_order(1), make_order(2)
    world.intake.submit(first)
    world.intake.submit(second)
    world.hear(make_report("drone_1"), make_report("drone_2"))
    world.run()
    assert sorted([world.saga(o).drone_id or "" for o in (first, second)]) == ["", "drone_2"]


def test_orders_cause_no_wakes_while_no_drone_is_known(world):
    world.run()
    world.intake.submit(make_order())
    world.run()
    assert world.leader.core.dispatcher.next_deadline() is None
    world.hear(make_report(phase=Phase.GROUNDED))
    world.run()
    deadline = world.leader.core.dispatcher.next_deadline()
    assert deadline is not None and deadline > world.mono_s


def test_a_leader_steps_only_when_there_is_something_to_do(world):
    """Without messages, a fleet in every state has its deadlines in the future, and few steps."""
    orders = [make_order(n, deadline_s=600.0) for n in range(1, 5)]
    load(world, orders[0])
    assign(world, orders[1], "drone_2")
    world.intake.submit(orders[2])
    world.intake.submit(orders[3])
    world.run()
    steps = 0
    while world.mono_s < 60.0:
        deadline = world.leader.core.next_deadline()
        world.advance(max(0.0, deadline - world.mono_s))
        steps += 1
        assert steps < 400
    assert steps < 200


def test_the_leaders_memory_does_not_grow_with_ended_orders(world):
    for number in range(1, 40):
        order = make_order(number)
        load(world, order)
        world.hear(done(order, Outcome.DELIVERED, phase=Phase.IDLE))
        world.run()
        world.leader.sent.clear()
        world.pass_time(1.0, hear=[make_report()])
    term = world.leader.core.dispatcher._state.term
    assert (term.orders, term.accepting, term.reserving, term.told_late) == ({}, {}, {}, {})
    assert len(term.waiting) == 0
    world.pass_time(10.0, hear=[make_report()])
    assert len(term.wakes) <= 5
    assert world.leader.core.dispatcher._ledger._orders == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"max_attempts": 0},
        {"max_recall_tries": 0},
        {"accept_orders": 0},
        {"goal_retry_s": 0.0},
        {"keep_reservation_s": 0.0},
        {"retry_cap_s": 0.1},
        {"recall_cap_s": 0.5},
        {"commit_cap_s": 0.01},
    ],
)
def test_a_contradictory_policy_is_refused(bad):
    with pytest.raises(ValueError, match=r"must"):
        DispatchPolicy(**bad)


@pytest.mark.parametrize("drift", [1e-4, -1e-4, 0.5])
def test_an_order_with_a_deadline_needs_few_wakes_even_if_the_wall_clock_jumps(world, drift):
    order = make_order(deadline_s=3600.0)
    assign(world, order)
    for _ in range(300):
        world.wall_offset_s += drift
        world.hear(carrying(order))
        world.advance(0.5)
    assert len(world.leader.core.dispatcher._state.term.wakes) < 20


def test_ended_orders_cause_no_wakes_at_their_deadlines(world):
    for number in range(1, 60):
        order = make_order(number, deadline_s=86_400.0, submitted_at=world.now.wall_s)
        load(world, order)
        world.hear(done(order, Outcome.DELIVERED, phase=Phase.IDLE))
        world.run()
        world.leader.sent.clear()
        world.pass_time(0.5, hear=[make_report()])
    assert len(world.leader.core.dispatcher._state.term.wakes) < 20


def test_a_drone_that_missed_its_recall_before_loading_is_recalled_again(world):
    order = make_order()
    assign(world, order)
    world.accept_goals()
    world.intake.request_cancel(CancelRequest(order.message_id, 1001.0))
    world.run()
    assert world.saga(order).status is S.CANCELLED
    world.leader.take(RecallGoal)
    world.pass_time(10.0, hear=[carrying(order)], step_s=0.1)
    assert 5 <= len(world.leader.take(RecallGoal)) <= 11
    world.pass_time(5.0, hear=[make_report()])
    assert world.leader.take(RecallGoal) == []
