"""Group commit: concurrent orders share a transaction instead of waiting for the store's disk one by one."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ..core.types import Order
from ..ports import StoreError, Submitted
from ..store.transactions import SUBMITTED_TOGETHER

#: Most orders per call; a call is one transaction.
MAX_GROUP = SUBMITTED_TOGETHER
#: Most concurrent calls.
MAX_CALLS = 3
Answer = Submitted | StoreError
Answers = Sequence[Answer]
_Request = tuple[Order, asyncio.Future[Submitted]]


class GroupCommit:
    """Turns the many submits of one event loop into few calls of a store's ``submit_all``.

    The first order is sent at once and alone, so an idle gateway adds no delay. Orders that arrive meanwhile wait, and
    are sent together when it is done. A full group does not wait. Each order gets its own answer, and a bad one never
    fails the others.
    """

    def __init__(self, submit_all: Callable[[Sequence[Order]], Awaitable[Answers]]) -> None:
        """``submit_all`` runs the store's on a thread. It returns the answers in order; an error replaces an answer."""
        self._submit_all = submit_all
        self._waiting: deque[_Request] = deque()
        self._calls = 0
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop keeps weak references only

    async def submit(self, order: Order) -> Submitted:
        """Submit ``order``; see :meth:`drone_orchestrator.ports.StoreInbox.submit`.

        Waits for at most two calls of the store, unless more orders wait than fit into all calls.
        """
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[Submitted] = loop.create_future()
        self._waiting.append((order, mine))
        if not self._calls or (self._calls < MAX_CALLS and len(self._waiting) >= MAX_GROUP):
            self._calls += 1
            # The task outlives the request that starts it and must not run in that request's trace.
            task = contextvars.Context().run(loop.create_task, self._carry())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await mine

    async def _carry(self) -> None:
        """Submit the waiting orders, group after group, until none is left."""
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
                await self._submit_group(group)
        finally:
            self._calls -= 1  # here, not when the task is done: an order that arrives in between needs a new call

    async def _submit_group(self, group: Sequence[_Request]) -> None:
        """Submit ``group`` and give each order its answer; an exception is the answer to all of them."""
        answers: Sequence[Submitted | Exception]
        try:
            answers = await self._submit_all([order for order, _ in group])
            if len(answers) != len(group):
                raise RuntimeError(f"{len(answers)} answers to {len(group)} orders")
        except Exception as error:
            answers = [error] * len(group)
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():  # its client has left
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
