"""The state machine of one drone: it decides what the drone does next, and carries out nothing itself.

A drone belongs to one fleet: it obeys only leaders of that fleet, and believes no epoch of any other. It joins the
fleet of the first leader that it believes, unless an operator has assigned it to one.

These rules keep a package from leaving its depot twice. A drone loads only on a clearance for its current goal, attempt
and journal, from an epoch not lower than the highest it has seen. Intent is journalled before the act. A closed goal is
never reopened. After a restart, the journal and the payload sensor together determine where the package is.

:data:`STAGES` alone defines which phase may follow which.
"""

from __future__ import annotations

from ..policies import DronePolicy
from ..reasons import GoalRefusal, Reason, RecallRefusal
from ..types import DeliveryOutcome, DroneClass, DroneReport, GeoPoint, Instant, Outcome, Phase, Verdict
from .events import (
    Acknowledged,
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
    Entry,
    EpochRaised,
    FleetJoined,
    FlightSensed,
    Fly,
    GoalAccepted,
    GoalEnded,
    GoalImpossible,
    GoalRequested,
    Grounded,
    GroundingLifted,
    Hold,
    JoinFleet,
    LeaderHeard,
    LiftGrounding,
    Load,
    Loaded,
    Notice,
    Recalled,
    RecallRequested,
    Unloading,
    WriteJournal,
)
from .refusals import Refusals, refusal_of
from .state import DurableState, Goal, apply

P = Phase

#: Phase -> phases that may follow it. ``UNSPECIFIED`` is the phase before journal and sensor are first compared.
STAGES: dict[Phase, frozenset[Phase]] = {
    P.UNSPECIFIED: frozenset(P) - {P.UNSPECIFIED, P.IDLE, P.AWAITING_CLEARANCE},
    P.IDLE: frozenset({P.TO_PICKUP, P.GROUNDED}),
    P.TO_PICKUP: frozenset({P.TO_PICKUP, P.AWAITING_CLEARANCE, P.RETURNING, P.GROUNDED}),
    P.AWAITING_CLEARANCE: frozenset({P.TO_PICKUP, P.LOADING, P.RETURNING, P.GROUNDED}),
    P.LOADING: frozenset({P.TO_DESTINATION, P.BRINGING_BACK, P.GROUNDED}),
    P.TO_DESTINATION: frozenset({P.DROPPING, P.BRINGING_BACK, P.GROUNDED}),
    P.DROPPING: frozenset({P.RETURNING, P.GROUNDED}),
    P.BRINGING_BACK: frozenset({P.RETURNING, P.GROUNDED}),
    P.RETURNING: frozenset({P.IDLE, P.TO_PICKUP, P.GROUNDED}),
    # After the grounding is lifted, journal and sensor are compared again, as at the start.
    P.GROUNDED: frozenset(P) - {P.UNSPECIFIED, P.IDLE, P.AWAITING_CLEARANCE},
}

#: Payload expected in a phase. Phases during which it may change are left out.
_PAYLOAD_EXPECTED: dict[Phase, bool] = {
    P.IDLE: False,
    P.TO_PICKUP: False,
    P.AWAITING_CLEARANCE: False,
    P.RETURNING: False,
    P.TO_DESTINATION: True,
}


class IllegalStage(RuntimeError):
    """The machine was about to make a step that :data:`STAGES` does not allow. This is a defect; no input can cause
    it."""


class DroneMachine:
    """Decides for one drone. It refuses every goal until the first :class:`FlightSensed`."""

    def __init__(
        self,
        drone_id: str,
        drone_class: DroneClass,
        depot: GeoPoint,
        *,
        journal_id: str,
        boot_id: str = "",
        durable: DurableState | None = None,
        policy: DronePolicy | None = None,
    ) -> None:
        self.drone_id = drone_id
        self._class = drone_class
        self._depot = depot
        self._journal_id = journal_id
        self._boot_id = boot_id
        self._durable = durable or DurableState()
        self._policy = policy or DronePolicy()
        self._phase = Phase.UNSPECIFIED
        self._sensed = FlightSensed(at_target=False, payload_on_board=False)
        self._acting = False  # the act of LOADING, DROPPING or BRINGING_BACK has been commanded
        self._ask_at_s = 0.0
        self._refusals = Refusals()
        self._effects: list[DroneEffect] = []

    def adopt(self, policy: DronePolicy) -> None:
        """Use ``policy`` from the next period on."""
        self._policy = policy

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def durable(self) -> DurableState:
        return self._durable

    def step(self, event: DroneEvent, now: Instant) -> list[DroneEffect]:
        """Process ``event``; return what to do, in order."""
        match event:
            case GoalRequested():
                self._goal_requested(event, now)
            case GoalImpossible(message_id, attempt, epoch, refusal):
                self._refuse(message_id, attempt, epoch, refusal)
            case RecallRequested():
                self._recall_requested(event, now)
            case ClearanceAnswered():
                self._clearance_answered(event, now)
            case LeaderHeard():
                self._leader_heard(event, now)
            case JoinFleet():
                self._join_fleet(event)
            case FlightSensed():
                self._flight_sensed(event, now)
            case LiftGrounding():
                if self._phase is P.GROUNDED:
                    self._write(GroundingLifted())
                    self._take_stock(now, after_person=True)
            case DroneTick():
                pass
        self._ask_when_due(now)
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """Return the time (monotonic, s) by which a :class:`DroneTick` is due; ``None`` if none is."""
        return self._ask_at_s if self._phase is P.AWAITING_CLEARANCE else None

    def report(self, position: GeoPoint, energy_wh: float) -> DroneReport:
        """Return the drone's report, at ``position`` and with ``energy_wh`` left."""
        goal = self._durable.goal
        return DroneReport(
            drone_id=self.drone_id,
            drone_class=self._class.name,
            journal_id=self._journal_id,
            highest_epoch=self._durable.highest_epoch,
            phase=self._phase,
            position=position,
            energy_wh=energy_wh,
            message_id=goal.message_id if goal else None,
            attempt=goal.attempt if goal else 0,
            package_on_board=self._sensed.payload_on_board,
            outcomes=self._durable.outcomes,
            fleet_id=self._durable.fleet_id,
            boot_id=self._boot_id,
            refusals=self._refusals.recent,
            grounded_reason=self._durable.grounded if self._phase is P.GROUNDED else "",
        )

    # --- the fleet --------------------------------------------------------------------------------------------------

    def is_foreign(self, fleet_id: str) -> bool:
        """Return whether a leader with ``fleet_id`` must be ignored.

        A drone that belongs to a fleet ignores a leader without a fleet, too: it could be that of any older version.
        """
        return self._durable.fleet_id not in ("", fleet_id)

    def _join_fleet(self, event: JoinFleet) -> None:
        """Join the fleet that an operator names. A drone with a goal stays with the fleet that sent it.

        The goal and the epoch of a drone without a fleet may be of any store. It joins at once if it has no goal, and
        otherwise when a leader of the fleet shows an epoch that is not lower.
        """
        own, goal = self._durable.fleet_id, self._durable.goal
        if own == event.fleet_id:
            return
        if not own and goal is None:
            self._write(FleetJoined(event.fleet_id, assigned=True))
        elif not own:
            text = f"has an order: it joins fleet {event.fleet_id} when it hears the leader that sent the order"
            self._effects.append(Notice("warning", f"{self.drone_id} {text}, or when it restarts without one"))
        elif goal is not None:
            text = f"stays in fleet {own} until its order has ended; restart it then to join fleet {event.fleet_id}"
            self._effects.append(Notice("error", f"{self.drone_id} {text}"))
        else:
            lost = ", ".join(f"{o.message_id} ({o.outcome.name})" for o in self._durable.outcomes)
            text = f"leaves fleet {own} and joins fleet {event.fleet_id}"
            text += f"; the old fleet will not learn the outcome of {lost}" if lost else ""
            self._effects.append(Notice("warning", f"{self.drone_id} {text}"))
            self._write(FleetJoined(event.fleet_id))

    def _join(self, fleet_id: str) -> None:
        """Join the fleet unless the drone belongs to one. The caller has checked that the leader is to be believed."""
        if fleet_id and not self._durable.fleet_id:
            self._write(FleetJoined(fleet_id))

    # --- events from the leader -------------------------------------------------------------------------------------

    def _goal_requested(self, event: GoalRequested, now: Instant) -> None:
        key = (event.order.message_id, event.attempt)
        refusal = refusal_of(event, self._durable, self._phase, self._class)
        if refusal is not None:
            self._refuse(*key, event.epoch, refusal)
            return
        self._join(event.fleet_id)
        self._refusals.forget(*key)
        goal = self._durable.goal
        if goal is not None and goal.key == key:
            self._raise_epoch(event.epoch)
            self._effects.append(AnswerGoal(True, "repeated"))
            return
        if goal is not None:
            self._close(Outcome.NOT_LOADED, Reason.SUPERSEDED, now)
        self._write(GoalAccepted(event.order, event.attempt, event.epoch))
        self._effects.append(AnswerGoal(True))
        self._fly_to_pickup()

    def _refuse(self, message_id: str, attempt: int, epoch: int, refusal: GoalRefusal) -> None:
        self._refusals.add(message_id, attempt, epoch, refusal)
        self._effects.append(AnswerGoal(False, refusal))

    def _recall_requested(self, event: RecallRequested, now: Instant) -> None:
        goal = self._durable.goal
        if event.epoch < self._durable.highest_epoch:
            self._effects.append(AnswerRecall(False, RecallRefusal.STALE_EPOCH.value))
        elif goal is None or goal.key != (event.message_id, event.attempt) or self._phase is P.UNSPECIFIED:
            self._effects.append(AnswerRecall(False, RecallRefusal.NOT_THE_CURRENT_GOAL.value))
        elif goal.dropping:
            self._effects.append(AnswerRecall(False, RecallRefusal.TOO_LATE.value))
        else:
            self._raise_epoch(event.epoch)
            if not goal.cleared:
                # Close the goal in the journal before answering: from then on no clearance counts.
                self._close(Outcome.NOT_LOADED, Reason.RECALLED, now)
                self._effects.append(AnswerRecall(True))
                self._fly_home()
                return
            if not goal.recalled:
                self._write(Recalled(*goal.key))
            self._effects.append(AnswerRecall(True))
            if self._phase is P.TO_DESTINATION:
                self._bring_back(goal)

    def _clearance_answered(self, event: ClearanceAnswered, now: Instant) -> None:
        goal = self._durable.goal
        if goal is None or self._phase is not P.AWAITING_CLEARANCE:
            return
        if (event.message_id, event.attempt, event.journal_id) != (*goal.key, self._journal_id):
            return
        if event.epoch < self._durable.highest_epoch or event.epoch <= 0 or self.is_foreign(event.fleet_id):
            return
        if event.verdict is Verdict.GRANTED:
            self._write(Cleared(*goal.key, event.epoch))
            self._become(P.LOADING)
            self._act(Load(goal.order.package_weight_kg))
        elif event.verdict is Verdict.REFUSED:
            self._raise_epoch(event.epoch)
            self._close(Outcome.NOT_LOADED, event.reason or Reason.REFUSED, now)
            self._fly_home()

    def _leader_heard(self, event: LeaderHeard, now: Instant) -> None:
        if event.epoch < self._durable.highest_epoch or self.is_foreign(event.fleet_id):
            return
        self._join(event.fleet_id)
        if event.epoch > self._durable.highest_epoch:
            self._raise_epoch(event.epoch)
            self._ask_at_s = now.mono_s  # a new leader: requests to the old one may never be answered
        reported = {(o.message_id, o.attempt, o.outcome) for o in self._durable.outcomes}
        for ack in event.acknowledged:
            mine = (ack.drone_id, ack.journal_id) == (self.drone_id, self._journal_id)
            if mine and (ack.message_id, ack.attempt, ack.outcome) in reported:
                reported.discard((ack.message_id, ack.attempt, ack.outcome))
                self._write(Acknowledged(ack.message_id, ack.attempt))

    # --- events from the flight controller --------------------------------------------------------------------------

    def _flight_sensed(self, event: FlightSensed, now: Instant) -> None:
        self._sensed = event
        first_look = self._phase is P.UNSPECIFIED
        if first_look:
            self._take_stock(now)
        if self._phase is P.GROUNDED:
            return
        if event.fault:
            self._ground(event.fault, now)
            return
        if first_look:
            return  # read before the latest commands: `at_target` refers to an older target
        expected = _PAYLOAD_EXPECTED.get(self._phase)
        if expected is not None and expected != event.payload_on_board:
            self._ground(Reason.PACKAGE_MISSING if expected else Reason.PACKAGE_NOT_CLEARED, now)
            return
        self._advance(now)

    def _advance(self, now: Instant) -> None:
        """Continue when the flight controller reports that an act or a leg is done."""
        goal, sensed = self._durable.goal, self._sensed
        if self._phase is P.RETURNING:
            if sensed.at_target:
                self._become(P.IDLE)
            return
        if goal is None:
            return
        if self._phase is P.LOADING and sensed.payload_on_board:
            self._write(Loaded(*goal.key))
            self._carry(goal)
        elif self._phase is P.DROPPING and not sensed.payload_on_board:
            self._close(Outcome.DELIVERED, "", now)
            self._fly_home()
        elif self._phase is P.BRINGING_BACK and not sensed.payload_on_board:
            if self._acting or goal.unloading:  # the sensor may notice only after a restart that the package is gone
                self._close(Outcome.RETURNED, Reason.RECALLED, now)
                self._fly_home()
            else:
                self._ground(Reason.PACKAGE_MISSING, now)
        elif sensed.at_target and not self._acting:
            self._act_at_target(goal, now)

    def _act_at_target(self, goal: Goal, now: Instant) -> None:
        """Begin the act for which the drone flew to its target. Journal the intent first."""
        match self._phase:
            case P.TO_PICKUP:
                self._become(P.AWAITING_CLEARANCE)
                self._ask_at_s = now.mono_s
            case P.LOADING:
                self._act(Load(goal.order.package_weight_kg))
            case P.TO_DESTINATION:
                self._write(Dropping(*goal.key))
                self._become(P.DROPPING)
                self._act(Drop())
            case P.DROPPING:
                self._act(Drop())
            case P.BRINGING_BACK:
                if not goal.unloading:
                    self._write(Unloading(*goal.key))
                self._act(Drop())

    def _take_stock(self, now: Instant, *, after_person: bool = False) -> None:
        """Determine where the package is after a start, from journal and payload sensor together.

        ``after_person``: a person was at the drone. Then an empty bay no longer shows what happened to a package that
        was cleared: it may have been dropped, not loaded, or removed by hand.
        """
        goal, loaded = self._durable.goal, self._sensed.payload_on_board
        if self._durable.grounded:
            self._become(P.GROUNDED)
            self._effects.append(Hold())
        elif goal is None or not goal.cleared:
            if loaded:
                self._ground(Reason.PACKAGE_NOT_CLEARED, now)
            elif goal is None:
                self._fly_home()
            else:
                self._fly_to_pickup()
        elif loaded:
            if not goal.loaded:
                self._write(Loaded(*goal.key))
            self._carry(goal)
        elif after_person:
            self._close(Outcome.PACKAGE_MISSING, Reason.PACKAGE_MISSING, now)
            self._fly_home()
        else:
            self._take_stock_empty(goal, now)

    def _take_stock_empty(self, goal: Goal, now: Instant) -> None:
        """Handle an empty bay when the journal has a clearance."""
        if goal.dropping:
            self._close(Outcome.DELIVERED, "", now)
            self._fly_home()
        elif goal.unloading:
            self._close(Outcome.RETURNED, Reason.RECALLED, now)
            self._fly_home()
        elif goal.loaded:
            self._ground(Reason.PACKAGE_MISSING, now)
        elif goal.recalled:
            self._close(Outcome.NOT_LOADED, Reason.RECALLED, now)
            self._fly_home()
        else:
            self._become(P.LOADING)
            self._effects.append(Fly(self._pickup(goal)))

    # --- steps ------------------------------------------------------------------------------------------------------

    def _carry(self, goal: Goal) -> None:
        """Continue the flight with the package on board, to the destination or back."""
        if goal.recalled:
            self._bring_back(goal)
            return
        self._become(P.DROPPING if goal.dropping else P.TO_DESTINATION)
        self._effects.append(Fly(goal.order.destination))

    def _bring_back(self, goal: Goal) -> None:
        self._become(P.BRINGING_BACK)
        self._effects.append(Fly(self._pickup(goal)))

    def _fly_to_pickup(self) -> None:
        goal = self._durable.goal
        assert goal is not None
        self._become(P.TO_PICKUP)
        self._effects.append(Fly(self._pickup(goal)))

    def _fly_home(self) -> None:
        self._become(P.RETURNING)
        self._effects.append(Fly(self._depot))

    def _ground(self, reason: str, now: Instant) -> None:
        """Stay on the ground. A goal without clearance ends, because its package was not loaded; any other goal is kept
        until a person decides."""
        if self._durable.goal is not None and not self._durable.goal.cleared:
            self._close(Outcome.FAULT_BEFORE_LOADING, reason, now)
        self._write(Grounded(str(reason)))
        self._become(P.GROUNDED)
        self._effects += [Hold(), Notice("error", f"{self.drone_id} is grounded: {reason}")]

    def _ask_when_due(self, now: Instant) -> None:
        goal = self._durable.goal
        if self._phase is not P.AWAITING_CLEARANCE or goal is None or now.mono_s < self._ask_at_s:
            return
        self._ask_at_s = now.mono_s + self._policy.clearance_retry_s
        self._effects.append(AskClearance(*goal.key, self._journal_id, self._durable.highest_epoch))

    def _pickup(self, goal: Goal) -> GeoPoint:
        return goal.order.pickup or self._depot

    # --- the only places that change phase and journal --------------------------------------------------------------

    def _become(self, phase: Phase) -> None:
        if phase not in STAGES[self._phase]:
            raise IllegalStage(f"{self.drone_id}: {self._phase.name} to {phase.name}")
        self._phase = phase
        self._acting = False

    def _act(self, act: Load | Drop) -> None:
        self._acting = True
        self._effects.append(act)

    def _write(self, entry: Entry) -> None:
        self._durable = apply(self._durable, entry)
        self._effects.append(WriteJournal(entry))

    def _raise_epoch(self, epoch: int) -> None:
        if epoch > self._durable.highest_epoch:
            self._write(EpochRaised(epoch))

    def _close(self, outcome: Outcome, reason: str, now: Instant) -> None:
        goal = self._durable.goal
        assert goal is not None
        reason = str(reason)  # plain text, as in the journal and on the wire
        self._write(Closed(*goal.key, outcome, now.wall_s, reason))
        self._effects.append(GoalEnded(DeliveryOutcome(*goal.key, outcome, at=now.wall_s, reason=reason)))
