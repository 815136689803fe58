"""The leader's work: moving every order one committed step at a time.

Level-triggered: whatever happens, the dispatcher looks at one order's *committed* state and at what its drone last
said, and asks for the one transition that follows. A lost message, a conflict, a takeover or a restart need no code of
their own: looking again is always right. One order has at most one commit under way.

``step`` of :mod:`.orchestrator` is the only caller.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

from . import backoff
from . import saga as sagas
from .agenda import Agenda, DispatchPolicy, Drone, Goal, Office
from .effects import (
    AcknowledgeOutcome,
    AnswerClearance,
    Commit,
    Effect,
    KeepReservation,
    MakeFirm,
    RecallGoal,
    Release,
    Report,
    ReservationChange,
    Reserve,
    Send,
    SendGoal,
)
from .events import ClearanceRequested, CommitDone, Fate, GoalAnswered, GoalUnreachable
from .planner import PlannedOrder, Planner
from .transition import build
from .types import (
    DeliveryOutcome,
    DroneClass,
    DroneReport,
    Entry,
    FleetSpec,
    Instant,
    Kind,
    Order,
    Outcome,
    Phase,
    Reservation,
    Saga,
    SagaEvent,
    SagaStatus,
    Verdict,
)
from .view import FleetView

S = SagaStatus

#: An order that waits so long presses as much as a fresh one of twice its priority.
AGEING_S = 300.0


class Dispatcher:
    """Decides for all orders of a region while in office; listens to drones at all times, so that it starts warm."""

    def __init__(self, view: FleetView, fleet: FleetSpec, planner: Planner, policy: DispatchPolicy) -> None:
        self._view = view
        self._fleet = fleet
        self._planner = planner
        self._policy = policy
        self._drones: dict[str, Drone] = {}
        self._office: Office | None = None
        self._next_commit_id = 1

    # --- office -------------------------------------------------------------------------------------------------

    def take_office(self, epoch: int, now: Instant) -> list[Effect]:
        """Adopt everything that is in flight: look at every order as if it had just changed."""
        self._office = Office(epoch)
        effects: list[Effect] = []
        for message_id in [*self._view.sagas, *self._view.inbox]:
            effects += self.reconcile(message_id, now)
        for drone in list(self._drones.values()):
            effects += self._keep_reservation(drone, now)
        return effects

    def leave_office(self) -> list[Effect]:
        """Forget what was under way; drones that wait for an answer are told to ask again."""
        office, self._office = self._office, None
        if office is None:
            return []
        asked = [a.clearance for a in office.agenda.values() if a.clearance]
        return [self._answer(request, Verdict.NOT_LEADER, office.epoch) for request in asked]

    def next_deadline(self) -> float | None:
        if self._office is None:
            return None
        deadlines = [self._office.wakes[0][0]] if self._office.wakes else []
        if self._office.waiting and self._drones:
            deadlines.append(self._office.planned_at_s + self._policy.replan_period_s)
        return min(deadlines, default=None)

    def tick(self, now: Instant) -> list[Effect]:
        """Whatever is due: orders to look at again, and one round of planning."""
        office = self._office
        if office is None:
            return []
        effects: list[Effect] = []
        while office.wakes and office.wakes[0][0] <= now.mono_s:
            at_s, message_id = heapq.heappop(office.wakes)
            agenda = office.agenda.get(message_id)
            if agenda is not None and agenda.wake_at_s == at_s:
                agenda.wake_at_s = None
            effects += self.reconcile(message_id, now)
        replan = now.mono_s >= office.planned_at_s + self._policy.replan_period_s
        if office.waiting and (office.plan_due or replan):
            effects += self._plan(office, now)
        return effects

    # --- what is heard ------------------------------------------------------------------------------------------

    def entry_changed(self, entry: Entry, now: Instant) -> list[Effect]:
        """The watch brought news of one key."""
        if self._office is None:
            return []
        if entry.kind in (Kind.SAGA, Kind.INBOX_ORDER, Kind.INBOX_CANCEL):
            return self.reconcile(entry.id, now)
        if entry.kind is Kind.ASSIGNMENT:
            self._office.plan_due = True
            return self._reconcile_drone(entry.id, now)
        return []

    def drone_heard(self, report: DroneReport, now: Instant) -> list[Effect]:
        drone = self._drones.get(report.drone_id)
        if drone is None:
            drone = self._drones[report.drone_id] = Drone(report, now.mono_s)
            news = True
        else:
            news = self._is_silent(drone, now) or _is_free(report) != _is_free(drone.report)
            drone.report, drone.heard_at_s = report, now.mono_s
        if self._office is None:
            return []
        self._office.plan_due = self._office.plan_due or news
        effects = self._keep_reservation(drone, now)
        effects += self._reconcile_drone(report.drone_id, now)
        for outcome in report.outcomes:
            effects += self._outcome_heard(report, outcome, now)
        return effects

    def goal_answered(self, event: GoalAnswered, now: Instant) -> list[Effect]:
        saga = self._view.saga_of(event.message_id, event.attempt)
        if self._office is None or saga is None or self._office.of(event.message_id).busy:
            return []
        if event.accepted and saga.status is S.ASSIGNED:
            step = sagas.record(saga, sagas.GOAL_ACCEPTED, S.DISPATCHED, now_s=now.wall_s, epoch=self._office.epoch)
            return self._commit(step)
        # A refusal may mean that the drone has the goal already; its next report tells. Until then it counts as a try.
        return self.reconcile(event.message_id, now)

    def goal_unreachable(self, event: GoalUnreachable, now: Instant) -> list[Effect]:
        return self.reconcile(event.message_id, now) if self._office else []

    def clearance_requested(self, request: ClearanceRequested, now: Instant) -> list[Effect]:
        """A drone at its pickup asks to load. ``LOADING`` is committed first, answered afterwards."""
        office = self._office
        if office is None:
            return [self._answer(request, Verdict.NOT_LEADER, 0)]
        if not request.journal_id:
            # Without an identity nobody could later say who has the package.
            return [self._answer(request, Verdict.REFUSED, office.epoch, "no_journal")]
        agenda = office.of(request.message_id)
        effects: list[Effect] = []
        if agenda.clearance:
            effects.append(self._answer(agenda.clearance, Verdict.ASK_AGAIN, office.epoch))
        agenda.clearance = request
        return effects + self.reconcile(request.message_id, now)

    def commit_done(self, event: CommitDone, now: Instant) -> list[Effect]:
        """Only here, on success, does a decision become state."""
        office, commit = self._office, event.commit
        if office is None or commit.epoch != office.epoch:
            return []
        message_id = commit.transition.saga.message_id
        office.of(message_id).busy = False
        if isinstance(commit.transition.reservation, Reserve):
            office.reserving.discard(commit.transition.reservation.drone_id)
        if event.fate is Fate.SUCCEEDED:
            self._view.apply_commit(commit.transition, event.revision)
            office.plan_due = True
            return [*commit.then, *self.reconcile(message_id, now)]
        effects: list[Effect] = [
            replace(send, verdict=Verdict.ASK_AGAIN) for send in commit.then if isinstance(send, AnswerClearance)
        ]
        self._wake(message_id, now.mono_s + self._policy.commit_retry_s)
        if event.fate is not Fate.CONFLICT:
            effects.append(Report("warning", f"{message_id}: commit {event.fate.value}"))
        return effects

    # --- looking at one order -----------------------------------------------------------------------------------

    def reconcile(self, message_id: str, now: Instant) -> list[Effect]:
        """Ask for the step that follows from the committed state and the drone's last word, if any."""
        office = self._office
        if office is None:
            return []
        agenda = office.of(message_id)
        office.waiting.discard(message_id)
        if agenda.busy or self._view.is_corrupt(message_id):
            return []
        entry = self._view.sagas.get(message_id)
        if entry is None or not isinstance(entry.value, Saga):
            return self._look_at_inbox(message_id, agenda)
        saga = entry.value
        effects: list[Effect] = []
        if agenda.clearance and saga.status not in (S.ASSIGNED, S.DISPATCHED):
            effects.append(self._answer_settled(saga, agenda))
        if saga.status is S.PENDING:
            return effects + self._pending(saga, agenda, now)
        if saga.status in (S.ASSIGNED, S.DISPATCHED):
            return effects + self._before_loading(saga, agenda, now)
        if saga.status.is_terminal:
            office.agenda.pop(message_id, None)
            return effects
        return effects + self._after_loading(saga, agenda, now)

    def _look_at_inbox(self, message_id: str, agenda: Agenda) -> list[Effect]:
        assert self._office is not None
        entry = self._view.inbox.get(message_id)
        if entry is not None and isinstance(entry.value, Order):
            self._office.waiting.add(message_id)
            self._office.plan_due = True
            return []
        self._office.agenda.pop(message_id, None)
        self._office.waiting.discard(message_id)
        # Not in the inbox and without a saga: it ended long ago or never was. No drone may load for it.
        if agenda.clearance:
            return [self._answer(agenda.clearance, Verdict.REFUSED, self._office.epoch, "unknown_order")]
        return []

    def _pending(self, saga: Saga, agenda: Agenda, now: Instant) -> list[Effect]:
        assert self._office is not None
        end = self._end_of_waiting(saga, now)
        if end is not None:
            return self._commit(end)
        if agenda.pause is None or agenda.pause[0] != saga.event_count:
            # Read off the wall clock once: a clock that is set back must not prolong the pause.
            pause_s = min(max(saga.not_before - now.wall_s, 0.0), self._policy.retry_cap_s)
            agenda.pause = (saga.event_count, now.mono_s + pause_s)
        if now.mono_s < agenda.pause[1]:
            self._wake(saga.message_id, agenda.pause[1])
            return []
        self._office.waiting.add(saga.message_id)
        self._office.plan_due = True
        deadline = _deadline(saga.order)
        if deadline is not None:
            self._wake(saga.message_id, now.mono_s + max(deadline - now.wall_s, self._policy.commit_retry_s))
        return []

    def _end_of_waiting(self, saga: Saga, now: Instant) -> SagaEvent | None:
        """The terminal step of an order that shall wait no longer."""
        cancel = self._view.cancel_of(saga.message_id)
        if cancel:
            return self._record(saga, sagas.CANCELLED, S.CANCELLED, now, reason=cancel.reason)
        deadline = _deadline(saga.order)
        if deadline is not None and now.wall_s >= deadline:
            return self._record(saga, sagas.FAILED, S.FAILED, now, reason="deadline_exceeded")
        if saga.attempt >= self._policy.max_attempts:
            return self._record(saga, sagas.FAILED, S.FAILED, now, reason="attempts_exhausted")
        if not self._planner.capable(self._fleet, saga.order):
            return self._record(saga, sagas.FAILED, S.FAILED, now, reason="no_capable_drone")
        return None

    def _before_loading(self, saga: Saga, agenda: Agenda, now: Instant) -> list[Effect]:
        """``ASSIGNED`` or ``DISPATCHED``: the package is in the depot for certain."""
        reservation = self._view.reservation_of(saga)
        cancel = self._view.cancel_of(saga.message_id)
        drone = self._drones.get(saga.drone_id or "")
        outcome = _outcome_of(drone, saga)
        if reservation is None:
            return self._abandon(saga, "reservation_expired", S.PENDING, now)
        if cancel:
            return self._abandon(saga, cancel.reason, S.CANCELLED, now)
        if outcome is not None and outcome.outcome in (Outcome.NOT_LOADED, Outcome.FAULT_BEFORE_LOADING):
            return self._abandon(saga, outcome.reason or outcome.outcome.name.lower(), S.PENDING, now)
        if agenda.clearance:
            return self._clear(saga, agenda, reservation, now)
        if drone is None or self._is_silent(drone, now):
            return []  # the lease of its reservation decides
        if _carries_goal(drone.report, saga):
            agenda.goal = None
            if saga.status is S.ASSIGNED:
                return self._commit(self._record(saga, sagas.GOAL_ACCEPTED, S.DISPATCHED, now))
            return []
        return self._send_goal(saga, agenda, now)

    def _clear(self, saga: Saga, agenda: Agenda, reservation: Entry, now: Instant) -> list[Effect]:
        assert self._office is not None and agenda.clearance is not None
        request, agenda.clearance = agenda.clearance, None
        if (request.drone_id, request.attempt) != (saga.drone_id, saga.attempt):
            return [self._answer(request, Verdict.REFUSED, self._office.epoch, "superseded")]
        granted = self._answer(request, Verdict.GRANTED, self._office.epoch)
        step = self._record(saga, sagas.CLEARED, S.LOADING, now, journal_id=request.journal_id)
        return self._commit(step, MakeFirm(request.drone_id, reservation.mod_revision), then=(granted,))

    def _send_goal(self, saga: Saga, agenda: Agenda, now: Instant) -> list[Effect]:
        assert self._office is not None and saga.drone_id is not None
        if agenda.goal is None or agenda.goal.attempt != saga.attempt:
            agenda.goal = Goal(saga.attempt)
        goal = agenda.goal
        if now.mono_s < goal.next_try_s:
            self._wake(saga.message_id, goal.next_try_s)
            return []
        if goal.tries >= self._policy.max_goal_tries:
            return self._abandon(saga, "goal_not_accepted", S.PENDING, now)
        goal.tries += 1
        goal.next_try_s = now.mono_s + self._policy.goal_retry_s
        self._wake(saga.message_id, goal.next_try_s)
        return [SendGoal(saga.drone_id, saga.order, saga.attempt, self._office.epoch)]

    def _after_loading(self, saga: Saga, agenda: Agenda, now: Instant) -> list[Effect]:
        """``LOADING``, ``IN_TRANSIT`` or ``COMPENSATING``: only the drone that got clearance can tell."""
        if saga.journal_id is None:
            return self._compensated(saga, now)
        drone = self._drones.get(saga.drone_id or "")
        if drone is None or self._is_silent(drone, now):
            return self._out_of_action(saga, agenda, "drone_lost_with_package", now)
        if drone.report.journal_id != saga.journal_id:
            # It cannot vouch for what its predecessor did: never assumed to be in the depot, a person is called.
            return self._lost(saga, "journal_lost_with_package", now)
        outcome = _outcome_of(drone, saga)
        if outcome is not None:
            return self._settle(saga, outcome, now)
        if drone.report.phase is Phase.GROUNDED:
            return self._out_of_action(saga, agenda, "drone_grounded_with_package", now)
        agenda.out_of_action_since_s = None
        cancel = self._view.cancel_of(saga.message_id)
        if saga.status is S.COMPENSATING:
            return self._recall(saga, agenda, now)
        if cancel:
            return self._abandon(saga, cancel.reason, S.CANCELLED, now)
        if saga.status is S.LOADING and drone.report.package_on_board and _carries_goal(drone.report, saga):
            return self._commit(self._record(saga, sagas.LOADED, S.IN_TRANSIT, now))
        self._wake(saga.message_id, drone.heard_at_s + self._policy.drone_fresh_s + self._policy.commit_retry_s)
        return []

    def _settle(self, saga: Saga, outcome: DeliveryOutcome, now: Instant) -> list[Effect]:
        """The drone says how it ended."""
        assert saga.drone_id is not None and saga.journal_id is not None
        ack = AcknowledgeOutcome(saga.drone_id, saga.journal_id, saga.message_id, saga.attempt, outcome.outcome)
        if outcome.outcome is Outcome.DELIVERED:
            step = self._record(saga, sagas.DELIVERED, S.DELIVERED, now)
            return self._commit(step, self._release(saga), then=(ack,))
        # The package is in the depot: undone already, so what is left of the compensation shares one transaction.
        if saga.status is S.COMPENSATING:
            return self._compensated(saga, now, then=(ack,))
        cancel = self._view.cancel_of(saga.message_id)
        reason = cancel.reason if cancel else outcome.reason or outcome.outcome.name.lower()
        target = S.CANCELLED if cancel else S.PENDING
        abandoned = self._record(saga, sagas.ABANDONED, S.COMPENSATING, now, reason=reason, target=target)
        return self._compensated(sagas.apply(saga, abandoned), now, then=(ack,), before=(abandoned,))

    def _out_of_action(self, saga: Saga, agenda: Agenda, reason: str, now: Instant) -> list[Effect]:
        """The drone that may have the package is silent or grounded: wait for it, but not for ever."""
        if agenda.out_of_action_since_s is None:
            agenda.out_of_action_since_s = now.mono_s
        give_up_s = agenda.out_of_action_since_s + self._policy.lost_grace_s
        if now.mono_s >= give_up_s:
            return self._lost(saga, reason, now)
        self._wake(saga.message_id, give_up_s)
        return []

    def _lost(self, saga: Saga, reason: str, now: Instant) -> list[Effect]:
        step = self._record(saga, sagas.FAILED, S.FAILED, now, reason=reason)
        called = Report("error", f"{saga.order_id}: {reason}, last with {saga.drone_id}; find the package")
        return [*self._commit(step, self._release(saga)), called]

    def _recall(self, saga: Saga, agenda: Agenda, now: Instant) -> list[Effect]:
        assert self._office is not None and saga.drone_id is not None
        if now.mono_s < agenda.recall_at_s:
            # Asked for again at every look: an earlier wake, for another reason, may have stood in for this one.
            self._wake(saga.message_id, agenda.recall_at_s)
            return []
        agenda.recall_at_s = now.mono_s + self._policy.recall_retry_s
        self._wake(saga.message_id, agenda.recall_at_s)
        return [RecallGoal(saga.drone_id, saga.message_id, saga.attempt, self._office.epoch)]

    # --- transitions --------------------------------------------------------------------------------------------

    def _abandon(self, saga: Saga, reason: str, target: SagaStatus, now: Instant) -> list[Effect]:
        """Start undoing. The recall is sent when it is on record, and repeated only where the package may be out."""
        assert self._office is not None and saga.drone_id is not None
        step = self._record(saga, sagas.ABANDONED, S.COMPENSATING, now, reason=reason, target=target)
        recall = RecallGoal(saga.drone_id, saga.message_id, saga.attempt, self._office.epoch)
        return self._commit(step, then=(recall,))

    def _compensated(
        self, saga: Saga, now: Instant, then: tuple[Send, ...] = (), before: tuple[SagaEvent, ...] = ()
    ) -> list[Effect]:
        assert saga.target is not None
        pause_s = backoff.delay_s(
            saga.attempt, base_s=self._policy.retry_base_s, cap_s=self._policy.retry_cap_s, seed=saga.message_id
        )
        step = self._record(
            saga,
            sagas.COMPENSATED,
            saga.target,
            now,
            reason=saga.reason,
            not_before=now.wall_s + pause_s if saga.target is S.PENDING else 0.0,
        )
        return self._commit(step, self._release(saga), then=then, before=before)

    def _release(self, saga: Saga) -> Release | None:
        """Free the drone. A reservation that has expired does not come back, and may be another order's by now."""
        assert saga.drone_id is not None
        entry = self._view.reservation_of(saga)
        return Release(saga.drone_id, entry.mod_revision) if entry else None

    def _record(
        self,
        saga: Saga,
        type_: str,
        to: SagaStatus,
        now: Instant,
        *,
        reason: str | None = None,
        drone_id: str | None = None,
        journal_id: str | None = None,
        target: SagaStatus | None = None,
        not_before: float = 0.0,
    ) -> SagaEvent:
        assert self._office is not None
        return sagas.record(
            saga,
            type_,
            to,
            now_s=now.wall_s,
            epoch=self._office.epoch,
            reason=reason,
            drone_id=drone_id,
            journal_id=journal_id,
            target=target,
            not_before=not_before,
        )

    def _commit(
        self,
        event: SagaEvent,
        reservation: ReservationChange | None = None,
        then: tuple[Send, ...] = (),
        before: tuple[SagaEvent, ...] = (),
    ) -> list[Effect]:
        """Ask for ``before`` and ``event`` as one transaction; inbox entries that it answers leave with it."""
        assert self._office is not None
        transition = build(self._view, (*before, event), reservation)
        self._office.of(event.message_id).busy = True
        self._office.waiting.discard(event.message_id)
        if isinstance(reservation, Reserve):
            self._office.reserving.add(reservation.drone_id)
        commit_id, self._next_commit_id = self._next_commit_id, self._next_commit_id + 1
        return [Commit(commit_id, self._office.epoch, transition, then)]

    # --- planning -----------------------------------------------------------------------------------------------

    def _plan(self, office: Office, now: Instant) -> list[Effect]:
        """Pair free drones with waiting orders; what stays without a drone is at least accepted."""
        office.plan_due, office.planned_at_s = False, now.mono_s
        free = [d.report for d in self._drones.values() if self._is_available(d, office, now)]
        orders = self._candidates(office, free, now)
        pairs = self._planner.plan(self._fleet, free, orders) if free and orders else []
        effects: list[Effect] = []
        for pair in pairs:
            effects += self._assign(pair.message_id, pair.drone_id, now)
        for message_id in sorted(office.waiting & self._view.inbox.keys()):
            if not office.of(message_id).busy:
                effects += self._accept(message_id, now)
        return effects

    def _candidates(self, office: Office, free: list[DroneReport], now: Instant) -> list[PlannedOrder]:
        """The most pressing orders, bounded: what the planner gets to choose from. Age presses too: nobody starves.

        Orders that no free drone's class can carry do not take up the room of those that could fly now.
        """
        names = {report.drone_class for report in free}
        classes = [drone_class for drone_class in self._fleet.classes if drone_class.name in names]
        known = [order for message_id in office.waiting if (order := self._view.order_of(message_id)) is not None]
        orders = [order for order in known if any(_may_carry(drone_class, order) for drone_class in classes)]
        waiting = [PlannedOrder(order, max(0.0, now.wall_s - order.submitted_at)) for order in orders]
        waiting.sort(key=lambda w: (-w.order.priority * (1.0 + w.age_s / AGEING_S), w.order.message_id))
        return waiting[: self._policy.plan_orders]

    def _assign(self, message_id: str, drone_id: str, now: Instant) -> list[Effect]:
        assert self._office is not None
        entry = self._view.sagas.get(message_id)
        before: tuple[SagaEvent, ...] = ()
        if entry is not None and isinstance(entry.value, Saga):
            saga = entry.value
        else:
            before = (self._begin(message_id, now),)
            saga = sagas.apply(None, before[0])
        step = self._record(saga, sagas.ASSIGNED, S.ASSIGNED, now, drone_id=drone_id)
        # A reservation is not followed by a goal here: success makes the order be looked at, and that sends it.
        return self._commit(step, Reserve(drone_id), before=before)

    def _accept(self, message_id: str, now: Instant) -> list[Effect]:
        return self._commit(self._begin(message_id, now))

    def _begin(self, message_id: str, now: Instant) -> SagaEvent:
        assert self._office is not None
        order = self._view.order_of(message_id)
        assert order is not None
        return sagas.begin(order, now_s=now.wall_s, epoch=self._office.epoch)

    def _is_available(self, drone: Drone, office: Office, now: Instant) -> bool:
        report = drone.report
        return (
            _is_free(report)
            and not self._is_silent(drone, now)
            and report.drone_id not in self._view.reservations
            and report.drone_id not in office.reserving
            and self._fleet.drone_class(report.drone_class) is not None
            and f"{Kind.ASSIGNMENT.value}/{report.drone_id}" not in self._view.corrupt
        )

    # --- small things -------------------------------------------------------------------------------------------

    def _reconcile_drone(self, drone_id: str, now: Instant) -> list[Effect]:
        """Look at the order that a drone is reserved for, and at the one it says it has."""
        names: list[str] = []
        entry = self._view.reservations.get(drone_id)
        if entry is not None and isinstance(entry.value, Reservation):
            names.append(entry.value.message_id)
        drone = self._drones.get(drone_id)
        if drone is not None and drone.report.message_id and drone.report.message_id not in names:
            names.append(drone.report.message_id)
        if entry is None:
            # The reservation went: whichever order it was for still names the drone.
            names += [m for m in self._orders_with(drone_id) if m not in names]
        return [effect for message_id in names for effect in self.reconcile(message_id, now)]

    def _orders_with(self, drone_id: str) -> list[str]:
        assert self._office is not None
        agenda = self._office.agenda
        return [m for m in list(agenda) if (s := self._view.saga_of(m)) is not None and s.drone_id == drone_id]

    def _outcome_heard(self, report: DroneReport, outcome: DeliveryOutcome, now: Instant) -> list[Effect]:
        """Acknowledge what the store is past; everything else follows from looking at the order."""
        saga = self._view.saga_of(outcome.message_id)
        is_past = (
            saga is None
            or saga.status.is_terminal
            or saga.attempt > outcome.attempt
            or (saga.attempt == outcome.attempt and saga.status is S.PENDING)
        )
        if is_past and not self._view.is_corrupt(outcome.message_id):
            return [
                AcknowledgeOutcome(
                    report.drone_id, report.journal_id, outcome.message_id, outcome.attempt, outcome.outcome
                )
            ]
        return self.reconcile(outcome.message_id, now)

    def _keep_reservation(self, drone: Drone, now: Instant) -> list[Effect]:
        entry = self._view.reservations.get(drone.report.drone_id)
        leased = entry is not None and isinstance(entry.value, Reservation) and entry.value.leased
        if not leased or self._is_silent(drone, now) or now.mono_s < drone.kept_at_s + self._policy.keep_reservation_s:
            return []
        drone.kept_at_s = now.mono_s
        return [KeepReservation(drone.report.drone_id)]

    def _answer_settled(self, saga: Saga, agenda: Agenda) -> AnswerClearance:
        """Answer a request for an order that is not waiting for clearance."""
        assert self._office is not None and agenda.clearance is not None
        request, agenda.clearance = agenda.clearance, None
        same_goal = (request.drone_id, request.attempt) == (saga.drone_id, saga.attempt)
        if same_goal and saga.status is S.LOADING:
            if request.journal_id == saga.journal_id:
                return self._answer(request, Verdict.GRANTED, self._office.epoch)
            return self._answer(request, Verdict.REFUSED, self._office.epoch, "cleared_to_another_journal")
        if same_goal and saga.status is S.IN_TRANSIT:
            return self._answer(request, Verdict.ASK_AGAIN, self._office.epoch)
        return self._answer(request, Verdict.REFUSED, self._office.epoch, "superseded")

    @staticmethod
    def _answer(request: ClearanceRequested, verdict: Verdict, epoch: int, reason: str = "") -> AnswerClearance:
        return AnswerClearance(
            request.request_id, verdict, epoch, request.message_id, request.attempt, request.journal_id, reason
        )

    def _is_silent(self, drone: Drone, now: Instant) -> bool:
        return now.mono_s - drone.heard_at_s > self._policy.drone_fresh_s

    def _wake(self, message_id: str, at_mono_s: float) -> None:
        """Look at the order again then. One that is looked at earlier anyway needs no second wake."""
        assert self._office is not None
        agenda = self._office.of(message_id)
        if agenda.wake_at_s is None or at_mono_s < agenda.wake_at_s:
            agenda.wake_at_s = at_mono_s
            heapq.heappush(self._office.wakes, (at_mono_s, message_id))


def _is_free(report: DroneReport) -> bool:
    return report.phase in (Phase.IDLE, Phase.RETURNING) and not report.message_id and not report.package_on_board


def _may_carry(drone_class: DroneClass, order: Order) -> bool:
    wanted = order.drone_class in (None, drone_class.name)
    return wanted and order.package_weight_kg <= drone_class.max_payload_kg


def _carries_goal(report: DroneReport, saga: Saga) -> bool:
    return report.message_id == saga.message_id and report.attempt == saga.attempt


def _outcome_of(drone: Drone | None, saga: Saga) -> DeliveryOutcome | None:
    if drone is None:
        return None
    key = (saga.message_id, saga.attempt)
    return next((o for o in drone.report.outcomes if (o.message_id, o.attempt) == key), None)


def _deadline(order: Order) -> float | None:
    return None if order.deadline_s is None else order.submitted_at + order.deadline_s
