"""Faults of the in-memory store on demand, as the simulation uses them: unknown fates without a network."""

from __future__ import annotations

import pytest

from drone_orchestrator.core.changes import Fate
from drone_orchestrator.core.types import CancelRequest, Kind
from drone_orchestrator.ports import FateUnknown, StoreUnavailable
from drone_orchestrator.store import MemoryBackend, MemoryStore
from drone_orchestrator.store.transactions import SUBMITTED_TOGETHER


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def backend(clock):
    return MemoryBackend(clock, threaded=False)


@pytest.fixture
def store(backend):
    return MemoryStore(backend, "r", "a", reservation_ttl_s=5.0)


@pytest.fixture
def rival(backend):
    return MemoryStore(backend, "r", "b")


@pytest.fixture
def epoch(store, make):
    return store.campaign(make.leader(), 50.0)


def test_a_commit_with_a_lost_answer_is_found_by_reading(backend, store, make, epoch):
    backend.lose_answers(applied=True)
    changes = [make.accepting(make.order(), epoch, drone=d) for d in ("d1", "d2")]
    results = store.commit(epoch, changes)
    assert {result.fate for result in results} == {Fate.SUCCEEDED}
    assert results[0].revision == store.find(changes[0].saga.message_id).revision
    assert store.keep_reservations(["d1"])


def test_a_commit_that_arrives_late_is_unknown_until_it_does(backend, store, make, epoch):
    backend.lose_answers(applied=False)
    transition = make.accepting(make.order(), epoch, drone="d1")
    watching = make.watching(store, epoch)
    assert store.commit(epoch, [transition])[0].fate is Fate.UNKNOWN
    assert store.find(transition.saga.message_id) is None
    backend.deliver_late()
    backend.pump()
    assert watching.saw(Kind.SAGA, transition.saga.message_id)
    assert watching.saw(Kind.ASSIGNMENT, "d1")


def test_a_commit_that_arrives_after_the_fence_moved_does_nothing(backend, store, rival, make, epoch):
    backend.lose_answers(applied=False, client="a")
    transition = make.accepting(make.order(), epoch)
    assert store.commit(epoch, [transition])[0].fate is Fate.UNKNOWN
    rival.campaign(make.leader("b"), 50.0, over_epoch=epoch)
    backend.deliver_late()
    assert store.find(transition.saga.message_id) is None


def test_a_lost_commit_of_a_deposed_leader_is_fenced(backend, store, rival, make, epoch):
    rival.campaign(make.leader("b"), 50.0, over_epoch=epoch)
    backend.lose_answers(applied=False, client="a")
    assert store.commit(epoch, [make.accepting(make.order(), epoch)])[0].fate is Fate.FENCED


@pytest.mark.parametrize("applied", [True, False])
def test_intake_resolves_an_unknown_fate(backend, store, make, applied):
    order = make.order()
    backend.lose_answers(applied=applied)
    answer = store.submit(order)
    assert (answer.created, answer.conflict) == (True, "")
    backend.lose_answers(applied=applied)
    assert store.request_cancel(CancelRequest(order.message_id, 1.0))
    backend.deliver_late()
    assert not store.submit(order).created


def test_intake_that_finds_another_order_after_an_unknown_fate_does_not_claim_it(backend, store, rival, make):
    order = make.order()
    rival.submit(make.order(message_id=order.message_id, order_id=order.order_id))
    backend.lose_answers(applied=False, client="a")
    assert store.submit(order).created is False


def test_a_submission_without_any_answer_has_an_unknown_fate(backend, store, make):
    backend.lose_answers(2, applied=True)
    with pytest.raises(FateUnknown):
        store.submit(make.order())


def test_a_campaign_with_a_lost_answer_is_won(backend, store, make):
    backend.lose_answers(applied=True)
    epoch = store.campaign(make.leader(), 50.0)
    assert epoch == make.entry_of(store.snapshot(), Kind.LEADER, "").mod_revision
    assert store.refresh_lease(epoch)


def test_an_abandoned_campaign_cannot_be_won_later(backend, store, make):
    backend.lose_answers(applied=False)
    assert store.campaign(make.leader(), 50.0) == 0
    backend.deliver_late()
    assert make.entry_of(store.snapshot(), Kind.LEADER, "") is None


def test_a_drones_lease_serves_its_next_reservation_even_after_a_failed_commit(backend, store, make, epoch):
    store.commit(epoch, [make.accepting(make.order(), epoch, drone="d1")])
    leases = len(backend._leases)
    results = store.commit(epoch, [make.accepting(make.order(), epoch, drone="d1") for _ in range(5)])
    assert {result.fate for result in results} == {Fate.CONFLICT}
    assert len(backend._leases) == leases


def test_an_expired_lease_is_replaced_at_the_next_attempt(backend, store, make, epoch):
    first = make.accepting(make.order(), epoch, drone="d1")
    assert store.commit(epoch, [first])[0].fate is Fate.SUCCEEDED
    backend.expire_lease_of(store.keys.assignment("d1"))
    again = make.accepting(make.order(), epoch, drone="d1")
    assert [store.commit(epoch, [again])[0].fate for _ in range(2)] == [Fate.UNAVAILABLE, Fate.SUCCEEDED]


def test_orders_submitted_together_exist_once_if_the_answer_is_lost(backend, store, make):
    orders = [make.order() for _ in range(3)]
    backend.lose_answers(1, applied=True)
    assert [answer.created for answer in store.submit_all(orders)] == [True] * 3


def test_a_store_that_does_not_answer_is_not_asked_about_every_order(backend, store, make):
    backend.lose_answers(1 + 2, applied=False)  # the group, and the first order twice
    asked = store.submit_all([make.order() for _ in range(50)])
    assert {type(answer) for answer in asked[:SUBMITTED_TOGETHER]} == {FateUnknown}, (
        "they may have been written together"
    )
    assert {type(answer) for answer in asked[SUBMITTED_TOGETHER:]} == {StoreUnavailable}, "these were never sent"
    assert [answer.created for answer in store.submit_all([make.order()])] == [True], "no further answer was lost"


def test_the_store_can_be_unreachable_for_one_client_only(backend, store, rival, make, epoch):
    watching = make.watching(store, epoch)
    backend.pump()
    backend.set_available(False, "a")
    assert store.commit(epoch, [make.accepting(make.order(), epoch)])[0].fate is Fate.UNAVAILABLE
    with pytest.raises(StoreUnavailable):
        store.snapshot()
    assert store.status()["has_quorum"] is False
    order = make.order()
    assert rival.submit(order).created
    backend.pump()
    assert watching.health == [True, False] and watching.changes == []
    backend.set_available(True, "a")
    backend.pump()
    assert watching.health == [True, False, True]
    assert watching.saw(Kind.INBOX_ORDER, order.message_id)


def test_a_broken_watch_resumes_without_a_gap(backend, store, make):
    watching = make.watching(store, 1)
    backend.pump()
    for _ in range(3):
        store.submit(make.order())
        backend.break_watches()
        backend.pump()
    assert watching.revisions == [2, 3, 4]
    assert watching.health == [True, *[False, True] * 3]


def test_compaction_while_disconnected_means_a_snapshot(backend, store, rival, make):
    watching = make.watching(store, 1)
    backend.pump()
    backend.set_available(False, "a")
    orders = [make.order() for _ in range(3)]
    for order in orders:
        rival.submit(order)
    backend.compact()
    backend.set_available(True, "a")
    backend.pump()
    rival.submit(make.order())
    backend.pump()
    assert len(watching.snapshots[0].entries) == 6
    assert watching.revisions == [watching.snapshots[0].revision + 1]


def test_leases_expire_by_the_injected_clock(backend, clock, store, make, epoch):
    watching = make.watching(store, epoch)
    store.commit(epoch, [make.accepting(make.order(), epoch, drone=d) for d in ("kept", "left")])
    clock.now_s += 4.9
    assert store.keep_reservations(["kept"])
    clock.now_s += 0.1
    backend.pump()
    assert watching.saw(Kind.ASSIGNMENT, "left", deleted=True)
    assert not watching.saw(Kind.ASSIGNMENT, "kept", deleted=True)
    backend.expire_lease_of(store.keys.assignment("kept"))
    assert not store.keep_reservations(["kept"])
    clock.now_s += 60.0
    assert not store.refresh_lease(epoch)
