"""Decisions about an order before ``LOADING``: its package is certainly still in the depot.

So the leader may undo everything here without asking the drone: a silent drone loses its order, a goal is recalled and
the order given to another drone. Only :meth:`BeforeLoading._clear` ends this half of an order's life: it commits
``LOADING`` before it answers the drone that asks to load.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from .. import saga as sagas
from ..changes import MakeFirm
from ..lanes import Ledger
from ..planner import Planner
from ..reasons import Reason, RefusalCause, RefusedGoal
from ..types import (
    DroneReport,
    FleetSpec,
    Instant,
    Order,
    Outcome,
    Phase,
    Reservation,
    Saga,
    SagaEvent,
    SagaStatus,
    Verdict,
)
from ..view import FleetView, Stored
from ..zones import blocked_way
from .blame import Blame, Culprit
from .bounds import Stays
from .deadlines import Deadlines
from .effects import AnswerClearance, Effect, SendGoal
from .events import ClearanceRequested
from .memory import Drone, LeaderState, OrderMemory, Retry
from .payload_sensor import is_contradicted
from .steps import Steps

S = SagaStatus


class BeforeLoading:
    """The half of the leader that handles orders in the inbox, ``PENDING``, ``ASSIGNED`` and ``DISPATCHED``."""

    def __init__(
        self,
        view: FleetView,
        state: LeaderState,
        steps: Steps,
        blame: Blame,
        fleet: FleetSpec,
        planner: Planner,
        ledger: Ledger,
        stays: Stays,
        deadlines: Deadlines,
    ) -> None:
        self._view = view
        self._state = state
        self._steps = steps
        self._blame = blame
        self._fleet = fleet
        self._planner = planner
        self._ledger = ledger
        self._stays = stays
        self._deadlines = deadlines

    # --- without a drone ----------------------------------------------------------------------------------------

    def reconcile_inbox(self, message_id: str, memory: OrderMemory) -> list[Effect]:
        """Request the next step of an order without a saga."""
        term = self._state.current_term
        waiting = self._view.inbox.get(message_id)
        if waiting is not None:
            self._seek_drone(waiting.value, begun=False)
            return []
        # Not in the inbox and without a saga: it ended long ago or never existed. No drone may load for it.
        request, memory.clearance = memory.clearance, None
        effects: list[Effect] = []
        if request:
            effects.append(request.answer(Verdict.REFUSED, term.epoch, Reason.UNKNOWN_ORDER))
        discard = self._steps.discard(message_id)
        if not discard:
            term.orders.pop(message_id, None)
        return effects + discard

    def reconcile_pending(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        """Request the next step of a saga in ``PENDING``."""
        memory.grounded_since_s = memory.unknown_since_s = None  # of the previous attempt
        end = self._end_of_waiting(saga, memory, now)
        if end is not None:
            return self._steps.record(end)
        if memory.pause is None or memory.pause[0] != saga.event_count:
            # The wall clock is read only once: setting it back must not lengthen the pause.
            pause_s = min(max(saga.not_before - now.wall_s, 0.0), self._state.policy.retry_cap_s)
            memory.pause = (saga.event_count, now.mono_s + pause_s)
        if now.mono_s < memory.pause[1]:
            self._steps.schedule(saga.message_id, memory.pause[1])
            return []
        self._schedule_deadline(saga, now)
        if memory.refused_by:
            self._seek_elsewhere(saga.order, memory, now)
        else:
            self._seek_drone(saga.order, begun=True)
        return []

    def _seek_drone(self, order: Order, *, begun: bool, lane: str = "") -> None:
        term = self._state.current_term
        term.waiting.add(order, lane or self._ledger.lane(order.message_id) or "", begun=begun)
        term.plan_due = True

    def _seek_elsewhere(self, order: Order, memory: OrderMemory, now: Instant) -> None:
        """Seek a drone of a class that has not refused the order, or wait until one may be asked again."""
        refused = memory.refused_by
        asked = [name for name, each in refused.items() if now.mono_s < each.until_s]
        if not asked:
            self._seek_drone(order, begun=True)
            return
        again_s = min(refused[name].until_s for name in asked)
        if math.isfinite(again_s):
            self._steps.schedule(order.message_id, again_s)
        other = next((name for name in self._capable(order) if name not in asked), None)
        if other is not None:
            # Planning sees an order for this class alone; the order on record stays as it is.
            self._seek_drone(replace(order, drone_class=other), begun=True, lane=other)

    def _capable(self, order: Order) -> Iterator[str]:
        """Yield the classes that could fly the order."""
        for each in self._fleet.classes:
            wanted = order.drone_class in (None, each.name)
            if wanted and self._planner.capable(self._fleet, replace(order, drone_class=each.name)):
                yield each.name

    def _refused_by_all(self, saga: Saga, memory: OrderMemory) -> str:
        """Return the reason of the drones if every class that could fly the order finds fault with it, else nothing."""
        refused = memory.refused_by
        final = {name for name, each in refused.items() if each.is_final and each.until_s == math.inf}
        if self._state.is_outdated or not final or any(name not in final for name in self._capable(saga.order)):
            return ""
        return refused[min(final)].reason

    def _end_of_waiting(self, saga: Saga, memory: OrderMemory, now: Instant) -> SagaEvent | None:
        """Return the terminal event of an order that must not wait any longer; ``None`` if it may."""
        cancel = self._view.cancel_of(saga.message_id)
        if cancel:
            return self._steps.event(saga, sagas.CANCELLED, S.CANCELLED, now, reason=cancel.reason)
        reason: str | None = self._refused_by_all(saga, memory) if memory.refused_by else None
        if self._is_late(saga, now):
            reason = Reason.DEADLINE_EXCEEDED
        elif reason:
            pass
        elif saga.attempt - saga.excused >= self._state.policy.max_attempts:
            by = next((each for each in memory.refused_by.values() if each.is_final), None)
            reason = Reason.ATTEMPTS_EXHAUSTED if by is None else by.reason
        elif not self._state.is_outdated and not self._planner.capable(self._fleet, saga.order):
            reason = Reason.NO_FLY_ZONE if blocked_way(self._fleet, saga.order) else Reason.NO_CAPABLE_DRONE
        return self._steps.event(saga, sagas.FAILED, S.FAILED, now, reason=reason) if reason else None

    def _is_late(self, saga: Saga, now: Instant) -> bool:
        left_s = self._deadlines.left_s(saga.order, saga, now)
        return left_s is not None and left_s <= 0.0

    def _schedule_deadline(self, saga: Saga, now: Instant) -> None:
        left_s = self._deadlines.look_again_s(saga.order, saga, now)
        if left_s is not None:
            wait_s = max(left_s, self._state.policy.commit_retry_s)
            self._steps.schedule(saga.message_id, now.mono_s + wait_s)

    # --- with a drone -------------------------------------------------------------------------------------------

    def reconcile(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        """Request the next step of a saga in ``ASSIGNED`` or ``DISPATCHED``."""
        steps, drone_id = self._steps, saga.drone_id or ""
        reservation = self._view.reservation_of(saga)
        cancel = self._view.cancel_of(saga.message_id)
        drone = self._state.drones.get(drone_id)
        silent = drone is None or self._state.is_silent(drone, now)
        if reservation is None:
            return steps.abandon(saga, Reason.RESERVATION_EXPIRED, S.PENDING, now, self._blame.silent(drone_id, now))
        if cancel:
            return steps.abandon(saga, cancel.reason, S.CANCELLED, now)
        outcome = None if drone is None else drone.report.outcome_of(saga)
        if drone and outcome is not None and outcome.outcome in (Outcome.NOT_LOADED, Outcome.FAULT_BEFORE_LOADING):
            if is_contradicted(saga, drone.report, outcome):
                # The drone was not cleared, but a person may have loaded it by hand.
                return steps.park(saga, Reason.OUTCOME_CONTRADICTED, now, release=True)
            culprit = Culprit.DRONE if outcome.outcome is Outcome.FAULT_BEFORE_LOADING else Culprit.ORDER
            return steps.abandon(saga, outcome.why, S.PENDING, now, culprit)
        if self._is_late(saga, now):
            return steps.abandon(saga, Reason.DEADLINE_EXCEEDED, S.FAILED, now)
        if drone is not None and drone.boots is not None and drone.boots.are_two(now.mono_s):
            return steps.abandon(saga, Reason.DRONE_TWICE, S.PENDING, now, Culprit.SYSTEM)
        self._schedule_deadline(saga, now)
        if memory.clearance:
            return self._clear(saga, memory, reservation, drone, now)
        if drone is None or silent:
            return []  # wait: the lease of its reservation decides
        return self._command(saga, memory, drone, now)

    def _command(self, saga: Saga, memory: OrderMemory, drone: Drone, now: Instant) -> list[Effect]:
        """Follow what the drone reports about its goal; send it the goal if it does not have it."""
        steps = self._steps
        if drone.report.carries(saga):
            goal, memory.goal = memory.goal, None
            if saga.status is S.ASSIGNED:
                self._blame.answered(drone.report.drone_id, goal)
                return steps.record(steps.event(saga, sagas.GOAL_ACCEPTED, S.DISPATCHED, now))
            if self._stays.is_over(saga, memory, drone.report, now):
                culprit = self._blame.stalled(saga, memory, drone.report, now)
                return steps.abandon(saga, Reason.NO_PROGRESS, S.PENDING, now, culprit)
            return []
        if drone.report.phase in (Phase.GROUNDED, Phase.UNSPECIFIED):
            # The drone reports that it accepts no goal, or a phase of a newer version. Sending one is useless, and its
            # breaker must not count that.
            return steps.abandon(saga, Reason.DRONE_GROUNDED, S.PENDING, now, Culprit.SYSTEM)
        refused = self._blame.refusal_of(saga, drone.report) if drone.report.refusals else None
        if refused is not None and refused.cause is not RefusalCause.BUSY:
            return self._refused(saga, memory, drone, refused, now)
        if drone.is_doubtful(now):
            self._steps.schedule(saga.message_id, now.mono_s + self._state.policy.goal_retry_s)
            return []  # not a try: nothing is sent
        return self._send_goal(saga, memory, drone, refused, now)

    def _refused(
        self, saga: Saga, memory: OrderMemory, drone: Drone, refused: RefusedGoal, now: Instant
    ) -> list[Effect]:
        """Give up on the drone, for the reason that it gives."""
        culprit = self._blame.refused(refused, drone, memory, now)
        return self._steps.abandon(saga, refused.reason or Reason.GOAL_NOT_ACCEPTED, S.PENDING, now, culprit)

    def _clear(
        self, saga: Saga, memory: OrderMemory, reservation: Stored[Reservation], drone: Drone | None, now: Instant
    ) -> list[Effect]:
        """Commit ``LOADING`` for the drone that asks to load. The answer is released only if the commit succeeds."""
        epoch = self._state.current_term.epoch
        assert memory.clearance is not None
        request, memory.clearance = memory.clearance, None
        if request.attempt > saga.attempt:
            return [request.answer(Verdict.ASK_AGAIN, epoch)]  # the drone knows a newer attempt than this leader
        if (request.drone_id, request.attempt) != (saga.drone_id, saga.attempt):
            return [request.answer(Verdict.REFUSED, epoch, Reason.SUPERSEDED)]
        if drone is not None and drone.is_doubtful(now):
            return [request.answer(Verdict.ASK_AGAIN, epoch)]
        if drone is not None and _contradicts(drone.report, request):
            # One of both is old, for example from before the drone lost its journal. Its next messages will agree.
            return [request.answer(Verdict.ASK_AGAIN, epoch)]
        granted = request.answer(Verdict.GRANTED, epoch)
        step = self._steps.event(saga, sagas.CLEARED, S.LOADING, now, journal_id=request.journal_id)
        firm = MakeFirm(request.drone_id, reservation.mod_revision, reservation.value.unknown)
        return self._steps.record(step, firm, then=(granted,))

    def _send_goal(
        self, saga: Saga, memory: OrderMemory, drone: Drone, refused: RefusedGoal | None, now: Instant
    ) -> list[Effect]:
        """Send the goal, or give up on the drone once all tries are used. ``refused``: it is busy."""
        assert saga.drone_id is not None
        if memory.goal is None or memory.goal.attempt != saga.attempt:
            memory.goal = Retry(saga.attempt, began_s=now.mono_s)
        goal = memory.goal
        if now.mono_s < goal.next_try_s:
            self._steps.schedule(saga.message_id, goal.next_try_s)
            return []
        if goal.tries >= self._state.policy.max_goal_tries:
            if refused is not None:
                return self._refused(saga, memory, drone, refused, now)
            # A drone that refuses without a reason is of an older version.
            culprit = Culprit.DRONE if goal.answered else self._blame.unanswered(saga.drone_id, goal.began_s, now)
            return self._steps.abandon(saga, Reason.GOAL_NOT_ACCEPTED, S.PENDING, now, culprit)
        goal.tries += 1
        goal.next_try_s = now.mono_s + self._state.policy.goal_retry_s
        self._steps.schedule(saga.message_id, goal.next_try_s)
        return [SendGoal(saga.drone_id, saga.order, saga.attempt, self._state.current_term.epoch)]


def answer_settled(saga: Saga, memory: OrderMemory, epoch: int) -> AnswerClearance:
    """Answer a request to load if the order is not waiting for clearance."""
    assert memory.clearance is not None
    request, memory.clearance = memory.clearance, None
    same_goal = (request.drone_id, request.attempt) == (saga.drone_id, saga.attempt)
    if same_goal and saga.status is S.LOADING:
        if request.journal_id == saga.journal_id:
            return request.answer(Verdict.GRANTED, epoch)
        return request.answer(Verdict.REFUSED, epoch, Reason.CLEARED_TO_ANOTHER_JOURNAL)
    if (same_goal and saga.status is S.IN_TRANSIT) or request.attempt > saga.attempt:
        return request.answer(Verdict.ASK_AGAIN, epoch)
    return request.answer(Verdict.REFUSED, epoch, Reason.SUPERSEDED)


def _contradicts(report: DroneReport, request: ClearanceRequested) -> bool:
    """Return whether a drone that reports this cannot be waiting, empty, to load for this request."""
    return report.journal_id != request.journal_id or report.package_on_board or report.phase is Phase.GROUNDED
