"""Concurrent orders share transactions, so that many clients do not wait for the store's disk one after another."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ..core.types import Order
from ..ports import StoreError, Submitted
from ..store.transactions import SUBMITTED_TOGETHER

#: Orders that share one call at most: it is one transaction.
MAX_GROUP = SUBMITTED_TOGETHER
#: Calls that are under way at a time.
MAX_CALLS = 3
Answer = Submitted | StoreError
Answers = Sequence[Answer]
_Request = tuple[Order, asyncio.Future[Submitted]]


class GroupCommit:
    """``submit`` of a store for the many requests of one event loop, over its ``submit_all``.

    The first order goes at once and alone, so an idle gateway adds no delay. Those that arrive while it is under way
    wait, and go together when it is done; a full group need not wait for it. Each gets its own answer; a bad one never
    fails its neighbours.
    """

    def __init__(self, submit_all: Callable[[Sequence[Order]], Awaitable[Answers]]) -> None:
        """``submit_all`` is the store's, on a thread: the answers in order, an error in the place of the answer it
        stands for."""
        self._submit_all = submit_all
        self._waiting: deque[_Request] = deque()
        self._ways = 0
        self._tasks: set[asyncio.Task[None]] = set()  # nobody else keeps them

    async def submit(self, order: Order) -> Submitted:
        """See :meth:`drone_orchestrator.ports.StoreInbox.submit`. Waits for two calls of the store at most, unless more
        orders wait than fit in the ways."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[Submitted] = loop.create_future()
        self._waiting.append((order, mine))
        if not self._ways or (self._ways < MAX_CALLS and len(self._waiting) >= MAX_GROUP):
            self._ways += 1
            # It outlives the request that begins it, whose trace is not that of the others.
            task = contextvars.Context().run(loop.create_task, self._carry())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await mine

    async def _carry(self) -> None:
        """Submit what waits, group after group, until nothing does."""
        try:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
                await self._submit_group(group)
        finally:
            self._ways -= 1  # at once: whoever comes before this task counts as done must not rely on it

    async def _submit_group(self, group: Sequence[_Request]) -> None:
        """Submit ``group`` and give each its answer; an exception is everybody's."""
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
