"""The fold of a drone's journal, and random lives of a drone checked against its invariants."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from drone_orchestrator.core.drone.events import (
    Acknowledged,
    ClearanceAnswered,
    Cleared,
    Closed,
    Drop,
    Dropping,
    Entry,
    EpochRaised,
    FlightSensed,
    Fly,
    GoalAccepted,
    GoalRequested,
    Grounded,
    GroundingLifted,
    Hold,
    LeaderHeard,
    LiftGrounding,
    Load,
    Loaded,
    Recalled,
    RecallRequested,
    Unloading,
    WriteJournal,
)
from drone_orchestrator.core.drone.machine import DroneMachine
from drone_orchestrator.core.drone.state import MAX_CLOSED, DurableState, IllegalEntry, apply, compact, fold
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

DEPOT, CUSTOMER = GeoPoint(37.0, -122.0), GeoPoint(37.02, -122.0)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0)


def order(message_id: str) -> Order:
    return Order(message_id, message_id, CUSTOMER, 1.0, submitted_at=0.0)


GOAL = GoalAccepted(order("m"), 1, 3)


@pytest.mark.parametrize(
    "entries",
    [
        [Cleared("m", 1, 3)],
        [GOAL, GOAL],
        [GOAL, Cleared("m", 2, 3)],
        [GOAL, Loaded("m", 1)],
        [GOAL, Cleared("m", 1, 3), Dropping("m", 1)],
        [GOAL, Cleared("m", 1, 3), Loaded("m", 1), Unloading("m", 1)],
        [GOAL, Closed("m", 1, Outcome.NOT_LOADED, 0.0), GOAL],
    ],
    ids=lambda entries: " ".join(type(entry).__name__ for entry in entries),
)
def test_entries_out_of_sequence_are_refused(entries: list[Entry]) -> None:
    with pytest.raises(IllegalEntry):
        fold(entries)


CLEARED = [GOAL, Cleared("m", 1, 4)]
LOADED = [*CLEARED, Loaded("m", 1)]
CLOSED = [*LOADED, Closed("m", 1, Outcome.PACKAGE_MISSING, 9.0, "package_missing")]
RECALLED = Recalled("m", 1)
STAGES: list[list[Entry]] = [
    [],
    [EpochRaised(7)],
    [GOAL],
    CLEARED,
    LOADED,
    [*LOADED, Dropping("m", 1)],
    [*CLEARED, RECALLED],
    [*LOADED, RECALLED],
    [*LOADED, RECALLED, Unloading("m", 1)],
    [*LOADED, Grounded("motor")],
    [*LOADED, Grounded("motor"), GroundingLifted()],
    CLOSED,
    [*CLOSED, Acknowledged("m", 1)],
    [*CLOSED, GoalAccepted(order("n"), 2, 8), Cleared("n", 2, 8)],
]


@pytest.mark.parametrize("entries", STAGES, ids=lambda entries: " ".join(type(e).__name__ for e in entries) or "empty")
def test_a_compacted_journal_folds_to_the_same_state_and_is_no_longer(entries: list[Entry]) -> None:
    state = fold(entries)
    assert fold(compact(state)) == state
    assert len(compact(state)) <= len(entries) + 1  # the highest epoch may need its own entry


def test_closed_goals_are_bounded_and_unacknowledged_ones_are_kept() -> None:
    state = apply(DurableState(), Closed("kept", 1, Outcome.DELIVERED, 0.0))
    for number in range(2 * MAX_CLOSED):
        state = apply(state, Acknowledged(f"m{number}", 1))
    assert len(state.closed) == MAX_CLOSED
    assert state.closed_attempt("kept") == 1
    assert state.closed_attempt("m0") == 0
    assert state.closed_attempt(f"m{2 * MAX_CLOSED - 1}") == 1


MESSAGE_IDS = st.sampled_from(["m1", "m2"])
ATTEMPTS = st.integers(1, 3)
EPOCHS = st.integers(1, 4)
JOURNAL_IDS = st.sampled_from(["j", "other"])
RARELY = st.sampled_from([False] * 7 + [True])
#: The number of effects of a step after which the process dies; mostly it does not.
DEATHS = st.sampled_from([None] * 12 + [0, 1, 2, 3])


class Life(RuleBasedStateMachine):
    """A drone that receives any events in any order, and may die between any two effects."""

    @initialize()
    def begin(self) -> None:
        self.entries: list[Entry] = []
        self.highest_epoch = 0
        self.package: str | None = None  # what the payload sensor sees
        self.target = DEPOT
        self.acting: Load | Drop | None = None
        self.granted: set[tuple[str, int]] = set()
        self.picked: list[tuple[str, int]] = []
        self.dropped_at: list[tuple[tuple[str, int], GeoPoint]] = []
        self.current: tuple[str, int] | None = None
        self.reboot()

    @property
    def epoch(self) -> int:
        return max(1, self.machine.durable.highest_epoch)

    def reboot(self) -> None:
        self.acting = None
        self.machine = DroneMachine("d", COURIER, DEPOT, journal_id="j", durable=fold(self.entries))
        self.tell(FlightSensed(False, self.package is not None))

    def tell(self, event: object, dies_after: int | None = None) -> None:
        effects = self.machine.step(event, Instant(0.0, 0.0))  # type: ignore[arg-type]
        for effect in effects[:dies_after]:
            match effect:
                case WriteJournal(entry):
                    self.entries.append(entry)
                case Fly(target):
                    self.target, self.acting = target, None
                case Load() | Drop():
                    self.acting = effect
                case Hold():
                    self.acting = None
        if dies_after is not None and dies_after < len(effects):
            self.finish_act()  # the autopilot lives on and completes its last command
            self.reboot()

    def finish_act(self) -> None:
        goal = self.machine.durable.goal
        if goal is not None and isinstance(self.acting, Load):
            self.package = goal.message_id
            self.picked.append(goal.key)
        elif goal is not None and isinstance(self.acting, Drop):
            self.package = None
            self.dropped_at.append((goal.key, self.target))
        self.acting = None

    # What makes progress: a correct leader, and flights that end.

    @rule(message_id=MESSAGE_IDS, dies_after=DEATHS)
    def go_on(self, message_id: str, dies_after: int | None) -> None:
        goal = self.machine.durable.goal
        if self.machine.phase is Phase.AWAITING_CLEARANCE and goal is not None:
            self.answered(ClearanceAnswered(Verdict.GRANTED, self.epoch, *goal.key, "j"), dies_after)
        elif self.machine.phase is Phase.IDLE:
            self.next_goal(message_id, dies_after)
        else:
            self.act_is_done(dies_after)

    @rule(message_id=MESSAGE_IDS, dies_after=DEATHS)
    def next_goal(self, message_id: str, dies_after: int | None) -> None:
        attempt = self.machine.durable.closed_attempt(message_id) + 1
        self.tell(GoalRequested(order(message_id), attempt, self.epoch), dies_after)

    @rule(
        verdict=st.sampled_from([Verdict.GRANTED, Verdict.GRANTED, Verdict.REFUSED]),
        journal_id=st.sampled_from(["j", "j", "other"]),
        dies_after=DEATHS,
    )
    def answer_current(self, verdict: Verdict, journal_id: str, dies_after: int | None) -> None:
        goal = self.machine.durable.goal
        if goal is not None:
            self.answered(ClearanceAnswered(verdict, self.epoch, *goal.key, journal_id), dies_after)

    @rule(happens=RARELY, dies_after=DEATHS)
    def recall_current(self, happens: bool, dies_after: int | None) -> None:
        goal = self.machine.durable.goal
        if goal is not None and happens:
            self.tell(RecallRequested(*goal.key, self.epoch), dies_after)

    # Arbitrary events.

    @rule(message_id=MESSAGE_IDS, attempt=ATTEMPTS, epoch=EPOCHS, dies_after=DEATHS)
    def goal(self, message_id: str, attempt: int, epoch: int, dies_after: int | None) -> None:
        self.tell(GoalRequested(order(message_id), attempt, epoch), dies_after)

    @rule(message_id=MESSAGE_IDS, attempt=ATTEMPTS, epoch=EPOCHS, dies_after=DEATHS)
    def recall(self, message_id: str, attempt: int, epoch: int, dies_after: int | None) -> None:
        self.tell(RecallRequested(message_id, attempt, epoch), dies_after)

    @rule(
        answer=st.builds(ClearanceAnswered, st.sampled_from(Verdict), EPOCHS, MESSAGE_IDS, ATTEMPTS, JOURNAL_IDS),
        dies_after=DEATHS,
    )
    def answered(self, answer: ClearanceAnswered, dies_after: int | None) -> None:
        counts = answer.journal_id == "j" and answer.epoch >= self.epoch
        if answer.verdict is Verdict.GRANTED and counts:
            self.granted.add((answer.message_id, answer.attempt))
        self.tell(answer, dies_after)

    @rule(dies_after=DEATHS)
    def arrive(self, dies_after: int | None) -> None:
        self.tell(FlightSensed(True, self.package is not None), dies_after)

    @rule(dies_after=DEATHS)
    def act_is_done(self, dies_after: int | None) -> None:
        self.finish_act()
        self.tell(FlightSensed(True, self.package is not None), dies_after)

    @rule(epoch=EPOCHS, message_id=MESSAGE_IDS, attempt=ATTEMPTS, outcome=st.sampled_from(Outcome))
    def leader(self, epoch: int, message_id: str, attempt: int, outcome: Outcome) -> None:
        self.tell(LeaderHeard(epoch, (AcknowledgeOutcome("d", "j", message_id, attempt, outcome),)))

    @rule(happens=RARELY)
    def fault(self, happens: bool) -> None:
        if happens:
            self.tell(FlightSensed(False, self.package is not None, fault="motor"))

    @rule()
    def lift(self) -> None:
        self.tell(LiftGrounding())

    @rule(happens=RARELY)
    def die(self, happens: bool) -> None:
        if happens:
            self.reboot()

    @invariant()
    def the_journal_is_the_state(self) -> None:
        assert fold(self.entries) == self.machine.durable

    @invariant()
    def compaction_keeps_the_state(self) -> None:
        assert fold(compact(self.machine.durable)) == self.machine.durable

    @invariant()
    def nothing_is_loaded_without_clearance_nor_twice(self) -> None:
        assert set(self.picked) <= self.granted
        assert len(self.picked) == len(set(self.picked))

    @invariant()
    def outcomes_tell_where_the_package_is(self) -> None:
        for entry in self.entries:
            if not isinstance(entry, Closed):
                continue
            key = (entry.message_id, entry.attempt)
            drops = [target for dropped, target in self.dropped_at if dropped == key]
            if entry.outcome is Outcome.DELIVERED:
                assert (self.picked.count(key), drops) == (1, [CUSTOMER])
            elif entry.outcome is Outcome.RETURNED:
                assert (self.picked.count(key), drops) == (1, [DEPOT])
            else:
                assert key not in self.picked

    @invariant()
    def epochs_never_fall(self) -> None:
        assert self.machine.durable.highest_epoch >= self.highest_epoch
        self.highest_epoch = self.machine.durable.highest_epoch

    @invariant()
    def a_grounded_drone_does_nothing(self) -> None:
        assert self.acting is None or self.machine.phase is not Phase.GROUNDED


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
