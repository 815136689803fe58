"""Group commit: an order alone is sent at once, concurrent ones share a call, and one failure affects no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from drone_orchestrator.core.types import GeoPoint, Order
from drone_orchestrator.gateway.group_commit import MAX_CALLS, MAX_GROUP, GroupCommit
from drone_orchestrator.ports import FateUnknown, StoreError, StoreUnavailable, Submitted


class SlowStore:
    """A store that answers only when the test tells it to, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.broken: Exception | None = None
        self._may_go = asyncio.Semaphore(0)
        self.group = GroupCommit(self._submit_all)

    def submit(self, *names: str) -> list[asyncio.Task[Submitted]]:
        made = [Order(name, name, GeoPoint(0.0, 0.0), 1.0, 0.0) for name in names]
        return [asyncio.ensure_future(self.group.submit(each)) for each in made]

    async def answer(self, calls: int = 1) -> None:
        """Wait until every task is blocked, then answer this many calls."""
        await settled()
        for _ in range(calls):
            self._may_go.release()
            await settled()

    async def _submit_all(self, orders: Sequence[Order]) -> list[Submitted | StoreError]:
        self.calls.append([each.order_id for each in orders])
        await self._may_go.acquire()
        if self.broken:
            raise self.broken
        return [self._answer(each) for each in orders]

    def _answer(self, each: Order) -> Submitted | StoreError:
        if each.order_id.startswith("unknown"):
            return FateUnknown(each.order_id)
        return Submitted(each.message_id, True, "order_id" if each.order_id.startswith("taken") else "")


async def settled() -> None:
    """Wait until every task is blocked or done."""
    for _ in range(10):
        await asyncio.sleep(0)


def scenario(play: Callable[[SlowStore], Awaitable[None]]) -> Callable[[], None]:
    """Turn ``play`` into a test that runs with a slow store in its own event loop."""

    async def whole() -> None:
        await asyncio.wait_for(play(SlowStore()), 60.0)

    def test() -> None:
        asyncio.run(whole())

    return test


@scenario
async def test_the_first_order_is_sent_at_once_and_later_ones_together(store: SlowStore) -> None:
    (first,) = store.submit("a")
    await settled()
    others = store.submit(*"bcd")
    await store.answer()
    answer = await first  # without waiting for the others
    assert isinstance(answer, Submitted) and answer.message_id == "a"
    await store.answer()

    assert [each.message_id for each in await asyncio.gather(*others) if isinstance(each, Submitted)] == [*"bcd"]
    assert store.calls == [["a"], ["b", "c", "d"]]


@scenario
async def test_an_order_is_sent_at_once_if_no_call_is_in_flight(store: SlowStore) -> None:
    for name in "ab":
        (task,) = store.submit(name)
        await store.answer()
        assert task.done()
    assert store.calls == [["a"], ["b"]]


@scenario
async def test_an_order_that_arrives_just_as_another_is_answered_is_sent(store: SlowStore) -> None:
    async def twice() -> list[Submitted]:
        orders = [Order(name, name, GeoPoint(0.0, 0.0), 1.0, 0.0) for name in "ab"]
        return [await store.group.submit(each) for each in orders]

    both = asyncio.ensure_future(twice())
    await store.answer(2)
    assert both.done() and store.calls == [["a"], ["b"]]


@scenario
async def test_each_order_gets_its_own_answer(store: SlowStore) -> None:
    first, good, taken, unknown = store.submit("first", "good", "taken", "unknown")
    await store.answer(2)

    assert first.result() == Submitted("first", True) and good.result() == Submitted("good", True)
    assert taken.result() == Submitted("taken", True, "order_id")
    assert isinstance(unknown.exception(), FateUnknown)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a mistake")])
def test_a_failed_call_fails_all_its_orders_but_not_the_next(error: Exception) -> None:
    async def play(store: SlowStore) -> None:
        store.broken = error
        (first,) = store.submit("a")
        await settled()
        (second,) = store.submit("b")
        await store.answer()
        assert first.exception() is error
        store.broken = None
        await store.answer()
        assert second.result() == Submitted("b", True)

    scenario(play)()


@scenario
async def test_groups_and_concurrent_calls_are_bounded(store: SlowStore) -> None:
    (first,) = store.submit("first")
    await settled()
    more = store.submit(*(f"n{number}" for number in range(MAX_CALLS * MAX_GROUP + 5)))
    await settled()
    assert [len(call) for call in store.calls] == [1, MAX_GROUP, MAX_GROUP]  # full groups do not wait for the first
    await store.answer(MAX_CALLS + 2)

    assert all(isinstance(each, Submitted) for each in await asyncio.gather(first, *more))
    assert [len(call) for call in store.calls] == [1, *[MAX_GROUP] * MAX_CALLS, 5]


@scenario
async def test_a_client_that_disconnects_affects_no_other(store: SlowStore) -> None:
    first, gone, other = store.submit("first", "gone", "other")
    await settled()
    gone.cancel()
    await store.answer(2)

    assert first.done() and other.result() == Submitted("other", True)
