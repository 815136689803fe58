"""Retirement removes a whole order, fenced, and only in its archived state; in memory and on a real etcd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Consume, Fate, Retirement
from drone_orchestrator.core.types import CancelRequest, Kind, Order, Saga, SagaStatus
from drone_orchestrator.ports import FateUnknown
from drone_orchestrator.store import RegionStore
from drone_orchestrator.verification.checker import check

S = SagaStatus


@pytest.fixture
def ended(store: RegionStore, make: Any, epoch: int) -> tuple[Order, Retirement]:
    """Return a cancelled order and its retirement."""
    return end(store, make, epoch)


@pytest.fixture(autouse=True)
def every_history_is_sound(store: RegionStore) -> Iterator[None]:
    yield
    assert check(store.history(), complete=False).violations == ()


def end(store: RegionStore, make: Any, epoch: int, order: Order | None = None) -> tuple[Order, Retirement]:
    order = order or make.order()
    store.submit(order)
    inbox = make.entry_of(store.snapshot(), Kind.INBOX_ORDER, order.message_id)
    first = make.accepting(order, epoch, inbox.mod_revision)
    [accepted] = store.commit(epoch, [first])
    last = make.stepping(first.saga, sagas.CANCELLED, S.CANCELLED, accepted.revision, reason="customer_request")
    [done] = store.commit(epoch, [last])
    assert done.fate is Fate.SUCCEEDED
    return order, Retirement(order.message_id, order.order_id, done.revision)


def keys(store: RegionStore) -> list[str]:
    """Return every existing key but the leader's."""
    found = store._driver.scan(store.keys.all_keys())[1]
    return [kv.key for kv in found if kv.key != store.keys.leader]


def fates(store: RegionStore, epoch: int, *changes: Any) -> list[Fate]:
    return [result.fate for result in store.commit(epoch, changes)]


def test_a_retired_order_leaves_nothing_behind_and_in_one_revision(store, make, epoch, ended):
    _, retirement = ended
    assert fates(store, epoch, retirement) == [Fate.SUCCEEDED]
    assert keys(store) == []
    *_, last = store.history()
    assert {entry.value for entry in last.entries} == {None}
    assert {entry.kind for entry in last.entries} == {Kind.SAGA, Kind.EVENT, Kind.ORDER_INDEX}


def test_a_retirement_touches_no_other_order(store, make, epoch):
    order = make.order()
    _, retirement = end(store, make, epoch, order)
    # Ids with a common prefix are neighbours in the store.
    neighbours = [
        end(store, make, epoch, replace(order, message_id=order.message_id + tail, order_id=order.order_id + tail))[0]
        for tail in ("0", "-", "~")
    ]
    store.commit(epoch, [retirement])
    for neighbour in neighbours:
        assert store.find(neighbour.order_id).saga.status is S.CANCELLED
        assert len(store.events(neighbour.message_id)) == 2


def test_both_ids_can_be_used_again(store, make, epoch, ended):
    order, retirement = ended
    store.commit(epoch, [retirement])
    assert store.find(order.message_id) is store.find(order.order_id) is None
    again = store.submit(replace(order, package_weight_kg=2.5))
    assert (again.created, again.conflict) == (True, "")


def test_a_reused_id_is_a_new_order(store, make, epoch, ended):
    order, retirement = ended
    store.commit(epoch, [retirement])
    _, second = end(store, make, epoch, replace(order, package_weight_kg=2.5))
    assert [event.n for event in store.events(order.message_id)] == [1, 2]
    assert fates(store, epoch, retirement, second) == [Fate.CONFLICT, Fate.SUCCEEDED]


def test_its_remaining_inbox_entries_leave_with_it(store, make, epoch, ended):
    order, retirement = ended
    store.request_cancel(CancelRequest(order.message_id, 1.0))
    cancel = make.entry_of(store.snapshot(), Kind.INBOX_CANCEL, order.message_id)
    with_cancel = replace(retirement, consume=(Consume(Kind.INBOX_CANCEL, order.message_id, cancel.mod_revision),))
    assert fates(store, epoch, with_cancel) == [Fate.SUCCEEDED]
    assert keys(store) == []


def test_a_saga_that_differs_from_the_archived_one_stays(store, make, epoch, ended):
    order, retirement = ended
    for wrong in (
        replace(retirement, saga_revision=retirement.saga_revision - 1),
        replace(retirement, saga_revision=0),
    ):
        assert fates(store, epoch, wrong) == [Fate.CONFLICT]
    assert store.find(order.order_id).saga.status is S.CANCELLED


def test_the_second_of_two_retirements_conflicts_and_affects_no_other(store, make, epoch, ended):
    _, retirement = ended
    other, second = end(store, make, epoch)
    assert fates(store, epoch, retirement, retirement, second) == [Fate.SUCCEEDED, Fate.CONFLICT, Fate.SUCCEEDED]
    assert store.find(other.message_id) is None


def test_a_deposed_leader_retires_nothing(twin, store, make, epoch, ended):
    order, retirement = ended
    twin.store("b").campaign(make.leader("b"), 60.0, over_epoch=epoch)
    assert fates(store, epoch, retirement) == [Fate.FENCED]
    assert store.find(order.order_id).saga.status is S.CANCELLED
    assert len(store.events(order.message_id)) == 2


def test_an_order_with_more_events_than_a_transaction_holds_is_retired_at_once(store, make, epoch):
    order = make.order()
    store.submit(order)
    inbox = make.entry_of(store.snapshot(), Kind.INBOX_ORDER, order.message_id)
    first = make.accepting(order, epoch, inbox.mod_revision)
    [result] = store.commit(epoch, [first])
    saga: Saga = first.saga
    for attempt in range(1, 51):
        assigned = make.stepping(saga, sagas.ASSIGNED, S.ASSIGNED, result.revision, drone_id=f"d{attempt}")
        [result] = store.commit(epoch, [assigned])
        released = make.releasing(assigned.saga, result.revision, 0)
        released = replace(released, reservation=None)
        [result] = store.commit(epoch, [released])
        saga = released.saga
    last = make.stepping(saga, sagas.CANCELLED, S.CANCELLED, result.revision)
    [result] = store.commit(epoch, [last])
    [history, none] = store.histories([order.message_id, "nobody"])
    assert history == store.events(order.message_id)
    assert (len(history), none) == (152, [])
    assert fates(store, epoch, Retirement(order.message_id, order.order_id, result.revision)) == [Fate.SUCCEEDED]
    assert keys(store) == []


def test_many_retirements_share_transactions(store, make, epoch):
    retirements = [end(store, make, epoch)[1] for _ in range(60)]
    results = store.commit(epoch, retirements)
    assert {result.fate for result in results} == {Fate.SUCCEEDED}
    assert len({result.revision for result in results}) <= 2
    assert keys(store) == []


def test_the_histories_of_many_orders_come_in_the_given_order(store, make, epoch):
    orders = [end(store, make, epoch)[0] for _ in range(60)]
    names = [order.message_id for order in reversed(orders)]
    assert store.histories(names) == [store.events(name) for name in names]


# --- unanswered transactions ------------------------------------------------------------------------------------------


def unanswered(store: RegionStore, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object], *, sent: bool) -> None:
    """Lose the answer to the next transaction, which takes effect if ``sent``; then call ``then``."""
    real = store._driver.txn

    def txn(expects: Any, ops: Any, **options: Any) -> Any:
        monkeypatch.setattr(store._driver, "txn", real)
        if sent:
            real(expects, ops, **options)
        then()
        raise FateUnknown("the answer was lost on purpose")

    monkeypatch.setattr(store._driver, "txn", txn)


def test_a_retirement_with_a_lost_answer_is_found_to_have_succeeded(store, epoch, ended, monkeypatch):
    unanswered(store, monkeypatch, lambda: None, sent=True)
    assert fates(store, epoch, ended[1]) == [Fate.SUCCEEDED]


def test_the_fate_of_a_retirement_that_may_still_happen_is_unknown(store, epoch, ended, monkeypatch):
    unanswered(store, monkeypatch, lambda: None, sent=False)
    assert fates(store, epoch, ended[1]) == [Fate.UNKNOWN]


def test_a_retirement_that_can_no_longer_happen_is_fenced(twin, store, make, epoch, ended, monkeypatch):
    other = twin.store("b")
    unanswered(store, monkeypatch, lambda: other.campaign(make.leader("b"), 60.0, over_epoch=epoch), sent=False)
    assert fates(store, epoch, ended[1]) == [Fate.FENCED]
