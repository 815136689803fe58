"""The drone's machine under leaders of any epoch, in any order, with restarts at any entry of its journal."""

from __future__ import annotations

import pytest
from aircraft import Aircraft, Packages
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import COURIER, DEPOT, make_order

from drone_orchestrator.core.drone.events import (
    ClearanceAnswered,
    Closed,
    DroneEvent,
    DroneTick,
    FlightSensed,
    GoalAccepted,
    GoalEnded,
    GoalRequested,
    LeaderHeard,
    LiftGrounding,
    RecallRequested,
)
from drone_orchestrator.core.drone.machine import STAGES
from drone_orchestrator.core.drone.state import MAX_CLOSED, compact, fold
from drone_orchestrator.core.types import AcknowledgeOutcome, Instant, Outcome, Phase, Verdict

ORDERS = [make_order(1), make_order(2, pickup=make_order(1).destination), make_order(3, package_weight_kg=99.0)]
orders = st.sampled_from(ORDERS)
attempts = st.integers(0, 4)
# Mostly messages of the current leader; sometimes of a stale one, a later one, or nonsense.
epoch_steps = st.sampled_from([0, 0, 0, 0, 1, 1, -1, -2, -99])
dies = st.sampled_from([None, None, None, None, 0, 1, 2, 3])


class AnyDrone(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.packages = Packages()
        self.drone = Aircraft("drone_1", COURIER, DEPOT, self.packages)
        self.mono_s = 0.0
        self.highest_epoch = 0
        self.ended: list[GoalEnded] = []

    def tell(self, event: DroneEvent, dies_after: int | None = None) -> None:
        before = self.drone.machine.phase if self.drone.machine else None
        now = Instant(self.mono_s, 1000.0 + self.mono_s)
        effects = self.drone.step(event, now, dies_after=dies_after)
        self.ended += [effect for effect in effects if isinstance(effect, GoalEnded)]
        after = self.drone.machine.phase if self.drone.machine else None
        if before is not None and after is not None:
            # Between two observed phases, others may have been passed within the same step.
            assert after is before or after in STAGES[before] | {p for s in STAGES[before] for p in STAGES[s]}

    def flies_on(self, ticks: int) -> None:
        for _ in range(ticks):
            self.mono_s += 0.2
            self.drone.sense(Instant(self.mono_s, 1000.0 + self.mono_s))

    def epoch(self, step: int) -> int:
        return max(0, self.drone.durable.highest_epoch + step)

    def goal_key(self) -> tuple[str, int] | None:
        goal = self.drone.durable.goal
        return goal.key if goal else None

    @initialize()
    def starts(self) -> None:
        self.tell(FlightSensed(False, False))

    @rule(order=orders, attempt=attempts, step=epoch_steps, dies_after=dies)
    def goal(self, order, attempt, step, dies_after) -> None:
        self.tell(GoalRequested(order, attempt, self.epoch(step)), dies_after)

    @precondition(lambda self: self.goal_key() is None)
    @rule(order=st.sampled_from(ORDERS[:2]), step=st.integers(0, 1))
    def next_goal(self, order, step) -> None:
        attempt = self.drone.durable.closed_attempt(order.message_id) + 1
        self.tell(GoalRequested(order, attempt, max(1, self.epoch(step))))

    @precondition(lambda self: self.goal_key() is not None)
    @rule(step=epoch_steps, journal_id=st.sampled_from(["", "another", None]), dies_after=dies)
    def cleared_at_its_pickup(self, step, journal_id, dies_after) -> None:
        key = self.goal_key()
        self.flies_on(4)
        if key == self.goal_key():
            mine = self.drone.journal_id if journal_id is None else journal_id
            self.tell(ClearanceAnswered(Verdict.GRANTED, self.epoch(step), *key, mine), dies_after)

    @rule(order=orders, attempt=attempts, step=epoch_steps, current=st.booleans(), dies_after=dies)
    def recall(self, order, attempt, step, current, dies_after) -> None:
        key = self.goal_key()
        named = key if current and key else (order.message_id, attempt)
        self.tell(RecallRequested(*named, self.epoch(step)), dies_after)

    @rule(
        verdict=st.sampled_from([Verdict.GRANTED] * 4 + list(Verdict)),
        order=orders,
        attempt=attempts,
        step=epoch_steps,
        current=st.sampled_from([True, True, True, False]),
        journal=st.sampled_from(["own", "own", "own", "another", ""]),
        dies_after=dies,
    )
    def clearance(self, verdict, order, attempt, step, current, journal, dies_after) -> None:
        key = self.goal_key()
        named = key if current and key else (order.message_id, attempt)
        journal_id = self.drone.journal_id if journal == "own" else journal
        self.tell(ClearanceAnswered(verdict, self.epoch(step), *named, journal_id, "because"), dies_after)

    @rule(step=epoch_steps, own=st.booleans(), outcome=st.sampled_from(Outcome), dies_after=dies)
    def leader(self, step, own, outcome, dies_after) -> None:
        journal_id = self.drone.journal_id if own else "another"
        reported = self.drone.durable.outcomes
        named = [(o.message_id, o.attempt, o.outcome) for o in reported] + [("m1", 1, outcome)]
        acks = tuple(AcknowledgeOutcome("drone_1", journal_id, *each) for each in named)
        self.tell(LeaderHeard(self.epoch(step), acks), dies_after)

    @rule(ticks=st.integers(1, 6), dies_after=dies)
    def flies(self, ticks, dies_after) -> None:
        self.flies_on(ticks)
        self.tell(DroneTick(), dies_after)

    @rule(at_target=st.booleans(), payload=st.booleans(), fault=st.sampled_from(["", "", "motor"]), dies_after=dies)
    def senses_anything(self, at_target, payload, fault, dies_after) -> None:
        """Feed arbitrary sensor values. Payload appears or vanishes only if it was really loaded or lost."""
        if payload is self.drone.airframe.payload:
            self.tell(FlightSensed(at_target, payload, fault), dies_after)

    @rule()
    def loses_its_package(self) -> None:
        self.drone.lose_package()

    @rule()
    def person_lifts_grounding(self) -> None:
        self.tell(LiftGrounding())

    @rule(empties=st.booleans())
    def person_inspects_it(self, empties) -> None:
        if self.drone.machine and self.drone.machine.phase is Phase.GROUNDED:
            if empties:
                self.drone.remove_package()
            self.tell(FlightSensed(self.drone.airframe.legs_left == 0, self.drone.airframe.payload))
            self.tell(LiftGrounding())

    @rule(senses=st.booleans())
    def restarts(self, senses) -> None:
        self.drone.start()
        if senses:
            self.drone.sense(Instant(self.mono_s, 1000.0 + self.mono_s))

    @rule()
    def restarts_from_a_compacted_journal(self) -> None:
        durable = self.drone.durable
        assert fold(compact(durable)) == durable
        self.drone.entries = compact(durable)
        self.drone.start()

    @rule()
    def loses_its_journal(self) -> None:
        if not self.drone.airframe.payload:
            self.drone.lose_journal()
            self.highest_epoch = 0

    @invariant()
    def epochs_never_fall(self) -> None:
        durable = self.drone.durable
        assert durable.highest_epoch >= self.highest_epoch
        self.highest_epoch = durable.highest_epoch

    @invariant()
    def a_goal_is_closed_once_and_dropped_once(self) -> None:
        for entries in (self.drone.entries, *(entries for _, entries in self.drone.journals)):
            closed = [(e.message_id, e.attempt) for e in entries if isinstance(e, Closed)]
            assert len(closed) == len(set(closed))
            accepted = [(e.order.message_id, e.attempt) for e in entries if isinstance(e, GoalAccepted)]
            assert len(accepted) == len(set(accepted))

    @invariant()
    def its_outcomes_are_true(self) -> None:
        """Check that each package reported as delivered, returned or never loaded is where that implies."""
        for outcome in self.drone.durable.outcomes:
            if outcome.outcome in (Outcome.NOT_LOADED, Outcome.FAULT_BEFORE_LOADING):
                assert self.packages.with_drone("drone_1") != outcome.message_id or self.goal_key() is not None

    @invariant()
    def a_running_machine_agrees_with_its_journal(self) -> None:
        machine = self.drone.machine
        if machine is not None:
            assert machine.durable == self.drone.durable
            if machine.phase in (Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE):
                assert machine.durable.goal is not None and not machine.durable.goal.cleared
            if machine.phase in (Phase.LOADING, Phase.TO_DESTINATION, Phase.DROPPING, Phase.BRINGING_BACK):
                assert machine.durable.goal is not None and machine.durable.goal.cleared


TestAnyDrone = AnyDrone.TestCase


@settings(max_examples=5)
@given(st.lists(st.integers(1, MAX_CLOSED * 2), max_size=20), st.integers(MAX_CLOSED, MAX_CLOSED + 40))
def test_a_long_history_compacts_to_itself_and_keeps_unacknowledged_outcomes(reported: list[int], count: int) -> None:
    drone = Aircraft("drone_1", COURIER, DEPOT, Packages())
    now = Instant(0.0, 1000.0)
    drone.step(FlightSensed(True, False), now)
    for number in range(1, count + 1):
        message_id = f"m{number}"
        drone.step(GoalRequested(make_order(number), 1, 1), now)
        drone.step(RecallRequested(message_id, 1, 1), now)
        if number not in reported:
            ack = AcknowledgeOutcome("drone_1", drone.journal_id, message_id, 1, Outcome.NOT_LOADED)
            drone.step(LeaderHeard(1, (ack,)), now)
    durable = drone.durable
    assert fold(compact(durable)) == durable == fold(drone.entries)
    assert {o.message_id for o in durable.outcomes} == {f"m{n}" for n in reported if n <= count}
    assert len(durable.closed) <= MAX_CLOSED


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.RETURNED])
def test_the_test_drone_can_complete_a_delivery_and_a_return(outcome: Outcome) -> None:
    """The rules above would prove nothing if no goal were ever completed."""
    drone = Aircraft("drone_1", COURIER, DEPOT, Packages())
    now = Instant(0.0, 1000.0)
    drone.sense(now)
    drone.step(GoalRequested(ORDERS[0], 1, 5), now)
    for _ in range(4):
        drone.sense(now)
    drone.step(ClearanceAnswered(Verdict.GRANTED, 5, "m1", 1, drone.journal_id), now)
    if outcome is Outcome.RETURNED:
        drone.step(RecallRequested("m1", 1, 5), now)
    for _ in range(12):
        drone.sense(now)
    assert [o.outcome for o in drone.durable.outcomes] == [outcome]
    assert drone.packages.place("m1") == ("customer" if outcome is Outcome.DELIVERED else "depot")
