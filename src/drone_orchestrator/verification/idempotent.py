"""I7: the same message id, sent any number of times, makes one order; with another payload it is refused.

An order that has ended and was retired gives its ids back: the retention is the window of idempotency.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core.admission import same_request
from ..core.types import Kind, Order, Saga
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay


class Idempotent:
    """Record of the first order seen under each id."""

    id = "I7"

    def __init__(self) -> None:
        self._order_of: dict[str, tuple[Order, int]] = {}  # message id -> first payload, revision
        self._message_of: dict[str, tuple[str, int]] = {}  # order id -> first message id, revision
        self._had_saga: dict[str, int] = {}

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for change in step.changes:
            if isinstance(change.after, Order):
                yield from self._seen(change.id, change.after, step.revision)
                if change.before is None and change.id in self._had_saga and not step.baseline:
                    text = f"order {change.id} came into the inbox again after it had become a saga"
                    yield Violation(self.id, text, (self._had_saga[change.id], step.revision))
            elif isinstance(change.after, Saga):
                yield from self._seen(change.id, change.after.order, step.revision)
                if change.before is None and change.id in self._had_saga:
                    text = f"order {change.id} got a second saga"
                    yield Violation(self.id, text, (self._had_saga[change.id], step.revision))
                self._had_saga.setdefault(change.id, step.revision)
            elif change.kind is Kind.ORDER_INDEX and isinstance(change.after, str):
                yield from self._named(change.id, change.after, step.revision)
        for saga in step.retired:
            self._forget(saga)
        for change in step.changes:
            if change.kind is Kind.ORDER_INDEX and change.after is None:
                yield from self._freed(change.id, step.revision)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        return iter(())

    def _forget(self, saga: Saga) -> None:
        del self._order_of[saga.message_id], self._had_saga[saga.message_id]
        if self._message_of.get(saga.order_id, ("", 0))[0] == saga.message_id:
            del self._message_of[saga.order_id]

    def _freed(self, order_id: str, revision: int) -> Iterator[Violation]:
        message_id, at = self._message_of.get(order_id, ("", 0))
        if message_id:
            text = f"the id of order {order_id} was given away while its message {message_id} had not been retired"
            yield Violation(self.id, text, (at, revision))

    def _seen(self, message_id: str, order: Order, revision: int) -> Iterator[Violation]:
        if order.message_id != message_id:
            text = f"the order under {message_id} says that it is {order.message_id}"
            yield Violation(self.id, text, (revision,))
        first, at = self._order_of.setdefault(message_id, (order, revision))
        if first is not order and not same_request(first, order):
            yield Violation(self.id, f"message {message_id} was taken with two different orders", (at, revision))
        yield from self._named(order.order_id, message_id, revision)

    def _named(self, order_id: str, message_id: str, revision: int) -> Iterator[Violation]:
        first, at = self._message_of.setdefault(order_id, (message_id, revision))
        if first != message_id:
            yield Violation(self.id, f"order {order_id} has two messages, {first} and {message_id}", (at, revision))
