"""Decisions about an order from ``LOADING`` on: only the drone that got clearance can report the outcome.

The package may have left its depot, so nothing here ever assumes that it is back. Only the drone can report that, from
the journal that got clearance, or a person. If neither can, the order is parked, or fails once the drone's grace period
is over.
"""

from __future__ import annotations

from .. import saga as sagas
from ..changes import BreakerChange
from ..policies import backoff_s
from ..reasons import Reason
from ..types import (
    AcknowledgeOutcome,
    CommandAction,
    DeliveryOutcome,
    DroneReport,
    Instant,
    Kind,
    OperatorCommand,
    Outcome,
    Phase,
    Saga,
    SagaStatus,
)
from ..view import FleetView
from .blame import Blame
from .bounds import Stays
from .effects import Effect, RecallGoal, Report
from .memory import Drone, LeaderState, OrderMemory, Retry
from .payload_sensor import is_contradicted, shows_package_of
from .steps import Steps

S = SagaStatus


class AfterLoading:
    """The half of the leader that handles orders in ``LOADING``, ``IN_TRANSIT`` and ``COMPENSATING``."""

    def __init__(self, view: FleetView, state: LeaderState, steps: Steps, blame: Blame, stays: Stays) -> None:
        self._view = view
        self._state = state
        self._steps = steps
        self._blame = blame
        self._stays = stays

    def reconcile(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        """Request the next step, if any."""
        drone = self._state.drones.get(saga.drone_id or "")
        if memory.seen is None or memory.seen[0] != saga.event_count:
            memory.seen = (saga.event_count, now.mono_s)
        if saga.parked:
            return self._parked(saga, drone, now)
        if saga.journal_id is None:
            return self._steps.complete_compensation(saga, now)
        if drone is None or self._state.is_silent(drone, now):
            return self._silent(saga, memory, drone, now)
        if drone.report.journal_id != saga.journal_id:
            # This drone cannot know what the lost journal recorded, but it can fly other orders.
            return self._steps.park(saga, Reason.JOURNAL_LOST_WITH_PACKAGE, now, release=True)
        outcome = drone.report.outcome_of(saga)
        if outcome is not None:
            return self._settle(saga, drone.report, outcome, now)
        if drone.report.phase is Phase.GROUNDED:
            return self._grounded(saga, memory, now)
        memory.grounded_since_s = None
        if drone.report.carries(saga):
            memory.unknown_since_s = None
        policy = self._state.policy
        self._steps.schedule(saga.message_id, drone.heard_at_s + policy.drone_silent_s + policy.commit_retry_s)
        if saga.status is S.COMPENSATING:
            return self._send_recall(saga, memory, drone.report, now)
        cancel = self._view.cancel_of(saga.message_id)
        if cancel:
            return self._steps.abandon(saga, cancel.reason, S.CANCELLED, now)
        if saga.status is S.LOADING and drone.report.package_on_board and drone.report.carries(saga):
            self._blame.loaded(drone.report.drone_id)
            return self._steps.record(self._steps.event(saga, sagas.LOADED, S.IN_TRANSIT, now))
        if not drone.report.carries(saga):
            return self._goal_unknown_to_drone(saga, memory, now)
        return self._get_on(saga, memory, drone.report, now)

    def _settle(self, saga: Saga, report: DroneReport, outcome: DeliveryOutcome, now: Instant) -> list[Effect]:
        """Record the outcome of the attempt that the drone reports."""
        assert saga.drone_id is not None and saga.journal_id is not None
        if outcome.outcome is Outcome.PACKAGE_MISSING:
            # Park first, acknowledge later: the drone's report is the only information about the package.
            return self._steps.park(saga, outcome.why, now, release=True)
        if is_contradicted(saga, report, outcome):
            return self._steps.park(saga, Reason.OUTCOME_CONTRADICTED, now, release=True)
        ack = AcknowledgeOutcome(saga.drone_id, saga.journal_id, saga.message_id, saga.attempt, outcome.outcome)
        breaker = self._breaker(saga.drone_id, outcome.outcome, now)
        if outcome.outcome is Outcome.DELIVERED:
            step = self._steps.event(saga, sagas.DELIVERED, S.DELIVERED, now)
            return self._steps.record(step, self._steps.release(saga), then=(ack,), breaker=breaker)
        # The package is in the depot, so nothing is left to undo: abandoning and compensating share one transaction.
        if saga.status is S.COMPENSATING:
            return self._steps.complete_compensation(saga, now, then=(ack,), breaker=breaker)
        cancel = self._view.cancel_of(saga.message_id)
        reason = cancel.reason if cancel else outcome.why
        abandoned = self._steps.abandoned(saga, reason, S.CANCELLED if cancel else S.PENDING, now)
        undone = sagas.apply(saga, abandoned)
        return self._steps.complete_compensation(undone, now, then=(ack,), before=(abandoned,), breaker=breaker)

    def _breaker(self, drone_id: str, outcome: Outcome, now: Instant) -> BreakerChange | None:
        """Return the change of the drone's breaker; ``None`` for an outcome that is not the drone's fault or merit."""
        if outcome is Outcome.FAULT_BEFORE_LOADING:
            return self._steps.breaker_failed(drone_id, now)
        return self._steps.breaker_succeeded(drone_id) if outcome in (Outcome.DELIVERED, Outcome.RETURNED) else None

    # --- out of action ------------------------------------------------------------------------------------------

    def _silent(self, saga: Saga, memory: OrderMemory, drone: Drone | None, now: Instant) -> list[Effect]:
        """Wait for a silent drone that may have the package; fail the order when the grace period is over.

        Only this leader's own waiting counts, for this step of the order. Before its term another leader may have heard
        the drone, and a step proves that the drone, or a person, was heard.
        """
        memory.grounded_since_s = memory.unknown_since_s = None
        assert memory.seen is not None
        waiting_since_s = memory.seen[1] if drone is None else max(memory.seen[1], drone.heard_at_s)
        give_up_s = waiting_since_s + self._state.policy.lost_grace_s
        if now.mono_s < give_up_s:
            self._steps.schedule(saga.message_id, give_up_s)
            return []
        reason = Reason.DRONE_LOST_WITH_PACKAGE
        step = self._steps.event(saga, sagas.FAILED, S.FAILED, now, reason=reason)
        called = Report("error", f"{saga.order_id}: {reason}, last with {saga.drone_id}; find the package")
        return self._steps.record(step, self._steps.release(saga), then=(called,))

    def _grounded(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        """Wait until a person lets the drone fly again; park the order with an alert when the grace period is over."""
        memory.unknown_since_s = None
        if memory.grounded_since_s is None:
            memory.grounded_since_s = now.mono_s
        give_up_s = memory.grounded_since_s + self._state.policy.lost_grace_s
        if now.mono_s >= give_up_s:
            return self._steps.park(saga, Reason.DRONE_GROUNDED_WITH_PACKAGE, now)
        self._steps.schedule(saga.message_id, give_up_s)
        return []

    def _goal_unknown_to_drone(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        """Wait for a late report; park the order when the grace period is over, because this should not happen.

        The drone is healthy and its journal matches, but it reports neither this goal nor its outcome.
        """
        if memory.unknown_since_s is None:
            memory.unknown_since_s = now.mono_s
        give_up_s = memory.unknown_since_s + self._state.policy.lost_grace_s
        if now.mono_s >= give_up_s:
            return self._steps.park(saga, Reason.GOAL_UNKNOWN_TO_DRONE, now)
        self._steps.schedule(saga.message_id, give_up_s)
        return []

    def _get_on(self, saga: Saga, memory: OrderMemory, report: DroneReport, now: Instant) -> list[Effect]:
        """Let the drone go on, unless it has stayed in one phase for too long.

        Then it is recalled while it loads: it may still close the goal without the package. With the package on board,
        a person decides, and the drone may still deliver.
        """
        if not self._stays.is_over(saga, memory, report, now):
            return []
        if saga.status is S.LOADING:
            culprit = self._blame.stalled(saga, memory, report, now)
            return self._steps.abandon(saga, Reason.NO_PROGRESS, S.PENDING, now, culprit)
        return self._steps.park(saga, Reason.NO_PROGRESS_WITH_PACKAGE, now)

    def _send_recall(self, saga: Saga, memory: OrderMemory, report: DroneReport, now: Instant) -> list[Effect]:
        """Recall the drone until it obeys, with growing pauses."""
        assert saga.drone_id is not None
        if report.carries(saga) and report.phase in (Phase.BRINGING_BACK, Phase.DROPPING):
            memory.recall = None  # it obeys, or it is too late: its outcome will show which
            return self._get_on(saga, memory, report, now)
        if memory.recall is None or memory.recall.attempt != saga.attempt:
            memory.recall = Retry(saga.attempt)
        recall = memory.recall
        if now.mono_s < recall.next_try_s:
            # Schedule on every pass: an earlier wake-up for another reason may have replaced this one.
            self._steps.schedule(saga.message_id, recall.next_try_s)
            return []
        policy = self._state.policy
        if recall.tries >= policy.max_recall_tries:
            return self._steps.park(saga, Reason.RECALL_NOT_OBEYED, now)
        recall.tries += 1
        recall.next_try_s = now.mono_s + backoff_s(
            recall.tries, base_s=policy.recall_retry_s, cap_s=policy.recall_cap_s, seed=saga.message_id
        )
        self._steps.schedule(saga.message_id, recall.next_try_s)
        return [RecallGoal(saga.drone_id, saga.message_id, saga.attempt, self._state.current_term.epoch)]

    # --- parked -------------------------------------------------------------------------------------------------

    def _parked(self, saga: Saga, drone: Drone | None, now: Instant) -> list[Effect]:
        """Wait for a person's decision, unless the drone itself can still report the outcome."""
        outcome = None if drone is None else drone.report.outcome_of(saga)
        same_journal = drone is not None and saga.journal_id in (None, drone.report.journal_id)
        # Once word and sensor have contradicted each other, agreement later proves nothing: a person may have unloaded.
        counts = same_journal and saga.reason != Reason.OUTCOME_CONTRADICTED
        if drone and outcome and counts and outcome.outcome is not Outcome.PACKAGE_MISSING:
            return self._settle(saga, drone.report, outcome, now)
        useless = outcome is not None or not same_journal
        if drone is not None and useless and self._view.reservation_of(saga) is not None:
            # The drone may fly other orders.
            return self._steps.park(saga, saga.reason or sagas.PARKED, now, release=True)
        effects: list[Effect] = []
        if outcome is not None and same_journal and drone is not None:
            key = (saga.message_id, saga.attempt)
            effects = [AcknowledgeOutcome(saga.drone_id or "", drone.report.journal_id, *key, outcome.outcome)]
        command = self._view.command_of(saga.message_id)
        return effects + (self._obey(saga, command, drone, now) if command else [])

    def _obey(self, saga: Saga, command: OperatorCommand, drone: Drone | None, now: Instant) -> list[Effect]:
        assert saga.target is not None
        by = f"{command.action.value} by {command.by or 'an operator'}"
        match command.action:
            case CommandAction.RETRY:
                step = self._steps.event(saga, sagas.RETRIED, S.COMPENSATING, now, reason=by, target=saga.target)
                memory = self._state.current_term.of(saga.message_id)
                memory.recall = memory.grounded_since_s = memory.unknown_since_s = None
                return self._steps.record(step)
            case CommandAction.LOST:
                return self._steps.resolve(saga, S.FAILED, by, now)
            case CommandAction.DELIVERED | CommandAction.RETURNED:
                doubt = self._doubt(saga, command.action, drone, now)
                if doubt:
                    told = Report(
                        "warning",
                        f"{saga.order_id} is not taken as {command.action.value}: {doubt}; see to the drone first",
                    )
                    return [told, *self._steps.discard(saga.message_id, (Kind.INBOX_COMMAND,))]
                is_back = command.action is CommandAction.RETURNED
                return self._steps.resolve(saga, saga.target if is_back else S.DELIVERED, by, now)

    def _doubt(self, saga: Saga, action: CommandAction, drone: Drone | None, now: Instant) -> str:
        """Return what contradicts a person's statement that the package has left the drone; ``""`` if nothing does."""
        if drone is None:
            return "" if action is CommandAction.DELIVERED else "its drone was never heard"
        # The drone's last report counts however old it is: a drone never reopens a closed goal.
        if action is CommandAction.RETURNED and self._may_still_load(saga, drone.report):
            return f"{saga.drone_id} has it, or may still load it"
        if not self._state.is_silent(drone, now) and shows_package_of(saga, drone.report):
            return f"the payload sensor of {saga.drone_id} shows a package"
        return ""

    @staticmethod
    def _may_still_load(saga: Saga, report: DroneReport) -> bool:
        """Return whether the drone could still use its clearance.

        It cannot if it has closed the goal or lost its journal. It also cannot while it is grounded and empty, because
        lifting the grounding would end the goal.
        """
        if report.journal_id != saga.journal_id or not report.carries(saga):
            return False
        return report.package_on_board or report.phase is not Phase.GROUNDED
