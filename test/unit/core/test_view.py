"""The view: records only get newer, in whatever order snapshot, own commits and watch events arrive."""

from __future__ import annotations

from collections import Counter

from world import make_order

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import BreakerChange, Consume, Discard, Release, Reserve, Transition
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    Corrupt,
    Entry,
    FleetIdentity,
    Kind,
    LeaderRecord,
    Reservation,
    Saga,
    SagaStatus,
    Snapshot,
    StoreChange,
)
from drone_orchestrator.core.view import CurrentLeader, FleetView, OrderView, held_in

ORDER = make_order()
FIRST = sagas.begin(ORDER, now_s=1.0, epoch=3)
PENDING = sagas.apply(None, FIRST)


def assignment() -> Transition:
    event = sagas.next_event(PENDING, sagas.ASSIGNED, SagaStatus.ASSIGNED, now_s=2.0, epoch=3, drone_id="d")
    breaker = Breaker("d", BreakerState.HALF_OPEN, 3)
    saga = sagas.apply(PENDING, event)
    return Transition(saga, (event,), 5, Reserve("d"), breaker=BreakerChange(breaker, 0))


def view(*entries: Entry, revision: int = 5) -> FleetView:
    return FleetView.of(Snapshot(revision, entries))


def saga_entry(revision: int, saga: Saga | Corrupt | None = PENDING) -> Entry:
    return Entry(Kind.SAGA, ORDER.message_id, saga, revision)


def change(revision: int, *entries: Entry) -> StoreChange:
    return StoreChange(revision, entries)


def test_an_own_commit_counts_at_once_and_its_echo_changes_nothing() -> None:
    mine = view(saga_entry(5))
    step = assignment()
    mine.apply_commit(step, 6)
    assert mine.saga_of("m1") == step.saga
    assert mine.reservation_of(step.saga) is not None
    assert mine.breaker_of("d") == Breaker("d", BreakerState.HALF_OPEN, 3)
    held = Entry(Kind.ASSIGNMENT, "d", Reservation("d", "m1", 1, 3, True), 6)
    assert mine.apply(change(6, saga_entry(6, step.saga), held)) == []


def test_a_commit_acknowledged_after_its_watch_event_changes_nothing() -> None:
    mine = view(saga_entry(5))
    step = assignment()
    mine.apply(change(6, saga_entry(6, step.saga)))
    mine.apply(change(7, Entry(Kind.ASSIGNMENT, "d", None, 7)))
    mine.apply_commit(step, 6)
    assert mine.reservations == {}


def test_a_record_deleted_ahead_of_the_watch_is_not_restored_by_older_events() -> None:
    mine = view(Entry(Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 1.0), 4))
    mine.apply_commit(Discard("m1", (Consume(Kind.INBOX_CANCEL, "m1", 4),)), 9)
    assert mine.cancels == {}
    assert mine.apply(change(6, Entry(Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 1.0), 6))) == []
    assert mine.cancel_of("m1") is None
    assert mine.apply(change(10, Entry(Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 9.0), 10)))
    assert mine.cancel_of("m1") == CancelRequest("m1", 9.0)


def test_a_release_frees_the_drone() -> None:
    step = assignment()
    mine = view(saga_entry(5))
    mine.apply_commit(step, 6)
    gone = sagas.next_event(step.saga, sagas.ABANDONED, SagaStatus.COMPENSATING, now_s=3.0, epoch=3, reason="why")
    mine.apply_commit(Transition(sagas.apply(step.saga, gone), (gone,), 6, Release("d", 6)), 7)
    assert mine.reservations == {}


def test_the_leader_key_only_gets_newer_and_its_deletion_stays_visible() -> None:
    mine = view(Entry(Kind.LEADER, "", LeaderRecord("a", "a-1", 0.0), 4))
    older = Entry(Kind.LEADER, "", LeaderRecord("b", "b-1", 0.0), 3)
    assert mine.apply(change(6, older)) == []
    assert mine.leader_key is not None and mine.leader_key.mod_revision == 4
    assert mine.apply(change(7, Entry(Kind.LEADER, "", None, 7)))
    assert mine.leader_key.value is None and mine.leader_epoch == 0


def test_an_unreadable_record_is_set_aside_until_it_is_repaired_or_deleted() -> None:
    mine = view(saga_entry(5, Corrupt(b"?", "no json")))
    assert mine.is_corrupt("m1") and mine.saga_of("m1") is None
    mine.apply(change(6, saga_entry(6)))
    assert not mine.is_corrupt("m1")
    mine.apply(change(7, saga_entry(7, Corrupt(b"?", "no json"))))
    mine.apply(change(8, saga_entry(8, None)))
    assert mine.corrupt == {}


def test_an_unreadable_record_is_in_no_table_but_its_revision_is_known() -> None:
    mine = view(saga_entry(5), Entry(Kind.INBOX_CANCEL, "m1", Corrupt(b"?", "no json"), 4))
    mine.apply(change(7, saga_entry(7, Corrupt(b"?", "no json"))))
    assert mine.sagas == mine.cancels == {}
    assert sorted(mine.corrupt) == ["inbox/cancels/m1", "sagas/m1"]
    assert mine.revision_of(Kind.SAGA, "m1") == 7
    assert mine.revision_of(Kind.INBOX_CANCEL, "m1") == 4
    assert mine.revision_of(Kind.INBOX_COMMAND, "m1") == 0
    assert mine.has_order("m1") and not mine.has_order("m2")
    assert mine.message_ids() == ["m1"]
    assert mine.apply(change(8, saga_entry(6))) == [], "older than the unreadable one"


def test_an_unreadable_record_takes_the_order_off_its_drone() -> None:
    step = assignment()
    mine = view(saga_entry(5, step.saga))
    assert mine.by_drone == {"d": {"m1": None}}
    mine.apply(change(6, saga_entry(6, Corrupt(b"?", "no json"))))
    assert mine.by_drone == {"d": {}}


def test_orders_include_those_with_a_saga_and_those_in_the_inbox() -> None:
    second, third = make_order(2), make_order(3)
    mine = view(
        saga_entry(5),
        Entry(Kind.INBOX_ORDER, ORDER.message_id, ORDER, 3),
        Entry(Kind.INBOX_ORDER, second.message_id, second, 4),
        Entry(Kind.INBOX_CANCEL, second.message_id, CancelRequest(second.message_id, 1.0), 5),
        Entry(Kind.SAGA, third.message_id, Corrupt(b"?", "no json"), 5),
        Entry(Kind.INBOX_ORDER, third.message_id, third, 4),
    )
    begun, waiting = OrderView(ORDER, PENDING, False, 5), OrderView(second, None, True, 4)
    assert list(mine.orders()) == [begun, waiting]
    assert [mine.order_view(each.message_id) for each in (ORDER, second, third)] == [begun, waiting, None]
    assert list(mine.waiting()) == [second]


def test_counts_cover_all_statuses_and_agree_with_the_orders() -> None:
    second, step = make_order(2), assignment()
    mine = view(saga_entry(5, step.saga), Entry(Kind.INBOX_ORDER, second.message_id, second, 4))
    counts = mine.counts()
    assert list(counts) == list(SagaStatus)
    assert {status: n for status, n in counts.items() if n} == {SagaStatus.ASSIGNED: 1, SagaStatus.PENDING: 1}
    assert Counter(each.status for each in mine.orders()) == Counter(counts)


def test_leadership_follows_from_a_readable_existing_key() -> None:
    record = LeaderRecord("a", "a-1", 2.0)
    assert view().leadership is None
    assert view(Entry(Kind.LEADER, "", record, 4)).leadership == CurrentLeader("a", 4, "a-1", 2.0)
    assert view(Entry(Kind.LEADER, "", None, 4)).leadership is None
    assert view(Entry(Kind.LEADER, "", Corrupt(b"?", "no json"), 4)).leadership is None


def test_an_unreadable_identity_does_not_end_a_hold() -> None:
    mine = view(Entry(Kind.FLEET, "", FleetIdentity("ours"), 4))
    assert not held_in(mine)
    mine.apply(change(6, Entry(Kind.FLEET, "", None, 6)))
    assert "ours" in held_in(mine)
    mine.apply(change(7, Entry(Kind.FLEET, "", Corrupt(b"?", "no json"), 7)))
    assert "ours" in held_in(mine)
    mine.apply(change(8, Entry(Kind.FLEET, "", FleetIdentity("ours"), 8)))
    assert not held_in(mine)


def test_a_snapshot_replaces_everything() -> None:
    mine = view(saga_entry(5, assignment().saga), Entry(Kind.BREAKER, "d", Corrupt(b"?", "no json"), 5))
    mine.apply(
        change(6, Entry(Kind.LEADER, "", LeaderRecord("a", "a-1", 0.0), 6), Entry(Kind.ASSIGNMENT, "d", None, 9))
    )
    mine.load(Snapshot(3))
    assert vars(mine) == vars(FleetView.of(Snapshot(3)))


def test_events_are_reported_but_not_kept_and_unknown_kinds_are_ignored() -> None:
    mine = view()
    stored = Entry(Kind.EVENT, "m1/1", FIRST, 6)
    assert mine.apply(change(6, stored, Entry(Kind.OTHER, "x", "y", 6))) == [stored]


def test_deletions_are_forgotten_after_their_watch_events() -> None:
    mine = view(saga_entry(5))
    for revision in range(6, 2000):
        mine.apply(change(revision, Entry(Kind.ASSIGNMENT, f"d{revision}", None, revision)))
    assert mine._deleted == {} and not mine._forgettable


def test_a_saga_of_another_attempt_is_not_returned() -> None:
    mine = view(saga_entry(5))
    assert mine.saga_of("m1", 0) == PENDING
    assert mine.saga_of("m1", 1) is None
    assert mine.order_of("m1") == ORDER
    assert mine.order_of("nobody") is None
