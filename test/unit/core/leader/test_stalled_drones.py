"""Drones that are heard and do not get on, or do not answer: others get their orders, and their breakers open."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import COURIER, DEPOT, FLEET, World, make_order, make_report

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.leader.blame import BENCH_CAP_S, Blame, Culprit
from drone_orchestrator.core.leader.bounds import longest_stay_s
from drone_orchestrator.core.leader.effects import AcknowledgeOutcome, RecallGoal, SendGoal
from drone_orchestrator.core.leader.events import GoalAnswered
from drone_orchestrator.core.leader.memory import Drone, LeaderState, Retry, Term
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    DeliveryOutcome,
    DroneReport,
    Entry,
    GeoPoint,
    Instant,
    Kind,
    Order,
    Outcome,
    Phase,
    SagaStatus,
    StoreChange,
)
from drone_orchestrator.core.view import FleetView

S = SagaStatus
STALL_S = longest_stay_s(FLEET, COURIER, Phase.TO_PICKUP)
CLEARANCE_S = longest_stay_s(FLEET, COURIER, Phase.AWAITING_CLEARANCE)
SOON_S = 10.0
FAR = GeoPoint(DEPOT.lat_deg + 0.02, DEPOT.lon_deg)


class Hung:
    """A drone that accepts every goal, stays in one phase of it, and obeys every recall."""

    def __init__(self, world: World, drone_id: str = "drone_1", phase: Phase = Phase.TO_PICKUP) -> None:
        self.world, self.phase = world, phase
        self.report = make_report(drone_id)
        self.goals: list[SendGoal] = []

    def pass_time(self, seconds: float, *others: DroneReport) -> None:
        for _ in range(round(seconds)):
            self.world.hear(self.report, *others)
            self.world.advance(1.0)
            for effect in self.world.leader.take((SendGoal, RecallGoal, AcknowledgeOutcome)):
                self._obey(effect)

    def _obey(self, effect: object) -> None:
        report = self.report
        match effect:
            case SendGoal(drone_id, order, attempt) if drone_id == report.drone_id:
                self.goals.append(effect)
                self.world.tell(GoalAnswered(drone_id, order.message_id, attempt, True))
                changed = {"message_id": order.message_id, "attempt": attempt}
                self.report = replace(report, phase=self.phase, **changed)
            case RecallGoal(drone_id, message_id, attempt) if drone_id == report.drone_id and report.message_id:
                closed = DeliveryOutcome(message_id, attempt, Outcome.NOT_LOADED, reason="recalled")
                self.report = make_report(drone_id, outcomes=(closed,))
            case AcknowledgeOutcome(drone_id) if drone_id == report.drone_id:
                self.report = replace(report, outcomes=())


def hung(*orders: Order, phase: Phase = Phase.TO_PICKUP) -> tuple[World, Hung]:
    world = World()
    world.run()
    drone = Hung(world, phase=phase)
    for order in orders:
        world.intake.submit(order)
    drone.pass_time(1.0)
    assert [goal.order for goal in drone.goals] == [orders[0]]
    return world, drone


def drones_of(world: World, order: Order, step: str) -> list[str | None]:
    return [event.drone_id for event in world.intake.events(order.message_id) if event.type == step]


@pytest.mark.parametrize("phase", [Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE])
def test_another_drone_gets_the_order_of_one_that_hangs_and_obeys_recalls(phase: Phase) -> None:
    """The nearer drone got it again at once, ten times, until it failed."""
    world, drone = hung(make_order(), phase=phase)
    stay_s = STALL_S if phase is Phase.TO_PICKUP else CLEARANCE_S
    drone.pass_time(stay_s - SOON_S, make_report("drone_2", position=FAR))
    assert world.saga(make_order()).drone_id == "drone_1"
    drone.pass_time(2 * SOON_S, make_report("drone_2", position=FAR))
    assert drones_of(world, make_order(), sagas.ASSIGNED)[:2] == ["drone_1", "drone_2"]
    assert drones_of(world, make_order(), sagas.ABANDONED)[0] == "drone_1" and len(drone.goals) == 1


def test_a_drone_that_hangs_gets_no_order_for_a_while() -> None:
    drone = hung(make_order(1), make_order(2))[1]
    drone.pass_time(STALL_S + BENCH_CAP_S / 2)
    assert [goal.order for goal in drone.goals] == [make_order(1)]
    drone.pass_time(BENCH_CAP_S)
    assert len(drone.goals) == 2


def test_an_order_counts_one_attempt_with_a_drone_that_hangs_and_does_not_fail_for_it_alone() -> None:
    world, drone = hung(make_order())
    drone.pass_time(12 * (STALL_S + BENCH_CAP_S + SOON_S))
    saga = world.saga(make_order())
    assert saga.attempt > DispatchPolicy().max_attempts and not saga.status.is_terminal
    assert saga.attempt - saga.excused <= 2
    assert not world.leader.core.view.breakers, "the order may have a pickup that no drone reaches"


def test_a_drone_that_hangs_with_one_order_after_the_other_opens_its_breaker() -> None:
    world, drone = hung(*(make_order(number) for number in range(1, 5)))
    for _ in range(4):
        drone.pass_time(STALL_S + SOON_S)
        world.intake.request_cancel(CancelRequest(drone.goals[-1].order.message_id, 0.0))
        drone.pass_time(BENCH_CAP_S)
    breaker = world.leader.core.view.breaker_of("drone_1")
    assert breaker is not None and breaker.state is BreakerState.OPEN and breaker.failures == 3


def test_a_drone_whose_requests_get_no_answer_is_never_charged() -> None:
    world, drone = hung(make_order(1), make_order(2), phase=Phase.AWAITING_CLEARANCE)
    drone.pass_time(6 * (CLEARANCE_S + BENCH_CAP_S + SOON_S))
    sagas_ = [world.saga(make_order(number)) for number in (1, 2)]
    assert sum(saga.excused for saga in sagas_) >= 4
    assert all(saga.attempt - saga.excused <= 1 for saga in sagas_)
    assert not world.leader.core.view.breakers


# --- drones that do not answer ----------------------------------------------------------------------------------------


def judging(drones: int) -> Blame:
    state = LeaderState(DispatchPolicy(), Term(7))
    for n in range(drones):
        state.drones[f"drone_{n}"] = Drone(make_report(f"drone_{n}"), 1e6)
    return Blame(FleetView(), state)


def sent(mono_s: float) -> Retry:
    return Retry(1, began_s=mono_s)


def at(mono_s: float) -> Instant:
    return Instant(mono_s, 1e9)


def test_a_mute_drone_is_to_blame_once_the_only_other_one_has_answered_meanwhile() -> None:
    """A leader of two drones always blamed itself: the other one hardly ever answers within the same five seconds."""
    blame = judging(2)
    assert blame.unanswered("drone_0", 95.0, at(100.0)) is Culprit.SYSTEM
    assert blame.unanswered("drone_0", 105.0, at(110.0)) is Culprit.SYSTEM
    blame.answered("drone_1", sent(300.0))
    assert blame.unanswered("drone_0", 395.0, at(400.0)) is Culprit.DRONE
    assert blame.unanswered("drone_0", 405.0, at(410.0)) is Culprit.SYSTEM, "one answer proves one charge"
    blame.answered("drone_1", sent(500.0))
    assert blame.unanswered("drone_0", 595.0, at(600.0)) is Culprit.DRONE


def test_a_leader_that_nothing_answers_any_more_blames_itself_however_long_that_lasts() -> None:
    blame = judging(4)
    for n in range(4):
        blame.answered(f"drone_{n}", sent(90.0))
    for second in range(95, 4000, 10):
        assert blame.unanswered(f"drone_{second // 10 % 4}", second, at(second + 5.0)) is Culprit.SYSTEM


def test_each_drone_counts_by_its_latest_goal() -> None:
    """Three of four do not answer, one after the other; the second was charged."""
    blame = judging(4)
    assert blame.unanswered("drone_2", 64.5, at(69.6)) is Culprit.SYSTEM
    blame.answered("drone_3", sent(72.2), accepted=False)
    assert blame.unanswered("drone_1", 70.2, at(75.3)) is Culprit.SYSTEM
    assert blame.unanswered("drone_0", 70.4, at(75.5)) is Culprit.SYSTEM


def test_a_mute_drone_of_two_opens_its_breaker() -> None:
    world = World()
    world.run()
    mute, well = make_report("drone_1"), Hung(world, "drone_2")
    for number in range(1, 5):
        world.intake.submit(make_order(number))
        well.pass_time(120.0, mute)
        assert well.report.message_id == f"m{number}", "the other drone gets every order"
        world.intake.request_cancel(CancelRequest(f"m{number}", 0.0))
        well.pass_time(20.0, mute)
    breaker = world.leader.core.view.breaker_of("drone_1")
    assert breaker is not None and breaker.state is BreakerState.OPEN


def test_a_leader_that_hears_one_drone_of_several_does_not_charge_it() -> None:
    """It had just started, and heard only the drone that it could not reach."""
    view, state = FleetView(), LeaderState(DispatchPolicy(), Term(7))
    state.drones["drone_0"] = Drone(make_report("drone_0"), 99.0)
    assert Blame(view, state).unanswered("drone_0", 95.0, at(100.0)) is Culprit.DRONE
    view.apply(StoreChange(5, (Entry(Kind.BREAKER, "drone_1", Breaker("drone_1", BreakerState.CLOSED, 3, 1), 5),)))
    assert Blame(view, state).unanswered("drone_0", 105.0, at(110.0)) is Culprit.SYSTEM
