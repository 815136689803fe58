"""Breakers: a drone that fails repeatedly gets no orders for a while, under any leader, and recovers by success."""

from __future__ import annotations

from itertools import pairwise

import pytest
from scenes import cancel, carrying, dispatch, done, fly, load, say, sound
from world import World, make_order, make_report

from drone_orchestrator.core.leader.breakers import after_failure, after_success, on_trial, pause_s
from drone_orchestrator.core.leader.effects import SendGoal
from drone_orchestrator.core.policies import BreakerPolicy, DispatchPolicy
from drone_orchestrator.core.types import Breaker, BreakerState, Order, Outcome, Phase, SagaStatus
from drone_orchestrator.store.codec import encode
from drone_orchestrator.store.kv import Put
from drone_orchestrator.store.memory import MemoryDriver

S = SagaStatus
B = BreakerState
POLICY = BreakerPolicy(failures=3, open_s=30.0, open_cap_s=600.0)
BREAKER_KEY = "/drone_orchestrator/sf/breakers/drone_1"


# --- the record -----------------------------------------------------------------------------------------------------


def failed(times: int, breaker: Breaker | None = None) -> Breaker:
    for _ in range(times):
        breaker = after_failure(breaker, "d", POLICY, now_s=100.0, epoch=7)
    assert breaker is not None
    return breaker


def test_the_configured_number_of_consecutive_failures_opens_a_breaker() -> None:
    assert [failed(n).state for n in (1, 2, 3)] == [B.CLOSED, B.CLOSED, B.OPEN]
    opened = failed(3)
    assert (opened.trips, opened.failures, opened.epoch) == (1, 3, 7)
    assert 100.0 + 15.0 <= opened.open_until <= 100.0 + 30.0


def test_a_success_resets_the_count() -> None:
    closed = after_success(failed(2), epoch=8)
    assert closed == Breaker("d", B.CLOSED, 8)
    assert failed(2, closed).state is B.CLOSED


def test_a_failure_on_trial_opens_at_once_and_for_longer_up_to_the_cap() -> None:
    breaker, pauses = failed(3), []
    for _ in range(12):
        pauses.append(breaker.open_until - 100.0)
        trial = on_trial(breaker, epoch=8)
        assert trial is not None and (trial.state, trial.trips, trial.epoch) == (B.HALF_OPEN, breaker.trips, 8)
        breaker = failed(1, trial)
        assert breaker.state is B.OPEN
    assert all(later > earlier for earlier, later in pairwise(pauses[:5]))
    assert max(pauses) <= POLICY.open_cap_s


def test_the_pause_is_the_same_for_every_leader_and_spread_between_drones() -> None:
    assert pause_s(1, "d", POLICY) == pause_s(1, "d", POLICY)
    assert len({pause_s(1, f"d{n}", POLICY) for n in range(10)}) > 5


def test_an_unchanged_breaker_is_not_written() -> None:
    assert after_success(None, epoch=1) is None
    assert after_success(Breaker("d", B.CLOSED, 1), epoch=2) is None
    assert on_trial(None, epoch=1) is None
    assert on_trial(failed(1), epoch=1) is None
    assert on_trial(Breaker("d", B.HALF_OPEN, 1, 3, 1), epoch=1) is None


def test_success_on_trial_closes() -> None:
    trial = on_trial(failed(3), epoch=8)
    assert after_success(trial, epoch=8) == Breaker("d", B.CLOSED, 8)


@pytest.mark.parametrize("bad", [{"failures": 0}, {"open_s": 0.0}, {"open_s": 700.0}])
def test_a_policy_that_contradicts_itself_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="breakers"):
        BreakerPolicy(**bad)  # type: ignore[arg-type]


# --- in the world ---------------------------------------------------------------------------------------------------


def impatient(**changes: object) -> World:
    """Return a world with one try per goal, so that a drone fails once a second."""
    return World(dispatch=DispatchPolicy(max_goal_tries=1, max_attempts=100, **changes))  # type: ignore[arg-type]


def breaker_of(world: World, drone_id: str = "drone_1") -> Breaker | None:
    return world.leader.core.view.breaker_of(drone_id)


def open_breaker(world: World, order: Order) -> Breaker:
    """Report a drone that accepts no goal until its breaker opens."""
    world.run()
    world.intake.submit(order)
    for _ in range(60):
        say(world, make_report())
        world.advance(0.5)
        breaker = breaker_of(world)
        if breaker is not None and breaker.state is B.OPEN:
            return breaker
    raise AssertionError("it never opened")


def test_a_drone_that_refuses_goals_gets_no_more_orders_but_others_do() -> None:
    world, order = impatient(), make_order()
    breaker = open_breaker(world, order)
    assert (breaker.failures, breaker.trips) == (3, 1)
    attempt = world.saga(order).attempt
    assert attempt == 3
    world.pass_time(breaker.open_until - world.now.wall_s - 1.0, hear=[make_report()])
    assert world.saga(order).attempt == attempt
    say(world, make_report("drone_2"))
    assert world.saga(order).drone_id == "drone_2"
    sound(world)


def test_when_the_pause_is_over_the_drone_gets_exactly_one_order() -> None:
    world, first, second = impatient(), make_order(1), make_order(2)
    breaker = open_breaker(world, first)
    world.intake.submit(second)
    world.leader.take(SendGoal)
    world.pass_time(breaker.open_until - world.now.wall_s + 1.5, hear=[make_report()], step_s=0.25)
    statuses = [world.saga(first).status, world.saga(second).status]
    goals = world.leader.take(SendGoal)
    assert len({(g.order.message_id, g.attempt) for g in goals if isinstance(g, SendGoal)}) == 1
    now = breaker_of(world)
    assert now is not None
    assert now.state is (B.HALF_OPEN if S.ASSIGNED in statuses else B.OPEN)
    sound(world)


def test_a_failed_trial_opens_for_longer_and_a_delivery_closes() -> None:
    world, order = impatient(), make_order()
    first = open_breaker(world, order)
    world.pass_time(first.open_until - world.now.wall_s + 3.0, hear=[make_report()])
    second = breaker_of(world)
    assert second is not None and (second.state, second.trips) == (B.OPEN, 2)
    first_pause, second_pause = (pause_s(n, "drone_1", BreakerPolicy()) for n in (1, 2))
    assert second_pause > first_pause

    while world.saga(order).status is not S.ASSIGNED:
        say(world, make_report())
        world.advance(0.25)
    attempt = world.saga(order).attempt
    trial = breaker_of(world)
    assert trial is not None and trial.state is B.HALF_OPEN
    world.accept_goals()
    say(world, carrying(order, attempt=attempt))
    world.ask_clearance(1, "drone_1", order, attempt)
    say(world, done(order, Outcome.DELIVERED, attempt=attempt))
    assert world.saga(order).status is S.DELIVERED
    closed = breaker_of(world)
    assert closed is not None and (closed.state, closed.failures, closed.trips) == (B.CLOSED, 0, 0)
    sound(world)


def test_an_open_breaker_outlives_its_leader() -> None:
    world, order = impatient(), make_order()
    breaker = open_breaker(world, order)
    world.crash(world.leader)
    world.add_replica("successor")
    world.pass_time(8.0, hear=[make_report()])
    assert world.leader.name == "successor"
    assert breaker_of(world) == breaker
    assert world.saga(order).status is S.PENDING
    world.pass_time(breaker.open_until - world.now.wall_s + 2.0, hear=[make_report()])
    assert world.saga(order).attempt == 4
    sound(world)


def test_a_clock_set_back_does_not_extend_the_pause_of_a_breaker() -> None:
    world, order = impatient(), make_order()
    breaker = open_breaker(world, order)
    world.crash(world.leader)
    world.wall_offset_s = -3600.0
    world.add_replica("successor")
    world.pass_time(8.0, hear=[make_report()])
    # The order's own pause runs first; the drone's breaker matters only after it.
    longest_s = DispatchPolicy().retry_cap_s + pause_s(breaker.trips, "drone_1", BreakerPolicy())
    world.pass_time(longest_s + 1.0, hear=[make_report()])
    assert world.saga(order).attempt >= 4


def test_the_longest_pause_starts_when_a_breaker_is_first_seen() -> None:
    """The clock of the leader that opened it was an hour ahead, and another drone takes all orders for a while."""
    world = World()
    world.run()
    breaker = Breaker("drone_1", B.OPEN, 1, 3, 1, world.now.wall_s + 3600.0)
    MemoryDriver(world.backend, "predecessor").txn([], [Put(BREAKER_KEY, encode(breaker))])
    world.run()
    heard = [make_report("drone_1", energy_wh=540.0), make_report("drone_2"), make_report("drone_3")]
    first = make_order(1)
    world.hear(*heard)
    world.run()
    world.intake.submit(first)
    world.run()
    taken = world.saga(first).drone_id
    assert taken in ("drone_2", "drone_3")
    left = [report for report in heard if report.drone_id != taken]
    busy = carrying(first, taken)
    world.pass_time(pause_s(1, "drone_1", BreakerPolicy()) + 1.0, hear=[*left, busy])
    orders = [make_order(n) for n in (2, 3)]
    for order in orders:
        world.intake.submit(order)
    world.run()
    assert {world.saga(order).drone_id for order in orders} == {report.drone_id for report in left}


def test_a_fault_before_loading_counts_whether_or_not_clearance_was_committed() -> None:
    for reach in (dispatch, load):
        world = World()
        order = reach(world, make_order())
        say(world, done(order, Outcome.FAULT_BEFORE_LOADING, phase=Phase.GROUNDED))
        breaker = breaker_of(world)
        assert breaker is not None and breaker.failures == 1
        sound(world)


def test_a_failure_that_is_not_the_drones_fault_does_not_count() -> None:
    cancelled = World()
    cancel(cancelled, dispatch(cancelled, make_order()))
    assert breaker_of(cancelled) is None

    late = World()
    order = dispatch(late, make_order(deadline_s=5.0))
    late.pass_time(6.0, hear=[carrying(order)])
    assert (late.saga(order).status, late.saga(order).reason) == (S.FAILED, "deadline_exceeded")
    assert breaker_of(late) is None

    recalled = World()
    order = dispatch(recalled, make_order())
    say(recalled, done(order, Outcome.NOT_LOADED))
    assert recalled.saga(order).status is S.PENDING
    assert breaker_of(recalled) is None


def test_a_drone_that_falls_silent_before_loading_counts_as_failed() -> None:
    world = World()
    order = dispatch(world, make_order())
    world.pass_time(12.0)
    assert world.saga(order).status is S.PENDING
    breaker = breaker_of(world)
    assert breaker is not None and breaker.failures == 1


def test_a_returned_package_counts_as_a_success() -> None:
    world = World()
    first = dispatch(world, make_order(1))
    say(world, done(first, Outcome.FAULT_BEFORE_LOADING))
    world.pass_time(2.0, hear=[make_report()])
    saga = world.saga(first)
    assert (saga.status, saga.attempt) == (S.ASSIGNED, 2)
    world.accept_goals()
    world.ask_clearance(1, "drone_1", first, 2)
    say(world, done(first, Outcome.RETURNED, attempt=2))
    breaker = breaker_of(world)
    assert breaker is not None and breaker.failures == 0


def test_an_unreadable_breaker_keeps_its_drone_out_of_planning() -> None:
    world, order = World(), make_order()
    world.run()
    MemoryDriver(world.backend, "somebody").txn([], [Put(BREAKER_KEY, b"{not json")])
    world.run()
    assert list(world.leader.core.view.corrupt) == ["breakers/drone_1"]
    world.intake.submit(order)
    world.pass_time(3.0, hear=[make_report()])
    assert world.saga(order).status is S.PENDING
    say(world, make_report("drone_2"))
    assert world.saga(order).drone_id == "drone_2"


def test_a_failure_replaces_an_unreadable_breaker() -> None:
    world = World()
    order = dispatch(world, make_order())
    MemoryDriver(world.backend, "somebody").txn([], [Put(BREAKER_KEY, b"{not json")])
    world.run()
    say(world, done(order, Outcome.FAULT_BEFORE_LOADING))
    world.pass_time(1.0)
    breaker = breaker_of(world)
    assert breaker is not None and breaker.failures == 1


def test_an_ordinary_delivery_writes_no_breaker() -> None:
    world = World()
    order = fly(world, make_order())
    say(world, done(order, Outcome.DELIVERED))
    assert world.saga(order).status is S.DELIVERED
    assert world.leader.core.view.breakers == {}


def test_an_expired_reservation_of_a_live_drone_does_not_count_as_its_failure() -> None:
    """The store was away, or there was no leader."""
    world = World()
    order = dispatch(world, make_order())
    world.backend.expire_lease_of("/drone_orchestrator/sf/assignments/drone_1")
    say(world, carrying(order))
    assert world.saga(order).status is S.PENDING
    assert breaker_of(world) is None


def test_an_inconclusive_trial_is_no_success() -> None:
    world, order = impatient(), make_order()
    breaker = open_breaker(world, order)
    world.pass_time(breaker.open_until - world.now.wall_s - 0.5, hear=[make_report()])
    while world.saga(order).status is not S.ASSIGNED:
        say(world, make_report())
        world.advance(0.25)
    attempt = world.saga(order).attempt
    world.accept_goals()
    world.ask_clearance(1, "drone_1", order, attempt)
    cancel(world, order)
    say(world, done(order, Outcome.NOT_LOADED, attempt=attempt))
    assert world.saga(order).status is S.CANCELLED
    after = breaker_of(world)
    assert after is not None and after.state is B.HALF_OPEN
