"""The drone's machine: clearance before loading, journal before act, and how it recovers after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drone_orchestrator.core.drone.events import (
    AnswerGoal,
    AnswerRecall,
    AskClearance,
    ClearanceAnswered,
    Cleared,
    Closed,
    DroneEffect,
    DroneEvent,
    DroneTick,
    Drop,
    Dropping,
    EpochRaised,
    FlightSensed,
    Fly,
    GoalEnded,
    GoalImpossible,
    GoalRequested,
    Hold,
    LeaderHeard,
    LiftGrounding,
    Load,
    Notice,
    RecallRequested,
    WriteJournal,
)
from drone_orchestrator.core.drone.machine import STAGES, DroneMachine, IllegalStage
from drone_orchestrator.core.drone.refusals import MAX_REFUSALS, MAX_UNACKNOWLEDGED
from drone_orchestrator.core.drone.state import DurableState, fold
from drone_orchestrator.core.policies import DronePolicy
from drone_orchestrator.core.reasons import GoalRefusal
from drone_orchestrator.core.types import (
    AcknowledgeOutcome,
    DeliveryOutcome,
    DroneClass,
    GeoPoint,
    Instant,
    Order,
    Outcome,
    Phase,
    Verdict,
)

DEPOT = GeoPoint(37.0, -122.0)
SHOP = GeoPoint(37.01, -122.0)
CUSTOMER = GeoPoint(37.02, -122.0)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0)
RETRY_S = 0.5


def order(message_id: str = "m1", *, pickup: GeoPoint | None = SHOP, weight_kg: float = 1.0) -> Order:
    return Order(message_id, f"order-{message_id}", CUSTOMER, weight_kg, submitted_at=0.0, pickup=pickup)


class Drone:
    """A machine with its own journal, and a payload sensor that the test sets."""

    def __init__(self, journal_id: str = "j1") -> None:
        self.journal_id = journal_id
        self.entries: list[object] = []
        self.log: list[DroneEffect] = []
        self.now_s = 100.0
        self.loaded = False
        self.restart()

    def restart(self) -> None:
        """Restart the program: only the journal and the payload survive."""
        durable = fold(self.entries)  # type: ignore[arg-type]
        policy = DronePolicy(clearance_retry_s=RETRY_S)
        self.machine = DroneMachine("d1", COURIER, DEPOT, journal_id=self.journal_id, durable=durable, policy=policy)

    def tell(self, event: DroneEvent) -> list[DroneEffect]:
        effects = self.machine.step(event, Instant(self.now_s, 1e9 + self.now_s))
        self.entries += [effect.entry for effect in effects if isinstance(effect, WriteJournal)]
        self.log += effects
        assert fold(self.entries) == self.machine.durable  # type: ignore[arg-type]
        return effects

    def sense(self, *, at_target: bool = False, fault: str = "") -> list[DroneEffect]:
        return self.tell(FlightSensed(at_target, self.loaded, fault))

    def goal(self, message_id: str = "m1", attempt: int = 1, epoch: int = 5, **kwargs: object) -> AnswerGoal:
        effects = self.tell(GoalRequested(order(message_id, **kwargs), attempt, epoch))  # type: ignore[arg-type]
        return next(effect for effect in effects if isinstance(effect, AnswerGoal))

    def recall(self, message_id: str = "m1", attempt: int = 1, epoch: int = 5) -> AnswerRecall:
        effects = self.tell(RecallRequested(message_id, attempt, epoch))
        return next(effect for effect in effects if isinstance(effect, AnswerRecall))

    def answer(
        self, verdict: Verdict, *, attempt: int = 1, epoch: int = 5, journal_id: str = "j1"
    ) -> list[DroneEffect]:
        return self.tell(ClearanceAnswered(verdict, epoch, "m1", attempt, journal_id, "because"))

    @property
    def phase(self) -> Phase:
        return self.machine.phase

    @property
    def outcomes(self) -> list[tuple[str, int, Outcome, str]]:
        report = self.machine.report(DEPOT, 100.0)
        return [(o.message_id, o.attempt, o.outcome, o.reason) for o in report.outcomes]

    # Each method brings the drone one phase further than the one before.

    def to_idle(self) -> Drone:
        self.sense()
        self.sense(at_target=True)
        assert self.phase is Phase.IDLE
        return self

    def to_pickup(self) -> Drone:
        self.to_idle()
        assert self.goal().accepted
        return self

    def to_awaiting(self) -> Drone:
        self.to_pickup()
        self.sense(at_target=True)
        assert self.phase is Phase.AWAITING_CLEARANCE
        return self

    def to_loading(self) -> Drone:
        self.to_awaiting()
        self.answer(Verdict.GRANTED)
        assert self.phase is Phase.LOADING
        return self

    def to_in_transit(self) -> Drone:
        self.to_loading()
        self.loaded = True
        self.sense(at_target=True)
        assert self.phase is Phase.TO_DESTINATION
        return self

    def to_dropping(self) -> Drone:
        self.to_in_transit()
        self.sense(at_target=True)
        assert self.phase is Phase.DROPPING
        return self

    def to_delivered(self) -> Drone:
        self.to_dropping()
        self.loaded = False
        self.sense(at_target=True)
        assert self.phase is Phase.RETURNING
        return self


@pytest.fixture
def drone() -> Drone:
    return Drone()


def kinds(effects: list[DroneEffect]) -> list[type]:
    return [type(effect) for effect in effects]


# --- a delivery -------------------------------------------------------------------------------------------------------


def test_a_delivery_passes_its_phases_and_is_reported(drone: Drone) -> None:
    drone.to_delivered()
    assert drone.outcomes == [("m1", 1, Outcome.DELIVERED, "")]
    assert drone.machine.report(DEPOT, 1.0).message_id is None
    drone.sense(at_target=True)
    assert drone.phase is Phase.IDLE
    assert [e for e in drone.log if isinstance(e, Fly)] == [Fly(DEPOT), Fly(SHOP), Fly(CUSTOMER), Fly(DEPOT)]


def test_an_order_without_pickup_is_loaded_at_the_depot(drone: Drone) -> None:
    drone.to_idle().goal(pickup=None)
    assert drone.log[-1] == Fly(DEPOT)


def test_intent_is_journalled_before_the_act(drone: Drone) -> None:
    drone.to_awaiting()
    assert drone.answer(Verdict.GRANTED)[:2] == [WriteJournal(Cleared("m1", 1, 5)), Load(1.0)]
    drone.loaded = True
    drone.sense(at_target=True)
    assert drone.sense(at_target=True) == [WriteJournal(Dropping("m1", 1)), Drop()]


def test_accepting_a_goal_is_journalled_before_it_is_answered(drone: Drone) -> None:
    drone.to_idle()
    assert kinds(drone.tell(GoalRequested(order(), 1, 5)))[:2] == [WriteJournal, AnswerGoal]


def test_an_act_is_commanded_once_however_often_the_sensors_are_read(drone: Drone) -> None:
    drone.to_loading()
    for _ in range(3):
        assert drone.sense(at_target=True) == []
    drone.loaded = True
    drone.sense(at_target=True)
    drone.sense(at_target=True)
    for _ in range(3):
        assert drone.sense(at_target=True) == []
    assert [type(e) for e in drone.log if isinstance(e, Load | Drop)] == [Load, Drop]


# --- goals ------------------------------------------------------------------------------------------------------------


def test_a_goal_is_refused_before_the_first_sensor_reading(drone: Drone) -> None:
    assert drone.goal() == AnswerGoal(False, "starting")


def test_a_lower_epoch_than_the_highest_seen_is_refused_even_after_a_restart(drone: Drone) -> None:
    drone.to_idle().tell(LeaderHeard(7))
    assert drone.goal(epoch=6) == AnswerGoal(False, "stale_epoch")
    drone.restart()
    drone.to_idle()
    assert drone.goal(epoch=6) == AnswerGoal(False, "stale_epoch")
    assert drone.goal(epoch=7).accepted


def test_another_order_is_refused_while_one_is_under_way(drone: Drone) -> None:
    drone.to_pickup()
    assert drone.goal("m2") == AnswerGoal(False, "busy")


def test_the_current_goal_may_be_repeated_at_any_time(drone: Drone) -> None:
    drone.to_in_transit()
    assert drone.goal() == AnswerGoal(True, "repeated")
    assert drone.phase is Phase.TO_DESTINATION
    assert drone.goal(epoch=9).accepted
    assert drone.machine.durable.highest_epoch == 9


def test_a_closed_goal_is_never_started_again(drone: Drone) -> None:
    drone.to_delivered()
    assert drone.goal() == AnswerGoal(False, "closed")
    drone.restart()
    drone.to_idle()
    assert drone.goal() == AnswerGoal(False, "closed")


def test_a_higher_attempt_before_loading_replaces_the_older_one(drone: Drone) -> None:
    drone.to_awaiting()
    assert drone.goal(attempt=2).accepted
    assert drone.phase is Phase.TO_PICKUP
    assert drone.outcomes == [("m1", 1, Outcome.NOT_LOADED, "superseded")]
    assert drone.goal(attempt=1) == AnswerGoal(False, "closed")


def test_a_higher_attempt_after_clearance_is_refused(drone: Drone) -> None:
    drone.to_loading()
    assert drone.goal(attempt=2) == AnswerGoal(False, "busy")


def test_a_lower_attempt_than_the_current_one_is_refused(drone: Drone) -> None:
    drone.to_idle()
    drone.goal(attempt=3)
    assert drone.goal(attempt=2) == AnswerGoal(False, "superseded")


def test_a_drone_on_its_way_home_takes_the_next_order(drone: Drone) -> None:
    drone.to_delivered()
    assert drone.goal("m2").accepted
    assert drone.phase is Phase.TO_PICKUP


def test_a_package_that_is_too_heavy_is_refused(drone: Drone) -> None:
    drone.to_idle()
    assert drone.goal(weight_kg=3.1) == AnswerGoal(False, "too_heavy")


@pytest.mark.parametrize(("attempt", "epoch"), [(0, 5), (1, 0)])
def test_unset_numbers_are_refused(drone: Drone, attempt: int, epoch: int) -> None:
    drone.to_idle()
    assert drone.goal(attempt=attempt, epoch=epoch) == AnswerGoal(False, "invalid")


def test_a_drone_with_many_unacknowledged_outcomes_refuses_orders(drone: Drone) -> None:
    drone.to_idle()
    for number in range(MAX_UNACKNOWLEDGED):
        assert drone.goal(f"x{number}").accepted
        drone.recall(f"x{number}")
    assert drone.goal("one_more") == AnswerGoal(False, "too_many_unacknowledged_outcomes")


# --- clearance --------------------------------------------------------------------------------------------------------


def test_clearance_is_asked_for_until_it_is_answered(drone: Drone) -> None:
    drone.to_awaiting()
    ask = AskClearance("m1", 1, "j1", 5)
    assert drone.log[-1] == ask
    assert drone.machine.next_deadline() == drone.now_s + RETRY_S
    assert drone.tell(DroneTick()) == []
    drone.now_s += RETRY_S
    assert drone.tell(DroneTick()) == [ask]


def test_a_new_leader_is_asked_at_once(drone: Drone) -> None:
    drone.to_awaiting()
    assert drone.tell(LeaderHeard(6)) == [WriteJournal(EpochRaised(6)), AskClearance("m1", 1, "j1", 6)]


@pytest.mark.parametrize(
    "wrong",
    [{"attempt": 2}, {"attempt": 0}, {"journal_id": "another"}, {"journal_id": ""}, {"epoch": 4}, {"epoch": 0}],
    ids=str,
)
@pytest.mark.parametrize("verdict", [Verdict.GRANTED, Verdict.REFUSED])
def test_a_clearance_for_another_goal_or_a_stale_one_is_dropped(
    drone: Drone, wrong: dict[str, object], verdict: Verdict
) -> None:
    drone.to_awaiting()
    assert drone.answer(verdict, **wrong) == []  # type: ignore[arg-type]
    assert drone.phase is Phase.AWAITING_CLEARANCE


@pytest.mark.parametrize("verdict", [Verdict.UNSPECIFIED, Verdict.ASK_AGAIN, Verdict.NOT_LEADER])
def test_an_undecided_answer_does_not_end_the_goal(drone: Drone, verdict: Verdict) -> None:
    drone.to_awaiting()
    drone.answer(verdict, epoch=0)
    assert drone.answer(verdict) == []
    drone.now_s += RETRY_S
    assert kinds(drone.tell(DroneTick())) == [AskClearance]


def test_clearance_before_arrival_does_not_count(drone: Drone) -> None:
    drone.to_pickup()
    assert drone.answer(Verdict.GRANTED) == []
    assert drone.phase is Phase.TO_PICKUP


def test_repeated_clearance_loads_once(drone: Drone) -> None:
    drone.to_loading()
    assert drone.answer(Verdict.GRANTED) == []
    assert sum(isinstance(effect, Load) for effect in drone.log) == 1


def test_a_refusal_closes_the_goal(drone: Drone) -> None:
    drone.to_awaiting()
    drone.answer(Verdict.REFUSED, epoch=6)
    assert drone.phase is Phase.RETURNING
    assert drone.outcomes == [("m1", 1, Outcome.NOT_LOADED, "because")]
    assert drone.machine.durable.highest_epoch == 6


# --- recall -----------------------------------------------------------------------------------------------------------


def test_a_recall_before_clearance_closes_the_goal_before_it_is_answered(drone: Drone) -> None:
    drone.to_awaiting()
    effects = drone.tell(RecallRequested("m1", 1, 5))
    assert kinds(effects) == [WriteJournal, GoalEnded, AnswerRecall, Fly]
    assert drone.outcomes == [("m1", 1, Outcome.NOT_LOADED, "recalled")]


def test_a_recalled_goal_accepts_no_further_clearance(drone: Drone) -> None:
    drone.to_awaiting().recall()
    assert drone.answer(Verdict.GRANTED, epoch=9) == []
    assert not any(isinstance(effect, Load) for effect in drone.log)


def test_a_recalled_package_is_brought_back(drone: Drone) -> None:
    drone.to_in_transit()
    assert drone.recall().accepted
    assert (drone.phase, drone.log[-1]) == (Phase.BRINGING_BACK, Fly(SHOP))
    drone.sense(at_target=True)
    assert drone.log[-1] == Drop()
    assert drone.outcomes == []
    drone.loaded = False
    drone.sense(at_target=True)
    assert drone.outcomes == [("m1", 1, Outcome.RETURNED, "recalled")]
    assert drone.phase is Phase.RETURNING


def test_a_recall_while_loading_brings_the_package_back_once_it_is_on_board(drone: Drone) -> None:
    drone.to_loading()
    assert drone.recall().accepted
    assert drone.phase is Phase.LOADING
    drone.loaded = True
    drone.sense(at_target=True)
    assert drone.phase is Phase.BRINGING_BACK


def test_a_recall_is_too_late_once_dropping_is_journalled(drone: Drone) -> None:
    drone.to_dropping()
    assert drone.recall() == AnswerRecall(False, "too_late")
    drone.loaded = False
    drone.sense(at_target=True)
    assert drone.outcomes == [("m1", 1, Outcome.DELIVERED, "")]


def test_a_recall_from_a_deposed_leader_or_for_another_goal_changes_nothing(drone: Drone) -> None:
    drone.to_in_transit()
    assert drone.recall(epoch=4) == AnswerRecall(False, "stale_epoch")
    assert drone.recall(attempt=2) == AnswerRecall(False, "not_the_current_goal")
    assert drone.phase is Phase.TO_DESTINATION


def test_a_repeated_recall_is_accepted_again(drone: Drone) -> None:
    drone.to_in_transit().recall()
    assert drone.recall() == AnswerRecall(True)


# --- outcomes ---------------------------------------------------------------------------------------------------------


def acknowledge(drone: Drone, **changes: object) -> None:
    ack = AcknowledgeOutcome("d1", "j1", "m1", 1, Outcome.DELIVERED)
    drone.tell(LeaderHeard(5, (replace(ack, **changes),)))  # type: ignore[arg-type]


def test_an_outcome_is_kept_until_it_is_acknowledged_across_restarts(drone: Drone) -> None:
    drone.to_delivered().restart()
    assert drone.outcomes == [("m1", 1, Outcome.DELIVERED, "")]
    acknowledge(drone)
    assert drone.outcomes == []
    drone.restart()
    assert drone.outcomes == []


@pytest.mark.parametrize(
    "change",
    [{"journal_id": "j2"}, {"drone_id": "d2"}, {"attempt": 2}, {"outcome": Outcome.RETURNED}, {"message_id": "m2"}],
    ids=str,
)
def test_an_acknowledgement_counts_only_if_every_field_matches(drone: Drone, change: dict[str, object]) -> None:
    drone.to_delivered()
    acknowledge(drone, **change)
    assert drone.outcomes == [("m1", 1, Outcome.DELIVERED, "")]


def test_a_deposed_leader_acknowledges_nothing(drone: Drone) -> None:
    drone.to_delivered()
    drone.tell(LeaderHeard(4, (AcknowledgeOutcome("d1", "j1", "m1", 1, Outcome.DELIVERED),)))
    assert len(drone.outcomes) == 1


# --- restart ----------------------------------------------------------------------------------------------------------


def test_a_restart_on_the_way_to_the_pickup_continues(drone: Drone) -> None:
    drone.to_awaiting().restart()
    drone.sense()
    assert (drone.phase, drone.log[-1]) == (Phase.TO_PICKUP, Fly(SHOP))


def test_a_restart_after_clearance_loads_without_asking_again(drone: Drone) -> None:
    drone.to_loading().restart()
    drone.sense()
    assert (drone.phase, drone.log[-1]) == (Phase.LOADING, Fly(SHOP))
    assert drone.sense(at_target=True) == [Load(1.0)]


def test_a_restart_notices_that_the_package_was_loaded_meanwhile(drone: Drone) -> None:
    drone.to_loading()
    drone.loaded = True
    drone.restart()
    drone.sense()
    assert (drone.phase, drone.log[-1]) == (Phase.TO_DESTINATION, Fly(CUSTOMER))


def test_a_restart_notices_that_the_package_was_dropped_meanwhile(drone: Drone) -> None:
    drone.to_dropping()
    drone.loaded = False
    drone.restart()
    drone.sense()
    assert drone.outcomes == [("m1", 1, Outcome.DELIVERED, "")]


def test_a_restart_before_the_drop_drops_at_the_destination(drone: Drone) -> None:
    drone.to_dropping().restart()
    drone.sense()
    assert (drone.phase, drone.log[-1]) == (Phase.DROPPING, Fly(CUSTOMER))
    assert drone.sense(at_target=True) == [Drop()]


def test_a_restart_while_bringing_back_continues_to_bring_back(drone: Drone) -> None:
    drone.to_in_transit().recall()
    drone.restart()
    drone.sense()
    assert (drone.phase, drone.log[-1]) == (Phase.BRINGING_BACK, Fly(SHOP))


def test_a_restart_notices_that_the_package_was_unloaded_meanwhile(drone: Drone) -> None:
    drone.to_in_transit().recall()
    drone.sense(at_target=True)
    drone.loaded = False
    drone.restart()
    drone.sense()
    assert drone.outcomes == [("m1", 1, Outcome.RETURNED, "recalled")]


def test_a_recalled_drone_that_never_loaded_says_so_after_a_restart(drone: Drone) -> None:
    drone.to_loading().recall()
    drone.restart()
    drone.sense()
    assert drone.outcomes == [("m1", 1, Outcome.NOT_LOADED, "recalled")]


def test_a_restart_with_the_package_gone_claims_nothing(drone: Drone) -> None:
    drone.to_in_transit()
    drone.loaded = False
    drone.restart()
    drone.sense()
    assert (drone.phase, drone.outcomes) == (Phase.GROUNDED, [])
    assert not any(isinstance(effect, Load) for effect in drone.log[-3:])


def test_a_drone_with_a_new_journal_and_a_package_stays_on_the_ground() -> None:
    drone = Drone(journal_id="j2")
    drone.loaded = True
    drone.sense()
    report = drone.machine.report(DEPOT, 1.0)
    assert (report.phase, report.package_on_board, report.outcomes) == (Phase.GROUNDED, True, ())


# --- grounding --------------------------------------------------------------------------------------------------------


def test_a_fault_before_clearance_ends_the_goal(drone: Drone) -> None:
    drone.to_awaiting().sense(fault="motor")
    assert drone.phase is Phase.GROUNDED
    assert drone.outcomes == [("m1", 1, Outcome.FAULT_BEFORE_LOADING, "motor")]
    assert kinds(drone.log[-2:]) == [Hold, Notice]
    assert drone.goal("m2") == AnswerGoal(False, "grounded")


@pytest.mark.parametrize("reach", [Drone.to_loading, Drone.to_in_transit, Drone.to_dropping])
def test_a_fault_after_clearance_keeps_the_goal_for_an_operator(drone: Drone, reach: object) -> None:
    reach(drone)  # type: ignore[operator]
    drone.sense(fault="motor")
    report = drone.machine.report(DEPOT, 1.0)
    assert (report.phase, report.message_id, report.outcomes) == (Phase.GROUNDED, "m1", ())
    assert report.package_on_board == drone.loaded


def test_grounding_survives_a_restart_until_an_operator_lifts_it(drone: Drone) -> None:
    drone.to_in_transit().sense(fault="motor")
    drone.restart()
    drone.sense()
    assert drone.phase is Phase.GROUNDED
    drone.tell(LiftGrounding())
    assert (drone.phase, drone.log[-1]) == (Phase.TO_DESTINATION, Fly(CUSTOMER))


def test_a_package_that_vanishes_in_flight_grounds_the_drone_and_claims_nothing(drone: Drone) -> None:
    drone.to_in_transit()
    drone.loaded = False
    drone.sense()
    assert (drone.phase, drone.outcomes) == (Phase.GROUNDED, [])
    assert drone.machine.durable.grounded == "package_missing"


def test_a_package_without_clearance_grounds_the_drone(drone: Drone) -> None:
    drone.to_idle()
    drone.loaded = True
    drone.sense(at_target=True)
    assert drone.machine.durable.grounded == "package_not_cleared"


def test_a_recall_of_a_grounded_drone_is_remembered(drone: Drone) -> None:
    drone.to_in_transit().sense(fault="motor")
    assert drone.recall().accepted
    assert drone.phase is Phase.GROUNDED
    drone.sense()
    drone.tell(LiftGrounding())
    assert drone.phase is Phase.BRINGING_BACK


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_phase_has_a_row_in_the_table() -> None:
    assert set(STAGES) == set(Phase)


def test_a_transition_that_the_table_does_not_allow_raises(drone: Drone) -> None:
    drone.to_idle()
    with pytest.raises(IllegalStage):
        drone.machine._become(Phase.DROPPING)


def test_the_durable_state_records_what_was_delivered(drone: Drone) -> None:
    drone.to_delivered()
    closed = next(entry for entry in drone.entries if isinstance(entry, Closed))
    assert drone.machine.durable == DurableState(
        highest_epoch=5,
        outcomes=(DeliveryOutcome("m1", 1, Outcome.DELIVERED, at=closed.at),),
        closed=(("m1", 1),),
    )


def test_the_first_reading_after_a_restart_belongs_to_the_previous_target():
    """The autopilot outlives the program: the drone is still at its previous target, and reports that it is there."""
    drone = Drone().to_in_transit()
    drone.restart()
    drone.sense(at_target=True)
    assert drone.phase is Phase.TO_DESTINATION
    assert not any(isinstance(effect, Drop) for effect in drone.log)


# --- lifting a grounding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [Drone.to_loading, Drone.to_in_transit, Drone.to_dropping])
def test_lifting_the_grounding_of_an_empty_cleared_drone_reports_the_package_missing(
    drone: Drone, reach: object
) -> None:
    reach(drone)  # type: ignore[operator]
    drone.sense(fault="motor")
    drone.loaded = False
    drone.sense()
    drone.tell(LiftGrounding())
    assert drone.outcomes == [("m1", 1, Outcome.PACKAGE_MISSING, "package_missing")]
    assert (drone.phase, drone.log[-1]) == (Phase.RETURNING, Fly(DEPOT))
    drone.sense(at_target=True)
    assert drone.goal("m1", attempt=1) == AnswerGoal(False, "closed")
    assert drone.goal("m2").accepted


def test_lifting_the_grounding_of_a_drone_without_clearance_sends_it_home(drone: Drone) -> None:
    drone.to_awaiting().sense(fault="motor")
    drone.tell(LiftGrounding())
    assert [outcome for _, _, outcome, _ in drone.outcomes] == [Outcome.FAULT_BEFORE_LOADING]
    assert drone.phase is Phase.RETURNING


def test_lifting_the_grounding_of_a_drone_that_is_not_grounded_changes_nothing(drone: Drone) -> None:
    drone.to_in_transit()
    assert drone.tell(LiftGrounding()) == []
    assert drone.phase is Phase.TO_DESTINATION


def test_a_package_that_vanishes_on_the_way_back_grounds_the_drone_and_claims_nothing(drone: Drone) -> None:
    drone.to_in_transit().recall()
    drone.loaded = False
    drone.sense()
    assert (drone.phase, drone.outcomes) == (Phase.GROUNDED, [])
    assert drone.machine.durable.grounded == "package_missing"


def test_a_restart_with_the_package_still_on_board_puts_it_down_without_a_second_intent(drone: Drone) -> None:
    drone.to_in_transit().recall()
    drone.sense(at_target=True)
    drone.restart()
    drone.sense()
    assert drone.sense(at_target=True) == [Drop()]
    drone.loaded = False
    drone.sense(at_target=True)
    assert drone.outcomes == [("m1", 1, Outcome.RETURNED, "recalled")]


def test_nothing_happens_on_the_way_home_until_arrival(drone: Drone) -> None:
    drone.to_delivered()
    assert drone.sense() == []
    assert drone.phase is Phase.RETURNING


def test_a_policy_without_a_retry_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="clearance_retry_s"):
        DronePolicy(clearance_retry_s=0.0)


# --- reported refusals ------------------------------------------------------------------------------------------------


def refusals(drone: Drone) -> list[tuple[str, int, int, str, str]]:
    found = drone.machine.report(DEPOT, 500.0).refusals
    return [(r.message_id, r.attempt, r.epoch, r.cause.name, r.reason) for r in found]


def test_a_refusal_is_reported_with_its_cause_until_the_goal_is_accepted(drone: Drone) -> None:
    drone.goal()
    assert refusals(drone) == [("m1", 1, 5, "BUSY", "starting")]
    drone.to_idle()
    drone.goal("m2", weight_kg=3.1)
    drone.goal("m3", weight_kg=0.0)
    assert refusals(drone)[1:] == [
        ("m2", 1, 5, "CONFIGURATION", "too_heavy"),
        ("m3", 1, 5, "ORDER", "invalid_order"),
    ]
    assert drone.goal().accepted
    assert [each[0] for each in refusals(drone)] == ["m2", "m3"]


def test_a_repeated_refusal_is_reported_once_with_the_latest_epoch(drone: Drone) -> None:
    for epoch in (5, 5, 6):
        drone.goal(epoch=epoch)
    assert refusals(drone) == [("m1", 1, 6, "BUSY", "starting")]


def test_only_the_latest_refusals_are_reported_and_none_after_a_restart(drone: Drone) -> None:
    for number in range(2 * MAX_REFUSALS):
        drone.goal(f"x{number}")
    assert [each[0] for each in refusals(drone)] == [f"x{n}" for n in range(MAX_REFUSALS, 2 * MAX_REFUSALS)]
    drone.restart()
    assert refusals(drone) == []


def test_what_the_shell_finds_wrong_with_a_goal_is_reported_like_a_refusal_of_the_machine(drone: Drone) -> None:
    drone.to_idle()
    effects = drone.tell(GoalImpossible("m1", 2, 5, GoalRefusal.NOT_ACTIVE))
    assert AnswerGoal(False, "not_active") in effects
    assert refusals(drone) == [("m1", 2, 5, "BUSY", "not_active")]
