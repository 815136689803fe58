"""The leader's work: moving every order one committed step at a time.

Level-triggered: whatever happens, the dispatcher looks at one order's *committed* state and at what its drone last
said, and asks for the one transition that follows. A lost message, a conflict, a takeover or a restart need no code of
their own: looking again is always right. One order has at most one commit under way.

``step`` of :mod:`.orchestrator` is the only caller. The steps themselves are made by :mod:`.steps`, what happens after
loading is in :mod:`.aftermath`, who gets drones in :mod:`.allotment`.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

from .. import backoff
from .. import saga as sagas
from ..changes import BreakerChange, Fate, MakeFirm, Reserve, Transition
from ..lanes import Ledger
from ..planner import Planner
from ..policies import DispatchPolicy
from ..types import (
    AcknowledgeOutcome,
    DeliveryOutcome,
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
from ..view import FleetView, Stored
from ..zones import blocked_way
from .after_loading import Aftermath, deadline_of, outcome_of
from .effects import AnswerClearance, Effect, KeepReservation, RecallGoal, Report, SendGoal
from .events import ClearanceRequested, CommitDone, GoalAnswered, GoalUnreachable
from .lane_sharing import allot
from .memory import Drone, OrderMemory, Retry, Term
from .roster import Roster, is_free
from .steps import Steps
from .waiting_orders import WaitingOrders

S = SagaStatus


class Dispatcher:
    """Decides for all orders of a region while it leads; listens to drones at all times, so that it starts warm."""

    def __init__(self, view: FleetView, fleet: FleetSpec, planner: Planner, policy: DispatchPolicy) -> None:
        self._view = view
        self._fleet = fleet
        self._planner = planner
        self._policy = policy
        self._drones: dict[str, Drone] = {}
        self._ledger = Ledger(fleet, planner.capable)
        self._steps = Steps(view, policy)
        self._aftermath = Aftermath(view, policy, self._steps)
        self._roster = Roster(view, fleet, policy, self._ledger, self._drones)

    @property
    def _term(self) -> Term | None:
        return self._steps.term

    # --- terms --------------------------------------------------------------------------------------------------

    def view_loaded(self) -> None:
        """The view was replaced by a snapshot."""
        self._ledger.load(self._view)
        self._roster.touch_all()

    def begin_term(self, epoch: int, now: Instant) -> list[Effect]:
        """Adopt everything that is in flight: look at every order as if it had just changed."""
        self._steps.term = Term(epoch, now.mono_s)
        self._roster.touch_all()
        return self._look_at_all(now)

    def start_over(self, now: Instant) -> list[Effect]:
        """The same term on a fresh view. What this leader has seen itself is kept: graces, budgets and commits under
        way do not begin anew because a watch lost its place."""
        term = self._steps.held
        effects: list[Effect] = []
        for message_id, memory in list(term.orders.items()):
            if memory.clearance:
                effects.append(_answer(memory.clearance, Verdict.ASK_AGAIN, term.epoch))
            memory.clearance = memory.wake_at_s = None
            if not memory.busy and not self._view.has_order(message_id):
                del term.orders[message_id]
        term.waiting = WaitingOrders()
        term.wakes.clear()
        return effects + self._look_at_all(now)

    def hears_drones(self, now: Instant) -> bool:
        """Whether any drone was heard just now."""
        return any(not self._roster.is_silent(drone, now) for drone in self._drones.values())

    def adopt(self, policy: DispatchPolicy, now: Instant) -> list[Effect]:
        """Decide by ``policy`` from now on. Orders that wait for the end of an old period are looked at again."""
        self._policy = policy
        self._steps.adopt(policy)
        self._aftermath.adopt(policy)
        self._roster.adopt(policy)
        return self.start_over(now) if self._term is not None else []

    def _look_at_all(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        for message_id in self._view.message_ids():
            effects += self.reconcile(message_id, now)
        for drone in list(self._drones.values()):
            effects += self._keep_reservation(drone, now)
        return effects

    def end_term(self) -> list[Effect]:
        """Forget what was under way; drones that wait for an answer are told to ask again."""
        term, self._steps.term = self._steps.term, None
        if term is None:
            return []
        asked = [a.clearance for a in term.orders.values() if a.clearance]
        return [_answer(request, Verdict.NOT_LEADER, term.epoch) for request in asked]

    def next_deadline(self) -> float | None:
        term = self._term
        if term is None:
            return None
        deadlines = [term.wakes[0][0]] if term.wakes else []
        if term.waiting and term.plan_due:
            deadlines.append(max(term.planned_at_s, term.store_retry_at_s))
        elif term.waiting and self._drones:
            deadlines.append(max(term.planned_at_s + self._policy.replan_period_s, term.store_retry_at_s))
        return min(deadlines, default=None)

    def tick(self, now: Instant) -> list[Effect]:
        """Whatever is due: orders to look at again, and one round of planning."""
        term = self._term
        if term is None:
            return []
        effects: list[Effect] = []
        while term.wakes and term.wakes[0][0] <= now.mono_s:
            at_s, message_id = heapq.heappop(term.wakes)
            memory = term.orders.get(message_id)
            if memory is not None and memory.wake_at_s == at_s:
                memory.wake_at_s = None
                effects += self.reconcile(message_id, now)
        replan = now.mono_s >= term.planned_at_s + self._policy.replan_period_s
        if term.waiting and (term.plan_due or replan) and now.mono_s >= term.store_retry_at_s:
            effects += self._plan(term, now)
        return effects

    # --- what is heard ------------------------------------------------------------------------------------------

    def entry_changed(self, entry: Entry, now: Instant) -> list[Effect]:
        """The watch brought news of one key."""
        if entry.kind in (Kind.SAGA, Kind.INBOX_ORDER):
            self._ledger.look(self._view, entry.id)
        elif entry.kind in (Kind.ASSIGNMENT, Kind.BREAKER):
            self._roster.touch(entry.id)
        if self._term is None:
            return []
        if entry.kind in (Kind.SAGA, Kind.INBOX_ORDER, Kind.INBOX_CANCEL, Kind.INBOX_COMMAND):
            return self.reconcile(entry.id, now)
        if entry.kind in (Kind.ASSIGNMENT, Kind.BREAKER):
            self._term.plan_due = True
        return self._reconcile_drone(entry.id, now) if entry.kind is Kind.ASSIGNMENT else []

    def drone_heard(self, report: DroneReport, now: Instant) -> list[Effect]:
        drone = self._drones.get(report.drone_id)
        if drone is None:
            drone = self._drones[report.drone_id] = Drone(report, now.mono_s)
            news = changed = True
        else:
            news = self._roster.is_silent(drone, now) or is_free(report) != is_free(drone.report)
            changed = report != drone.report
            drone.report, drone.heard_at_s = report, now.mono_s
        if changed:  # most say once a second that nothing has
            self._roster.touch(report.drone_id)
        if self._term is None:
            return []
        self._term.plan_due = self._term.plan_due or news
        effects = self._keep_reservation(drone, now)
        effects += self._reconcile_drone(report.drone_id, now)
        for outcome in report.outcomes:
            effects += self._outcome_heard(report, outcome, now)
        return effects

    def goal_answered(self, event: GoalAnswered, now: Instant) -> list[Effect]:
        saga = self._view.saga_of(event.message_id, event.attempt)
        term = self._term
        if term is None or saga is None or term.of(event.message_id).busy:
            return []
        if event.accepted and saga.status is S.ASSIGNED and now.mono_s >= term.store_retry_at_s:
            return self._steps.commit(self._steps.record(saga, sagas.GOAL_ACCEPTED, S.DISPATCHED, now))
        # A refusal may mean that the drone has the goal already; its next report tells. Until then it counts as a try.
        return self.reconcile(event.message_id, now)

    def goal_unreachable(self, event: GoalUnreachable, now: Instant) -> list[Effect]:
        return self.reconcile(event.message_id, now) if self._term else []

    def clearance_requested(self, request: ClearanceRequested, now: Instant) -> list[Effect]:
        """A drone at its pickup asks to load. ``LOADING`` is committed first, answered afterwards."""
        term = self._term
        if term is None:
            return [_answer(request, Verdict.NOT_LEADER, 0)]
        if not request.journal_id:
            # Without an identity nobody could later say who has the package.
            return [_answer(request, Verdict.REFUSED, term.epoch, "no_journal")]
        memory = term.of(request.message_id)
        effects: list[Effect] = []
        if memory.clearance:
            effects.append(_answer(memory.clearance, Verdict.ASK_AGAIN, term.epoch))
        memory.clearance = request
        return effects + self.reconcile(request.message_id, now)

    def commit_done(self, event: CommitDone, now: Instant) -> list[Effect]:
        """Only here, on success, does a decision become state."""
        term, commit = self._term, event.commit
        if term is None or commit.epoch != term.epoch:
            return []
        change, message_id = commit.change, commit.change.message_id
        memory = term.of(message_id)
        memory.busy = False
        term.accepting.pop(message_id, None)
        if isinstance(change, Transition) and isinstance(change.reservation, Reserve):
            term.reserving.pop(change.reservation.drone_id, None)
        touched = change.reservation or change.saga if isinstance(change, Transition) else None
        if touched is not None and touched.drone_id is not None:
            self._roster.touch(touched.drone_id)
        if event.fate is Fate.SUCCEEDED:
            if isinstance(change, Transition) and isinstance(change.reservation, Reserve):
                self._kept(change.reservation.drone_id, now)
            memory.failed_commits = 0
            self._view.apply_commit(change, event.revision)
            self._ledger.look(self._view, message_id)
            term.plan_due = True
            return [*self._store_answered(term), *commit.then, *self.reconcile(message_id, now)]
        effects: list[Effect] = [
            replace(send, verdict=Verdict.ASK_AGAIN) for send in commit.then if isinstance(send, AnswerClearance)
        ]
        if event.fate is Fate.UNAVAILABLE:
            effects += self._store_away(term, now)
        elif event.fate is Fate.CONFLICT:
            effects += self._store_answered(term)
        memory.failed_commits += 1
        self._steps.wake(message_id, now.mono_s + self._commit_pause_s(memory.failed_commits, message_id))
        return effects

    def _store_away(self, term: Term, now: Instant) -> list[Effect]:
        """Nothing is asked of a store that is away until a pause has passed, which grows with every try."""
        if now.mono_s < term.store_retry_at_s:
            return []
        term.store_failures += 1
        term.store_retry_at_s = now.mono_s + self._commit_pause_s(term.store_failures, "store")
        first = term.store_failures == 1
        return [Report("warning", "the store takes no commits; deciding stops until it does")] if first else []

    @staticmethod
    def _store_answered(term: Term) -> list[Effect]:
        was_away, term.store_failures = term.store_failures > 0, 0
        term.store_retry_at_s = float("-inf")
        return [Report("info", "the store takes commits again")] if was_away else []

    def _commit_pause_s(self, failures: int, seed: str) -> float:
        return backoff.delay_s(failures, base_s=self._policy.commit_retry_s, cap_s=self._policy.commit_cap_s, seed=seed)

    # --- looking at one order -----------------------------------------------------------------------------------

    def reconcile(self, message_id: str, now: Instant) -> list[Effect]:
        """Ask for the step that follows from the committed state and the drone's last word, if any."""
        term = self._term
        if term is None:
            return []
        memory = term.of(message_id)
        term.waiting.remove(message_id)
        if memory.busy or self._view.is_corrupt(message_id):
            return []
        if now.mono_s < term.store_retry_at_s:
            return self._postpone(message_id, memory, term)
        saga = self._view.saga_of(message_id)
        if saga is None:
            return self._look_at_inbox(message_id, memory)
        effects: list[Effect] = []
        if memory.clearance and saga.status not in (S.ASSIGNED, S.DISPATCHED):
            effects.append(_answer_settled(term, saga, memory))
        if saga.status.is_terminal:
            discard = self._steps.discard(message_id)
            if not discard:
                term.orders.pop(message_id, None)
            return effects + discard
        useless = self._useless_requests(saga)
        if useless:
            return effects + useless
        if saga.status is S.PENDING:
            return effects + self._pending(saga, memory, now)
        if saga.status in (S.ASSIGNED, S.DISPATCHED):
            return effects + self._before_loading(saga, memory, now)
        drone = self._drones.get(saga.drone_id or "")
        silent = drone is None or self._roster.is_silent(drone, now)
        return effects + self._aftermath.look(saga, memory, drone, silent, now)

    def _useless_requests(self, saga: Saga) -> list[Effect]:
        """Take out of the inbox what cannot be read or obeyed, so that somebody can ask again."""
        view, message_id = self._view, saga.message_id
        kinds: list[Kind] = []
        if view.is_corrupt(message_id, (Kind.INBOX_CANCEL,)):
            kinds.append(Kind.INBOX_CANCEL)
        if view.is_corrupt(message_id, (Kind.INBOX_COMMAND,)) or (message_id in view.commands and not saga.parked):
            kinds.append(Kind.INBOX_COMMAND)
        if not kinds:
            return []
        names = " and ".join(kind.value for kind in kinds)
        why = "it cannot be read, or the order is not parked"
        told = Report("warning", f"{saga.order_id}: what lay in {names} is set aside: {why}")
        return [told, *self._steps.discard(message_id, tuple(kinds))]

    def _postpone(self, message_id: str, memory: OrderMemory, term: Term) -> list[Effect]:
        """The store is away: no step can be taken, so none is decided on."""
        self._steps.wake(message_id, term.store_retry_at_s)
        request, memory.clearance = memory.clearance, None
        return [_answer(request, Verdict.ASK_AGAIN, term.epoch)] if request else []

    def _look_at_inbox(self, message_id: str, memory: OrderMemory) -> list[Effect]:
        term = self._steps.held
        waiting = self._view.inbox.get(message_id)
        if waiting is not None:
            self._seek_drone(waiting.value, begun=False)
            return []
        # Not in the inbox and without a saga: it ended long ago or never was. No drone may load for it.
        request, memory.clearance = memory.clearance, None
        effects: list[Effect] = []
        if request:
            effects.append(_answer(request, Verdict.REFUSED, term.epoch, "unknown_order"))
        discard = self._steps.discard(message_id)
        if not discard:
            term.orders.pop(message_id, None)
        return effects + discard

    def _seek_drone(self, order: Order, *, begun: bool) -> None:
        term = self._steps.held
        term.waiting.add(order, self._ledger.lane(order.message_id) or "", begun=begun)
        term.plan_due = True

    def _pending(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        memory.silent_since_s = memory.grounded_since_s = memory.ignorant_since_s = None  # of the attempt that is over
        end = self._end_of_waiting(saga, now)
        if end is not None:
            return self._steps.commit(end)
        if memory.pause is None or memory.pause[0] != saga.event_count:
            # Read off the wall clock once: a clock that is set back must not prolong the pause.
            pause_s = min(max(saga.not_before - now.wall_s, 0.0), self._policy.retry_cap_s)
            memory.pause = (saga.event_count, now.mono_s + pause_s)
        if now.mono_s < memory.pause[1]:
            self._steps.wake(saga.message_id, memory.pause[1])
            return []
        self._seek_drone(saga.order, begun=True)
        self._wake_at_deadline(saga, now)
        return []

    def _wake_at_deadline(self, saga: Saga, now: Instant) -> None:
        deadline = deadline_of(saga.order)
        if deadline is not None:
            self._steps.wake(saga.message_id, now.mono_s + max(deadline - now.wall_s, self._policy.commit_retry_s))

    def _end_of_waiting(self, saga: Saga, now: Instant) -> SagaEvent | None:
        """The terminal step of an order that shall wait no longer."""
        cancel = self._view.cancel_of(saga.message_id)
        if cancel:
            return self._steps.record(saga, sagas.CANCELLED, S.CANCELLED, now, reason=cancel.reason)
        reason = None
        if _is_late(saga.order, now):
            reason = "deadline_exceeded"
        elif saga.attempt >= self._policy.max_attempts:
            reason = "attempts_exhausted"
        elif not self._planner.capable(self._fleet, saga.order):
            reason = "no_fly_zone" if blocked_way(self._fleet, saga.order) else "no_capable_drone"
        return self._steps.record(saga, sagas.FAILED, S.FAILED, now, reason=reason) if reason else None

    def _before_loading(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        """``ASSIGNED`` or ``DISPATCHED``: the package is in the depot for certain."""
        steps, drone_id = self._steps, saga.drone_id or ""
        reservation = self._view.reservation_of(saga)
        cancel = self._view.cancel_of(saga.message_id)
        drone = self._drones.get(drone_id)
        outcome = outcome_of(drone, saga)
        if reservation is None:
            # A drone that is heard has done nothing wrong: the store was away, or nobody led.
            silent = drone is None or self._roster.is_silent(drone, now)
            breaker = steps.breaker_failed(drone_id, now) if silent else None
            return steps.abandon(saga, "reservation_expired", S.PENDING, now, breaker)
        if cancel:
            return steps.abandon(saga, cancel.reason, S.CANCELLED, now)
        if outcome is not None and outcome.outcome in (Outcome.NOT_LOADED, Outcome.FAULT_BEFORE_LOADING):
            failed = outcome.outcome is Outcome.FAULT_BEFORE_LOADING
            breaker = steps.breaker_failed(drone_id, now) if failed else None
            return steps.abandon(saga, outcome.reason or outcome.outcome.name.lower(), S.PENDING, now, breaker)
        if _is_late(saga.order, now):
            return steps.abandon(saga, "deadline_exceeded", S.FAILED, now)
        self._wake_at_deadline(saga, now)
        if memory.clearance:
            return self._clear(saga, memory, reservation, drone, now)
        if drone is None or self._roster.is_silent(drone, now):
            return []  # the lease of its reservation decides
        if _carries_goal(drone.report, saga):
            memory.goal = None
            if saga.status is S.ASSIGNED:
                return steps.commit(steps.record(saga, sagas.GOAL_ACCEPTED, S.DISPATCHED, now))
            return []
        if drone.report.phase is Phase.GROUNDED:
            # It takes no goal, and says so: no need to try, and nothing that its breaker must count.
            return steps.abandon(saga, "drone_grounded", S.PENDING, now)
        return self._send_goal(saga, memory, now)

    def _clear(
        self, saga: Saga, memory: OrderMemory, reservation: Stored[Reservation], drone: Drone | None, now: Instant
    ) -> list[Effect]:
        term = self._steps.held
        assert memory.clearance is not None
        request, memory.clearance = memory.clearance, None
        if request.attempt > saga.attempt:
            return [_answer(request, Verdict.ASK_AGAIN, term.epoch)]  # this leader's news is older than the drone's
        if (request.drone_id, request.attempt) != (saga.drone_id, saga.attempt):
            return [_answer(request, Verdict.REFUSED, term.epoch, "superseded")]
        if drone is not None and drone.report.journal_id != request.journal_id:
            # Either the question or the report is of a journal that is lost; the drone's next words will agree.
            return [_answer(request, Verdict.ASK_AGAIN, term.epoch)]
        granted = _answer(request, Verdict.GRANTED, term.epoch)
        step = self._steps.record(saga, sagas.CLEARED, S.LOADING, now, journal_id=request.journal_id)
        return self._steps.commit(step, MakeFirm(request.drone_id, reservation.mod_revision), then=(granted,))

    def _send_goal(self, saga: Saga, memory: OrderMemory, now: Instant) -> list[Effect]:
        assert saga.drone_id is not None
        if memory.goal is None or memory.goal.attempt != saga.attempt:
            memory.goal = Retry(saga.attempt)
        goal = memory.goal
        if now.mono_s < goal.next_try_s:
            self._steps.wake(saga.message_id, goal.next_try_s)
            return []
        if goal.tries >= self._policy.max_goal_tries:
            breaker = self._steps.breaker_failed(saga.drone_id, now)
            return self._steps.abandon(saga, "goal_not_accepted", S.PENDING, now, breaker)
        goal.tries += 1
        goal.next_try_s = now.mono_s + self._policy.goal_retry_s
        self._steps.wake(saga.message_id, goal.next_try_s)
        return [SendGoal(saga.drone_id, saga.order, saga.attempt, self._steps.held.epoch)]

    # --- planning -----------------------------------------------------------------------------------------------

    def _plan(self, term: Term, now: Instant) -> list[Effect]:
        """Pair free drones with waiting orders, lane by lane; what stays without a drone is at least accepted."""
        term.plan_due, term.planned_at_s = False, now.mono_s
        lanes = self._roster.lanes(term, now)
        pairs = allot(self._fleet, self._planner, lanes)
        effects: list[Effect] = []
        for pair in pairs:
            effects += self._assign(pair.message_id, pair.drone_id, now)
        # A lane with more orders than one round takes, and drones left for them, is planned once more before any other
        # of its orders is accepted without one: that would be a commit for nothing.
        taken = {pair.drone_id for pair in pairs}
        full = [lane for lane in lanes if len(lane.orders) == self._policy.plan_orders] if pairs else []
        again = [lane.drone_class.name for lane in full if any(r.drone_id not in taken for r in lane.free)]
        term.plan_due = bool(again)
        for name in term.waiting.lanes:
            if name not in again:
                effects += self._accept(name, term, now)
        return effects

    def _accept(self, lane: str, term: Term, now: Instant) -> list[Effect]:
        """Begin the sagas of orders that wait in the inbox, a bounded number at a time."""
        under_way = sum(1 for each in term.accepting.values() if each == lane)
        effects: list[Effect] = []
        for message_id in term.waiting.not_begun(lane, self._policy.accept_orders - under_way):
            term.accepting[message_id] = lane
            effects += self._steps.commit(self._begin(message_id, now))
        return effects

    def _assign(self, message_id: str, drone_id: str, now: Instant) -> list[Effect]:
        saga = self._view.saga_of(message_id)
        before: tuple[SagaEvent, ...] = ()
        if saga is None:
            before = (self._begin(message_id, now),)
            saga = sagas.apply(None, before[0])
        step = self._steps.record(saga, sagas.ASSIGNED, S.ASSIGNED, now, drone_id=drone_id)
        breaker: BreakerChange | None = self._steps.breaker_tried(drone_id)
        self._roster.touch(drone_id)
        # A reservation is not followed by a goal here: success makes the order be looked at, and that sends it.
        return self._steps.commit(step, Reserve(drone_id), before=before, breaker=breaker, base=saga)

    def _begin(self, message_id: str, now: Instant) -> SagaEvent:
        order = self._view.order_of(message_id)
        assert order is not None
        return sagas.begin(order, now_s=now.wall_s, epoch=self._steps.held.epoch)

    # --- small things -------------------------------------------------------------------------------------------

    def _reconcile_drone(self, drone_id: str, now: Instant) -> list[Effect]:
        """Look at the order that a drone is reserved for, and at the one it says it has."""
        names: list[str] = []
        held = self._view.reservations.get(drone_id)
        if held is not None:
            names.append(held.value.message_id)
        drone = self._drones.get(drone_id)
        if drone is not None and drone.report.message_id and drone.report.message_id not in names:
            names.append(drone.report.message_id)
        # Where the reservation went, or was released, orders may still name the drone.
        names += [m for m in self._view.by_drone.get(drone_id, ()) if m not in names]
        effects = [effect for message_id in names for effect in self.reconcile(message_id, now)]
        return effects + (self._free_from_the_past(drone, now) if drone is not None else [])

    def _free_from_the_past(self, drone: Drone, now: Instant) -> list[Effect]:
        """Recall a drone, still empty, from a goal that the store is past: the first recall may have been lost."""
        report = drone.report
        if not report.message_id or report.package_on_board or self._roster.is_silent(drone, now):
            return []
        if not self._is_past(report.message_id, report.attempt) or self._view.is_corrupt(report.message_id):
            return []
        if report.highest_epoch > self._steps.held.epoch:
            return []  # it obeys a successor already, and may have got the goal from it: this view is what is past
        if now.mono_s < drone.recalled_at_s + self._policy.recall_retry_s:
            return []
        drone.recalled_at_s = now.mono_s
        return [RecallGoal(report.drone_id, report.message_id, report.attempt, self._steps.held.epoch)]

    def _is_past(self, message_id: str, attempt: int) -> bool:
        """Whether what the store says of the order is later than this attempt at it."""
        saga = self._view.saga_of(message_id)
        if saga is None or saga.status.is_terminal or saga.attempt > attempt:
            return True
        return saga.attempt == attempt and saga.status is S.PENDING

    def _outcome_heard(self, report: DroneReport, outcome: DeliveryOutcome, now: Instant) -> list[Effect]:
        """Acknowledge what the store is past; everything else follows from looking at the order."""
        saga = self._view.saga_of(outcome.message_id)
        if not self._is_past(outcome.message_id, outcome.attempt) or self._view.is_corrupt(outcome.message_id):
            return self.reconcile(outcome.message_id, now)
        told: list[Effect] = []
        key = (outcome.message_id, outcome.attempt)
        told_late = self._steps.held.told_late
        if saga is not None and saga.status is S.FAILED and saga.attempt == outcome.attempt and key not in told_late:
            told_late[key] = None
            text = f"{saga.order_id} had failed ({saga.reason}); {report.drone_id} now reports {outcome.outcome.name}"
            told = [Report("warning", text)]
        ack = AcknowledgeOutcome(report.drone_id, report.journal_id, *key, outcome.outcome)
        return [*told, ack]

    def _kept(self, drone_id: str, now: Instant) -> None:
        """The lease of the drone's reservation has time left; that of a new one does, too."""
        if drone_id in self._drones:
            self._drones[drone_id].kept_at_s = now.mono_s

    def _keep_reservation(self, drone: Drone, now: Instant) -> list[Effect]:
        held = self._view.reservations.get(drone.report.drone_id)
        if (
            held is None
            or not held.value.leased
            or self._roster.is_silent(drone, now)
            or now.mono_s < drone.kept_at_s + self._policy.keep_reservation_s
        ):
            return []
        self._kept(drone.report.drone_id, now)
        return [KeepReservation(drone.report.drone_id)]


def _answer(request: ClearanceRequested, verdict: Verdict, epoch: int, reason: str = "") -> AnswerClearance:
    return AnswerClearance(
        request.request_id, verdict, epoch, request.message_id, request.attempt, request.journal_id, reason
    )


def _answer_settled(term: Term, saga: Saga, memory: OrderMemory) -> AnswerClearance:
    """Answer a request for an order that is not waiting for clearance."""
    assert memory.clearance is not None
    request, memory.clearance = memory.clearance, None
    same_goal = (request.drone_id, request.attempt) == (saga.drone_id, saga.attempt)
    if same_goal and saga.status is S.LOADING:
        if request.journal_id == saga.journal_id:
            return _answer(request, Verdict.GRANTED, term.epoch)
        return _answer(request, Verdict.REFUSED, term.epoch, "cleared_to_another_journal")
    if (same_goal and saga.status is S.IN_TRANSIT) or request.attempt > saga.attempt:
        return _answer(request, Verdict.ASK_AGAIN, term.epoch)
    return _answer(request, Verdict.REFUSED, term.epoch, "superseded")


def _carries_goal(report: DroneReport, saga: Saga) -> bool:
    return report.message_id == saga.message_id and report.attempt == saga.attempt


def _is_late(order: Order, now: Instant) -> bool:
    deadline = deadline_of(order)
    return deadline is not None and now.wall_s >= deadline
