"""Mutants: the core broken on purpose, one mutant for each rule that an invariant or a judge rests on.

A mutant is a function that patches production code while a ``Patch`` is open. Its docstring says which rule it leaves
out and what should result. If a second guard stands behind the first, it names both and removes both.
"""

from __future__ import annotations

import heapq
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Discard, Fate, Transition
from drone_orchestrator.core.drone import machine as machine_module
from drone_orchestrator.core.drone.events import Cleared, DroneEffect, Load, WriteJournal
from drone_orchestrator.core.drone.machine import DroneMachine
from drone_orchestrator.core.leader import steps as steps_module
from drone_orchestrator.core.leader.after_loading import AfterLoading
from drone_orchestrator.core.leader.before_loading import BeforeLoading
from drone_orchestrator.core.leader.blame import Blame, Culprit
from drone_orchestrator.core.leader.bounds import Stays
from drone_orchestrator.core.leader.dispatch import Dispatcher
from drone_orchestrator.core.leader.effects import AnswerClearance, Archive, Commit, Effect, Send
from drone_orchestrator.core.leader.election import Election
from drone_orchestrator.core.leader.events import Archived
from drone_orchestrator.core.leader.led_time import LedClock
from drone_orchestrator.core.leader.retention import Retention
from drone_orchestrator.core.leader.roster import Roster
from drone_orchestrator.core.leader.steps import Steps
from drone_orchestrator.core.leader.usefulness import LeaderSenses, Usefulness
from drone_orchestrator.core.types import AcknowledgeOutcome, Kind, Outcome, Phase, Saga, SagaEvent, SagaStatus, Verdict
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.ports import CommitResult, Submitted
from drone_orchestrator.runtime.acknowledgements import Acknowledgements
from drone_orchestrator.runtime.drone_journal import DroneJournal
from drone_orchestrator.simulation.profile import CALM, INTENSE, OFFICE, STUCK, Profile
from drone_orchestrator.simulation.replica import SimulatedReplica
from drone_orchestrator.store import region
from drone_orchestrator.store.kv import Delete, Expect
from drone_orchestrator.store.leases import DroneLeases
from drone_orchestrator.store.memory_backend import MemoryBackend
from drone_orchestrator.store.region import RegionStore
from drone_orchestrator.store.transactions import Plan

S = SagaStatus


class Patch:
    """Changes to production code, undone when the stack is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def replace(self, owner: Any, name: str, new: Any) -> None:
        """Put ``new`` in place of ``owner.name``; a function must take what the honest one takes."""
        _require_same_call(getattr(owner, name), new, name)
        self._stack.enter_context(mock.patch.object(owner, name, new))

    def around(self, owner: Any, name: str, new: Callable[..., Any]) -> None:
        """Let ``new(honest, …)`` answer calls of ``owner.name(…)``, a function or a method."""
        honest = getattr(owner, name)
        self.replace(owner, name, lambda *args, **kwargs: new(honest, *args, **kwargs))

    def entries(self, table: dict[Any, Any], new: dict[Any, Any]) -> None:
        """Put ``new`` into ``table``."""
        self._stack.enter_context(mock.patch.dict(table, new))


def _require_same_call(honest: Any, new: Any, name: str) -> None:
    """Raise TypeError unless ``new`` can be called as ``honest`` is.

    Otherwise a changed signature would first show as an exception in the middle of a hunt.
    """
    if not (inspect.isfunction(honest) and inspect.isfunction(new)):
        return
    kinds = inspect.Parameter
    parameters = inspect.signature(honest).parameters.values()
    places = [it for it in parameters if it.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    names = [it for it in parameters if it.kind is kinds.KEYWORD_ONLY]
    least = [it for it in places if it.default is kinds.empty]
    for positional, named in (
        (least, [it for it in names if it.default is kinds.empty]),
        (places, names),
    ):
        try:
            inspect.signature(new).bind(*[None] * len(positional), **{it.name: None for it in named})
        except TypeError as error:
            raise TypeError(f"the mutant of {name}{inspect.signature(honest)} takes other arguments: {error}") from None


@dataclass(frozen=True)
class Mutant:
    """A mutant. A catch must show that it breaks ``invariant``, which may be a judge, in a seed of ``profile``.

    ``gross``: customers would notice it within the hour, so few seeds must be enough.
    """

    name: str
    invariant: str
    rule: str
    apply: Callable[[Patch], None]
    profile: Profile = INTENSE
    gross: bool = False

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Break production code inside this context, in this process only."""
        with ExitStack() as stack:
            self.apply(Patch(stack))
            yield


MUTANTS: dict[str, Mutant] = {}


def mutant(
    invariant: str, profile: Profile = INTENSE, *, gross: bool = False
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def register(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        rule = " ".join((apply.__doc__ or "").split())
        MUTANTS[apply.__name__] = Mutant(apply.__name__, invariant, rule, apply, profile, gross)
        return apply

    return register


def _uncompared(patch: Patch, *kinds: Kind) -> None:
    """Let the steps of sagas write keys of these kinds without comparing them."""

    def plan(honest: Callable[..., Plan], change: Any, keys: Any, lease: int = 0) -> Plan:
        made = honest(change, keys, lease)
        return replace(made, expects=tuple(e for e in made.expects if keys.parse(e.key)[0] not in kinds))

    patch.around(region, "plan", plan)


def _unfenced(patch: Patch) -> None:
    """Let a leader's transactions write without comparing the leader key. A campaign still compares it."""

    def apply(honest: Callable[..., Any], backend: MemoryBackend, expects: Sequence[Expect], ops: Any) -> Any:
        if len(expects) > 1:
            found = backend.read([e.key for e in expects]).found
            now = {e.key: found[e.key].mod_revision if e.key in found else 0 for e in expects}
            expects = [e._replace(mod_revision=now[e.key]) if e.key.endswith("/leader") else e for e in expects]
        return honest(backend, expects, ops)

    patch.around(MemoryBackend, "_apply", apply)


def _sent_early(patch: Patch, kind: type[Send]) -> None:
    """Send effects of ``kind`` before the commit that they depend on."""

    def record(honest: Callable[..., list[Effect]], steps: Steps, *args: Any, then: Any = (), **kwargs: Any) -> Any:
        early = [send for send in then if isinstance(send, kind)]
        late = tuple(send for send in then if not isinstance(send, kind))
        return [*early, *honest(steps, *args, then=late, **kwargs)]

    patch.around(Steps, "record", record)


# --- I1 one_drone_per_order -------------------------------------------------------------------------------------------


@mutant("I1")
def leased_reservation_left_to_its_lease(patch: Patch) -> None:
    """An abandoned order does not release its reservation, because the reservation will expire anyway."""

    def release(honest: Any, steps: Steps, saga: Saga) -> Any:
        entry = steps._view.reservation_of(saga)
        return None if entry is not None and entry.value.leased else honest(steps, saga)

    patch.around(Steps, "release", release)


# --- I2 one_order_per_drone -------------------------------------------------------------------------------------------


@mutant("I2")
def drone_free_by_its_own_word(patch: Patch) -> None:
    """The leader waits for a drone that returned with another journal, and meanwhile assigns it other orders. Two
    guards: its order is parked, and a reserved drone gets no other, neither in planning nor in the transaction."""
    _uncompared(patch, Kind.ASSIGNMENT)

    def reconcile(honest: Any, after_loading: AfterLoading, saga: Saga, memory: Any, now: Any) -> Any:
        drone = after_loading._state.drones.get(saga.drone_id or "")
        changed = drone is not None and saga.journal_id not in (None, drone.report.journal_id)
        return [] if changed and not saga.parked else honest(after_loading, saga, memory, now)

    def update_drone(honest: Any, roster: Roster, *args: Any) -> None:
        with mock.patch.object(roster._view, "reservations", {}):
            honest(roster, *args)

    patch.around(AfterLoading, "reconcile", reconcile)
    patch.around(Roster, "_update", update_drone)


# --- I3 nothing_lost --------------------------------------------------------------------------------------------------


@mutant("I3")
def outcome_acknowledged_before_the_commit(patch: Patch) -> None:
    """The leader acknowledges an outcome when it hears it, not when it is on record. If the commit fails, the outcome
    is lost. Two guards: an order that its drone knows nothing of is parked after a while."""
    _sent_early(patch, AcknowledgeOutcome)
    patch.replace(AfterLoading, "_goal_unknown_to_drone", lambda after_loading, saga, memory, now: [])


@mutant("I3")
def acknowledgement_not_repeated(patch: Patch) -> None:
    """The leader publishes an acknowledgement once. If that message is lost, the drone reports its outcome forever. Two
    guards: the acknowledgement is kept while the drone reports the outcome, and each of these reports adds it again."""
    added: WeakKeyDictionary[Acknowledgements, set[AcknowledgeOutcome]] = WeakKeyDictionary()

    def add(honest: Any, book: Acknowledgements, ack: AcknowledgeOutcome) -> bool:
        before = added.setdefault(book, set())
        is_new = ack not in before and honest(book, ack)
        before.add(ack)
        return is_new

    patch.around(Acknowledgements, "add", add)
    patch.around(Acknowledgements, "heard", lambda honest, book, report: honest(book, replace(report, outcomes=())))


@mutant("I3")
def reservation_not_leased(patch: Patch) -> None:
    """A reservation has no lease, so a drone that dies before it loads keeps its order forever."""
    patch.replace(DroneLeases, "take", lambda leases, drones: dict.fromkeys(drones, 0))


@mutant("I3")
def inbox_entry_deleted_first(patch: Patch) -> None:
    """The order leaves the inbox in a separate transaction, before its saga is written."""

    def commit(honest: Any, store: RegionStore, epoch: int, changes: Sequence[Any]) -> list[CommitResult]:
        whole: list[Any] = []
        for change in changes:
            inbox = isinstance(change, Transition) and tuple(c for c in change.consume if c.kind is Kind.INBOX_ORDER)
            if inbox:
                honest(store, epoch, [Discard(change.message_id, inbox)])
                change = replace(change, consume=tuple(c for c in change.consume if c not in inbox))
            whole.append(change)
        return honest(store, epoch, whole)

    patch.around(RegionStore, "commit", commit)


@mutant("I3")
def order_never_looked_at_again(patch: Patch) -> None:
    """Nothing wakes an order: after a failed commit, a pause or a deadline it is never reconciled again."""
    patch.replace(Steps, "schedule", lambda steps, message_id, at_mono_s: None)


@mutant("I3")
def new_leader_adopts_nothing(patch: Patch) -> None:
    """A leader that begins its term waits for news instead of reconciling the orders of its predecessor."""

    def begin_term(honest: Any, dispatcher: Dispatcher, epoch: int, now: Any) -> list[Effect]:
        with mock.patch.object(Dispatcher, "reconcile", lambda *args: []):
            return honest(dispatcher, epoch, now)

    patch.around(Dispatcher, "begin_term", begin_term)


@mutant("I3")
def watch_gap_ignored(patch: Patch) -> None:
    """A watch whose revision is compacted continues from now, without the snapshot that fills the gap."""

    def watch(
        honest: Any, store: RegionStore, after: int, on_change: Any, on_snapshot: Any, *more: Any, **named: Any
    ) -> Any:
        return honest(store, after, on_change, lambda snapshot: None, *more, **named)

    patch.around(RegionStore, "watch", watch)


@mutant("I3")
def own_commit_over_newer_news(patch: Patch) -> None:
    """The leader applies its own commit to its view even if the watch is past it. Records deleted since then come back
    to life in its memory."""

    def apply_commit(honest: Any, view: FleetView, change: Any, revision: int) -> None:
        known, view.revision = view.revision, 0
        honest(view, change, revision)
        view.revision = known

    patch.around(FleetView, "apply_commit", apply_commit)


@mutant("I3")
def ended_order_changed_again(patch: Patch) -> None:
    """An order that FAILED because its drone was lost becomes DELIVERED when the drone returns and reports that."""
    patch.entries(sagas.TRANSITIONS, {(S.FAILED, sagas.DELIVERED): frozenset({S.DELIVERED})})

    def heard(honest: Any, dispatcher: Dispatcher, report: Any, outcome: Any, now: Any) -> list[Effect]:
        saga = dispatcher._view.saga_of(outcome.message_id, outcome.attempt)
        term = dispatcher._state.current_term
        late = saga is not None and saga.status is S.FAILED and outcome.outcome is Outcome.DELIVERED
        if late and not term.of(outcome.message_id).busy:
            return dispatcher._steps.record(dispatcher._steps.event(saga, sagas.DELIVERED, S.DELIVERED, now))
        return honest(dispatcher, report, outcome, now)

    patch.around(Dispatcher, "_outcome_heard", heard)


@mutant("I3")
def retired_before_the_end(patch: Patch) -> None:
    """The retention retires every order that is old enough, even if it has not ended."""

    def saga_changed(honest: Any, retention: Retention, message_id: str, now: Any) -> None:
        honest(retention, message_id, now)
        entry = retention._view.sagas.get(message_id)
        if retention._epoch and entry is not None and not entry.value.status.is_terminal:
            heapq.heappush(retention._ended, (-1e9, message_id, entry.mod_revision))

    patch.around(Retention, "saga_changed", saga_changed)


@mutant("I3")
def retired_without_archive(patch: Patch) -> None:
    """Ended orders are deleted before the archive has confirmed them."""

    def tick(honest: Any, retention: Retention, now: Any) -> list[Effect]:
        effects = honest(retention, now)
        return [
            each for e in effects for each in (retention.archived(Archived(e), now) if isinstance(e, Archive) else [e])
        ]

    patch.around(Retention, "tick", tick)


@mutant("I3")
def cancel_forgotten(patch: Patch) -> None:
    """A cancel request is removed from the inbox like an unreadable one, and has no effect."""

    def is_corrupt(honest: Any, view: FleetView, id_: str, kinds: tuple[Kind, ...] = ()) -> bool:
        unread = Kind.INBOX_CANCEL in kinds and id_ in view.cancels
        return unread or bool(honest(view, id_, kinds) if kinds else honest(view, id_))

    patch.replace(FleetView, "cancel_of", lambda view, message_id: None)
    patch.around(FleetView, "is_corrupt", is_corrupt)


# --- I4 fenced --------------------------------------------------------------------------------------------------------


@mutant("I4")
def leader_not_fenced(patch: Patch) -> None:
    """A leader's transaction does not compare the leader key with its epoch, so a deposed leader keeps writing."""
    _unfenced(patch)


@mutant("I4")
def leader_stays_beyond_its_lease(patch: Patch) -> None:
    """A leader does not step down when its lease may have expired. Two guards: every write is fenced as well."""
    _unfenced(patch)
    patch.replace(Election, "expire", lambda election, now: [])


@mutant("I4")
def drone_obeys_any_epoch(patch: Patch) -> None:
    """A drone does not compare the epoch of a goal or clearance with the highest one that it has seen."""

    def refusal(honest: Any, event: Any, durable: Any, *args: Any) -> Any:
        return honest(replace(event, epoch=max(event.epoch, durable.highest_epoch)), durable, *args)

    def answered(honest: Any, machine: DroneMachine, event: Any, now: Any) -> None:
        durable = machine._durable
        machine._durable = replace(durable, highest_epoch=0)
        honest(machine, event, now)
        machine._durable = replace(machine._durable, highest_epoch=max(durable.highest_epoch, event.epoch))

    patch.around(machine_module, "refusal_of", refusal)
    patch.around(DroneMachine, "_clearance_answered", answered)


# --- I5 picked_once ---------------------------------------------------------------------------------------------------


@mutant("I5")
def clearance_before_the_commit(patch: Patch) -> None:
    """The leader grants clearance before LOADING is committed. If the commit fails, the drone loads all the same."""
    _sent_early(patch, AnswerClearance)


@mutant("I5")
def loading_leaves_the_reservation_leased(patch: Patch) -> None:
    """LOADING neither compares the reservation nor makes it firm, so it may expire with the package on board."""

    def record(honest: Any, steps: Steps, event: Any, reservation: Any = None, *args: Any, **kwargs: Any) -> Any:
        return honest(steps, event, None if event.type == sagas.CLEARED else reservation, *args, **kwargs)

    patch.around(Steps, "record", record)


@mutant("I5")
def silent_drone_gives_up_its_package(patch: Patch) -> None:
    """An order past LOADING goes to another drone when its drone was not heard for the grace period."""

    def silent(honest: Any, after_loading: AfterLoading, saga: Saga, memory: Any, drone: Any, now: Any) -> list[Effect]:
        effects = honest(after_loading, saga, memory, drone, now)
        if not any(isinstance(effect, Commit) for effect in effects):
            return effects
        return after_loading._steps.complete_compensation(*_abandoned(after_loading, saga, now))

    patch.around(AfterLoading, "_silent", silent)


@mutant("I5")
def another_journal_counts_as_not_loaded(patch: Patch) -> None:
    """The leader assumes that a drone which returned with another journal has not loaded."""

    def reconcile(honest: Any, after_loading: AfterLoading, saga: Saga, memory: Any, now: Any) -> Any:
        drone = after_loading._state.drones.get(saga.drone_id or "")
        changed = drone is not None and saga.journal_id not in (None, drone.report.journal_id)
        if drone is None or not changed or after_loading._state.is_silent(drone, now) or saga.parked:
            return honest(after_loading, saga, memory, now)
        return after_loading._steps.complete_compensation(*_abandoned(after_loading, saga, now))

    patch.around(AfterLoading, "reconcile", reconcile)


def _abandoned(after_loading: AfterLoading, saga: Saga, now: Any) -> tuple[Any, ...]:
    """Return the arguments that compensate ``saga`` at once, whatever its status."""
    if saga.status is S.COMPENSATING:
        return saga, now
    event = after_loading._steps.abandoned(saga, "believed_not_loaded", S.PENDING, now)
    return sagas.apply(saga, event), now, (), (event,)


@mutant("I5")
def journal_after_the_act(patch: Patch) -> None:
    """A drone acts first and writes its journal afterwards. If it dies in between, it does not know what it did."""

    def step(honest: Any, machine: DroneMachine, event: Any, now: Any) -> list[DroneEffect]:
        return sorted(honest(machine, event, now), key=lambda effect: isinstance(effect, WriteJournal))

    patch.around(DroneMachine, "step", step)


@mutant("I5")
def journal_entry_not_on_disk(patch: Patch) -> None:
    """A journal entry counts as written while it waits for the next one. A crash loses it without a trace."""

    def append(honest: Any, journal: DroneJournal, entry: Any) -> None:
        waiting, journal.waiting = getattr(journal, "waiting", None), entry
        if waiting is not None:
            honest(journal, waiting)

    patch.around(DroneJournal, "append", append)


@mutant("I5")
def fault_closes_a_cleared_goal(patch: Patch) -> None:
    """A grounded drone reports a fault before loading, although it was cleared and may have loaded."""

    def ground(honest: Any, machine: DroneMachine, reason: str, now: Any) -> None:
        goal = machine._durable.goal
        if goal is not None and goal.cleared:
            machine._close(Outcome.FAULT_BEFORE_LOADING, reason, now)
        honest(machine, reason, now)

    patch.around(DroneMachine, "_ground", ground)


@mutant("I5")
def loads_without_clearance(patch: Patch) -> None:
    """A drone at the pickup does not wait for clearance."""

    def ask(honest: Any, machine: DroneMachine, now: Any) -> None:
        goal = machine._durable.goal
        if machine._phase is Phase.AWAITING_CLEARANCE and goal is not None:
            machine._write(Cleared(*goal.key, machine._durable.highest_epoch))
            machine._become(Phase.LOADING)
            machine._act(Load(goal.order.package_weight_kg))
        honest(machine, now)

    patch.around(DroneMachine, "_ask_when_due", ask)


@mutant("I5")
def clearance_for_any_goal(patch: Patch) -> None:
    """A drone accepts a clearance for any order, attempt and journal. Three guards: with only one left out, an old
    answer hardly ever matches."""

    def answered(honest: Any, machine: DroneMachine, event: Any, now: Any) -> None:
        goal = machine._durable.goal
        if goal is not None and event.verdict is Verdict.GRANTED:
            event = replace(event, message_id=goal.message_id, attempt=goal.attempt, journal_id=machine._journal_id)
        honest(machine, event, now)

    patch.around(DroneMachine, "_clearance_answered", answered)


@mutant("I5")
def unknown_fate_taken_as_success(patch: Patch) -> None:
    """A commit that was not answered counts as committed."""

    def resolve(honest: Any, store: RegionStore, epoch: int, batch: Any) -> list[CommitResult]:
        guess = CommitResult(Fate.SUCCEEDED, store._driver._backend.revision)
        return [guess if result.fate is Fate.UNKNOWN else result for result in honest(store, epoch, batch)]

    patch.around(RegionStore, "_resolve", resolve)


# --- I6 replayable ----------------------------------------------------------------------------------------------------


@mutant("I6")
def event_left_out(patch: Patch) -> None:
    """The saga's new state is stored without the event that led to it."""

    def plan(honest: Any, change: Any, keys: Any, lease: int = 0) -> Plan:
        made = honest(change, keys, lease)
        if not isinstance(change, Transition) or change.events[-1].type != sagas.LOADED:
            return made
        return replace(made, ops=tuple(op for op in made.ops if op != made.proof))

    patch.around(region, "plan", plan)


@mutant("I6")
def unknown_fate_repeated_without_compare(patch: Patch) -> None:
    """A commit of unknown fate counts as failed and is repeated. Two guards: the transaction compares the saga's
    revision, and requires that no event has that number."""
    _uncompared(patch, Kind.SAGA, Kind.EVENT)


@mutant("I6")
def state_changed_beside_its_events(patch: Patch) -> None:
    """The pause before the next attempt is shortened in the stored state, not by an event."""

    def build(honest: Any, *args: Any) -> Transition:
        made = honest(*args)
        return replace(made, saga=replace(made.saga, not_before=0.0))

    patch.around(steps_module, "build_transition", build)


# --- I7 idempotent ----------------------------------------------------------------------------------------------------


@mutant("I7")
def order_id_alone_is_compared(patch: Patch) -> None:
    """An order with a known order id counts as a repetition, whatever its message id and payload."""

    def submit(honest: Any, store: RegionStore, order: Any) -> Submitted:
        return replace(honest(store, order), conflict="")

    patch.around(RegionStore, "submit", submit)


@mutant("I7")
def payload_not_compared(patch: Patch) -> None:
    """An order with a known message id counts as a repetition, whatever its payload."""

    def submit(honest: Any, store: RegionStore, order: Any) -> Submitted:
        answer = honest(store, order)
        return replace(answer, conflict="") if answer.conflict == "message_id" else answer

    patch.around(RegionStore, "submit", submit)


@mutant("I7")
def repetition_new_after_the_inbox(patch: Patch) -> None:
    """A repeated message counts as new once its order has left the inbox. Two guards: the transaction requires that no
    saga has that message id, and that no order has that order id."""

    def create(honest: Any, store: RegionStore, expects: Sequence[Expect], ops: Any) -> Any:
        index = next((op for op in ops if store.keys.parse(op.key)[0] is Kind.ORDER_INDEX), None)
        known = index and store._driver._backend.read((index.key,)).found.get(index.key)
        if known is not None and known.value == index.value:
            expects = [e for e in expects if store.keys.parse(e.key)[0] is Kind.INBOX_ORDER]
        return honest(store, expects, ops)

    patch.around(RegionStore, "_create", create)


@mutant("I7")
def order_id_free_at_the_end(patch: Patch) -> None:
    """An order frees its order id when it ends, not when it is retired."""

    def plan(honest: Any, change: Any, keys: Any, lease: int = 0) -> Plan:
        made = honest(change, keys, lease)
        if not isinstance(change, Transition) or not change.saga.status.is_terminal:
            return made
        return replace(made, ops=(*made.ops, Delete(keys.order_index(change.saga.order_id))))

    patch.around(region, "plan", plan)


@mutant("I7")
def age_by_the_wall_clock(patch: Patch) -> None:
    """The leader measures how long ago an order ended by its wall clock."""
    patch.replace(LedClock, "total_s", lambda clock, now: now.wall_s)


# --- J1 justified_end -------------------------------------------------------------------------------------------------


@mutant("J1")
def silence_before_the_term_counts(patch: Patch) -> None:
    """A new leader counts the time in which it did not hear a drone as a standby, although its predecessor did."""

    def silent(honest: Any, after: AfterLoading, saga: Saga, memory: Any, *args: Any) -> list[Effect]:
        memory.seen = (saga.event_count, float("-inf"))
        return list(honest(after, saga, memory, *args))

    patch.around(AfterLoading, "_silent", silent)


# --- J4 fair_breaker --------------------------------------------------------------------------------------------------


@mutant("J4")
def every_refusal_counts(patch: Patch) -> None:
    """Every refusal of a goal counts for the drone's breaker, whatever its cause."""
    patch.replace(Blame, "refused", lambda blame, *args: Culprit.DRONE)


@mutant("J4")
def deafness_is_charged(patch: Patch) -> None:
    """A leader that no drone answers, or that hears most of them no more, opens their breakers."""

    def silent(honest: Any, blame: Blame, drone_id: str, now: Any) -> Culprit:
        drone = blame._state.drones.get(drone_id)
        is_heard = drone is not None and not blame._state.is_silent(drone, now)
        return Culprit.SYSTEM if is_heard else Culprit.DRONE

    patch.around(Blame, "silent", silent)
    patch.replace(Blame, "unanswered", lambda blame, *args: Culprit.DRONE)


# --- J5 park_with_cause -----------------------------------------------------------------------------------------------


@mutant("J5", gross=True)
def parked_when_cleared(patch: Patch) -> None:
    """Every order is parked as soon as its drone is cleared to load."""

    def reconcile(honest: Any, after: AfterLoading, saga: Saga, memory: Any, now: Any) -> list[Effect]:
        if saga.status is S.LOADING:
            return list(after._steps.park(saga, "drone_grounded_with_package", now))
        return list(honest(after, saga, memory, now))

    patch.around(AfterLoading, "reconcile", reconcile)


# --- whose messages they are ------------------------------------------------------------------------------------------


@mutant("I3")
def foreign_leaders_believed(patch: Patch) -> None:
    """A drone believes the epoch of another fleet's leader, and then refuses its own forever."""
    patch.replace(DroneMachine, "is_foreign", lambda machine, fleet_id: False)


# --- J2 cancel_honoured -----------------------------------------------------------------------------------------------


@mutant("J2")
def recalls_never_arrive(patch: Patch) -> None:
    """No recall reaches a drone."""
    patch.replace(SimulatedReplica, "recall", lambda replica, effect: None)


@mutant("J2")
def cancel_ignored_from_loading_on(patch: Patch) -> None:
    """A leader does not look for requests to cancel once a drone is cleared to load."""

    def reconcile(honest: Any, after: AfterLoading, saga: Saga, *args: Any) -> list[Effect]:
        if saga.status is S.COMPENSATING:
            return list(honest(after, saga, *args))
        with mock.patch.object(FleetView, "cancel_of", lambda view, message_id: None):
            return list(honest(after, saga, *args))

    patch.around(AfterLoading, "reconcile", reconcile)


# --- J7 goodput -------------------------------------------------------------------------------------------------------


@mutant("J7", CALM, gross=True)
def fails_at_first_sight(patch: Patch) -> None:
    """Every order fails the first time that the leader examines it, with a reason."""

    def end(honest: Any, before: BeforeLoading, saga: Saga, memory: Any, now: Any) -> SagaEvent:
        return before._steps.event(saga, sagas.FAILED, S.FAILED, now, reason="no_capable_drone")

    patch.around(BeforeLoading, "_end_of_waiting", end)


# --- J8 office_held_usefully ------------------------------------------------------------------------------------------


@mutant("J8", OFFICE)
def useless_leader_stays(patch: Patch) -> None:
    """A leader holds the office as long as its lease is renewed, whatever it perceives."""
    patch.replace(Usefulness, "judge", lambda usefulness, senses, now, *, others_can=True: ("", False))


@mutant("J8", OFFICE)
def deaf_leader_stays(patch: Patch) -> None:
    """A leader that hears no drone takes that for the drones' fault, and holds the office."""
    diagnose = Usefulness._diagnose

    def hears(usefulness: Usefulness, senses: LeaderSenses, now: Any) -> Any:
        return diagnose(usefulness, replace(senses, hears=True), now)

    patch.replace(Usefulness, "_diagnose", hears)


# --- J3 bounded_stay --------------------------------------------------------------------------------------------------


@mutant("J3", STUCK)
def no_bound_beside_a_drone(patch: Patch) -> None:
    """An order waits beside a drone that is heard and has its goal for as long as the drone reports the same phase."""
    patch.replace(Stays, "is_over", lambda stays, saga, memory, report, now: False)


@mutant("J3", STUCK)
def stalled_drone_gets_the_next_order(patch: Patch) -> None:
    """A drone that did not get on with an order is not benched, so it gets the same one again."""

    def bench(honest: Any, blame: Blame, drone_id: str, now: Any, pause_s: float | None = None) -> None:
        if pause_s is None:
            honest(blame, drone_id, now)

    patch.around(Blame, "_bench", bench)
