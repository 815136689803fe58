"""Inbox of a region: orders, cancellations, commands.

Implements :class:`~drone_orchestrator.ports.StoreInbox`. Every write creates keys that must not exist yet. So an
unanswered write can be repeated safely, and the second answer shows the fate of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.admission import same_request
from ..core.types import CancelRequest, OperatorCommand, Order, Saga, Value
from ..ports import FateUnknown, StoreDenied, StoreError, StoreHeld, StoreUnavailable, Submitted
from .codec import encode
from .kv import Expect, KeyValue, Op, Put
from .reader import Reader
from .transactions import Plan, grouped

_CREATE_ATTEMPTS = 2


class Inbox(Reader):
    """A reader that also submits orders and requests."""

    def submit_all(self, orders: Sequence[Order]) -> list[Submitted | StoreError]:
        """See :meth:`drone_orchestrator.ports.StoreInbox.submit_all`.

        After the first order that the store does not answer, the rest are not sent: the call stays short while the
        store is away.
        """
        answers: dict[int, Submitted | StoreError] = {}
        plans = [self._submission(order) for order in orders]
        lost: StoreError | None = None
        for group in grouped(plans):
            created, unanswered = (False, False) if lost else self._created_together([plans[i] for i in group])
            for index in group:
                if created:
                    answers[index] = Submitted(orders[index].message_id, created=True)
                elif lost:
                    answers[index] = FateUnknown(str(lost)) if unanswered else StoreUnavailable(str(lost))
                else:
                    answers[index] = answer = self._submitted(orders[index], unanswered)
                    lost = answer if isinstance(answer, (StoreUnavailable, FateUnknown, StoreDenied)) else None
        return [answers[index] for index in range(len(orders))]

    def _created_together(self, plans: Sequence[Plan]) -> tuple[bool, bool]:
        """Try to create all in one transaction. Returns (created, may have been created). If not created, the caller
        submits each order separately."""
        if len(plans) < 2:
            return False, False
        try:
            self._check_not_held()
            expects = [expect for item in plans for expect in item.expects]
            ops = [op for item in plans for op in item.ops]
            return self._driver.txn(expects, ops, read=False).succeeded, False
        except FateUnknown:
            return False, True
        except (StoreUnavailable, StoreHeld):
            return False, False

    def _submitted(self, order: Order, asked_before: bool) -> Submitted | StoreError:
        try:
            return self.submit(order, asked_before=asked_before)
        except StoreError as error:
            return error

    def _submission(self, order: Order) -> Plan:
        inbox, saga = self.keys.inbox_order(order.message_id), self.keys.saga(order.message_id)
        index = self.keys.order_index(order.order_id)
        put = Put(inbox, encode(order))
        expects = (Expect(inbox, 0), Expect(saga, 0), Expect(index, 0))
        return Plan(expects, (put, Put(index, encode(order.message_id))), put)

    def submit(self, order: Order, *, asked_before: bool = False) -> Submitted:
        """See :meth:`drone_orchestrator.ports.StoreInbox.submit`.

        ``asked_before``: an earlier request for this order was sent and not answered. Raises :class:`FateUnknown` only
        if the repeated request is not answered either.
        """
        self._check_not_held()
        request = self._submission(order)
        created, found, repeated = self._create(request.expects, request.ops)
        asked_before |= repeated
        if created:
            return Submitted(order.message_id, created=True)
        inbox, saga = self.keys.inbox_order(order.message_id), self.keys.saga(order.message_id)
        stored = found.get(saga) or found.get(inbox)
        if stored is None:
            return Submitted(order.message_id, created=False, conflict="order_id")
        value = self._decode(stored)
        theirs = value.order if isinstance(value, Saga) else value
        if not isinstance(theirs, Order) or not same_request(theirs, order):
            return Submitted(order.message_id, created=False, conflict="message_id")
        # Identical down to its submission time, after an unanswered request: this call created it.
        return Submitted(order.message_id, created=asked_before and theirs == order)

    def request_cancel(self, request: CancelRequest) -> bool:
        """See :meth:`drone_orchestrator.ports.StoreInbox.request_cancel`."""
        return self._put_request(self.keys.inbox_cancel(request.message_id), request)

    def request_command(self, command: OperatorCommand) -> bool:
        """See :meth:`drone_orchestrator.ports.StoreInbox.request_command`."""
        return self._put_request(self.keys.inbox_command(command.message_id), command)

    def _put_request(self, key: str, request: Value) -> bool:
        value = encode(request)
        created, found, asked_before = self._create((Expect(key, 0),), (Put(key, value),))
        return created or (asked_before and key in found and found[key].value == value)

    def _create(self, expects: Sequence[Expect], ops: Sequence[Op]) -> tuple[bool, Mapping[str, KeyValue], bool]:
        """Run a create-only transaction. Returns (created, existing keys found instead, sent more than once).

        An unanswered request is sent again: that is harmless, and the second answer shows the fate of the first.
        """
        unanswered: FateUnknown | None = None
        for _ in range(_CREATE_ATTEMPTS):
            try:
                result = self._driver.txn(expects, ops)
            except FateUnknown as error:
                unanswered = error
            except StoreUnavailable as error:
                if unanswered is None:
                    raise
                raise FateUnknown(str(error)) from unanswered
            else:
                return result.succeeded, result.found, unanswered is not None
        assert unanswered is not None
        raise unanswered
