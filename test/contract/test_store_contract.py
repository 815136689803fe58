"""The contract of every store, sentence by sentence. Each test runs in memory and against a real etcd."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import BreakerChange, Consume, Discard, Fate, MakeFirm, Release
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    CommandAction,
    Corrupt,
    Kind,
    OperatorCommand,
    SagaEvent,
    SagaStatus,
)
from drone_orchestrator.runtime.driver import FULL_GROUP
from drone_orchestrator.store import CorruptRecord

S = SagaStatus


# --- intake ----------------------------------------------------------------------------------------------------------


def test_an_accepted_order_is_in_the_inbox_and_in_the_index(store, make):
    order = make.order()
    answer = store.submit(order)
    assert (answer.message_id, answer.created, answer.conflict) == (order.message_id, True, "")
    snapshot = store.snapshot()
    assert make.entry_of(snapshot, Kind.INBOX_ORDER, order.message_id).value == order
    assert make.entry_of(snapshot, Kind.ORDER_INDEX, order.order_id).value == order.message_id


def test_a_repeated_order_is_recognised_at_any_time_and_with_any_trace(store, make):
    order = make.order()
    store.submit(order)
    again = store.submit(replace(order, submitted_at=9.0, trace_context="other"))
    assert (again.created, again.conflict) == (False, "")


def test_a_repeated_order_is_recognised_after_it_became_a_saga(store, make, epoch):
    order = make.order()
    store.submit(order)
    inbox = make.entry_of(store.snapshot(), Kind.INBOX_ORDER, order.message_id)
    [result] = store.commit(epoch, [make.accepting(order, epoch, inbox.mod_revision)])
    assert result.fate is Fate.SUCCEEDED
    again = store.submit(replace(order, submitted_at=9.0))
    assert (again.created, again.conflict) == (False, "")
    assert make.entry_of(store.snapshot(), Kind.INBOX_ORDER, order.message_id) is None
    assert store.submit(replace(order, package_weight_kg=9.0)).conflict == "message_id"


def test_a_message_id_reused_for_another_order_is_a_conflict(store, make):
    order = make.order()
    store.submit(order)
    answer = store.submit(replace(order, package_weight_kg=9.0))
    assert (answer.created, answer.conflict) == (False, "message_id")


def test_an_order_id_taken_by_another_message_is_a_conflict(store, make):
    order = make.order()
    store.submit(order)
    answer = store.submit(replace(order, message_id="another"))
    assert (answer.created, answer.conflict) == (False, "order_id")
    assert store.find("another") is None


def test_one_of_many_simultaneous_submissions_creates_the_order(twin, make):
    order = make.order()
    stores = [twin.store(f"client{i}") for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: stores[i % 4].submit(order), range(24)))
    assert sum(answer.created for answer in answers) == 1
    assert {answer.conflict for answer in answers} == {""}


def test_orders_submitted_together_get_the_same_answers_as_alone(store, make, epoch):
    known, begun = make.order(), make.order()
    store.submit(known)
    store.commit(epoch, [make.accepting(begun, epoch)])
    fresh = [make.order() for _ in range(90)]
    other = make.order(message_id=known.message_id)
    rival = make.order(order_id=fresh[0].order_id)
    orders = [*fresh[:30], known, other, *fresh[30:], begun, rival, fresh[5]]
    answers = dict(zip(range(len(orders)), store.submit_all(orders), strict=True))
    created = [orders[index] for index, answer in answers.items() if answer.created]
    assert created == fresh
    assert [(a.message_id, a.conflict) for a in answers.values() if not a.created] == [
        (known.message_id, ""),
        (known.message_id, "message_id"),
        (begun.message_id, ""),
        (rival.message_id, "order_id"),
        (fresh[5].message_id, ""),
    ]
    assert all(store.find(order.message_id).order == order for order in fresh)
    assert store.submit_all([]) == []


def test_a_cancel_request_is_stored_once(store, make):
    order = make.order()
    store.submit(order)
    assert store.request_cancel(CancelRequest(order.message_id, 5.0))
    assert not store.request_cancel(CancelRequest(order.message_id, 6.0))
    assert store.find(order.message_id).cancel_requested


def test_a_person_s_command_is_put_once_and_again_after_it_was_consumed(store, make, epoch):
    command = OperatorCommand(make.order().message_id, CommandAction.RETURNED, 5.0, "ops")
    assert store.request_command(command)
    assert not store.request_command(replace(command, action=CommandAction.LOST))
    entry = make.entry_of(store.snapshot(), Kind.INBOX_COMMAND, command.message_id)
    assert entry.value == command
    store.commit(epoch, [Discard(entry.id, (Consume(entry.kind, entry.id, entry.mod_revision),))])
    assert store.request_command(replace(command, action=CommandAction.LOST))


def test_an_id_that_cannot_be_a_key_is_refused(store, make):
    with pytest.raises(ValueError, match="'/'"):
        store.submit(make.order(message_id="a/b"))


# --- reading ---------------------------------------------------------------------------------------------------------


def test_an_order_is_found_by_either_id(store, make, epoch):
    waiting, running = make.order(), make.order()
    store.submit(waiting)
    store.commit(epoch, [make.accepting(running, epoch)])
    for id_ in (waiting.message_id, waiting.order_id):
        view = store.find(id_)
        assert (view.order, view.saga, view.cancel_requested) == (waiting, None, False)
    view = store.find(running.message_id)
    assert (view.order, view.saga.status) == (running, S.PENDING)
    assert view.revision == make.entry_of(store.snapshot(), Kind.SAGA, running.message_id).mod_revision


def test_an_order_is_found_by_its_message_id_in_upper_case(store, make, epoch):
    waiting, running = (make.order(message_id=str(uuid.uuid4())) for _ in range(2))
    store.submit(waiting)
    store.commit(epoch, [make.accepting(running, epoch)])
    for order in (waiting, running):
        assert store.find(order.message_id.upper()).order == order


def test_an_order_id_that_is_a_uuid_keeps_its_upper_case(store, make):
    small, capital = (make.order(order_id=text) for text in (f"{uuid.uuid4()}", f"{uuid.uuid4()}".upper()))
    store.submit(small)
    store.submit(capital)
    assert store.find(small.order_id).order == small
    assert store.find(capital.order_id).order == capital
    assert store.find(small.order_id.upper()) is store.find(capital.order_id.lower()) is None


def test_an_order_that_became_a_saga_is_found_by_its_order_id(store, make, epoch):
    order = make.order()
    store.submit(order)
    inbox = make.entry_of(store.snapshot(), Kind.INBOX_ORDER, order.message_id)
    store.commit(epoch, [make.accepting(order, epoch, inbox.mod_revision)])
    assert store.find(order.order_id).saga.message_id == order.message_id


@pytest.mark.parametrize("unknown", ["nobody", "a/b", "", "ü"])
def test_an_unknown_order_is_none(store, unknown):
    assert store.find(unknown) is None


def test_events_come_in_order(store, make, epoch):
    transition = make.accepting(make.order(), epoch, drone="d1")
    store.commit(epoch, [transition])
    assert store.events(transition.saga.message_id) == list(transition.events)
    assert store.events("nobody") == []


def test_a_snapshot_contains_no_events(store, make, epoch):
    store.commit(epoch, [make.accepting(make.order(), epoch, drone="d1")])
    kinds = {entry.kind for entry in store.snapshot().entries}
    assert kinds == {Kind.LEADER, Kind.SAGA, Kind.ASSIGNMENT}


def test_a_large_snapshot_is_complete(twin, store):
    for i in range(2105):
        twin.put_raw(store, store.keys.order_index(f"o{i:05d}"), b'{"v":1,"message_id":"m"}')
    assert len(store.snapshot().entries) == 2105


def test_an_unreadable_record_is_corrupt_and_affects_no_other(twin, store, make):
    order = make.order()
    store.submit(order)
    twin.put_raw(store, store.keys.saga("broken"), b"\xff{")
    snapshot = store.snapshot()
    assert isinstance(make.entry_of(snapshot, Kind.SAGA, "broken").value, Corrupt)
    assert make.entry_of(snapshot, Kind.INBOX_ORDER, order.message_id).value == order
    with pytest.raises(CorruptRecord, match="sagas/broken"):
        store.find("broken")


def test_regions_do_not_see_each_other(twin, store, make):
    other = twin.store(region=f"{twin.region}2")
    order = make.order()
    other.submit(order)
    assert store.snapshot().entries == ()
    assert store.submit(order).created


def test_status_has_endpoints_revision_and_quorum(store):
    status = store.status()
    assert status["reachable"] and status["has_quorum"]
    assert status["revision"] == store.snapshot().revision
    assert set(status["endpoints"].values()) == {True}


# --- leadership ------------------------------------------------------------------------------------------------------


def test_the_epoch_is_the_mod_revision_of_the_leader_key(store, make):
    record = make.leader()
    epoch = store.campaign(record, 30.0)
    leader = make.entry_of(store.snapshot(), Kind.LEADER, "")
    assert epoch == leader.mod_revision > 0
    assert leader.value == record


def test_only_one_campaign_can_win(twin, make):
    stores = [twin.store(f"client{i}") for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        epochs = list(pool.map(lambda s: s.campaign(make.leader(), 30.0), stores))
    assert sum(epoch > 0 for epoch in epochs) == 1


def test_after_a_resignation_another_wins_a_higher_epoch(twin, make):
    a, b = twin.store("a"), twin.store("b")
    first = a.campaign(make.leader("a"), 30.0)
    assert b.campaign(make.leader("b"), 30.0) == 0
    a.resign(first)
    assert b.campaign(make.leader("b"), 30.0) > first
    assert not a.refresh_lease(first)


def test_a_suspected_leader_is_replaced_by_its_epoch_only(twin, make):
    a, b = twin.store("a"), twin.store("b")
    first = a.campaign(make.leader("a"), 30.0)
    assert b.campaign(make.leader("b"), 30.0, over_epoch=first - 1) == 0
    second = b.campaign(make.leader("b"), 30.0, over_epoch=first)
    assert second > first
    a.resign(first)
    assert make.entry_of(b.snapshot(), Kind.LEADER, "").mod_revision == second, (
        "a late resignation must not end another leadership"
    )


def test_a_leader_that_does_not_renew_its_lease_loses_the_key(twin, make):
    store = twin.store()
    epoch = store.campaign(make.leader(), 5.0)
    watching = make.watching(store, epoch)
    assert store.refresh_lease(epoch)
    watching.until(lambda w: w.saw(Kind.LEADER, "", deleted=True))
    assert not store.refresh_lease(epoch)
    assert twin.store("b").campaign(make.leader("b"), 30.0) > epoch


def test_a_lease_that_was_never_held_cannot_be_renewed(store, epoch):
    assert not store.refresh_lease(epoch + 1)


# --- fenced commits --------------------------------------------------------------------------------------------------


def test_a_transition_is_one_revision(store, make, epoch):
    order = make.order()
    store.submit(order)
    store.request_cancel(CancelRequest(order.message_id, 1.0))
    before = store.snapshot()
    inbox = make.entry_of(before, Kind.INBOX_ORDER, order.message_id)
    cancel = make.entry_of(before, Kind.INBOX_CANCEL, order.message_id)
    transition = make.accepting(order, epoch, inbox.mod_revision, drone="d1")
    consume = (*transition.consume, Consume(Kind.INBOX_CANCEL, order.message_id, cancel.mod_revision))
    watching = make.watching(store, before.revision)
    [result] = store.commit(epoch, [replace(transition, consume=consume)])
    assert (result.fate, result.revision) == (Fate.SUCCEEDED, before.revision + 1)
    watching.until(lambda w: w.changes)
    [change] = watching.changes
    assert change.revision == result.revision
    assert {(e.kind, e.id, e.value is None) for e in change.entries} == {
        (Kind.SAGA, order.message_id, False),
        (Kind.EVENT, f"{order.message_id}/000001", False),
        (Kind.EVENT, f"{order.message_id}/000002", False),
        (Kind.ASSIGNMENT, "d1", False),
        (Kind.INBOX_ORDER, order.message_id, True),
        (Kind.INBOX_CANCEL, order.message_id, True),
    }
    reservation = next(e.value for e in change.entries if e.kind is Kind.ASSIGNMENT)
    assert (reservation.message_id, reservation.attempt, reservation.leased) == (order.message_id, 1, True)


def test_a_deposed_leader_changes_nothing(twin, make):
    a, b = twin.store("a"), twin.store("b")
    old = a.campaign(make.leader("a"), 30.0)
    new = b.campaign(make.leader("b"), 30.0, over_epoch=old)
    before = b.snapshot()
    results = a.commit(old, [make.accepting(make.order(), old, drone=f"d{i}") for i in range(40)])
    assert {result.fate for result in results} == {Fate.FENCED}
    assert b.snapshot() == before
    assert b.commit(new, [make.accepting(make.order(), new)])[0].fate is Fate.SUCCEEDED


def test_without_a_leader_key_no_commit_succeeds(store, make, epoch):
    store.resign(epoch)
    assert store.commit(epoch, [make.accepting(make.order(), epoch)])[0].fate is Fate.FENCED
    with pytest.raises(ValueError, match="epoch must be above 0, got 0"):
        store.commit(0, [make.accepting(make.order(), epoch)])


def test_each_kind_of_conflict_stops_its_own_transition_only(twin, store, make, epoch):
    """Wrong saga revision, existing event, reserved drone, changed inbox entry: one of each among valid transitions."""
    taken, running, odd, inboxed = (make.order() for _ in range(4))
    [held] = store.commit(epoch, [make.accepting(taken, epoch, drone="taken")])
    [ran] = store.commit(epoch, [make.accepting(running, epoch)])
    assert held.fate is ran.fate is Fate.SUCCEEDED
    twin.put_raw(store, store.keys.event(odd.message_id, 1), b"{}")
    store.submit(inboxed)
    running_saga = store.find(running.message_id).saga
    guilty = [
        make.stepping(running_saga, sagas.CANCELLED, S.CANCELLED, ran.revision - 1),
        make.accepting(odd, epoch),
        make.accepting(make.order(), epoch, drone="taken"),
        make.accepting(inboxed, epoch, inbox_revision=1),
    ]
    innocent = [make.accepting(make.order(), epoch, drone=f"free{i}") for i in range(5)]
    mixed = [t for pair in zip(innocent, guilty, strict=False) for t in pair] + innocent[4:]
    fates = [result.fate for result in store.commit(epoch, mixed)]
    assert fates == [Fate.SUCCEEDED, Fate.CONFLICT] * 4 + [Fate.SUCCEEDED]
    for transition in innocent:
        assert store.find(transition.saga.message_id).saga == transition.saga
    assert store.find(running.message_id).saga == running_saga


def test_one_conflict_among_fifty_stops_no_other_transition(store, make, epoch):
    store.commit(epoch, [make.accepting(make.order(), epoch, drone="taken")])
    changes = [make.accepting(make.order(), epoch, drone=f"d{i}") for i in range(50)]
    changes[23] = make.accepting(make.order(), epoch, drone="taken")
    results = store.commit(epoch, changes)
    assert [i for i, result in enumerate(results) if result.fate is not Fate.SUCCEEDED] == [23]
    assert results[23].fate is Fate.CONFLICT
    assert len({result.revision for result in results}) < 10, "they must share transactions"
    sagas_there = {e.id for e in store.snapshot().entries if e.kind is Kind.SAGA}
    assert changes[23].saga.message_id not in sagas_there and len(sagas_there) == 50


def test_transitions_on_the_same_drone_keep_their_order(store, make, epoch):
    first = make.accepting(make.order(), epoch, drone="d1")
    [assigned] = store.commit(epoch, [first])
    give_back = make.releasing(first.saga, assigned.revision, assigned.revision)
    second = make.accepting(make.order(), epoch, drone="d1")
    results = store.commit(epoch, [give_back, second])
    assert [result.fate for result in results] == [Fate.SUCCEEDED, Fate.SUCCEEDED]
    assert make.entry_of(store.snapshot(), Kind.ASSIGNMENT, "d1").value.message_id == second.saga.message_id


def broken_off(make, saga, revision, held_revision, breaker, breaker_revision):
    """Return a step that gives up the drone: saga, reservation and breaker."""
    return replace(make.releasing(saga, revision, held_revision), breaker=BreakerChange(breaker, breaker_revision))


def test_a_breaker_is_written_with_its_step_or_not_at_all(store, make, epoch):
    """The first failure creates it, the second changes it, and a concurrent change refuses the step."""
    seen = 0
    for failures in (1, 2):
        order, breaker = make.order(), Breaker("d1", BreakerState.CLOSED, epoch, failures)
        [held] = store.commit(epoch, [make.accepting(order, epoch, drone="d1")])
        saga = store.find(order.message_id).saga
        [stale] = store.commit(epoch, [broken_off(make, saga, held.revision, held.revision, breaker, seen + 1)])
        assert stale.fate is Fate.CONFLICT
        assert store.find(order.message_id).saga == saga
        [result] = store.commit(epoch, [broken_off(make, saga, held.revision, held.revision, breaker, seen)])
        assert result.fate is Fate.SUCCEEDED
        entry = make.entry_of(store.snapshot(), Kind.BREAKER, "d1")
        assert (entry.value, entry.mod_revision) == (breaker, result.revision)
        assert make.entry_of(store.snapshot(), Kind.ASSIGNMENT, "d1") is None
        seen = result.revision


def test_a_deposed_leader_changes_neither_breakers_nor_inbox(twin, make):
    a, b = twin.store("a"), twin.store("b")
    old = a.campaign(make.leader("a"), 30.0)
    order = make.order()
    a.submit(order)
    a.request_cancel(CancelRequest(order.message_id, 5.0))
    cancel = make.entry_of(a.snapshot(), Kind.INBOX_CANCEL, order.message_id)
    b.campaign(make.leader("b"), 30.0, over_epoch=old)
    before = b.snapshot()
    accept = replace(make.accepting(make.order(), old), breaker=BreakerChange(Breaker("d1", BreakerState.OPEN, old), 0))
    discard = Discard(order.message_id, (Consume(Kind.INBOX_CANCEL, order.message_id, cancel.mod_revision),))
    assert [r.fate for r in a.commit(old, [accept, discard])] == [Fate.FENCED] * 2
    assert b.snapshot() == before


def test_two_steps_with_the_same_breaker_do_not_share_a_transaction(store, make, epoch):
    steps = [
        replace(make.accepting(make.order(), epoch), breaker=BreakerChange(Breaker("d1", state, epoch), 0))
        for state in (BreakerState.OPEN, BreakerState.HALF_OPEN)
    ]
    fates = [result.fate for result in store.commit(epoch, steps)]
    assert fates == [Fate.SUCCEEDED, Fate.CONFLICT]
    assert make.entry_of(store.snapshot(), Kind.BREAKER, "d1").value.state is BreakerState.OPEN


def test_a_discard_deletes_only_the_inbox_entries_it_names(store, make, epoch):
    message_id = make.order().message_id
    store.request_cancel(CancelRequest(message_id, 5.0))
    store.request_command(OperatorCommand(message_id, CommandAction.LOST, 5.0, "ops"))
    command = make.entry_of(store.snapshot(), Kind.INBOX_COMMAND, message_id)
    discard = Discard(message_id, (Consume(Kind.INBOX_COMMAND, message_id, command.mod_revision),))
    [result] = store.commit(epoch, [discard])
    assert result.fate is Fate.SUCCEEDED
    snapshot = store.snapshot()
    assert make.entry_of(snapshot, Kind.INBOX_COMMAND, message_id) is None
    assert make.entry_of(snapshot, Kind.INBOX_CANCEL, message_id) is not None
    [again] = store.commit(epoch, [discard])
    assert again.fate is Fate.CONFLICT


def test_a_discard_leaves_a_request_that_has_changed_since(store, make, epoch):
    message_id = make.order().message_id
    store.request_command(OperatorCommand(message_id, CommandAction.LOST, 5.0))
    old = make.entry_of(store.snapshot(), Kind.INBOX_COMMAND, message_id)
    discard = Discard(message_id, (Consume(Kind.INBOX_COMMAND, message_id, old.mod_revision),))
    store.commit(epoch, [discard])
    newer = OperatorCommand(message_id, CommandAction.RETRY, 6.0)
    store.request_command(newer)
    [result] = store.commit(epoch, [discard])
    assert result.fate is Fate.CONFLICT
    assert make.entry_of(store.snapshot(), Kind.INBOX_COMMAND, message_id).value == newer


def test_a_conflicting_discard_affects_no_other_step(store, make, epoch):
    innocent = [make.accepting(make.order(), epoch) for _ in range(3)]
    guilty = Discard("nobody", (Consume(Kind.INBOX_CANCEL, "nobody", 1),))
    fates = [r.fate for r in store.commit(epoch, [innocent[0], guilty, *innocent[1:]])]
    assert fates == [Fate.SUCCEEDED, Fate.CONFLICT, Fate.SUCCEEDED, Fate.SUCCEEDED]


def test_a_change_that_cannot_be_written_is_refused_alone(store, make, epoch):
    """Here a discard that names no key. Its neighbours are committed."""
    innocent = [make.accepting(make.order(), epoch) for _ in range(2)]
    first, refused, last = store.commit(epoch, [innocent[0], Discard("m", ()), innocent[1]])
    assert (first.fate, refused.fate, last.fate) == (Fate.SUCCEEDED, Fate.REFUSED, Fate.SUCCEEDED)
    assert "must name at least one key" in refused.error


def test_an_empty_commit_does_nothing(store, epoch):
    before = store.snapshot().revision
    assert store.commit(epoch, []) == []
    assert store.snapshot().revision == before


# --- reservations ----------------------------------------------------------------------------------------------------


def test_a_reservation_expires_unless_it_is_renewed_and_a_firm_one_never_does(twin, make):
    store = twin.store(reservation_ttl_s=5.0)
    epoch = store.campaign(make.leader(), 60.0)
    left, firm, kept = (make.accepting(make.order(), epoch, drone=d) for d in ("left", "firm", "kept"))
    [_, assigned, _] = store.commit(epoch, [left, firm, kept])
    cleared = make.stepping(
        firm.saga, sagas.CLEARED, S.LOADING, assigned.revision, MakeFirm("firm", assigned.revision), journal_id="j"
    )
    assert store.commit(epoch, [cleared])[0].fate is Fate.SUCCEEDED
    watching = make.watching(store, assigned.revision)

    def left_is_gone(w):
        assert store.keep_reservations(["kept"])
        return w.saw(Kind.ASSIGNMENT, "left", deleted=True)

    make.eventually(lambda: left_is_gone(watching), "the reservation that is not renewed expires")
    snapshot = store.snapshot()
    assert make.entry_of(snapshot, Kind.ASSIGNMENT, "left") is None
    assert make.entry_of(snapshot, Kind.ASSIGNMENT, "firm").value.leased is False
    assert make.entry_of(snapshot, Kind.ASSIGNMENT, "kept").value.leased is True
    assert not store.keep_reservations(["left"]), "there is no reservation to renew"
    assert not store.keep_reservations(["firm"]), "a firm reservation has no lease"


def test_an_expired_reservation_cannot_be_cleared(twin, make):
    store = twin.store(reservation_ttl_s=5.0)
    epoch = store.campaign(make.leader(), 60.0)
    transition = make.accepting(make.order(), epoch, drone="d1")
    [assigned] = store.commit(epoch, [transition])
    watching = make.watching(store, assigned.revision)
    watching.until(lambda w: w.saw(Kind.ASSIGNMENT, "d1", deleted=True))
    cleared = make.stepping(
        transition.saga, sagas.CLEARED, S.LOADING, assigned.revision, MakeFirm("d1", assigned.revision), journal_id="j"
    )
    assert store.commit(epoch, [cleared])[0].fate is Fate.CONFLICT


def test_a_new_leader_renews_the_reservations_of_its_predecessor(twin, make):
    a, b, c = twin.store("a"), twin.store("b"), twin.store("c")
    epoch = a.campaign(make.leader("a"), 30.0)
    a.commit(epoch, [make.accepting(make.order(), epoch, drone="d1")])
    assert b.keep_reservations(["d1"]), "the store reads the reservation first"
    c.snapshot()
    assert c.keep_reservations(["d1"]), "known from the snapshot"
    assert c.keep_reservations(["d2", "d1", "nobody"]) == {"d1"}
    assert c.keep_reservations([]) == frozenset()
    assert not c.keep_reservations(["d2"])


def test_a_release_without_a_reservation_expects_none(store, make, epoch):
    first = make.accepting(make.order(), epoch, drone="d1")
    [assigned] = store.commit(epoch, [first])
    gone = replace(make.releasing(first.saga, assigned.revision, 0), reservation=Release("d1", 0))
    assert store.commit(epoch, [gone])[0].fate is Fate.CONFLICT
    gone = replace(gone, reservation=Release("d2", 0))
    assert store.commit(epoch, [gone])[0].fate is Fate.SUCCEEDED


# --- watch -----------------------------------------------------------------------------------------------------------


def test_a_watch_delivers_every_revision_once_and_in_order(twin, store, make):
    begin = store.snapshot().revision
    watching = make.watching(store, begin)
    with ThreadPoolExecutor(4) as pool:
        clients = [twin.store(f"client{i}") for i in range(4)]
        list(pool.map(lambda i: clients[i % 4].submit(make.order()), range(100)))
    watching.until(lambda w: len(w.changes) == 100)
    assert watching.revisions == list(range(begin + 1, begin + 101))
    assert all({e.kind for e in change.entries} == {Kind.INBOX_ORDER, Kind.ORDER_INDEX} for change in watching.changes)


def test_a_watch_without_events_delivers_everything_else(store, make, epoch):
    heard = []
    handle = store.watch(store.snapshot().revision, heard.append, lambda snapshot: None, with_events=False)
    order = make.order()
    store.submit(order)
    entry = make.entry_of(store.snapshot(), Kind.INBOX_ORDER, order.message_id)
    change = make.accepting(order, epoch, entry.mod_revision, drone="d1")
    assert store.commit(epoch, [change])[0].fate is Fate.SUCCEEDED
    make.eventually(lambda: len(heard) == 2, "both revisions arrive")
    handle.close()
    kinds = {entry.kind for change in heard for entry in change.entries}
    assert kinds == {Kind.INBOX_ORDER, Kind.SAGA, Kind.ASSIGNMENT}
    # The saga is the written object; a record that another client put under its key is decoded.
    assert [e.value for e in heard[1].entries if e.kind is Kind.SAGA] == [change.saga]


def test_writers_and_other_clients_receive_the_same_changes(twin, store, make, epoch):
    begin = store.snapshot().revision
    own, other = make.watching(store, begin), make.watching(twin.store("other"), begin)
    order = make.order()
    change = make.accepting(order, epoch, drone="d1")
    assert store.commit(epoch, [change])[0].fate is Fate.SUCCEEDED
    firm = make.entry_of(store.snapshot(), Kind.ASSIGNMENT, "d1")
    cleared = make.stepping(
        change.saga, sagas.CLEARED, SagaStatus.LOADING, firm.mod_revision, MakeFirm("d1", firm.mod_revision)
    )
    assert store.commit(epoch, [cleared])[0].fate is Fate.SUCCEEDED
    # The same records under the same keys, put by another client.
    for key in (store.keys.saga(order.message_id), store.keys.assignment("d1")):
        value = store._driver.read((key,)).found[key].value
        twin.put_raw(store, key, value)
        twin.put_raw(store, key, b"what is this")
    for watching in (own, other):
        watching.until(lambda w: len(w.changes) == 6)
    assert own.changes == other.changes
    held = [e.value for c in own.changes for e in c.entries if e.kind is Kind.ASSIGNMENT]
    assert [getattr(value, "leased", None) for value in held] == [True, False, False, None]


def test_a_full_group_of_assignments_is_one_transaction(store, make, epoch):
    orders = [make.order() for _ in range(FULL_GROUP)]
    store.submit_all(orders)
    inbox = {e.id: e.mod_revision for e in store.snapshot().entries if e.kind is Kind.INBOX_ORDER}
    changes = [
        make.accepting(order, epoch, inbox[order.message_id], drone=f"d{n}") for n, order in enumerate(orders, 1)
    ]
    results = store.commit(epoch, changes)
    assert {result.fate for result in results} == {Fate.SUCCEEDED}
    assert len({result.revision for result in results}) == 1


def test_a_watch_of_one_kind_delivers_nothing_else(store, make, epoch):
    heard = []
    handle = store.watch(store.snapshot().revision, heard.append, lambda snapshot: None, only=Kind.SAGA)
    order = make.order()
    store.submit(order)
    entry = make.entry_of(store.snapshot(), Kind.INBOX_ORDER, order.message_id)
    change = make.accepting(order, epoch, entry.mod_revision, drone="d1")
    assert store.commit(epoch, [change])[0].fate is Fate.SUCCEEDED
    make.eventually(lambda: len(heard) == 1, "the saga arrives")
    handle.close()
    assert [(entry.kind, entry.value) for entry in heard[0].entries] == [(Kind.SAGA, change.saga)]


def test_a_watch_begins_after_the_requested_revision(store, make):
    orders = [make.order() for _ in range(4)]
    revisions = []
    for order in orders:
        store.submit(order)
        revisions.append(store.snapshot().revision)
    watching = make.watching(store, revisions[1])
    watching.until(lambda w: len(w.changes) == 2)
    assert watching.revisions == revisions[2:]
    assert watching.health == [True]


def test_after_close_no_callback_runs(store, make):
    watching = make.watching(store, store.snapshot().revision)
    watching.until(lambda w: w.health)
    watching.handle.close()
    seen = len(watching.log)
    other = make.watching(store, store.snapshot().revision)
    store.submit(make.order())
    other.until(lambda w: w.changes)
    assert len(watching.log) == seen


def test_a_watch_may_be_closed_by_its_own_callback(store, make):
    done = threading.Event()
    holder = []

    def stop(change):
        holder[0].close()
        done.set()

    holder.append(store.watch(store.snapshot().revision, stop, lambda snapshot: None))
    store.submit(make.order())
    assert done.wait(60.0)


def test_a_compacted_revision_means_a_fresh_snapshot_and_then_no_gap(twin, store, make):
    first = store.snapshot().revision
    orders = [make.order() for _ in range(3)]
    for order in orders:
        store.submit(order)
    compacted = store.snapshot().revision
    twin.compact(store, compacted)
    watching = make.watching(store, first)
    watching.until(lambda w: w.snapshots)
    [snapshot] = watching.snapshots
    assert snapshot.revision == compacted
    assert {e.id for e in snapshot.entries if e.kind is Kind.INBOX_ORDER} == {order.message_id for order in orders}
    later = make.order()
    store.submit(later)
    watching.until(lambda w: w.saw(Kind.INBOX_ORDER, later.message_id))
    assert watching.revisions == [compacted + 1]


def test_a_delete_in_the_compact_revision_is_not_missed(twin, store, make, epoch):
    """etcd before 3.4.36 lets a watch start at the compact revision without the deletes that happened in it."""
    before = store.snapshot().revision
    store.resign(epoch)
    resigned = store.snapshot().revision
    assert resigned == before + 1
    twin.compact(store, resigned)
    watching = make.watching(store, before)
    watching.until(lambda w: w.snapshots or w.saw(Kind.LEADER, "", deleted=True))
    if watching.snapshots:
        assert make.entry_of(watching.snapshots[0], Kind.LEADER, "") is None


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_is_what_a_watch_saw_and_ends_by_itself(twin, store, make):
    begin = store.snapshot().revision
    watching = make.watching(store, begin)
    epoch = store.campaign(make.leader(), 30.0)
    store.submit(make.order())
    store.commit(epoch, [make.accepting(make.order(), epoch, drone=f"d{i}") for i in range(30)])
    store.resign(epoch)  # the last change of the region is a delete
    last = store.snapshot().revision
    other = twin.store(region=f"{twin.region}2")  # and the store's revision is higher
    other.submit(make.order())
    history = list(store.history())
    watching.until(lambda w: w.revisions[-1:] == [last])
    assert history == watching.changes
    assert any(isinstance(e.value, SagaEvent) for change in history for e in change.entries)
    assert list(store.history(last)) == []
    assert list(store.history(last - 1)) == history[-1:]


def test_history_that_is_compacted_again_while_it_is_opened_has_the_state_once(twin, store, make, monkeypatch):
    orders = [make.order() for _ in range(3)]
    for order in orders[:2]:
        store.submit(order)
    twin.compact(store, store.snapshot().revision)
    store.submit(orders[2])
    real = store._driver.scan

    def scan(spans, revision=0):
        monkeypatch.setattr(store._driver, "scan", real)
        found = real(spans, revision)
        store.request_cancel(CancelRequest(orders[2].message_id, 5.0))
        twin.compact(store, store.snapshot().revision)
        return found

    monkeypatch.setattr(store._driver, "scan", scan)
    [state, *changes] = store.history()
    assert changes == []
    assert {e.id for e in state.entries if e.kind is Kind.INBOX_ORDER} == {order.message_id for order in orders}
    assert [e.id for e in state.entries if e.kind is Kind.INBOX_CANCEL] == [orders[2].message_id]


def test_history_of_a_compacted_store_begins_with_the_remaining_state(twin, store, make):
    orders = [make.order() for _ in range(3)]
    for order in orders[:2]:
        store.submit(order)
    compacted = store.snapshot().revision
    store.submit(orders[2])
    twin.compact(store, compacted)
    state, change = list(store.history())
    assert state.revision == compacted
    assert {e.id for e in state.entries if e.kind is Kind.INBOX_ORDER} == {o.message_id for o in orders[:2]}
    assert {e.mod_revision for e in state.entries} == {compacted - 1, compacted}
    assert change.revision == compacted + 1


def test_history_of_an_empty_region_is_empty(store):
    assert list(store.history()) == []
