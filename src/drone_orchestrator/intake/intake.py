"""The only way into the store for orders and cancellations, whichever door they arrive at.

Every door (``POST /orders``, the service ``submit_order``, the signed topic ``orders``) turns its request into a JSON
document and opens a :class:`~.submission.Submission` with it. The gateway sends the submissions of many clients to the
store in groups; the ROS doors use :meth:`Intake.accept`, one order at a time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..core.admission import Code, InvalidOrder, check_serviceable, message_id_from_key, parse_order
from ..core.reasons import Reason
from ..core.types import CancelRequest, FleetSpec, Order, SagaEvent, SagaStatus, StoreChange
from ..core.view import OrderView
from ..ports import StoreError, StoreInbox, Submitted
from ..runtime.breaker import StoreBreaker
from ..runtime.probe import check_quorum
from ..telemetry import tracing
from ..telemetry.metrics import Metrics
from .answers import Answer, Result
from .bulkheads import Bulkheads, LaneClosed, Place
from .store_calls import StoreCalls
from .submission import NoRoom, Parsed, Submission


class Intake:
    """Checks requests and commits them to the inbox. Thread-safe.

    :meth:`open` and :meth:`count` only calculate; every other method blocks for a bounded time.
    """

    def __init__(
        self,
        store: StoreInbox,
        fleet: FleetSpec,
        capable: Callable[[FleetSpec, Order], bool],
        metrics: Metrics,
        breaker: StoreBreaker,
        bulkheads: Bulkheads,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        retry_for_s: float = 3.0,
        tracer: tracing.Tracer | None = None,
        refusal: Callable[[], str] = str,
    ) -> None:
        """``clock`` gives wall time in seconds. ``retry_for_s`` bounds the attempts at a call whose fate is unknown.

        ``tracer`` begins the trace of an order that arrives without one, as over DDS. ``refusal`` returns why no new
        order is accepted; empty if any is.
        """
        self._store = store
        self._fleet = fleet
        self._capable = capable
        self._metrics = metrics
        self._breaker = breaker
        self._bulkheads = bulkheads
        self._calls = StoreCalls(store, breaker, retry_for_s)
        self._clock = clock
        self._new_id = new_id
        self._refusal = refusal
        self._tracer: tracing.Tracer = tracer or tracing.NoTracer()
        for lane in bulkheads.lanes:
            metrics.lane_rejections(drone_class=lane)
            metrics.lane_depth(drone_class=lane).set_function(partial(bulkheads.depth, lane))

    @property
    def breaker(self) -> StoreBreaker:
        return self._breaker

    def open(self, document: Mapping[str, Any], key: str | None, source: str) -> Submission:
        """Parse and admit the order that ``document`` (the JSON of ``POST /orders``) describes. Never blocks.

        ``key`` is the client's idempotency key, ``source`` the value of the metric's label.
        """
        parsed: Parsed | InvalidOrder
        entry: Place | LaneClosed | NoRoom | InvalidOrder
        try:
            parsed = self._parse(document, key)
        except InvalidOrder as error:
            parsed = entry = error
        else:
            entry = self._admit(parsed.order)
        return Submission(self._calls, self._bulkheads, self._metrics, source, parsed, entry)

    def accept(self, document: Mapping[str, Any], source: str, key: str | None = None) -> Answer:
        """Accept one order by itself; see :meth:`open`. ``ACCEPTED`` means that it is committed."""
        if self._tracer.enabled and not tracing.current():
            with self._tracer.request(f"submit by {source}", "", {}):
                return self._accept(document, source, key)
        return self._accept(document, source, key)

    def submit_all(self, orders: Sequence[Order]) -> Sequence[Submitted | StoreError]:
        """Submit the orders of many submissions in one attempt. Return the answers in order; an error replaces an
        answer."""
        return self._calls.submit_all(orders)

    def cancel(self, id_: str, source: str, reason: str = Reason.CUSTOMER_REQUEST.value) -> Answer:
        """Record the request to cancel the order with this message id or order id."""
        try:
            answer = self._cancel(id_, reason)
        except StoreError as error:
            answer = self._calls.failed(error)
        return self.count(answer, source)

    def find(self, id_: str) -> OrderView | None:
        """Return the order with this message id or order id, read from the store. Raises ``StoreError``."""
        return self._calls.find(id_)

    def events(self, message_id: str) -> list[SagaEvent]:
        """Return the events of an order, read from the store. Raises ``StoreError``."""
        return self._calls.events(message_id)

    def changes(self, after_revision: int) -> Iterable[StoreChange]:
        """Return every change of the store after a revision. Raises ``StoreError``, including ``HistoryGone``."""
        return self._store.history(after_revision, gapless=True)

    def check_store(self) -> None:
        """Raise ``StoreError`` unless the store answers.

        The call goes through the breaker. A gateway that is not ready gets no traffic, so only this call can close an
        open breaker again.
        """
        self._breaker.call(lambda: check_quorum(self._store))

    def count(self, answer: Answer, source: str) -> Answer:
        """Count ``answer`` in the metrics and return it."""
        self._metrics.requests(source=source, result=answer.result.value).inc()
        return answer

    def _accept(self, document: Mapping[str, Any], source: str, key: str | None) -> Answer:
        with self.open(document, key, source) as submission:
            return submission.resolve()

    def _parse(self, document: Mapping[str, Any], key: str | None) -> Parsed:
        """Raises :class:`InvalidOrder`."""
        stated = document.get("message_id") is not None
        if key is None:
            return Parsed(self._order(document), named=stated)
        message_id = message_id_from_key(key)
        if not stated:
            document = {**document, "message_id": message_id}
        order = self._order(document)
        if order.message_id != message_id:
            raise InvalidOrder("message_id", "message_id and idempotency key must be equal", Code.BAD_FORMAT)
        return Parsed(order, named=True)

    def _order(self, document: Mapping[str, Any]) -> Order:
        return parse_order(document, now_s=self._clock(), new_id=self._new_id, trace_context=tracing.current())

    def _admit(self, order: Order) -> Place | LaneClosed | NoRoom | InvalidOrder:
        try:
            with tracing.step("admission"):
                check_serviceable(order, self._fleet, self._capable)
        except InvalidOrder as error:
            return error
        refusal = self._refusal()
        return NoRoom(refusal) if refusal else self._bulkheads.enter(order)

    def _cancel(self, id_: str, reason: str) -> Answer:
        view = self.find(id_)
        if view is None:
            return Answer(Result.NOT_FOUND, code="not_found", reason=f"there is no order {id_}")
        status = view.saga.status if view.saga else SagaStatus.PENDING
        answer = Answer(Result.CANCEL_REQUESTED, view.order.message_id, view.order.order_id, status)
        if status is SagaStatus.CANCELLED:
            return replace(answer, result=Result.ALREADY_CANCELLED, repeated=True)
        if status.is_terminal:
            why = f"order {view.order.order_id} is {status.value}"
            return replace(answer, result=Result.TOO_LATE, code="too_late", reason=why)
        fresh = self._calls.request_cancel(CancelRequest(view.order.message_id, self._clock(), reason))
        return replace(answer, repeated=not fresh)
