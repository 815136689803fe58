"""Runs the state machine of one drone with its journal and flight controller. Knows no ROS.

The executor (:mod:`drone_orchestrator.nodes.drone_executor`) and the simulation both use it, so the order of effects,
above all *journal first*, is the same in both. Everything happens on the caller's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ..core.drone.events import (
    AnswerGoal,
    AnswerRecall,
    AskClearance,
    DroneEffect,
    DroneEvent,
    Drop,
    FlightSensed,
    Fly,
    GoalEnded,
    Hold,
    Load,
    Notice,
    WriteJournal,
)
from ..core.drone.machine import DroneMachine
from ..core.drone.state import DurableState
from ..core.policies import DronePolicy
from ..core.reasons import OUT_OF_SERVICE
from ..core.types import DeliveryOutcome, DroneClass, DroneReport, GeoPoint, Instant, Phase
from .drone_journal import DroneJournal


class Senses(Protocol):
    """The part of a flight controller's state that a drone needs."""

    @property
    def position(self) -> GeoPoint: ...

    @property
    def energy_wh(self) -> float: ...

    @property
    def payload_on_board(self) -> bool: ...

    @property
    def at_target(self) -> bool: ...

    @property
    def fault(self) -> str: ...


class Flight(Protocol):
    """The part of a flight controller that a drone needs; :mod:`drone_orchestrator.flight.controller` documents it."""

    @property
    def state(self) -> Senses: ...

    def goto(self, target: GeoPoint) -> None: ...

    def load(self, payload_kg: float) -> None: ...

    def drop(self) -> None: ...

    def hold(self) -> None: ...

    def step(self, dt_s: float) -> None: ...

    def close(self) -> None: ...


class Surroundings(Protocol):
    """Receiver of a drone's requests and news."""

    def ask_clearance(self, question: AskClearance) -> None:
        """Ask the leader for clearance. The answer arrives as ``ClearanceAnswered``, or never."""

    def goal_ended(self, outcome: DeliveryOutcome) -> None:
        """Report the result of a goal."""

    def phase_changed(self, before: Phase, after: Phase) -> None: ...

    def notice(self, level: str, text: str) -> None:
        """Show ``text`` to operators; ``level`` is ``info``, ``warning`` or ``error``."""


class DroneDriver:
    """Driver of one drone. It owns the journal and the flight controller.

    ``boot_id`` identifies the running process, and must be new at each start. ``now`` reads both clocks.
    """

    def __init__(
        self,
        drone_id: str,
        drone_class: DroneClass,
        depot: GeoPoint,
        journal: DroneJournal,
        flight: Flight,
        surroundings: Surroundings,
        *,
        policy: DronePolicy,
        state_period_s: float,
        boot_id: str = "",
        now: Callable[[], Instant],
    ) -> None:
        self._journal = journal
        self._flight = flight
        self._surroundings = surroundings
        self._state_period_s = state_period_s
        self._now = now
        self._machine = DroneMachine(
            drone_id,
            drone_class,
            depot,
            journal_id=journal.identity,
            boot_id=boot_id,
            durable=journal.durable,
            policy=policy,
        )
        #: A person took the drone out of service: it finishes its goal, and reports from then on that it takes none.
        self.is_out_of_service = False
        self._published: DroneReport | None = None
        self._publish_at_s = float("-inf")

    @property
    def phase(self) -> Phase:
        return self._machine.phase

    @property
    def durable(self) -> DurableState:
        return self._machine.durable

    @property
    def journal_id(self) -> str:
        return self._journal.identity

    @property
    def is_busy(self) -> bool:
        """``True`` if a goal is in progress, or an outcome is not acknowledged yet."""
        return self.durable.goal is not None or bool(self.durable.outcomes)

    def tune(self, policy: DronePolicy, state_period_s: float) -> None:
        """Change policy and period. Each takes effect at its next use."""
        self._machine.adopt(policy)
        self._state_period_s = state_period_s

    def next_deadline(self) -> float:
        """Return the latest time (monotonic, s) of the next step or report, even if nothing happens."""
        wish_s = self._machine.next_deadline()
        return self._publish_at_s if wish_s is None else min(wish_s, self._publish_at_s)

    def step(self, event: DroneEvent) -> list[DroneEffect]:
        """Step the machine with ``event``, carry out its effects, and return them.

        Raises what journal and flight controller raise. Then discard the driver, because its state may not be on disk,
        and start a new one from the journal.
        """
        before = self._machine.phase
        effects = self._machine.step(event, self._now())
        for effect in effects:
            self._carry_out(effect)
        if self._machine.phase is not before:
            self._surroundings.phase_changed(before, self._machine.phase)
        return effects

    def sense(self, dt_s: float) -> None:
        """Advance the flight by ``dt_s``, and step the machine with the flight controller's state."""
        self._flight.step(dt_s)
        sensed = self._flight.state
        self.step(FlightSensed(sensed.at_target, sensed.payload_on_board, sensed.fault))

    def report(self) -> DroneReport:
        """Return the drone's current state."""
        sensed = self._flight.state
        report = self._machine.report(sensed.position, sensed.energy_wh)
        return out_of_service(report) if self.is_out_of_service else report

    @property
    def published(self) -> DroneReport | None:
        """The last report that :meth:`due_report` returned."""
        return self._published

    def due_report(self) -> DroneReport | None:
        """Return a report if anything has changed or the last one is old, and count it as published."""
        now_s, report = self._now().mono_s, self.report()
        if now_s < self._publish_at_s and not _differs(report, self._published):
            return None
        self._publish_at_s = now_s + self._state_period_s
        self._published = report
        return report

    def close(self) -> None:
        """Close flight controller and journal. The journal is closed even if the flight controller raises."""
        try:
            self._flight.close()
        finally:
            self._journal.close()

    def _carry_out(self, effect: DroneEffect) -> None:
        match effect:
            case WriteJournal(entry):
                self._journal.append(entry)
            case Fly(target):
                self._flight.goto(target)
            case Load(payload_kg):
                self._flight.load(payload_kg)
            case Drop():
                self._flight.drop()
            case Hold():
                self._flight.hold()
            case AskClearance():
                self._surroundings.ask_clearance(effect)
            case GoalEnded(outcome):
                self._surroundings.goal_ended(outcome)
            case Notice(level, text):
                self._surroundings.notice(level, text)
            case AnswerGoal() | AnswerRecall():
                pass  # the caller of `step` reads them


def out_of_service(report: DroneReport) -> DroneReport:
    """Return the report of a drone that takes no goals. One with a goal reports its phase until the goal has ended.

    A leader would otherwise take it for free, for example while it flies back to its depot.
    """
    if report.message_id is not None or report.phase is Phase.GROUNDED:
        return report
    return replace(report, phase=Phase.GROUNDED, grounded_reason=OUT_OF_SERVICE)


def _differs(report: DroneReport, last: DroneReport | None) -> bool:
    """Return whether anything changed besides position and energy, which always change."""
    return last is None or (
        report.phase is not last.phase
        or report.message_id != last.message_id
        or report.attempt != last.attempt
        or report.package_on_board != last.package_on_board
        or report.highest_epoch != last.highest_epoch
        or report.journal_id != last.journal_id
        or report.grounded_reason != last.grounded_reason
        or report.outcomes != last.outcomes
        or report.fleet_id != last.fleet_id
        or report.refusals != last.refusals
    )
