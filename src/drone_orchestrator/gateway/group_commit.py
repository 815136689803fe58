"""Concurrent orders share transactions, so that many clients do not wait for the store's disk one after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ..core.types import Order
from ..ports import StoreError, Submitted

#: Orders that share one call at most; the store puts as many in a transaction as fit.
MAX_GROUP = 128
Answer = Submitted | StoreError


class GroupCommit:
    """``submit`` of a store for many threads, over its ``submit_all``.

    The first order goes at once and alone, so an idle gateway adds no delay. Those that arrive while it is under way
    wait, and go together when it is done: the first of them carries them, on the thread that brought it, and hands on
    to the next group. Each gets its own answer; a bad one never fails its neighbours.
    """

    def __init__(self, submit_all: Callable[[Sequence[Order]], Sequence[Answer]]) -> None:
        """``submit_all`` is the store's: the answers in order, an error in the place of the answer it stands for."""
        self._submit_all = submit_all
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: list[_Request] = []

    def submit(self, order: Order) -> Submitted:
        """See :meth:`drone_orchestrator.ports.Store.submit`. Blocks for two calls of the store at most."""
        mine = _Request(order)
        with self._lock:
            if self._busy:
                self._waiting.append(mine)
            else:
                self._busy = True
                mine.turn.set_result([mine])
        group = mine.turn.result()
        if group:
            self._carry(group)
        answer = mine.answer.result()
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def _carry(self, group: Sequence[_Request]) -> None:
        """Submit ``group`` on this thread and give each its answer, after the next group has been sent on its way."""
        answers: Sequence[Answer] | BaseException
        try:
            answers = self._submit_all([each.order for each in group])
        except BaseException as error:  # everyone who waits must hear of it
            answers = error
        self._hand_on()
        for index, each in enumerate(group):
            if isinstance(answers, BaseException):
                each.answer.set_exception(answers)
            else:
                each.answer.set_result(answers[index])
            if each is not group[0]:
                each.turn.set_result([])

    def _hand_on(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            self._busy = bool(group)
        if group:
            group[0].turn.set_result(group)


class _Request:
    """An order with its ``answer``, and its ``turn``: the group that its thread must carry, empty for none."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.turn: Future[Sequence[_Request]] = Future()
        self.answer: Future[Answer] = Future()
