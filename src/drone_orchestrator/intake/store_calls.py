"""The intake's calls to the store: behind the circuit breaker, and retried if their fate is unknown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import tenacity

from ..core.types import CancelRequest, Order, SagaEvent
from ..core.view import OrderView
from ..ports import FateUnknown, StoreDenied, StoreError, StoreHeld, StoreInbox, Submitted
from ..runtime.breaker import FAILURES, StoreBreaker
from ..store.keys import InvalidId, check_id
from .answers import Answer, Result

T = TypeVar("T")

log = logging.getLogger(__name__)


class StoreCalls:
    """The store as the intake uses it. Thread-safe. Calls block for a bounded time and raise ``StoreError``."""

    def __init__(self, store: StoreInbox, breaker: StoreBreaker, retry_for_s: float) -> None:
        """``retry_for_s`` bounds the attempts at a call whose fate is unknown."""
        self._store = store
        self._breaker = breaker
        self._retry_for_s = retry_for_s

    @property
    def healthy(self) -> bool:
        """Return whether the breaker is closed."""
        return self._breaker.state == "closed"

    def find(self, id_: str) -> OrderView | None:
        """Return the order with this message id or order id as stored now."""
        try:
            check_id(id_)
        except InvalidId:
            return None  # no order can have this id
        return self._ask(lambda: self._store.find(id_))

    def events(self, message_id: str) -> list[SagaEvent]:
        """Return the events of an order as stored now."""
        return self._ask(lambda: self._store.events(message_id))

    def submit(self, order: Order) -> Submitted:
        """Put ``order`` in the inbox, once."""
        return self._ask(lambda: self._store.submit(order))

    def submit_all(self, orders: Sequence[Order]) -> Sequence[Submitted | StoreError]:
        """Submit ``orders`` in one attempt. Return the answers in order; an error replaces an answer. Never raises."""

        def submit() -> Sequence[Submitted | StoreError]:
            answers = self._store.submit_all(orders)
            failures = [answer for answer in answers if isinstance(answer, FAILURES)]
            if failures and len(failures) == len(answers):
                raise failures[0]  # so that the breaker counts it
            return answers

        try:
            return self._breaker.call(submit)
        except StoreError as error:
            return [error] * len(orders)

    def request_cancel(self, request: CancelRequest) -> bool:
        """Put the cancellation in the inbox; ``False`` if one is there already."""
        return self._ask(lambda: self._store.request_cancel(request))

    def failed(self, error: StoreError) -> Answer:
        """Return the answer to a request that failed with ``error``. Log errors that need an operator."""
        if isinstance(error, StoreHeld):
            reason = f"No order is taken: {error}. Repeat the same request later: it will not be carried out twice."
            return Answer(
                Result.STORE_UNAVAILABLE,
                code="store_unavailable",
                reason=reason,
                retry_after_s=self._breaker.reset_s,
            )
        if not isinstance(error, FAILURES):
            log.error("retrying will not help: %s", error)
            return Answer(Result.UNREADABLE, code="unreadable", reason=str(error))
        if isinstance(error, StoreDenied):
            log.error("the store denied access to this gateway: %s", error)
        reason = "The store cannot be reached. Repeat the same request: it will not be carried out twice."
        retry_after_s = self._breaker.reset_s
        return Answer(Result.STORE_UNAVAILABLE, code="store_unavailable", reason=reason, retry_after_s=retry_after_s)

    def _ask(self, call: Callable[[], T]) -> T:
        """Run ``call`` behind the breaker. Repeat it if its fate is unknown: every call of the intake is idempotent."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(FateUnknown),
            stop=tenacity.stop_after_attempt(4) | tenacity.stop_after_delay(self._retry_for_s),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
            reraise=True,
        )
        return attempts(self._breaker.call, call)
