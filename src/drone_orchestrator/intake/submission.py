"""One order on its way into the store, parsed and admitted exactly once.

:meth:`.intake.Intake.open` creates a :class:`Submission`. Its ``order`` may go to the store in a group with others, and
:meth:`Submission.answer` turns the result into the answer. If the result is inconclusive, or if the order cannot go in
a group, :meth:`Submission.resolve` asks the store and answers. It continues with the same order, the same message id
and the same place in the lane: if the group was committed although no answer arrived, it finds the order there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType

from ..core.admission import InvalidOrder, same_request
from ..core.types import Order
from ..ports import StoreError, Submitted
from ..telemetry import tracing
from ..telemetry.metrics import Metrics
from .answers import Answer, Result, invalid
from .bulkheads import Bulkheads, LaneClosed, Place
from .store_calls import StoreCalls

#: Ended orders leave a store that fills up within this time (s), or not at all.
FULL_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Parsed:
    """An order as its client sent it. ``named``: the client chose the message id."""

    order: Order
    named: bool

    def is_same_as(self, known: Order) -> bool:
        """Return whether ``known`` is this order. If the client chose no message id, the order id decides."""
        order = self.order if self.named else replace(self.order, message_id=known.message_id)
        return same_request(order, known)

    def conflict(self, field: str) -> Answer:
        """Return the answer for an id (in ``field``) that another order uses."""
        taken = self.order.message_id if field == "message_id" else self.order.order_id
        return Answer(
            Result.CONFLICT,
            message_id=self.order.message_id if self.named else "",
            order_id=self.order.order_id,
            field=field,
            code=f"{field}_taken",
            reason=f"{field} {taken} belongs to an order with different content",
        )


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Refusal of every new order, because the store fills up. ``reason`` is for people."""

    reason: str


class Submission:
    """One request to accept an order. A context manager: its exit gives back the order's place in the lane.

    It may move between threads, but only one may use it at a time.
    """

    def __init__(
        self,
        store: StoreCalls,
        bulkheads: Bulkheads,
        metrics: Metrics,
        source: str,
        parsed: Parsed | InvalidOrder,
        entry: Place | LaneClosed | NoRoom | InvalidOrder,
    ) -> None:
        """``parsed`` is the order, or the rule that the document breaks. ``entry`` is the order's place in its lane, or
        the reason why it has none; it may still be a repeat of an order that was accepted earlier."""
        self._store = store
        self._bulkheads = bulkheads
        self._metrics = metrics
        self._source = source
        self._parsed = parsed
        self._entry = entry
        self._conflict = ""
        self._created = False
        self.order: Order | None = None
        """The order, if it can go to the store in a group with others."""
        if isinstance(parsed, Parsed) and isinstance(entry, Place) and store.healthy:
            self.order = parsed.order

    def __enter__(self) -> Submission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(self._entry, Place):
            self._bulkheads.leave(self._entry, committed=self._created)

    def answer(self, submitted: Submitted | None) -> Answer | None:
        """Return the answer, given what became of ``order`` in its group (``None``: not known, or not sent).

        Returns ``None`` if only :meth:`resolve` can find out. Never blocks.
        """
        if isinstance(self._parsed, InvalidOrder):
            return self._count(invalid(self._parsed))
        if submitted is None:
            return None
        if submitted.conflict:
            self._conflict = submitted.conflict
            return None
        return self._count(self._accepted(submitted, self._parsed.order))

    def resolve(self) -> Answer:
        """Ask the store for everything still unknown, and return the answer. Blocks for a bounded time."""
        try:
            answer = self._resolve()
        except InvalidOrder as error:
            answer = invalid(error)
        except StoreError as error:
            answer = self._store.failed(error)
        return self._count(answer)

    def _resolve(self) -> Answer:
        if isinstance(self._parsed, InvalidOrder):
            raise self._parsed
        if isinstance(self._entry, InvalidOrder):
            return self._unserviceable(self._parsed, self._entry)
        if isinstance(self._entry, LaneClosed):
            return self._known(self._parsed) or self._turned_away(self._parsed.order, self._entry)
        if isinstance(self._entry, NoRoom):
            return self._known(self._parsed) or _no_room(self._parsed.order, self._entry)
        if not self._conflict:
            with tracing.step("store commit"):
                submitted = self._store.submit(self._parsed.order)
            if not submitted.conflict:
                return self._accepted(submitted, self._parsed.order)
            self._conflict = submitted.conflict
        return self._conflicting(self._parsed, self._conflict)

    def _accepted(self, submitted: Submitted, order: Order) -> Answer:
        self._created = submitted.created
        result = Result.ACCEPTED if submitted.created else Result.ALREADY_ACCEPTED
        return Answer(result, submitted.message_id, order.order_id)

    def _unserviceable(self, parsed: Parsed, error: InvalidOrder) -> Answer:
        """Return the answer to a repeat: an accepted order stays accepted, even if the fleet can no longer serve it.

        Raises ``error`` for a new order.
        """
        known = self._store.find(parsed.order.message_id if parsed.named else parsed.order.order_id)
        if known is None or not parsed.is_same_as(known.order):
            raise error
        return Answer(Result.ALREADY_ACCEPTED, known.order.message_id, parsed.order.order_id)

    def _known(self, parsed: Parsed) -> Answer | None:
        """Return the answer if one of the order's ids is in use, by the same order or another one.

        Only a new order can be refused because its lane is full.
        """
        order = parsed.order
        by_message_id = [("message_id", order.message_id)] if parsed.named else []
        for field, id_ in [*by_message_id, ("order_id", order.order_id)]:
            known = self._store.find(id_)
            # An order id may look like the message id of another order, which does not make it taken.
            if known is None or id_ != (known.order.message_id if field == "message_id" else known.order.order_id):
                continue
            if parsed.is_same_as(known.order):
                return Answer(Result.ALREADY_ACCEPTED, known.order.message_id, order.order_id)
            return parsed.conflict(field)
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

    def _conflicting(self, parsed: Parsed, field: str) -> Answer:
        """Return the answer for a taken id. Without a message id, the same order id and content are a repeat."""
        if not parsed.named and field == "order_id":
            known = self._store.find(parsed.order.order_id)
            if known is not None and parsed.is_same_as(known.order):
                return Answer(Result.ALREADY_ACCEPTED, known.order.message_id, parsed.order.order_id)
        return parsed.conflict(field)

    def _count(self, answer: Answer) -> Answer:
        self._metrics.requests(source=self._source, result=answer.result.value).inc()
        return answer


def _no_room(order: Order, refused: NoRoom) -> Answer:
    return Answer(
        Result.STORE_UNAVAILABLE,
        order_id=order.order_id,
        code="store_full",
        reason=f"{refused.reason}; nothing was written, repeat the same request later",
        retry_after_s=FULL_RETRY_S,
    )
