"""Blame for failed attempts: a drone's own fault counts for its breaker, and trouble of the system for nothing."""

from __future__ import annotations

import pytest
from scenes import HEAVY, LIGHT, LaneWorld, assign, carrying, drone, light_order, say, sound
from world import DEPOT, World, make_order, make_report

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.leader.blame import CONFIGURATION, REFUSED, UNHEARD, Blame, Culprit
from drone_orchestrator.core.leader.effects import SendGoal
from drone_orchestrator.core.leader.events import GoalAnswered
from drone_orchestrator.core.leader.memory import Drone, LeaderState, Retry, Term
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.reasons import RefusalCause, RefusedGoal
from drone_orchestrator.core.types import BreakerState, DroneReport, Instant, Order, SagaEvent, SagaStatus
from drone_orchestrator.core.view import FleetView

S = SagaStatus
C = RefusalCause


def refused(report: DroneReport, order: Order, attempt: int, epoch: int, cause: C, reason: str = "why") -> DroneReport:
    """Return the drone's report with a refusal of the goal."""
    goal = RefusedGoal(order.message_id, attempt, epoch, cause, reason)
    return make_report(report.drone_id, drone_class=report.drone_class, refusals=(goal,))


class Refusing:
    """Drones that refuse every goal with one cause: the report comes before or after the action's answer."""

    def __init__(self, world: World, drones: list[DroneReport], cause: C, *, report_first: bool = True) -> None:
        self.world = world
        self.reports = {each.drone_id: each for each in drones}
        self.cause = cause
        self.report_first = report_first
        self.goals: list[SendGoal] = []

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            say(self.world, *self.reports.values())
            self.world.advance(0.5)
            for goal in self.world.leader.take(SendGoal):
                assert isinstance(goal, SendGoal)
                if goal.drone_id in self.reports:
                    self.goals.append(goal)
                    self._refuse(goal)

    def _refuse(self, goal: SendGoal) -> None:
        report = refused(self.reports[goal.drone_id], goal.order, goal.attempt, goal.epoch, self.cause)
        answer = GoalAnswered(goal.drone_id, goal.order.message_id, goal.attempt, False)
        if self.report_first:
            say(self.world, report)
        self.world.tell(answer)
        self.reports[goal.drone_id] = report


def failures(world: World) -> dict[str, int]:
    breakers = world.leader.core.view.breakers
    return {id_: stored.value.failures for id_, stored in breakers.items() if stored.value.failures}


def events_of(world: World, order: Order) -> list[SagaEvent]:
    entries = [entry.value for change in world.intake.history() for entry in change.entries]
    return [e for e in entries if isinstance(e, SagaEvent) and e.message_id == order.message_id]


def abandoned(world: World, order: Order) -> list[str | None]:
    return [event.reason for event in events_of(world, order) if event.type == sagas.ABANDONED]


def submitted(world: World, order: Order, *drones: DroneReport) -> Order:
    say(world, *drones)
    world.intake.submit(order)
    world.run()
    return order


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("report_first", [True, False])
@pytest.mark.parametrize("cause", [C.UNSPECIFIED, C.LEADER, C.CONFIGURATION, C.BUSY])
def test_a_refusal_that_is_not_the_drones_fault_charges_nobody(cause: C, report_first: bool) -> None:
    world = World(dispatch=DispatchPolicy(max_attempts=2, max_goal_tries=1))
    drones = [make_report(f"drone_{n}") for n in range(1, 5)]
    order = submitted(world, make_order(), *drones)
    Refusing(world, drones, cause, report_first=report_first).pass_time(120.0)
    saga = world.saga(order)
    assert failures(world) == {}
    assert not saga.status.is_terminal and saga.excused >= 2
    assert set(abandoned(world, order)) == {"why"}
    sound(world)


@pytest.mark.parametrize("report_first", [True, False])
def test_a_drones_own_fault_opens_its_breaker_at_the_third_refusal(report_first: bool) -> None:
    world = World()
    order = submitted(world, make_order(), make_report())
    refusing = Refusing(world, [make_report()], C.DRONE, report_first=report_first)
    refusing.pass_time(12.0)
    breaker = world.leader.core.view.breaker_of("drone_1")
    assert breaker is not None and breaker.state is BreakerState.OPEN
    assert [goal.attempt for goal in refusing.goals] == [1, 2, 3], "one goal for each attempt: the reason is known"
    assert world.saga(order).excused == 0
    sound(world)


def test_the_reason_of_a_refusal_is_that_of_the_saga() -> None:
    world = World()
    order = assign(world, make_order())
    epoch = world.leader.core.epoch
    say(world, refused(make_report(), order, 1, epoch, C.LEADER, "stale_epoch"))
    saga = world.saga(order)
    assert (saga.status, saga.reason, saga.attempt, saga.excused) == (S.PENDING, "stale_epoch", 1, 1)
    assert [event.excused for event in events_of(world, order)] == [0, 0, 1, 1]


def test_a_refusal_of_another_leaders_goal_does_not_count() -> None:
    world = World()
    order = assign(world, make_order())
    say(world, refused(make_report(), order, 1, world.leader.core.epoch - 1, C.DRONE))
    assert world.saga(order).status is S.ASSIGNED
    world.pass_time(2.0, hear=[make_report()])
    world.accept_goals()
    say(world, carrying(order))
    assert (world.saga(order).status, failures(world)) == (S.DISPATCHED, {})


def test_an_order_with_which_two_drones_of_each_class_find_fault_fails_and_opens_no_breaker() -> None:
    world = World()
    drones = [make_report(f"drone_{n}") for n in range(8)]
    order = submitted(world, make_order(), *drones)
    refusing = Refusing(world, drones, C.ORDER)
    refusing.pass_time(20.0)
    saga = world.saga(order)
    assert (saga.status, saga.reason, saga.attempt) == (S.FAILED, "why", 2)
    assert len({goal.drone_id for goal in refusing.goals}) == 2
    assert failures(world) == {}
    sound(world)


def test_one_drone_that_finds_fault_with_every_order_fails_none() -> None:
    world = World()
    liar = make_report("drone_1", position=DEPOT)
    order = submitted(world, make_order(), liar)
    assert world.saga(order).drone_id == "drone_1"
    say(world, make_report("drone_2"))
    Refusing(world, [liar], C.ORDER).pass_time(1.0)
    for _ in range(20):
        say(world, make_report("drone_2"))
        world.advance(0.5)
    assert (world.saga(order).status, world.saga(order).drone_id) == (S.ASSIGNED, "drone_2")


@pytest.mark.parametrize("cause", [C.ORDER, C.CONFIGURATION])
def test_an_order_that_one_class_refuses_goes_to_another_that_can_take_it(cause: C) -> None:
    world = LaneWorld([LIGHT, HEAVY])
    light, heavy = drone(LIGHT, 1), drone(HEAVY, 1)
    order = submitted(world, light_order(1), light)
    assert world.saga(order).drone_id == "light_1"
    refusing = Refusing(world, [light], cause)
    refusing.pass_time(1.0)
    for _ in range(4):
        say(world, heavy)
        refusing.pass_time(0.5)
    assert (world.saga(order).status, world.saga(order).drone_id) == (S.ASSIGNED, "heavy_1")
    assert world.saga(order).order.drone_class is None
    assert failures(world) == {}
    sound(world)


def test_a_class_with_another_configuration_is_asked_once_a_minute() -> None:
    world = World()
    drones = [make_report(f"drone_{n}") for n in range(8)]
    order = submitted(world, make_order(), *drones)
    refusing = Refusing(world, drones, C.CONFIGURATION)
    refusing.pass_time(200.0)
    assert world.saga(order).status is S.PENDING
    assert 3 <= len(refusing.goals) <= 4
    assert CONFIGURATION in {kind for kind, _ in world.leader.core.dispatcher.troubles(world.mono_s)}


def test_excused_attempts_are_bounded() -> None:
    world = World(dispatch=DispatchPolicy(max_attempts=2, max_excused=3, max_goal_tries=1, retry_cap_s=0.2))
    order = submitted(world, make_order(), make_report())
    Refusing(world, [make_report()], C.LEADER).pass_time(400.0)
    saga = world.saga(order)
    assert (saga.status, saga.reason, saga.attempt, saga.excused) == (S.FAILED, "attempts_exhausted", 5, 3)


def test_a_refusing_drone_is_benched_longer_each_time_and_others_are_not() -> None:
    world = World(dispatch=DispatchPolicy(max_goal_tries=1))
    first = make_report("drone_1", energy_wh=549.0)
    order = submitted(world, make_order(), first)
    refusing = Refusing(world, [first], C.LEADER)
    refusing.pass_time(60.0)
    assert 3 <= len(refusing.goals) <= 6
    assert (REFUSED, "drone_1") in world.leader.core.dispatcher.troubles(world.mono_s)
    say(world, make_report("drone_2"))
    world.pass_time(11.0, hear=[first, make_report("drone_2")])
    assert "drone_2" in {event.drone_id for event in events_of(world, order)}


# --- goals that nobody answers ----------------------------------------------------------------------------------------


def test_a_leader_that_no_drone_answers_charges_nobody() -> None:
    """Ten attempts, and the breakers of all drones, were gone after 84 s."""
    world = World()
    drones = [make_report(f"drone_{n}") for n in range(4)]
    orders = [submitted(world, make_order(n), *drones) for n in range(1, 4)]
    world.pass_time(300.0, hear=drones)
    assert failures(world) == {}
    assert {world.saga(order).status for order in orders} <= {S.PENDING, S.ASSIGNED}
    assert all(saga.attempt - saga.excused <= 1 for saga in map(world.saga, orders))
    assert max(world.saga(order).attempt for order in orders) < 20, "the drones are benched"
    assert (UNHEARD, "") in world.leader.core.dispatcher.troubles(world.mono_s)
    sound(world)


@pytest.mark.parametrize(
    ("answer", "mute", "heard", "culprit"),
    [
        (1, 0, 2, Culprit.DRONE),
        (2, 1, 4, Culprit.DRONE),
        (1, 1, 4, Culprit.SYSTEM),
        (1, 0, 4, Culprit.SYSTEM),
        (1, 0, 3, Culprit.SYSTEM),
        (8, 0, 100, Culprit.DRONE),
        (0, 0, 4, Culprit.SYSTEM),
        (0, 3, 4, Culprit.SYSTEM),
        (0, 0, 1, Culprit.DRONE),
    ],
    ids=[
        "the others answer",
        "most answer",
        "half are mute",
        "one of four answers",
        "one of three",
        "enough of many",
        "no other was asked",
        "all are mute",
        "the only drone",
    ],
)
def test_an_unanswered_goal_is_the_drones_fault_if_most_others_answer(
    answer: int, mute: int, heard: int, culprit: Culprit
) -> None:
    state = LeaderState(DispatchPolicy(), Term(7))
    blame, now = Blame(FleetView(), state), Instant(100.0, 1e9)
    for n in range(heard):
        state.drones[f"drone_{n}"] = Drone(make_report(f"drone_{n}"), now.mono_s)
    for n in range(mute):
        blame.unanswered(f"mute_{n}", 95.0, now)
    for n in range(answer):
        blame.answered(f"well_{n}", Retry(1, began_s=95.0))
    assert blame.unanswered("drone_0", 95.0, now) is culprit


def test_answers_before_the_first_try_prove_nothing() -> None:
    state = LeaderState(DispatchPolicy(), Term(7))
    blame = Blame(FleetView(), state)
    for n in range(4):
        state.drones[f"drone_{n}"] = Drone(make_report(f"drone_{n}"), 100.0)
        blame.answered(f"drone_{n}", Retry(1, began_s=94.0))
    assert blame.unanswered("drone_0", 95.0, Instant(100.0, 1e9)) is Culprit.SYSTEM


# --- expired reservations ---------------------------------------------------------------------------------------------


def expire(world: World, drone_id: str) -> None:
    world.backend.expire_lease_of(world.intake.keys.assignment(drone_id))
    world.run()


def test_a_leader_that_hears_no_drone_any_more_charges_nobody() -> None:
    world = World()
    drones = [make_report(f"drone_{n}") for n in range(4)]
    world.pass_time(15.0, hear=drones)
    orders = [submitted(world, make_order(n), *drones) for n in range(1, 4)]
    assert {world.saga(order).status for order in orders} == {S.ASSIGNED}
    world.pass_time(20.0)
    assert {world.saga(order).status for order in orders} == {S.PENDING}
    assert all(world.saga(order).excused == 1 for order in orders)
    assert failures(world) == {}


def test_a_drone_that_falls_silent_alone_is_to_blame() -> None:
    world = World()
    drones = [make_report("drone_0", energy_wh=550.0), *(make_report(f"drone_{n}", energy_wh=9.0) for n in (1, 2, 3))]
    world.pass_time(15.0, hear=drones)
    order = submitted(world, make_order(), *drones)
    assert world.saga(order).drone_id == "drone_0"
    world.pass_time(20.0, hear=drones[1:])
    assert (world.saga(order).status, world.saga(order).excused) == (S.PENDING, 0)
    assert failures(world) == {"drone_0": 1}


def test_drones_that_are_nearly_silent_prove_nothing_against_the_one_whose_last_message_is_older() -> None:
    """The link that all of them share broke; one drone's last report had left a second before the others'."""
    world = World()
    drones = [make_report("drone_0", energy_wh=550.0), *(make_report(f"drone_{n}", energy_wh=9.0) for n in (1, 2, 3))]
    world.pass_time(15.0, hear=drones)
    order = submitted(world, make_order(), *drones)
    world.pass_time(1.0, hear=drones[1:])
    world.pass_time(2.5)
    expire(world, "drone_0")
    assert (world.saga(order).status, world.saga(order).excused) == (S.PENDING, 1)
    assert failures(world) == {}


def test_a_leader_that_has_just_started_does_not_know_why_reservations_expired() -> None:
    world = World()
    drones = [make_report(f"drone_{n}") for n in range(3)]
    world.pass_time(15.0, hear=drones)
    orders = [submitted(world, make_order(n), *drones) for n in range(1, 4)]
    world.crash(world.leader)
    world.mono_s += 20.0
    world.backend.pump()
    world.add_replica("successor")
    world.pass_time(6.0)
    assert {world.saga(order).excused for order in orders} == {1}
    assert failures(world) == {}


def test_a_leader_whose_term_has_just_begun_does_not_know_who_let_a_reservation_expire() -> None:
    """The leader before it had hung for as long as the lease lasts."""
    world = World(replicas=2)
    drones = [make_report("drone_0", energy_wh=550.0), *(make_report(f"drone_{n}", energy_wh=9.0) for n in (1, 2, 3))]
    world.pass_time(15.0, hear=drones)
    order = submitted(world, make_order(), *drones)
    first, standby = world.leader, next(r for r in world.replicas if r is not world.leader)
    world.crash(first)
    world.pass_time(8.0, hear=drones[1:])
    assert world.leader is standby
    expire(world, "drone_0")
    assert (world.saga(order).status, world.saga(order).excused) == (S.PENDING, 1)
    assert failures(world) == {}
