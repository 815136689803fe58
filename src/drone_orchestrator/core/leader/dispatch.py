"""The leader's main loop: moves every order forward, one committed step at a time.

Level-triggered: whatever happens, the dispatcher *reconciles* an order. It reads the order's committed state and its
drone's last report, and requests the one transition that follows. A lost message, a conflict, a takeover or a restart
needs no code of its own, because reconciling again is always right. An order has at most one commit in flight.

The dispatcher handles the events and the schedule. The decisions are in its parts: :mod:`.before_loading` while the
package is certainly in the depot, :mod:`.after_loading` from ``LOADING`` on, :mod:`.planning_round` for assigning
drones. In all of them

* to *look* is to read the view or a drone's last report, and changes nothing;
* to *record* is to request a step, as one commit (:mod:`.steps`);
* to *schedule* is to have an order reconciled again at a later time;
* to *send* is to return an effect for a drone.

``step`` of :mod:`.orchestrator` is the only caller.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

from .. import saga as sagas
from ..changes import Fate, Reserve, Transition, WriteNote
from ..lanes import Ledger
from ..planner import Planner
from ..policies import DispatchPolicy, backoff_s
from ..reasons import Reason
from ..types import (
    AcknowledgeOutcome,
    DeliveryOutcome,
    DroneReport,
    Entry,
    FleetSpec,
    Instant,
    Kind,
    SagaStatus,
    Verdict,
)
from ..view import FleetView
from .after_loading import AfterLoading
from .before_loading import BeforeLoading, answer_settled
from .blame import Blame
from .boots import Boots
from .bounds import Stays
from .deadlines import Deadlines
from .effects import AnswerClearance, Effect, KeepReservation, RecallGoal, Report, SetAside
from .events import ClearanceRequested, CommitDone, GoalAnswered, GoalUnreachable
from .memory import Drone, LeaderState, OrderMemory, Term
from .planning_round import PlanningRound
from .roster import Roster, is_free
from .set_aside import Aside
from .steps import Steps
from .usefulness import SAME_TROUBLE_S, LeaderSenses
from .waiting_orders import WaitingOrders
from .wall_clock import WallClock

S = SagaStatus


class Dispatcher:
    """Decides about all orders of a region while this replica leads. It always follows the drones' reports, so a new
    term starts with current data."""

    def __init__(self, view: FleetView, fleet: FleetSpec, planner: Planner, policy: DispatchPolicy) -> None:
        self._view = view
        self._state = LeaderState(policy)
        self._ledger = Ledger(fleet, planner.capable)
        self._blame = Blame(view, self._state)
        self._steps = Steps(view, self._state)
        self._aside = Aside(view, self._state, self._steps)
        self._roster = Roster(view, self._state, fleet, self._ledger, self._aside)
        stays = Stays(self._state, fleet)
        self.wall_clock = WallClock()
        self._deadlines = Deadlines(view, self.wall_clock)
        self._before_loading = BeforeLoading(
            view, self._state, self._steps, self._blame, fleet, planner, self._ledger, stays, self._deadlines
        )
        self._planning_round = PlanningRound(view, self._state, self._steps, self._roster, fleet, planner, self._aside)
        self._after_loading = AfterLoading(view, self._state, self._steps, self._blame, stays)

    # --- terms --------------------------------------------------------------------------------------------------

    def view_loaded(self, now: Instant) -> None:
        """Catch up with the view after a snapshot replaced it."""
        self._state.listens_since_s = min(self._state.listens_since_s, now.mono_s)
        for message_id in self._ledger.ids_of(self._view):
            self._count(message_id, now)
        self._deadlines.loaded(now)
        self._roster.touch_all()

    @property
    def set_aside(self) -> tuple[str, ...]:
        """The orders and drones about which nothing is decided, because that raised. Other threads may read it."""
        return self._aside.names

    def doubled(self, now_s: float) -> tuple[str, ...]:
        """Return the ids for which two drones speak. Any thread may call it; ``now_s`` is monotonic."""
        drones = list(self._state.drones.items())
        return tuple(id_ for id_, drone in drones if drone.boots is not None and drone.boots.are_two(now_s))

    def troubles(self, now_s: float) -> dict[tuple[str, str], str]:
        """Return what goes wrong between this leader and its drones, by kind and subject. Other threads may call it."""
        return self._blame.troubles(now_s)

    def news_of_set_asides(self) -> list[SetAside]:
        """Return what was set aside since the last call."""
        return self._aside.take_news()

    def agree(self, *, is_outdated: bool, keep_reservation_s: float) -> None:
        """Follow the agreement on the configuration for the next term."""
        self._state.is_outdated, self._state.keep_reservation_s = is_outdated, keep_reservation_s

    def begin_term(self, epoch: int, now: Instant) -> list[Effect]:
        """Take over everything in flight by reconciling every order as if it had just changed."""
        self._state.term = Term(epoch, now.mono_s)
        self._roster.touch_all()
        return self._reconcile_all(now)

    def start_over(self, now: Instant) -> list[Effect]:
        """Continue the term on a new snapshot.

        This leader's own observations are kept: grace periods, retry budgets and commits in flight do not restart
        because of a gap in the watch.
        """
        term = self._state.current_term
        effects: list[Effect] = []
        for message_id, memory in list(term.orders.items()):
            if memory.clearance:
                effects.append(memory.clearance.answer(Verdict.ASK_AGAIN, term.epoch))
            memory.clearance = memory.wake_at_s = None
            if not memory.busy and not self._view.has_order(message_id):
                del term.orders[message_id]
        term.waiting = WaitingOrders()
        term.wakes.clear()
        return effects + self._reconcile_all(now)

    def hears_drones(self, now: Instant) -> bool:
        """Return whether any drone was heard recently."""
        return any(not self._state.is_silent(drone, now) for drone in self._state.drones.values())

    def senses(self, is_in_office: bool, now: Instant) -> LeaderSenses:
        """Return what a judgement about this replica rests on."""
        return LeaderSenses.of(self._view, self._state, is_in_office, now)

    def adopt(self, policy: DispatchPolicy, now: Instant) -> list[Effect]:
        """Switch to ``policy``. Orders that wait for the end of an old period are reconciled again."""
        self._state.policy = policy
        self._roster.touch_all()  # the pauses of breakers may have changed
        return self.start_over(now) if self._state.term is not None else []

    def _reconcile_all(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        for message_id in self._view.message_ids():
            effects += self.reconcile(message_id, now)
        for drone in list(self._state.drones.values()):
            effects += self._keep_reservation(drone, now)
        return effects

    def end_term(self) -> list[Effect]:
        """Forget everything in flight, and tell waiting drones to ask again."""
        term, self._state.term = self._state.term, None
        if term is None:
            return []
        asked = [a.clearance for a in term.orders.values() if a.clearance]
        return [request.answer(Verdict.NOT_LEADER, term.epoch) for request in asked]

    def next_deadline(self) -> float | None:
        term = self._state.term
        if term is None:
            return None
        deadlines = [term.wakes[0][0]] if term.wakes else []
        if term.waiting and term.plan_due:
            deadlines.append(max(term.planned_at_s, term.store_retry_at_s))
        elif term.waiting and self._state.drones:
            deadlines.append(max(term.planned_at_s + self._state.policy.replan_period_s, term.store_retry_at_s))
        return min(deadlines, default=None)

    def tick(self, now: Instant) -> list[Effect]:
        """Do what is due: reconcile the orders scheduled for now, and run a planning round."""
        term = self._state.term
        if term is None:
            return []
        effects: list[Effect] = []
        while term.wakes and term.wakes[0][0] <= now.mono_s:
            at_s, message_id = heapq.heappop(term.wakes)
            memory = term.orders.get(message_id)
            if memory is not None and memory.wake_at_s == at_s:
                memory.wake_at_s = None
                effects += self.reconcile(message_id, now)
        replan = now.mono_s >= term.planned_at_s + self._state.policy.replan_period_s
        if term.waiting and (term.plan_due or replan) and now.mono_s >= term.store_retry_at_s:
            try:
                effects += self._planning_round.run(now)
            except Exception as error:
                self._aside.give_up_round(error)
        return effects

    # --- events -------------------------------------------------------------------------------------------------

    def entry_changed(self, entry: Entry, now: Instant) -> list[Effect]:
        """Follow a change of one key, delivered by the watch."""
        if entry.kind in (Kind.SAGA, Kind.INBOX_ORDER):
            self._count(entry.id, now)
            if entry.kind is Kind.INBOX_ORDER:
                self._deadlines.arrived(entry.id, now)
        elif entry.kind in (Kind.ASSIGNMENT, Kind.BREAKER):
            self._roster.touch(entry.id)
            self._aside.drone_changed(entry.id)
        if self._state.term is None:
            return []
        if entry.kind in (Kind.SAGA, Kind.INBOX_ORDER, Kind.INBOX_CANCEL, Kind.INBOX_COMMAND):
            return self.reconcile(entry.id, now)
        if entry.kind in (Kind.ASSIGNMENT, Kind.BREAKER):
            self._state.term.plan_due = True
        return self._reconcile_drone(entry.id, now) if entry.kind is Kind.ASSIGNMENT else []

    def _count(self, message_id: str, now: Instant) -> None:
        """Count the order in its lane."""
        try:
            self._ledger.update(self._view, message_id)
        except Exception as error:
            self._aside.put_order(message_id, error, now)

    def drone_heard(self, report: DroneReport, now: Instant) -> list[Effect]:
        try:
            return self._drone_heard(report, now)
        except Exception as error:
            self._aside.put_drone(report.drone_id, error)
            return []

    def _drone_heard(self, report: DroneReport, now: Instant) -> list[Effect]:
        drone = self._state.drones.get(report.drone_id)
        if drone is None:
            drone = self._state.drones[report.drone_id] = Drone(report, now.mono_s)
            news = changed = True
        else:
            news = self._state.is_silent(drone, now) or is_free(report) != is_free(drone.report)
            changed = report != drone.report
            if changed and report.boot_id != drone.report.boot_id:
                drone.boots = drone.boots or Boots(drone.report.boot_id)
                drone.boots.changed(report.boot_id, now.mono_s)
            drone.report, drone.heard_at_s = report, now.mono_s
        if changed:  # most drones repeat the same state every second
            self._roster.touch(report.drone_id)
            self._aside.drone_changed(report.drone_id)
        if self._state.term is None:
            return []
        self._state.term.plan_due = self._state.term.plan_due or news
        effects = self._keep_reservation(drone, now)
        effects += self._reconcile_drone(report.drone_id, now)
        for outcome in report.outcomes:
            effects += self._outcome_heard(report, outcome, now)
        return effects

    def goal_answered(self, event: GoalAnswered, now: Instant) -> list[Effect]:
        saga = self._view.saga_of(event.message_id, event.attempt)
        term = self._state.term
        if term is None:
            return []
        memory = term.orders.get(event.message_id)
        goal = memory.goal if memory is not None and memory.goal and memory.goal.attempt == event.attempt else None
        self._blame.answered(event.drone_id, goal, accepted=event.accepted)
        if saga is None:
            return []
        memory = memory or term.of(event.message_id)
        if goal is not None and not event.accepted:
            goal.answered = True
        if memory.busy:
            return []
        if event.accepted and saga.status is S.ASSIGNED and now.mono_s >= term.store_retry_at_s:
            try:
                return self._steps.record(self._steps.event(saga, sagas.GOAL_ACCEPTED, S.DISPATCHED, now))
            except Exception as error:
                self._aside.put_order(event.message_id, error, now)
                return []
        # The drone's report shows why it refuses the goal, or that it already has it. Until it comes, this is a try.
        return self.reconcile(event.message_id, now)

    def goal_unreachable(self, event: GoalUnreachable, now: Instant) -> list[Effect]:
        return self.reconcile(event.message_id, now) if self._state.term else []

    def clearance_requested(self, request: ClearanceRequested, now: Instant) -> list[Effect]:
        """Reconcile the order that a drone at its pickup asks to load. ``LOADING`` is committed before the drone gets
        an answer."""
        term = self._state.term
        if term is None:
            return [request.answer(Verdict.NOT_LEADER, 0)]
        if not request.journal_id:
            # Without the identity of a journal, no later report could prove which drone has the package.
            return [request.answer(Verdict.REFUSED, term.epoch, Reason.NO_JOURNAL)]
        drone = self._state.drones.get(request.drone_id)
        if drone is not None and drone.is_doubtful(now):
            return [request.answer(Verdict.ASK_AGAIN, term.epoch)]  # both might load
        memory = term.of(request.message_id)
        effects: list[Effect] = []
        if memory.clearance:
            effects.append(memory.clearance.answer(Verdict.ASK_AGAIN, term.epoch))
        memory.clearance = request
        return effects + self.reconcile(request.message_id, now)

    def commit_done(self, event: CommitDone, now: Instant) -> list[Effect]:
        """Apply a decision to the state if its commit succeeded. This happens nowhere else."""
        term, commit = self._state.term, event.commit
        if term is None or commit.epoch != term.epoch:
            return []
        change = commit.change
        assert not isinstance(change, WriteNote)
        message_id = change.message_id
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
            if isinstance(change, Transition):
                memory.judged = change.saga  # it follows from a record that was judged
            self._count(message_id, now)
            term.plan_due = True
            return [*self._store_answered(term), *commit.then, *self.reconcile(message_id, now)]
        if event.fate is Fate.REFUSED:
            self._aside.put_order(message_id, ValueError(event.error), now)
            return []
        effects: list[Effect] = [
            replace(send, verdict=Verdict.ASK_AGAIN) for send in commit.then if isinstance(send, AnswerClearance)
        ]
        if event.fate in (Fate.UNAVAILABLE, Fate.UNKNOWN):
            since = term.commits_fail_s
            goes_on = since is not None and now.mono_s - since[1] <= SAME_TROUBLE_S
            term.commits_fail_s = (since[0] if since is not None and goes_on else now.mono_s, now.mono_s)
        if event.fate is Fate.UNAVAILABLE:
            effects += self._store_away(term, now)
        elif event.fate is Fate.CONFLICT:
            effects += self._store_answered(term)
        memory.failed_commits += 1
        self._steps.schedule(message_id, now.mono_s + self._commit_pause_s(memory.failed_commits, message_id))
        return effects

    def _store_away(self, term: Term, now: Instant) -> list[Effect]:
        """Send no commits until a pause has passed. The pause grows with every failure."""
        if now.mono_s < term.store_retry_at_s:
            return []
        term.store_failures += 1
        term.store_retry_at_s = now.mono_s + self._commit_pause_s(term.store_failures, "store")
        first = term.store_failures == 1
        return [Report("warning", "the store takes no commits; deciding stops until it does")] if first else []

    @staticmethod
    def _store_answered(term: Term) -> list[Effect]:
        was_away, term.store_failures, term.commits_fail_s = term.store_failures > 0, 0, None
        term.store_retry_at_s = float("-inf")
        return [Report("info", "the store takes commits again")] if was_away else []

    def _commit_pause_s(self, failures: int, seed: str) -> float:
        policy = self._state.policy
        return backoff_s(failures, base_s=policy.commit_retry_s, cap_s=policy.commit_cap_s, seed=seed)

    # --- one order ----------------------------------------------------------------------------------------------

    def reconcile(self, message_id: str, now: Instant) -> list[Effect]:
        """Request the step, if any, that follows from the committed state and the drone's last report."""
        term = self._state.term
        if term is None:
            return []
        known = self._aside.knows(message_id)
        if known and self._aside.holds(message_id, now):
            term.waiting.remove(message_id)
            return []
        try:
            if known:
                self._ledger.update(self._view, message_id)
            return self._next_step(message_id, now)
        except Exception as error:
            self._aside.put_order(message_id, error, now)
            return []

    def _next_step(self, message_id: str, now: Instant) -> list[Effect]:
        """Return the order's next step. Raises :class:`~..saga.Contradiction` if its record contradicts itself."""
        term = self._state.current_term
        memory = term.of(message_id)
        term.waiting.remove(message_id)
        if memory.busy or self._view.is_corrupt(message_id):
            return []
        if now.mono_s < term.store_retry_at_s:
            return self._postpone(message_id, memory, term)
        saga = self._view.saga_of(message_id)
        record = saga if saga is not None else self._view.order_of(message_id)
        if record is not memory.judged:
            wrong = sagas.contradiction(record, memory.judged)
            if wrong:
                raise sagas.Contradiction(wrong)
            memory.judged = record
        if saga is None:
            return self._before_loading.reconcile_inbox(message_id, memory)
        effects: list[Effect] = []
        if memory.clearance and saga.status not in (S.ASSIGNED, S.DISPATCHED):
            effects.append(answer_settled(saga, memory, term.epoch))
        if saga.status.is_terminal:
            discard = self._steps.discard(message_id)
            if not discard:
                term.orders.pop(message_id, None)
            return effects + discard
        useless = self._steps.discard_useless(saga)
        if useless:
            return effects + useless
        if saga.status is S.PENDING:
            return effects + self._before_loading.reconcile_pending(saga, memory, now)
        if saga.status in (S.ASSIGNED, S.DISPATCHED):
            return effects + self._before_loading.reconcile(saga, memory, now)
        return effects + self._after_loading.reconcile(saga, memory, now)

    def _postpone(self, message_id: str, memory: OrderMemory, term: Term) -> list[Effect]:
        """Schedule the order for the next try of the store; no decision is made before that."""
        self._steps.schedule(message_id, term.store_retry_at_s)
        request, memory.clearance = memory.clearance, None
        return [request.answer(Verdict.ASK_AGAIN, term.epoch)] if request else []

    # --- one drone ----------------------------------------------------------------------------------------------

    def _reconcile_drone(self, drone_id: str, now: Instant) -> list[Effect]:
        """Reconcile the order for which a drone is reserved, the one it reports, and those that name it."""
        names: list[str] = []
        held = self._view.reservations.get(drone_id)
        if held is not None:
            names.append(held.value.message_id)
        drone = self._state.drones.get(drone_id)
        if drone is not None and drone.report.message_id and drone.report.message_id not in names:
            names.append(drone.report.message_id)
        # A reservation may have expired or been released while orders still name the drone.
        names += [m for m in self._view.by_drone.get(drone_id, ()) if m not in names]
        effects = [effect for message_id in names for effect in self.reconcile(message_id, now)]
        return effects + (self._free_from_the_past(drone, now) if drone is not None else [])

    def _free_from_the_past(self, drone: Drone, now: Instant) -> list[Effect]:
        """Recall an empty drone from a goal that is no longer current in the store: the first recall may be lost."""
        report = drone.report
        if not report.message_id or report.package_on_board or self._state.is_silent(drone, now):
            return []
        if not self._is_past(report.message_id, report.attempt) or self._view.is_corrupt(report.message_id):
            return []
        if report.highest_epoch > self._state.current_term.epoch:
            return []  # It already follows a later leader and may have the goal from it: this view is outdated.
        if now.mono_s < drone.recalled_at_s + self._state.policy.recall_retry_s:
            return []
        drone.recalled_at_s = now.mono_s
        return [RecallGoal(report.drone_id, report.message_id, report.attempt, self._state.current_term.epoch)]

    def _is_past(self, message_id: str, attempt: int) -> bool:
        """Return whether this attempt at the order is no longer current in the store."""
        saga = self._view.saga_of(message_id)
        if saga is None or saga.status.is_terminal or saga.attempt > attempt:
            return True
        return saga.attempt == attempt and saga.status is S.PENDING

    def _outcome_heard(self, report: DroneReport, outcome: DeliveryOutcome, now: Instant) -> list[Effect]:
        """Acknowledge the outcome of an attempt that is no longer current; otherwise reconcile its order."""
        saga = self._view.saga_of(outcome.message_id)
        if not self._is_past(outcome.message_id, outcome.attempt) or self._view.is_corrupt(outcome.message_id):
            return self.reconcile(outcome.message_id, now)
        told: list[Effect] = []
        key = (outcome.message_id, outcome.attempt)
        told_late = self._state.current_term.told_late
        if saga is not None and saga.status is S.FAILED and saga.attempt == outcome.attempt and key not in told_late:
            told_late[key] = None
            text = f"{saga.order_id} had failed ({saga.reason}); {report.drone_id} now reports {outcome.outcome.name}"
            told = [Report("warning", text)]
        ack = AcknowledgeOutcome(report.drone_id, report.journal_id, *key, outcome.outcome)
        return [*told, ack]

    def _kept(self, drone_id: str, now: Instant) -> None:
        """Record that the lease of the drone's reservation was just renewed or granted."""
        if drone_id in self._state.drones:
            self._state.drones[drone_id].kept_at_s = now.mono_s

    def _keep_reservation(self, drone: Drone, now: Instant) -> list[Effect]:
        held = self._view.reservations.get(drone.report.drone_id)
        if (
            held is None
            or not held.value.leased
            or not self._view.has_order(held.value.message_id)  # nothing else would ever release it
            or self._state.is_silent(drone, now)
            or (now.mono_s < drone.kept_at_s + self._state.policy.keep_reservation_s
            and now.mono_s < drone.kept_at_s + self._state.keep_reservation_s)
        ):
            return []
        self._kept(drone.report.drone_id, now)
        return [KeepReservation(drone.report.drone_id)]
