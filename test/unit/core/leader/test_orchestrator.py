"""The orchestrator's core on the in-memory store: an order's journey, its failures, and changes of leader."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import COURIER, DEPOT, FLEET, World, make_order, make_report

from drone_orchestrator.core.leader.effects import AnswerClearance, RecallGoal, Report, SendGoal, StopLeading
from drone_orchestrator.core.leader.events import (
    ClearanceRequested,
    CommitDone,
    DroneHeard,
    OperatorCampaign,
    OperatorResign,
)
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import (
    AcknowledgeOutcome,
    CancelRequest,
    DeliveryOutcome,
    GeoPoint,
    NoFlyZone,
    Outcome,
    Phase,
    Priority,
    SagaStatus,
    Verdict,
)
from drone_orchestrator.store.kv import Put
from drone_orchestrator.store.memory import MemoryDriver
from drone_orchestrator.verification.checker import check

S = SagaStatus


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def every_history_is_sound(request: pytest.FixtureRequest):
    """Check after each test that the history keeps the invariants."""
    yield
    world = request.node.funcargs.get("world")
    if world is not None and "tampered" not in request.keywords:
        report = check(world.intake.history(), complete=False)
        assert report.violations == ()


def carrying(order, drone_id="drone_1", attempt=1, **changes):
    """Return the report of a drone that has the order's goal."""
    return make_report(drone_id, phase=Phase.TO_PICKUP, message_id=order.message_id, attempt=attempt, **changes)


def flying(order, drone_id="drone_1", attempt=1, phase=Phase.TO_DESTINATION, **changes):
    return make_report(
        drone_id,
        phase=phase,
        message_id=order.message_id,
        attempt=attempt,
        package_on_board=True,
        **changes,
    )


def done(order, outcome, drone_id="drone_1", attempt=1, phase=Phase.RETURNING):
    return make_report(drone_id, phase=phase, outcomes=(DeliveryOutcome(order.message_id, attempt, outcome),))


def assign(world, order, drone_id="drone_1"):
    world.hear(make_report(drone_id))
    world.run()
    world.intake.submit(order)
    world.run()


def load(world, order, drone_id="drone_1", attempt=1):
    """Let the order be assigned, accepted and cleared."""
    if attempt == 1:
        assign(world, order, drone_id)
    world.accept_goals()
    world.hear(carrying(order, drone_id, attempt))
    world.run()
    world.ask_clearance(1, drone_id, order, attempt)


def test_an_order_is_delivered(world):
    order = make_order()
    load(world, order)
    assert world.saga(order).status is S.LOADING
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.GRANTED]
    world.hear(flying(order))
    world.run()
    assert world.saga(order).status is S.IN_TRANSIT
    world.hear(done(order, Outcome.DELIVERED))
    world.run()
    saga = world.saga(order)
    assert (saga.status, saga.drone_id, saga.attempt) == (S.DELIVERED, "drone_1", 1)
    assert [a.outcome for a in world.leader.take(AcknowledgeOutcome)] == [Outcome.DELIVERED]
    assert [e.type for e in world.intake.events(order.message_id)] == [
        "accepted",
        "assigned",
        "goal_accepted",
        "cleared",
        "loaded",
        "delivered",
    ]
    assert world.leader.core.view.reservations == {}


def test_with_a_free_drone_an_order_is_accepted_and_assigned_in_one_transaction(world):
    order = make_order()
    assign(world, order)
    written = [c for c in world.intake.history() if any(e.kind.value == "events" for e in c.entries)]
    assert len(written) == 1
    assert {e.kind.value for e in written[0].entries} == {"events", "sagas", "assignments", "inbox/orders"}


def test_an_order_without_a_drone_is_accepted_and_waits(world):
    order = make_order()
    world.run()
    world.intake.submit(order)
    world.run()
    assert world.saga(order).status is S.PENDING
    world.hear(make_report())
    world.run()
    assert world.saga(order).status is S.ASSIGNED


def test_orders_submitted_without_a_leader_are_accepted_by_the_next(world):
    world.crash(world.replicas[0])
    order = make_order()
    assert world.intake.submit(order).created
    world.add_replica("late")
    world.hear(make_report())
    world.run()
    assert world.saga(order).status is S.ASSIGNED


def test_clearance_is_not_answered_before_loading_is_committed(world):
    order = make_order()
    assign(world, order)
    world.accept_goals()
    world.hear(carrying(order))
    world.run()
    world.backend.set_available(False, "orchestrator_0")
    world.ask_clearance(1, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.ASK_AGAIN]
    assert world.saga(order).status is S.DISPATCHED
    world.backend.set_available(True, "orchestrator_0")


@pytest.mark.parametrize("applied", [True, False])
def test_a_clearance_commit_of_unknown_fate_never_grants_clearance(world, applied):
    order = make_order()
    assign(world, order)
    world.accept_goals()
    world.hear(carrying(order))
    world.run()
    world.backend.lose_answers(1, applied=applied, client="orchestrator_0")
    world.ask_clearance(1, "drone_1", order, 1)
    granted = Verdict.GRANTED in [a.verdict for a in world.leader.take(AnswerClearance)]
    assert granted == (world.saga(order).status is S.LOADING)
    world.pass_time(2, hear=[carrying(order)])
    world.ask_clearance(2, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)][-1] is Verdict.GRANTED
    assert world.saga(order).status is S.LOADING


def test_repeated_requests_get_the_same_answer_but_another_journal_is_refused(world):
    order = make_order()
    load(world, order)
    world.leader.take(AnswerClearance)
    world.ask_clearance(2, "drone_1", order, 1)
    world.ask_clearance(3, "drone_1", order, 1, journal="another")
    verdicts = [a.verdict for a in world.leader.take(AnswerClearance)]
    assert verdicts == [Verdict.GRANTED, Verdict.REFUSED]


def test_a_drone_that_dies_before_loading_loses_its_order_to_another(world):
    order = make_order()
    assign(world, order)
    world.accept_goals()
    world.pass_time(12, hear=[make_report("drone_2")])
    saga = world.saga(order)
    assert (saga.drone_id, saga.attempt, saga.status) == ("drone_2", 2, S.ASSIGNED)
    world.ask_clearance(7, "drone_1", order, 1)
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.REFUSED]


def test_a_reservation_lives_as_long_as_its_drone_is_heard(world):
    order = make_order()
    assign(world, order)
    world.accept_goals()
    world.pass_time(60, hear=[carrying(order)])
    assert (world.saga(order).status, world.saga(order).attempt) == (S.DISPATCHED, 1)


def test_after_loading_a_silent_drone_keeps_its_order(world):
    order = make_order()
    load(world, order)
    world.pass_time(120, hear=[make_report("drone_2")])
    assert (world.saga(order).status, world.saga(order).drone_id) == (S.LOADING, "drone_1")
    world.hear(done(order, Outcome.DELIVERED))
    world.run()
    assert world.saga(order).status is S.DELIVERED


def test_after_its_grace_a_silent_drone_with_the_package_needs_an_operator():
    world = World(dispatch=DispatchPolicy(lost_grace_s=60.0))
    order = make_order()
    load(world, order)
    world.pass_time(70)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "drone_lost_with_package")
    assert any(r.level == "error" for r in world.leader.take(Report))


def test_after_its_grace_a_grounded_drone_with_the_package_needs_an_operator():
    world = World(dispatch=DispatchPolicy(lost_grace_s=60.0))
    order = make_order()
    load(world, order)
    grounded = flying(order, phase=Phase.GROUNDED)
    world.pass_time(50, hear=[grounded])
    assert world.saga(order).status in (S.LOADING, S.IN_TRANSIT)
    world.pass_time(20, hear=[grounded])
    saga = world.saga(order)
    assert (saga.status, saga.parked, saga.reason) == (S.COMPENSATING, True, "drone_grounded_with_package")


def test_an_old_order_of_low_priority_is_not_crowded_out_by_urgent_ones():
    world = World(dispatch=DispatchPolicy(plan_orders=2))
    world.run()
    low = make_order(1, priority=Priority.LOW)
    world.intake.submit(low)
    world.run()
    world.pass_time(6000, step_s=100.0)
    for number in range(2, 6):
        world.intake.submit(make_order(number, priority=Priority.URGENT, submitted_at=world.now.wall_s))
    world.run()
    world.hear(make_report())
    world.run()
    assert world.saga(low).status is S.ASSIGNED


def test_a_planning_round_with_too_many_free_drones_considers_those_with_the_most_energy():
    world = World(dispatch=DispatchPolicy(plan_drones=1))
    world.hear(make_report("tired", energy_wh=300.0))
    world.hear(make_report("fresh", energy_wh=500.0))
    world.run()
    first, second = make_order(1), make_order(2)
    world.intake.submit(first)
    world.run()
    assert world.saga(first).drone_id == "fresh"
    world.intake.submit(second)
    world.run()
    assert world.saga(second).drone_id == "tired"


def test_unreachable_drones_do_not_hide_others_in_the_same_place():
    """In one place only as many drones are considered as orders wait, and silent ones do not count."""
    world = World()
    for number in range(4):
        world.hear(make_report(f"silent_{number}", energy_wh=550.0))
    world.run()
    world.pass_time(DispatchPolicy().drone_silent_s + 1.0, step_s=0.5)
    world.hear(make_report("heard", energy_wh=400.0))
    order = make_order(1)
    world.intake.submit(order)
    world.run()
    assert world.saga(order).drone_id == "heard"


def test_a_drone_is_planned_from_its_last_known_position():
    world = World(dispatch=DispatchPolicy(plan_drones=1))
    away = GeoPoint(DEPOT.lat_deg + 0.001, DEPOT.lon_deg)
    for position, energy_wh in ((DEPOT, 550.0), (away, 500.0), (DEPOT, 480.0), (away, 450.0)):
        world.hear(make_report("rover", position=position, energy_wh=energy_wh))
        world.hear(make_report("rock", energy_wh=460.0))
        world.run()
    first, second = make_order(1), make_order(2)
    world.intake.submit(first)
    world.intake.submit(second)
    world.run()
    assert {world.saga(first).drone_id, world.saga(second).drone_id} == {"rock", "rover"}
    dispatcher = world.leader.core.dispatcher
    assert not any(lane.free for lane in dispatcher._roster.lanes(dispatcher._state.term, world.now))


def test_a_drone_whose_energy_is_not_a_number_gets_no_order():
    world = World()
    world.hear(make_report("strange", energy_wh=float("nan")))
    world.hear(make_report("sound"))
    first, second = make_order(1), make_order(2)
    world.intake.submit(first)
    world.intake.submit(second)
    world.run()
    assert {world.saga(first).drone_id, world.saga(second).drone_id} == {"sound", None}


def test_an_order_in_flight_needs_one_wake_however_often_its_drone_reports(world):
    order = make_order()
    load(world, order)
    world.pass_time(300, hear=[flying(order)])
    assert len(world.leader.core.dispatcher._state.term.wakes) < 5


def test_an_expired_reservation_holds_up_no_order_while_its_drone_flies_for_another(world):
    first, second = make_order(1), make_order(2)
    assign(world, first)
    world.intake.submit(second)
    world.run()
    world.backend.expire_lease_of("/drone_orchestrator/sf/assignments/drone_1")
    for _ in range(100):
        world.hear(make_report())
        world.advance(0.05)
    assert world.saga(first).status is not S.COMPENSATING


def test_a_clock_set_back_does_not_extend_a_pause(world):
    order = make_order()
    assign(world, order)
    world.hear(done(order, Outcome.NOT_LOADED, phase=Phase.IDLE))
    world.run()
    assert world.saga(order).status is S.PENDING
    world.wall_offset_s = -3600.0
    world.pass_time(5, hear=[make_report()])
    assert world.saga(order).status is S.ASSIGNED


def test_clearance_without_a_journal_is_refused(world):
    order = make_order()
    assign(world, order)
    world.accept_goals()
    world.tell(ClearanceRequested(1, "drone_1", order.message_id, 1, "", 0))
    assert [a.verdict for a in world.leader.take(AnswerClearance)] == [Verdict.REFUSED]
    assert world.saga(order).status is S.DISPATCHED


def test_a_commit_acknowledged_after_a_reservation_expired_does_not_revive_it(world):
    order = make_order()
    world.run()
    leader = world.leader
    world.hear(make_report())
    world.intake.submit(order)
    held = []
    while not held:
        world.backend.pump()
        world.step_once(leader)
        held = [event for event in leader.inbox if isinstance(event, CommitDone)]
        leader.inbox = [event for event in leader.inbox if not isinstance(event, CommitDone)]
    world.backend.expire_lease_of("/drone_orchestrator/sf/assignments/drone_1")
    world.backend.pump()
    leader.inbox += held
    world.run()
    world.pass_time(5, hear=[make_report("drone_2")])
    assert world.saga(order).attempt == 2


def test_a_commit_of_unknown_fate_that_succeeds_late_is_not_repeated(world):
    order = make_order()
    world.run()
    world.backend.lose_answers(1, applied=False, client="orchestrator_0")
    world.hear(make_report())
    world.intake.submit(order)
    world.run()
    world.backend.deliver_late()
    world.pass_time(2, hear=[make_report()])
    assert (world.saga(order).status, world.saga(order).attempt) == (S.ASSIGNED, 1)


def test_orders_for_another_class_do_not_crowd_out_those_that_could_fly(world, monkeypatch):
    heavy = replace(COURIER, name="heavy", max_payload_kg=10.0)
    monkeypatch.setattr("world.FLEET", replace(FLEET, classes=(COURIER, heavy)))
    world = World(dispatch=DispatchPolicy(plan_orders=4))
    world.run()
    for number in range(4):
        world.intake.submit(make_order(number, drone_class="heavy", submitted_at=900.0))
    order = make_order(9)
    world.intake.submit(order)
    world.pass_time(3, hear=[make_report()])
    assert world.saga(order).status is S.ASSIGNED


@pytest.mark.parametrize("silent_after_s", [0.0, 0.5, 1.0, 2.0, 2.5, 2.9])
def test_a_drone_that_dies_during_its_recall_does_not_leave_the_order_hanging(silent_after_s):
    world = World(dispatch=DispatchPolicy(lost_grace_s=40.0))
    order = make_order()
    load(world, order)
    world.hear(flying(order))
    world.run()
    world.advance(silent_after_s)
    world.intake.request_cancel(CancelRequest(order.message_id, 1001.0))
    world.run()
    assert world.saga(order).status is S.COMPENSATING
    for _ in range(140):  # no more messages arrive; the replica steps only at its own deadlines
        deadline = world.leader.core.next_deadline()
        assert deadline is not None
        world.advance(max(0.0, deadline - world.mono_s))
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "drone_lost_with_package")


def test_another_journal_cannot_vouch_for_a_package(world):
    order = make_order()
    load(world, order)
    world.hear(make_report(journal_id="fresh"))
    world.run()
    saga = world.saga(order)
    assert (saga.status, saga.parked, saga.reason) == (S.COMPENSATING, True, "journal_lost_with_package")


def test_an_order_is_taken_from_a_grounded_drone_at_once(world):
    order = make_order()
    assign(world, order)
    world.leader.take(SendGoal)
    world.hear(make_report(phase=Phase.GROUNDED))
    world.run()
    assert (world.saga(order).status, world.saga(order).reason) == (S.PENDING, "drone_grounded")
    assert world.leader.core.view.reservations == world.leader.core.view.breakers == {}
    assert not world.leader.take(SendGoal)


def test_a_refused_goal_is_repeated_and_then_given_to_another_drone(world):
    order = make_order()
    assign(world, order)
    world.pass_time(3, hear=[make_report()])
    assert len(world.leader.take(SendGoal)) >= 3
    world.pass_time(6, hear=[make_report()])
    events = world.intake.events(order.message_id)
    assert "goal_not_accepted" in [e.reason for e in events if e.type == "abandoned"]
    assert world.saga(order).attempt >= 2


def test_an_order_that_used_up_its_attempts_fails():
    world = World(dispatch=DispatchPolicy(max_attempts=2, max_goal_tries=1))
    order = make_order()
    assign(world, order)
    world.pass_time(20, hear=[make_report()])
    saga = world.saga(order)
    assert (saga.status, saga.reason, saga.attempt) == (S.FAILED, "attempts_exhausted", 2)


def test_an_order_that_no_drone_could_ever_fly_fails_with_a_reason(world):
    order = make_order(package_weight_kg=50.0)
    assign(world, order)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "no_capable_drone")


def test_an_order_that_a_new_zone_cuts_off_fails_with_a_reason(world):
    around = [(37.77, -122.42), (37.78, -122.42), (37.78, -122.41), (37.77, -122.41)]
    zone = NoFlyZone("parade", tuple(GeoPoint(lat, lon) for lat, lon in around))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("world.FLEET", replace(FLEET, no_fly_zones=(zone,)))
        world = World()
    order = make_order()
    assign(world, order)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "no_fly_zone")


def test_an_order_past_its_deadline_fails_instead_of_waiting(world):
    order = make_order(deadline_s=5.0)
    world.run()
    world.intake.submit(order)
    world.run()
    world.pass_time(6)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "deadline_exceeded")


def test_cancelling_before_loading_frees_the_drone_at_once(world):
    order, other = make_order(1), make_order(2)
    assign(world, order)
    world.accept_goals()
    world.intake.request_cancel(CancelRequest(order.message_id, 1001.0))
    world.run()
    assert world.saga(order).status is S.CANCELLED
    assert [r.message_id for r in world.leader.take(RecallGoal)] == [order.message_id]
    assert world.leader.core.view.cancels == {}
    world.intake.submit(other)
    world.hear(make_report())
    world.run()
    assert world.saga(other).drone_id == "drone_1"


def test_a_deposed_leader_does_not_recall_its_successors_goal(world):
    """After a hang, it receives the report of an unknown goal before it learns that it was replaced."""
    world.run()
    epoch = world.leader.core.epoch
    report = make_report(phase=Phase.TO_PICKUP, message_id="order-of-the-successor", attempt=1)
    world.hear(replace(report, highest_epoch=epoch + 1))
    world.run()
    assert world.leader.take(RecallGoal) == []
    world.hear(replace(report, highest_epoch=epoch))
    world.run()
    assert world.leader.take(RecallGoal), "but a goal of no order is recalled"


def test_cancelling_after_loading_brings_the_package_back(world):
    order = make_order()
    load(world, order)
    world.hear(flying(order))
    world.run()
    world.intake.request_cancel(CancelRequest(order.message_id, 1001.0))
    world.run()
    assert world.saga(order).status is S.COMPENSATING
    assert world.leader.take(RecallGoal)
    world.hear(done(order, Outcome.RETURNED))
    world.run()
    assert world.saga(order).status is S.CANCELLED


def test_an_order_recalled_too_late_ends_as_delivered(world):
    order = make_order()
    load(world, order)
    world.hear(flying(order))
    world.run()
    world.intake.request_cancel(CancelRequest(order.message_id, 1001.0))
    world.run()
    world.hear(done(order, Outcome.DELIVERED))
    world.run()
    assert world.saga(order).status is S.DELIVERED


def test_a_package_that_comes_back_unasked_is_delivered_again(world):
    order = make_order()
    load(world, order)
    world.hear(flying(order))
    world.run()
    world.hear(done(order, Outcome.RETURNED, phase=Phase.IDLE))
    world.run()
    saga = world.saga(order)
    assert (saga.status, saga.attempt) == (S.PENDING, 1)
    world.pass_time(2, hear=[make_report()])
    assert (world.saga(order).status, world.saga(order).attempt) == (S.ASSIGNED, 2)


def test_a_recorded_outcome_is_acknowledged_until_the_drone_drops_it(world):
    order = make_order()
    load(world, order)
    report = done(order, Outcome.DELIVERED)
    for _ in range(3):
        world.hear(report)
        world.run()
    acks = world.leader.take(AcknowledgeOutcome)
    assert len(acks) >= 3
    assert {a.message_id for a in acks} == {order.message_id}


# --- leadership -----------------------------------------------------------------------------------------------------


def test_one_replica_leads_and_the_others_stand_by():
    world = World(replicas=3)
    world.run()
    assert sorted(r.core.role.value for r in world.replicas) == ["leader", "standby", "standby"]


def test_a_dead_leader_is_replaced_when_its_lease_expires_and_its_orders_continue():
    world = World(replicas=3)
    order = make_order()
    load(world, order)
    world.hear(flying(order))
    world.run()
    first = world.leader
    old_epoch = first.core.epoch
    world.crash(first)
    world.pass_time(7, hear=[flying(order)])
    assert world.leader.core.epoch > old_epoch
    assert (world.saga(order).status, world.saga(order).attempt) == (S.IN_TRANSIT, 1)
    world.hear(done(order, Outcome.DELIVERED))
    world.run()
    assert world.saga(order).status is S.DELIVERED
    assert "abandoned" not in [e.type for e in world.intake.events(order.message_id)]


def test_a_new_leader_does_not_repeat_a_goal_that_the_drone_has():
    world = World(replicas=2)
    order = make_order()
    assign(world, order)
    world.accept_goals()
    world.crash(world.leader)
    world.pass_time(7, hear=[carrying(order)])
    assert world.leader.take(SendGoal) == []
    assert world.saga(order).status is S.DISPATCHED


def test_a_deposed_leader_changes_nothing_and_steps_down_at_its_first_write():
    world = World(replicas=2)
    world.run()
    old = world.leader
    world.backend.expire_lease_of("/drone_orchestrator/sf/leader")
    other = next(r for r in world.replicas if r is not old)
    world.replicas.remove(old)  # it receives nothing
    world.run()
    assert other.core.role.value == "leader"
    order = make_order()
    world.intake.submit(order)
    old.inbox.clear()
    from drone_orchestrator.core.leader.events import StoreChanged
    from drone_orchestrator.core.types import Entry, Kind, StoreChange

    inbox = Entry(Kind.INBOX_ORDER, order.message_id, order, world.backend.revision)
    old.inbox += [DroneHeard(make_report()), StoreChanged(StoreChange(world.backend.revision, (inbox,)))]
    world.step_once(old)
    world.step_once(old)
    assert old.core.role.value == "standby"
    assert old.take(StopLeading)
    assert [e.epoch for e in world.intake.events(order.message_id)] == []


def test_a_leader_that_cannot_refresh_its_lease_stops_before_it_could_expire():
    world = World(replicas=1)
    world.run()
    leader = world.leader
    world.backend.set_available(False, "orchestrator_0")
    stopped_at = None
    for _ in range(60):
        world.advance(0.1)
        if leader.core.role.value != "leader":
            stopped_at = world.mono_s
            break
    assert stopped_at is not None and stopped_at < 5.0
    world.backend.set_available(True, "orchestrator_0")
    world.pass_time(10)
    assert world.leader is leader


def test_a_planned_handover_is_immediate_and_the_old_leader_waits_for_its_return_to_service():
    world = World(replicas=2)
    world.run()
    old = world.leader
    world.tell(OperatorResign())
    world.run()
    assert world.leader is not old
    world.crash(world.leader)
    world.pass_time(10)
    assert old.core.role.value == "retired"
    old.inbox.append(OperatorCampaign())
    world.run()
    assert world.leader is old


def test_an_unreadable_saga_is_set_aside_and_the_others_continue(world, request):
    request.keywords["tampered"] = True
    first, second = make_order(1), make_order(2)
    load(world, first)
    key = f"/drone_orchestrator/sf/sagas/{first.message_id}"
    MemoryDriver(world.backend, "somebody").txn([], [Put(key, b"{not json")])
    world.run()
    assert [r for r in world.leader.take(Report) if r.level == "error"]
    world.intake.submit(second)
    world.hear(make_report("drone_2"))
    world.run()
    assert world.saga(second).status is S.ASSIGNED
    assert list(world.leader.core.view.corrupt) == [f"sagas/{first.message_id}"]
    report = check(world.intake.history(), complete=False)
    assert report.invariants["I6"] >= 1


def test_a_watch_that_lost_its_place_restarts_from_a_snapshot(world):
    order = make_order()
    world.hear(make_report())
    world.run()
    world.backend.break_watches()
    world.intake.submit(order)
    world.intake.submit(make_order(2, destination=GeoPoint(37.76, -122.41)))
    world.backend.compact()
    world.run()
    assert world.saga(order).status in (S.ASSIGNED, S.PENDING)
    assert world.leader.core.view.inbox == {}
