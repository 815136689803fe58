"""More mutants: rules of the leader, the drone, the store and the driver, one after the other.

Importing this module adds them to :data:`mutants.MUTANTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from mutants import Patch, mutant

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Fate, Transition
from drone_orchestrator.core.drone.machine import DroneMachine
from drone_orchestrator.core.leader import steps as steps_module
from drone_orchestrator.core.leader.after_loading import AfterLoading
from drone_orchestrator.core.leader.before_loading import BeforeLoading
from drone_orchestrator.core.leader.dispatch import Dispatcher
from drone_orchestrator.core.leader.election import Election
from drone_orchestrator.core.leader.retention import Retention
from drone_orchestrator.core.leader.steps import Steps
from drone_orchestrator.core.types import DroneReport, Kind, Outcome, Phase, Saga, SagaStatus
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.runtime.acknowledgements import Acknowledgements
from drone_orchestrator.runtime.driver import Driver
from drone_orchestrator.simulation.profile import CALM
from drone_orchestrator.store.region import RegionStore

S = SagaStatus
FOREVER = float("inf")


def _no_cancel(patch: Patch, owner: Any, name: str) -> None:
    """Let ``owner.name`` see no request to cancel."""

    def blind(honest: Any, *args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(FleetView, "cancel_of", lambda view, message_id: None):
            return honest(*args, **kwargs)

    patch.around(owner, name, blind)


def _settled_as(patch: Patch, seen: Outcome, taken: Outcome) -> None:
    """Let the leader take one outcome for another."""

    def outcome_of(honest: Any, report: DroneReport, saga: Saga) -> Any:
        outcome = honest(report, saga)
        return replace(outcome, outcome=taken) if outcome is not None and outcome.outcome is seen else outcome

    patch.around(DroneReport, "outcome_of", outcome_of)


# --- the leader, before loading ---------------------------------------------------------------------------------------


@mutant("J1", gross=True)
def deadlines_ignored(patch: Patch) -> None:
    """No order is ever late."""
    patch.replace(BeforeLoading, "_is_late", lambda before, saga, now: False)


@mutant("J1")
def deadline_a_minute_early(patch: Patch) -> None:
    """An order with a deadline is late a minute before it."""

    def is_late(before: BeforeLoading, saga: Saga, now: Any) -> bool:
        left_s = before._deadlines.left_s(saga.order, saga, now)
        return left_s is not None and left_s <= 60.0

    patch.replace(BeforeLoading, "_is_late", is_late)


@mutant("J1")
def fails_after_one_attempt(patch: Patch) -> None:
    """An order fails when its first attempt was undone, as if all attempts had been made."""

    def end(honest: Any, before: BeforeLoading, saga: Saga, memory: Any, now: Any) -> Any:
        if saga.attempt:
            return before._steps.event(saga, sagas.FAILED, S.FAILED, now, reason="attempts_exhausted")
        return honest(before, saga, memory, now)

    patch.around(BeforeLoading, "_end_of_waiting", end)


@mutant("J1")
def first_class_speaks_for_the_fleet(patch: Patch) -> None:
    """An order that the first class of drones cannot fly fails, although another class can."""

    def end(honest: Any, before: BeforeLoading, saga: Saga, memory: Any, now: Any) -> Any:
        fleet = before._fleet
        before._fleet = replace(fleet, classes=fleet.classes[:1])
        try:
            return honest(before, saga, memory, now)
        finally:
            before._fleet = fleet

    patch.around(BeforeLoading, "_end_of_waiting", end)


@mutant("J7", CALM, gross=True)
def reservations_never_kept(patch: Patch) -> None:
    """The leader does not renew the leases of reservations, although it hears their drones."""
    patch.replace(Dispatcher, "_keep_reservation", lambda dispatcher, drone, now: [])


@mutant("J2")
def cancel_ignored_while_waiting(patch: Patch) -> None:
    """A waiting order is not cancelled."""
    _no_cancel(patch, BeforeLoading, "_end_of_waiting")


@mutant("J2")
def cancel_ignored_before_loading(patch: Patch) -> None:
    """An order whose drone is not cleared yet is not cancelled. It may be later, if its drone is recalled in time."""
    _no_cancel(patch, BeforeLoading, "_end_of_waiting")
    _no_cancel(patch, BeforeLoading, "reconcile")


@mutant("J3")
def waiting_orders_not_planned(patch: Patch) -> None:
    """An order whose attempt was undone looks for no other drone."""
    patch.around(
        BeforeLoading,
        "_seek_drone",
        lambda honest, before, order, begun, **lane: None if begun else honest(before, order, begun=begun, **lane),
    )


# --- the leader, after loading ----------------------------------------------------------------------------------------


@mutant("J1", gross=True)
def lost_at_once(patch: Patch) -> None:
    """An order fails as soon as its drone is silent, without any grace."""

    def silent(honest: Any, after: AfterLoading, saga: Saga, *args: Any) -> Any:
        policy = after._state.policy
        after._state.policy = replace(policy, lost_grace_s=0.0)
        try:
            return honest(after, saga, *args)
        finally:
            after._state.policy = policy

    patch.around(AfterLoading, "_silent", silent)


@mutant("J1")
def grounded_counts_as_lost(patch: Patch) -> None:
    """An order fails as lost when its drone is grounded, although the drone is heard."""

    def grounded(after: AfterLoading, saga: Saga, memory: Any, now: Any) -> Any:
        step = after._steps.event(saga, sagas.FAILED, S.FAILED, now, reason="drone_lost_with_package")
        return after._steps.record(step, after._steps.release(saga))

    patch.replace(AfterLoading, "_grounded", grounded)


@mutant("J5")
def parked_at_the_first_grounding(patch: Patch) -> None:
    """An order is parked as soon as its drone is grounded, without any grace."""
    patch.replace(
        AfterLoading,
        "_grounded",
        lambda after, saga, memory, now: after._steps.park(saga, "drone_grounded_with_package", now),
    )


@mutant("J5")
def silence_counts_as_a_lost_journal(patch: Patch) -> None:
    """The order of a silent drone is parked, as if the drone had come back with another journal."""
    patch.replace(
        AfterLoading,
        "_silent",
        lambda after, saga, memory, drone, now: after._steps.park(saga, "journal_lost_with_package", now, release=True),
    )


@mutant("J5")
def every_return_counts_as_missing(patch: Patch) -> None:
    """A drone that has yet to bring a package back is taken to miss it."""

    def recall(after: AfterLoading, saga: Saga, memory: Any, report: Any, now: Any) -> Any:
        return after._steps.park(saga, "package_missing", now, release=True)

    patch.replace(AfterLoading, "_send_recall", recall)


@mutant("J5", CALM)
def parked_at_the_first_recall(patch: Patch) -> None:
    """An order is parked if its drone has not obeyed the first recall by the next report."""

    def recall(honest: Any, after: AfterLoading, saga: Saga, memory: Any, report: DroneReport, now: Any) -> Any:
        if report.carries(saga) and report.phase not in (Phase.BRINGING_BACK, Phase.DROPPING):
            return after._steps.park(saga, "recall_not_obeyed", now)
        return honest(after, saga, memory, report, now)

    patch.around(AfterLoading, "_send_recall", recall)


@mutant("I5")
def delivered_by_its_phase(patch: Patch) -> None:
    """An order counts as delivered when its drone begins to drop the package."""

    def reconcile(honest: Any, after: AfterLoading, saga: Saga, memory: Any, now: Any) -> Any:
        drone = after._state.drones.get(saga.drone_id or "")
        if drone is not None and drone.report.carries(saga) and drone.report.phase is Phase.DROPPING:
            step = after._steps.event(saga, sagas.DELIVERED, S.DELIVERED, now)
            return after._steps.record(step, after._steps.release(saga))
        return honest(after, saga, memory, now)

    patch.around(AfterLoading, "reconcile", reconcile)


@mutant("I5")
def recall_counts_as_obeyed(patch: Patch) -> None:
    """A recalled order counts as undone when the recall is sent, not when the drone reports that."""
    patch.replace(
        AfterLoading,
        "_send_recall",
        lambda after, saga, memory, report, now: after._steps.complete_compensation(saga, now),
    )


@mutant("I5")
def returned_counts_as_delivered(patch: Patch) -> None:
    """The leader takes the outcome RETURNED for DELIVERED."""
    _settled_as(patch, Outcome.RETURNED, Outcome.DELIVERED)


@mutant("I5")
def missing_counts_as_returned(patch: Patch) -> None:
    """The leader takes the outcome PACKAGE_MISSING for RETURNED."""
    _settled_as(patch, Outcome.PACKAGE_MISSING, Outcome.RETURNED)


@mutant("I3")
def delivered_order_keeps_its_drone(patch: Patch) -> None:
    """A delivered order does not release its drone."""

    def record(honest: Any, steps: Steps, event: Any, reservation: Any = None, *args: Any, **kwargs: Any) -> Any:
        return honest(steps, event, None if event.type == sagas.DELIVERED else reservation, *args, **kwargs)

    patch.around(Steps, "record", record)


@mutant("I3")
def operator_not_heard(patch: Patch) -> None:
    """A person's decision about a parked order is ignored."""
    patch.replace(AfterLoading, "_obey", lambda after, saga, command, drone, now: [])


@mutant("I3")
def outcome_of_an_old_attempt_not_acknowledged(patch: Patch) -> None:
    """The leader acknowledges the outcome of the present attempt only. A drone reports an older one forever."""

    def heard(honest: Any, dispatcher: Dispatcher, report: Any, outcome: Any, now: Any) -> Any:
        return (
            [] if dispatcher._is_past(outcome.message_id, outcome.attempt) else honest(dispatcher, report, outcome, now)
        )

    patch.around(Dispatcher, "_outcome_heard", heard)


# --- the leader's loop ------------------------------------------------------------------------------------------------


@mutant("I3")
def store_never_tried_again(patch: Patch) -> None:
    """Once the store was away, a leader sends no more commits."""

    def away(honest: Any, dispatcher: Dispatcher, term: Any, now: Any) -> Any:
        effects = honest(dispatcher, term, now)
        term.store_retry_at_s = FOREVER
        return effects

    patch.around(Dispatcher, "_store_away", away)


@mutant("I5")
def effects_of_a_failed_commit(patch: Patch) -> None:
    """The effects that depend on a commit are carried out whatever its fate is."""

    def done(honest: Any, dispatcher: Dispatcher, event: Any, now: Any) -> Any:
        effects = honest(dispatcher, event, now)
        return effects if event.fate is Fate.SUCCEEDED else [*event.commit.then, *effects]

    patch.around(Dispatcher, "commit_done", done)


@mutant("I3")
def requests_of_ended_orders_stay(patch: Patch) -> None:
    """A request about an order that has ended stays in the inbox."""

    def build(honest: Any, *args: Any, **kwargs: Any) -> Transition:
        made = honest(*args, **kwargs)
        return replace(made, consume=tuple(c for c in made.consume if c.kind is Kind.INBOX_ORDER))

    patch.around(steps_module, "build_transition", build)
    patch.replace(Steps, "discard", lambda steps, message_id, kinds=(): [])


@mutant("I3")
def inbox_entry_left_behind(patch: Patch) -> None:
    """The transaction that begins a saga does not delete the inbox entry."""

    def build(honest: Any, *args: Any, **kwargs: Any) -> Transition:
        made = honest(*args, **kwargs)
        return replace(made, consume=tuple(c for c in made.consume if c.kind is not Kind.INBOX_ORDER))

    patch.around(steps_module, "build_transition", build)


@mutant("I3")
def deposed_leader_never_campaigns(patch: Patch) -> None:
    """A replica that has stepped down does not campaign again."""

    def step_down(honest: Any, election: Election, reason: str, now: Any) -> Any:
        effects = honest(election, reason, now)
        election._try_at_s = FOREVER
        return effects

    def tick(honest: Any, election: Election, *args: Any, **named: Any) -> Any:
        return [] if election._try_at_s == FOREVER else honest(election, *args, **named)

    patch.around(Election, "step_down", step_down)
    patch.around(Election, "tick", tick)


@mutant("I7")
def retired_at_once(patch: Patch) -> None:
    """Ended orders leave the store at once, so a repeated message counts as a new order."""
    patch.replace(Retention, "_due_in_s", lambda retention, now: 0.0)


# --- the drone --------------------------------------------------------------------------------------------------------


@mutant("I5")
def first_reading_after_a_restart_counts(patch: Patch) -> None:
    """A drone acts on its first reading after a restart, which is about an older target."""

    def sensed(honest: Any, machine: DroneMachine, event: Any, now: Any) -> None:
        first = machine._phase is Phase.UNSPECIFIED
        honest(machine, event, now)
        if first and machine._phase is not Phase.GROUNDED and not event.fault:
            machine._advance(now)

    patch.around(DroneMachine, "_flight_sensed", sensed)


@mutant("I5")
def delivered_before_the_bay_is_empty(patch: Patch) -> None:
    """A drone reports DELIVERED when it commands the drop, not when its bay is empty."""

    def act(honest: Any, machine: DroneMachine, goal: Any, now: Any) -> None:
        dropping = machine._phase is Phase.TO_DESTINATION
        honest(machine, goal, now)
        if dropping:
            machine._close(Outcome.DELIVERED, "", now)
            machine._fly_home()

    patch.around(DroneMachine, "_act_at_target", act)


@mutant("I5")
def restart_reports_delivered(patch: Patch) -> None:
    """A drone that finds its bay empty after a restart reports DELIVERED."""

    def empty(machine: DroneMachine, goal: Any, now: Any) -> None:
        machine._close(Outcome.DELIVERED, "", now)
        machine._fly_home()

    patch.replace(DroneMachine, "_take_stock_empty", empty)


@mutant("I5")
def dropped_without_a_look(patch: Patch) -> None:
    """A drone that drops reports DELIVERED with the next reading, whatever its sensor shows."""

    def advance(honest: Any, machine: DroneMachine, now: Any) -> None:
        if machine._phase is Phase.DROPPING:
            machine._close(Outcome.DELIVERED, "", now)
            machine._fly_home()
            return
        honest(machine, now)

    patch.around(DroneMachine, "_advance", advance)


# --- store and driver -------------------------------------------------------------------------------------------------


@mutant("I3")
def fate_of_a_failed_commit_not_told(patch: Patch) -> None:
    """The driver tells the core of commits that succeeded only."""

    def write(honest: Any, driver: Driver, epoch: int, group: Any) -> Any:
        return [done for done in honest(driver, epoch, group) if done.fate is Fate.SUCCEEDED]

    patch.around(Driver, "_write_group", write)


@mutant("I7")
def order_id_not_taken(patch: Patch) -> None:
    """Intake compares the message id only, so two orders may have the same order id."""

    def create(honest: Any, store: RegionStore, expects: Sequence[Any], ops: Any) -> Any:
        return honest(store, [e for e in expects if store.keys.parse(e.key)[0] is not Kind.ORDER_INDEX], ops)

    patch.around(RegionStore, "_create", create)


@mutant("I3")
def deletions_not_followed(patch: Patch) -> None:
    """The leader does not follow deletions of reservations that it did not make itself."""

    def put(honest: Any, view: FleetView, entry: Any) -> bool:
        return False if entry.kind is Kind.ASSIGNMENT and entry.value is None else bool(honest(view, entry))

    patch.around(FleetView, "_put", put)


@mutant("I3")
def acknowledgement_dropped_at_once(patch: Patch) -> None:
    """The leader takes back an acknowledgement with the drone's next report, whether or not the drone has seen it, and
    does not make it again."""
    patch.around(Acknowledgements, "of", lambda honest, book, drone_id: ())
