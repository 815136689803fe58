"""Concurrent orders share transactions: at once when idle, together when not, and no one for another's fault."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from drone_orchestrator.core.types import GeoPoint, Order
from drone_orchestrator.gateway.group_commit import MAX_GROUP, GroupCommit
from drone_orchestrator.ports import FateUnknown, StoreError, StoreUnavailable, Submitted


def order(name: str) -> Order:
    return Order(name, name, GeoPoint(0.0, 0.0), 1.0, 0.0)


class SlowStore:
    """Answers a call when it is told to, and says what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.called = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.broken: Exception | None = None

    def submit_all(self, orders: Sequence[Order]) -> list[Submitted | StoreError]:
        self.calls.append([each.order_id for each in orders])
        self.called.release()
        assert self.go_on.acquire(timeout=10.0)
        if self.broken:
            raise self.broken
        return [self._answer(each) for each in orders]

    def _answer(self, each: Order) -> Submitted | StoreError:
        if each.order_id.startswith("unknown"):
            return FateUnknown(each.order_id)
        return Submitted(each.message_id, True, "order_id" if each.order_id.startswith("taken") else "")


class Clients:
    def __init__(self) -> None:
        self.store = SlowStore()
        self.group = GroupCommit(self.store.submit_all)
        self.pool = ThreadPoolExecutor(MAX_GROUP + 8)

    def submit(self, name: str) -> Future[Submitted]:
        return self.pool.submit(self.group.submit, order(name))

    def wait_called(self) -> None:
        assert self.store.called.acquire(timeout=10.0)

    def wait_in_line(self, count: int) -> None:
        for _ in range(2000):
            with self.group._lock:
                if len(self.group._waiting) == count:
                    return
            threading.Event().wait(0.005)
        raise AssertionError(f"never {count} in line")


@pytest.fixture
def clients():
    made = Clients()
    yield made
    made.store.go_on.release(1000)
    made.pool.shutdown()


def test_the_first_goes_at_once_and_those_after_it_together(clients: Clients) -> None:
    first = clients.submit("a")
    clients.wait_called()
    others = [clients.submit(name) for name in "bcd"]
    clients.wait_in_line(3)
    clients.store.go_on.release()
    assert first.result(10.0).message_id == "a"  # it does not wait for the others
    clients.wait_called()
    clients.store.go_on.release()

    assert sorted(each.result(10.0).message_id for each in others) == ["b", "c", "d"]
    assert [sorted(call) for call in clients.store.calls] == [["a"], ["b", "c", "d"]]


def test_an_idle_one_is_not_held_up_by_one_that_went_before(clients: Clients) -> None:
    for name in "ab":
        future = clients.submit(name)
        clients.wait_called()
        clients.store.go_on.release()
        assert future.result(10.0).created
    assert clients.store.calls == [["a"], ["b"]]


def test_each_gets_its_own_answer(clients: Clients) -> None:
    first = clients.submit("first")
    clients.wait_called()
    good, taken, unknown = (clients.submit(name) for name in ("good", "taken", "unknown"))
    clients.wait_in_line(3)
    clients.store.go_on.release(2)

    assert first.result(10.0).created and good.result(10.0).conflict == ""
    assert taken.result(10.0).conflict == "order_id"
    with pytest.raises(FateUnknown):
        unknown.result(10.0)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a mistake")])
def test_a_call_that_fails_fails_all_its_orders_and_not_the_next(clients: Clients, error: Exception) -> None:
    clients.store.broken = error
    first = clients.submit("a")
    clients.wait_called()
    second = clients.submit("b")
    clients.wait_in_line(1)
    clients.store.go_on.release()
    clients.wait_called()
    clients.store.broken = None
    clients.store.go_on.release()

    with pytest.raises(type(error)):
        first.result(10.0)
    assert second.result(10.0).created


def test_a_group_is_bounded(clients: Clients) -> None:
    clients.submit("first")
    clients.wait_called()
    futures = [clients.submit(f"n{number}") for number in range(MAX_GROUP + 5)]
    clients.wait_in_line(MAX_GROUP + 5)
    clients.store.go_on.release(3)

    assert all(each.result(10.0).created for each in futures)
    assert [len(call) for call in clients.store.calls] == [1, MAX_GROUP, 5]
