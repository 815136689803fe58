"""A drone belongs to one fleet: it obeys no leader of another, and believes none of its epochs."""

from __future__ import annotations

import pytest

from drone_orchestrator.core.drone.events import (
    AnswerGoal,
    ClearanceAnswered,
    DroneEffect,
    DroneEvent,
    EpochRaised,
    FleetJoined,
    FlightSensed,
    GoalRequested,
    JoinFleet,
    LeaderHeard,
    Load,
    Notice,
    RecallRequested,
    WriteJournal,
)
from drone_orchestrator.core.drone.machine import DroneMachine
from drone_orchestrator.core.drone.state import IllegalEntry, compact, fold
from drone_orchestrator.core.types import (
    AcknowledgeOutcome,
    DroneClass,
    GeoPoint,
    Instant,
    Order,
    Outcome,
    Phase,
    Verdict,
)
from drone_orchestrator.verification.journals import journal_history

DEPOT, CUSTOMER = GeoPoint(37.0, -122.0), GeoPoint(37.02, -122.0)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0)
OURS, THEIRS, OLD = "fleet-ours", "fleet-theirs", ""
#: The colleague's store has lived longer.
FAR_AHEAD = 10**12


class Drone:
    """A machine at its depot, and its journal."""

    def __init__(self) -> None:
        self.entries: list[object] = []
        self.restart()

    def restart(self) -> None:
        durable = fold(self.entries)  # type: ignore[arg-type]
        self.machine = DroneMachine("d1", COURIER, DEPOT, journal_id="j1", durable=durable)
        self.tell(FlightSensed(at_target=False, payload_on_board=False))
        self.tell(FlightSensed(at_target=True, payload_on_board=False))

    def tell(self, event: DroneEvent) -> list[DroneEffect]:
        effects = self.machine.step(event, Instant(0.0, 0.0))
        self.entries += [effect.entry for effect in effects if isinstance(effect, WriteJournal)]
        assert fold(self.entries) == self.machine.durable  # type: ignore[arg-type]
        assert fold(compact(self.machine.durable)) == self.machine.durable
        return effects

    def goal(self, fleet_id: str, epoch: int, message_id: str = "m1", attempt: int = 1) -> AnswerGoal:
        order = Order(message_id, message_id, CUSTOMER, 1.0, submitted_at=0.0)
        effects = self.tell(GoalRequested(order, attempt, epoch, fleet_id))
        return next(effect for effect in effects if isinstance(effect, AnswerGoal))

    def clearance(self, fleet_id: str, epoch: int, verdict: Verdict = Verdict.GRANTED) -> list[DroneEffect]:
        return self.tell(ClearanceAnswered(verdict, epoch, "m1", 1, "j1", fleet_id=fleet_id))

    @property
    def fleet_id(self) -> str:
        return self.machine.durable.fleet_id

    @property
    def epoch(self) -> int:
        return self.machine.durable.highest_epoch


@pytest.fixture
def drone() -> Drone:
    """A drone of our fleet, which has heard its leader of epoch 5."""
    drone = Drone()
    drone.tell(LeaderHeard(5, fleet_id=OURS))
    return drone


def test_the_first_leader_decides_which_fleet_a_new_drone_belongs_to() -> None:
    drone = Drone()
    assert drone.tell(LeaderHeard(5, fleet_id=OURS))[:2] == [
        WriteJournal(FleetJoined(OURS)),
        WriteJournal(EpochRaised(5)),
    ]
    drone.restart()
    assert (drone.fleet_id, drone.machine.report(DEPOT, 1.0).fleet_id) == (OURS, OURS)


def test_a_goal_makes_a_new_drone_join_too() -> None:
    drone = Drone()
    assert drone.goal(OURS, 5).accepted
    assert drone.fleet_id == OURS


def test_an_outdated_leader_recruits_nobody() -> None:
    """A drone that was upgraded has a journal with an epoch, and no fleet yet."""
    drone = Drone()
    drone.tell(LeaderHeard(5))
    drone.tell(LeaderHeard(4, fleet_id=THEIRS))
    assert drone.goal(THEIRS, 4).reason == "stale_epoch"
    assert drone.fleet_id == ""


@pytest.mark.parametrize("foreign", [THEIRS, OLD])
def test_no_message_of_another_fleet_raises_the_epoch(drone: Drone, foreign: str) -> None:
    """One message of a colleague's leader made a fleet's drones refuse their own leader forever."""
    drone.tell(LeaderHeard(FAR_AHEAD, fleet_id=foreign))
    answer = drone.goal(foreign, FAR_AHEAD)
    assert (answer.accepted, answer.reason) == (False, "other_fleet")
    drone.restart()
    assert (drone.epoch, drone.fleet_id) == (5, OURS)
    assert drone.goal(OURS, 5).accepted


@pytest.mark.parametrize("foreign", [THEIRS, OLD])
@pytest.mark.parametrize("verdict", [Verdict.GRANTED, Verdict.REFUSED])
def test_an_answer_of_another_fleet_neither_clears_nor_ends_a_goal(
    drone: Drone, foreign: str, verdict: Verdict
) -> None:
    assert drone.goal(OURS, 5).accepted
    drone.tell(FlightSensed(at_target=True, payload_on_board=False))
    assert drone.machine.phase is Phase.AWAITING_CLEARANCE
    assert drone.clearance(foreign, FAR_AHEAD, verdict) == []
    assert drone.machine.phase is Phase.AWAITING_CLEARANCE
    assert any(isinstance(effect, Load) for effect in drone.clearance(OURS, 5))


def test_another_fleet_acknowledges_no_outcome(drone: Drone) -> None:
    drone.goal(OURS, 5)
    drone.tell(FlightSensed(at_target=True, payload_on_board=False))
    drone.clearance(OURS, 5, Verdict.REFUSED)
    ack = AcknowledgeOutcome("d1", "j1", "m1", 1, Outcome.NOT_LOADED)
    drone.tell(LeaderHeard(5, (ack,), THEIRS))
    assert drone.machine.durable.outcomes
    drone.tell(LeaderHeard(5, (ack,), OURS))
    assert not drone.machine.durable.outcomes


def test_a_drone_without_a_fleet_obeys_leaders_of_an_older_version() -> None:
    drone = Drone()
    drone.tell(LeaderHeard(5))
    assert drone.goal(OLD, 5).accepted
    assert (drone.fleet_id, drone.epoch) == ("", 5)


def test_an_operator_assigns_the_drone_before_it_hears_anybody() -> None:
    drone = Drone()
    drone.tell(JoinFleet(OURS))
    drone.tell(LeaderHeard(FAR_AHEAD, fleet_id=THEIRS))
    assert (drone.fleet_id, drone.epoch) == (OURS, 0)
    assert drone.tell(JoinFleet(OURS)) == []


def upgraded(with_goal: bool = False) -> Drone:
    """A drone with a journal from before fleets, whose store had lived longer than any."""
    drone = Drone()
    drone.tell(LeaderHeard(FAR_AHEAD))
    assert drone.goal(OLD, FAR_AHEAD).accepted
    if not with_goal:
        drone.tell(FlightSensed(at_target=True, payload_on_board=False))
        drone.clearance(OLD, FAR_AHEAD, Verdict.REFUSED)
    return drone


def test_an_operator_assigns_a_drone_that_has_an_epoch_of_an_unknown_store() -> None:
    """It kept the epoch, so its new leader took its own store for a restored one, and held the whole fleet."""
    drone = upgraded()
    assert drone.tell(JoinFleet(OURS)) == [WriteJournal(FleetJoined(OURS, assigned=True))]
    drone.restart()
    assert (drone.fleet_id, drone.epoch) == (OURS, 0)
    assert [outcome.message_id for outcome in drone.machine.durable.outcomes] == ["m1"], "it may be of this fleet"
    assert drone.machine.durable.closed_attempt("m1") == 1
    assert drone.goal(OURS, 7, "m2").accepted
    drone.tell(JoinFleet(OURS))
    assert drone.epoch == 7, "the parameter stays set when the drone restarts"


def test_an_audit_leaves_out_what_a_journal_says_of_another_fleet() -> None:
    """It reported that epochs went down."""
    drone = upgraded()
    drone.tell(JoinFleet(OURS))
    drone.goal(OURS, 7, "m2")
    assert journal_history("d1", "j1", drone.entries).epochs == (7,)  # type: ignore[arg-type]
    drone.tell(RecallRequested("m2", 1, 7))
    drone.tell(JoinFleet(THEIRS))
    drone.goal(THEIRS, 3, "m3")
    history = journal_history("d1", "j1", drone.entries)  # type: ignore[arg-type]
    assert (history.epochs, history.entries) == ((3,), ())


def test_a_drone_without_a_fleet_keeps_its_epoch_as_long_as_it_has_a_goal() -> None:
    """A clearance of a lower epoch must not count. Its report names no fleet, so no leader holds its own for it."""
    drone = upgraded(with_goal=True)
    [notice] = drone.tell(JoinFleet(OURS))
    assert isinstance(notice, Notice)
    drone.tell(LeaderHeard(7, fleet_id=OURS))
    assert (drone.fleet_id, drone.epoch) == ("", FAR_AHEAD)
    drone.tell(FlightSensed(at_target=True, payload_on_board=False))
    assert drone.clearance(OURS, 7) == []
    with pytest.raises(IllegalEntry):
        fold([*drone.entries, FleetJoined(OURS, assigned=True)])  # type: ignore[list-item]
    drone.clearance(OLD, FAR_AHEAD, Verdict.REFUSED)
    drone.tell(JoinFleet(OURS))
    assert (drone.fleet_id, drone.epoch) == (OURS, 0)


def test_an_upgraded_drone_with_a_goal_joins_the_leader_that_sent_it() -> None:
    drone = upgraded(with_goal=True)
    drone.tell(JoinFleet(OURS))
    drone.tell(LeaderHeard(FAR_AHEAD, fleet_id=OURS))
    assert (drone.fleet_id, drone.epoch) == (OURS, FAR_AHEAD)


def test_an_operator_moves_the_drone_to_another_fleet(drone: Drone) -> None:
    drone.goal(OURS, 5)
    drone.tell(FlightSensed(at_target=True, payload_on_board=False))
    drone.clearance(OURS, 5, Verdict.REFUSED)
    [notice] = [effect for effect in drone.tell(JoinFleet(THEIRS)) if isinstance(effect, Notice)]
    assert OURS in notice.text
    assert THEIRS in notice.text
    assert "m1 (NOT_LOADED)" in notice.text
    drone.restart()
    assert (drone.fleet_id, drone.epoch, drone.machine.durable.outcomes) == (THEIRS, 0, ())
    assert drone.goal(THEIRS, 2, "m2").accepted


def test_a_drone_with_a_goal_stays_in_its_fleet(drone: Drone) -> None:
    drone.goal(OURS, 5)
    [notice] = drone.tell(JoinFleet(THEIRS))
    assert isinstance(notice, Notice)
    assert notice.level == "error"
    assert drone.fleet_id == OURS
    with pytest.raises(IllegalEntry):
        fold([*drone.entries, FleetJoined(THEIRS)])  # type: ignore[list-item]
