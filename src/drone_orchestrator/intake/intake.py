"""Taking in orders and cancellations: the one way into the store, for HTTP and DDS alike."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, TypeVar

import tenacity

from ..core.admission import Code, InvalidOrder, check_serviceable, message_id_from_key, parse_order
from ..core.types import CancelRequest, FleetSpec, Order, SagaEvent, SagaStatus, StoreChange
from ..ports import FateUnknown, OrderView, StoreDenied, StoreError, StoreInbox, Submitted
from ..runtime.breaker import FAILURES, StoreBreaker
from ..store.keys import InvalidId, check_id
from ..telemetry import tracing
from ..telemetry.metrics import Metrics
from .bulkheads import Bulkheads, LaneClosed, Place

T = TypeVar("T")

log = logging.getLogger(__name__)

#: No order has this id: looking for it asks the store for a consistent read, which it answers with a quorum only.
_NOBODY = str(uuid.UUID(int=0))


class Result(str, Enum):
    """What became of a request; the values are those of the label ``result`` of the metric."""

    ACCEPTED = "accepted"  # committed now
    ALREADY_ACCEPTED = "already_accepted"  # the same was committed before
    CONFLICT = "conflict"  # the id belongs to another order
    INVALID = "invalid"  # a rule is broken, see field, code and reason
    LANE_FULL = "lane_full"  # nothing was written: the order's lane takes no more now
    STORE_UNAVAILABLE = "store_unavailable"  # whether it was written is not known; the same may be repeated
    UNREADABLE = "unreadable"  # the store has something under that id that cannot be read; a person must look

    CANCEL_REQUESTED = "cancel_requested"  # the wish is on record, now or before
    ALREADY_CANCELLED = "already_cancelled"
    NOT_FOUND = "not_found"
    TOO_LATE = "too_late"  # delivered or failed


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of the intake. ``field``, ``code`` and ``reason`` say why not; ``retry_after_s`` when to repeat.

    ``repeated`` tells of a cancellation that was asked for before. ``status`` is the order's, as far as the intake
    knows it: of an order that was handed in, always the one it began with, so that a repeat hears the same.
    """

    result: Result
    message_id: str = ""
    order_id: str = ""
    status: SagaStatus = SagaStatus.PENDING
    field: str = ""
    code: str = ""
    reason: str = ""
    retry_after_s: float = 0.0
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """An order that may go to the store. ``named``: its client gave the message id; ``place``: in its lane."""

    order: Order
    named: bool
    place: Place


class Intake:
    """Checks requests and commits them to the inbox. Thread-safe; every method blocks for a bounded time.

    There are two ways in. :meth:`accept` is the whole one. :meth:`admit`, :meth:`submit_all` and :meth:`settle` are for
    many requests at a time: the first and the last only calculate, and orders share what lies between.
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
    ) -> None:
        """``clock`` gives wall time in seconds. ``retry_for_s`` bounds the tries at a call whose fate is unknown.

        ``tracer`` begins the trace of an order that comes with none, as over DDS.
        """
        self._store = store
        self._fleet = fleet
        self._capable = capable
        self._metrics = metrics
        self._breaker = breaker
        self._bulkheads = bulkheads
        self._clock = clock
        self._new_id = new_id
        self._retry_for_s = retry_for_s
        self._tracer: tracing.Tracer = tracer or tracing.NoTracer()
        for lane in bulkheads.lanes:
            metrics.lane_rejections(drone_class=lane)
            metrics.lane_depth(drone_class=lane).set_function(partial(bulkheads.depth, lane))

    @property
    def breaker(self) -> StoreBreaker:
        return self._breaker

    def accept(self, document: Mapping[str, Any], source: str, key: str | None = None) -> Answer:
        """Take in the order that ``document`` (the JSON of ``POST /orders``) describes, once.

        ``key`` is the client's idempotency key, ``source`` the value of the metric's label. ``ACCEPTED`` means that
        the order is committed.
        """
        if self._tracer.enabled and not tracing.current():
            with self._tracer.request(f"submit by {source}", "", {}):
                return self._accept(document, source, key)
        return self._accept(document, source, key)

    def _accept(self, document: Mapping[str, Any], source: str, key: str | None) -> Answer:
        try:
            order, named = self._parse(document, key)
            answer = self._submit(order, named)
        except InvalidOrder as error:
            answer = _invalid(error)
        except StoreError as error:
            answer = self._failed(error)
        return self.count(answer, source)

    def admit(self, document: Mapping[str, Any], source: str, key: str | None = None) -> Admitted | Answer | None:
        """What :meth:`accept` does before it asks the store, without blocking: the order, which :meth:`settle` must
        follow; a refusal that no answer of the store could change; or ``None``: only :meth:`accept` can tell."""
        try:
            order, named = self._parse(document, key)
        except InvalidOrder as error:
            return self.count(_invalid(error), source)
        if self._breaker.state != "closed":
            return None
        try:
            with tracing.step("admission"):
                check_serviceable(order, self._fleet, self._capable)
        except InvalidOrder:
            return None
        place = self._bulkheads.enter(order)
        return None if isinstance(place, LaneClosed) else Admitted(order, named, place)

    def submit_all(self, orders: Sequence[Order]) -> Sequence[Submitted | StoreError]:
        """Ask the store for ``orders`` once, behind the breaker; answers in order, errors in the place of answers."""

        def submit() -> Sequence[Submitted | StoreError]:
            answers = self._store.submit_all(orders)
            failures = [answer for answer in answers if isinstance(answer, FAILURES)]
            if failures and len(failures) == len(answers):
                raise failures[0]  # the breaker must hear of it
            return answers

        try:
            return self._breaker.call(submit)
        except StoreError as error:
            return [error] * len(orders)

    def settle(self, admitted: Admitted, submitted: Submitted | None, source: str) -> Answer | None:
        """The answer to an order that the store was asked for; its place in the lane is given up. ``None``: the store
        has not simply taken it, and :meth:`accept` must look closer; everything may be asked for twice."""
        self._bulkheads.leave(admitted.place, committed=submitted is not None and submitted.created)
        if submitted is None or submitted.conflict:
            return None
        result = Result.ACCEPTED if submitted.created else Result.ALREADY_ACCEPTED
        return self.count(Answer(result, submitted.message_id, admitted.order.order_id), source)

    def cancel(self, id_: str, source: str, reason: str = "customer_request") -> Answer:
        """Put the wish to cancel the order with this message id or order id on record."""
        try:
            answer = self._cancel(id_, reason)
        except StoreError as error:
            answer = self._failed(error)
        return self.count(answer, source)

    def find(self, id_: str) -> OrderView | None:
        """The order with this message id or order id as the store has it now. Raises ``StoreError``."""
        try:
            check_id(id_)
        except InvalidId:
            return None  # no order can have it
        return self._ask(lambda: self._store.find(id_))

    def events(self, message_id: str) -> list[SagaEvent]:
        """The steps of an order so far, as the store has them now. Raises ``StoreError``."""
        return self._ask(lambda: self._store.events(message_id))

    def changes(self, after_revision: int) -> Iterable[StoreChange]:
        """Every change of the store after a revision until now. Raises ``StoreError``, ``HistoryGone`` among them."""
        return self._store.history(after_revision, gapless=True)

    def check_store(self) -> None:
        """Raise ``StoreError`` unless the store answers. Counts for the breaker: it is how an open one closes again
        where no traffic comes because the gateway is not ready."""
        self._breaker.call(lambda: self._store.find(_NOBODY))

    def count(self, answer: Answer, source: str) -> Answer:
        """Count ``answer`` in the metrics, and give it back."""
        self._metrics.requests(source=source, result=answer.result.value).inc()
        return answer

    def _parse(self, document: Mapping[str, Any], key: str | None) -> tuple[Order, bool]:
        """The order, and whether the client named its message id."""
        now_s = self._clock()
        stated = document.get("message_id") is not None
        if key is None:
            return self._order(document, now_s), stated
        message_id = message_id_from_key(key)
        if not stated:
            document = {**document, "message_id": message_id}
        order = self._order(document, now_s)
        if order.message_id != message_id:
            raise InvalidOrder("message_id", "message_id and idempotency key do not agree", Code.BAD_FORMAT)
        return order, True

    def _order(self, document: Mapping[str, Any], now_s: float) -> Order:
        return parse_order(document, now_s=now_s, new_id=self._new_id, trace_context=tracing.current())

    def _submit(self, order: Order, named: bool) -> Answer:
        try:
            with tracing.step("admission"):
                check_serviceable(order, self._fleet, self._capable)
        except InvalidOrder:
            # What was accepted stays accepted, even if the fleet could not serve it any more.
            known = self._ask(lambda: self._store.find(order.message_id if named else order.order_id))
            if known is None or not _same(order, known.order, named):
                raise
            return Answer(Result.ALREADY_ACCEPTED, known.order.message_id, order.order_id)
        place = self._bulkheads.enter(order)
        if isinstance(place, LaneClosed):
            return self._known(order, named) or self._turned_away(order, place)
        created = False
        try:
            with tracing.step("store commit"):
                submitted = self._ask(lambda: self._store.submit(order))
            created = submitted.created
        finally:
            self._bulkheads.leave(place, committed=created)
        if submitted.conflict:
            return self._conflict(order, named, submitted.conflict)
        result = Result.ACCEPTED if created else Result.ALREADY_ACCEPTED
        return Answer(result, submitted.message_id, order.order_id)

    def _known(self, order: Order, named: bool) -> Answer | None:
        """The answer to an order that does not get into its lane, if its ids are taken: by itself, as a repeat, or by
        another one. A full lane is only said to what is new."""
        by_message_id = [("message_id", order.message_id)] if named else []
        for field, id_ in [*by_message_id, ("order_id", order.order_id)]:
            known = self._ask(partial(self._store.find, id_))
            # An order id may look like the message id of another order, which does not make it taken.
            if known is None or id_ != (known.order.message_id if field == "message_id" else known.order.order_id):
                continue
            if _same(order, known.order, named):
                return Answer(Result.ALREADY_ACCEPTED, known.order.message_id, order.order_id)
            return _taken(order, named, field)
        return None

    def _turned_away(self, order: Order, closed: LaneClosed) -> Answer:
        self._metrics.lane_rejections(drone_class=closed.lane).inc()
        return Answer(
            Result.LANE_FULL,
            order_id=order.order_id,
            code=closed.code,
            reason=f"{closed.reason}; nothing was written, repeat the same request later",
            retry_after_s=closed.retry_after_s,
        )

    def _conflict(self, order: Order, named: bool, field: str) -> Answer:
        """A client that gave no message id repeats through its order id: the same content is the same order."""
        if not named and field == "order_id":
            known = self._ask(lambda: self._store.find(order.order_id))
            if known is not None and _same(order, known.order, named):
                return Answer(Result.ALREADY_ACCEPTED, known.order.message_id, order.order_id)
        return _taken(order, named, field)

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
        request = CancelRequest(view.order.message_id, self._clock(), reason)
        fresh = self._ask(lambda: self._store.request_cancel(request))
        return replace(answer, repeated=not fresh)

    def _ask(self, call: Callable[[], T]) -> T:
        """``call`` behind the breaker, again where its fate is unknown: every call of the intake is idempotent."""
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(FateUnknown),
            stop=tenacity.stop_after_attempt(4) | tenacity.stop_after_delay(self._retry_for_s),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
            reraise=True,
        )
        return tries(self._breaker.call, call)

    def _failed(self, error: StoreError) -> Answer:
        if not isinstance(error, FAILURES):
            log.error("asking the store again will not help: %s", error)
            return Answer(Result.UNREADABLE, code="unreadable", reason=str(error))
        if isinstance(error, StoreDenied):
            log.error("the store refuses this gateway: %s", error)
        reason = "The store cannot be reached. Repeat the same request: it will not be carried out twice."
        retry_after_s = self._breaker.reset_s
        return Answer(Result.STORE_UNAVAILABLE, code="store_unavailable", reason=reason, retry_after_s=retry_after_s)


def _invalid(error: InvalidOrder) -> Answer:
    return Answer(Result.INVALID, field=error.field, code=error.code.value, reason=error.reason)


def _taken(order: Order, named: bool, field: str) -> Answer:
    taken = order.message_id if field == "message_id" else order.order_id
    return Answer(
        Result.CONFLICT,
        message_id=order.message_id if named else "",
        order_id=order.order_id,
        field=field,
        code=f"{field}_taken",
        reason=f"{field} {taken} belongs to an order with another content",
    )


def _same(order: Order, known: Order, named: bool) -> bool:
    return (order if named else replace(order, message_id=known.message_id)).same_request(known)
