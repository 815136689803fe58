"""The queue of requests that need the store.

The store's calls block, so they run on threads, at most ``store_threads`` at a time. If ``max_waiting`` requests wait
already, the next one is rejected at once: an endless queue helps no client. Orders of one drone class may take three
quarters of the queue, so that a flood of them leaves room for others.

Orders that can be submitted without asking the store first share a few threads and their transactions. For each of the
others a thread queries the store.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from ..core.types import FleetSpec, Order
from ..intake.answers import Answer
from ..intake.intake import Intake
from ..ports import StoreError, Submitted
from ..runtime.breaker import FAILURES
from ..telemetry import tracing
from .group_commit import MAX_CALLS, GroupCommit
from .problems import Problem
from .settings import GatewaySettings

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Label of the metrics for orders that arrive over HTTP.
SOURCE = "http"


class RequestQueue:
    """Runs the intake for the event loop. Only the event loop may use it."""

    def __init__(self, intake: Intake, fleet: FleetSpec, settings: GatewaySettings) -> None:
        self._intake = intake
        self._fleet = fleet
        self._capacity = settings.store_threads + settings.max_waiting
        self._threads = anyio.CapacityLimiter(settings.store_threads)
        self._group_threads = anyio.CapacityLimiter(MAX_CALLS)
        self._group = GroupCommit(self._submit_all)
        self._requests = 0
        self._orders: Counter[str] = Counter()  # by drone class

    async def accept(self, document: dict[str, Any], key: str | None) -> Answer:
        """Accept an order. Raises :class:`Problem` if too many requests wait."""
        with self._place(self._lane(document)), self._intake.open(document, key, SOURCE) as submission:
            submitted = await self._submit(submission.order) if submission.order else None
            answer = submission.answer(submitted)
            return answer if answer is not None else await self._run(submission.resolve)

    async def on_thread(self, call: Callable[[], T]) -> T:
        """Run ``call`` on a thread. Raises :class:`Problem` if too many requests wait, or if the store fails."""
        try:
            with self._place():
                return await self._run(call)
        except FAILURES as error:
            retry_after_s = self._intake.breaker.reset_s
            detail = f"The store cannot be reached: {error}"
            raise Problem(503, "store_unavailable", detail, retry_after_s=retry_after_s) from error
        except StoreError as error:
            log.error("retrying will not help: %s", error)
            raise Problem(500, "unreadable", str(error)) from error

    async def _submit(self, order: Order) -> Submitted | None:
        """Submit ``order`` in a group with others. ``None``: its fate is not known."""
        try:
            with tracing.step("store commit"):
                return await self._group.submit(order)
        except StoreError:
            return None

    async def _submit_all(self, orders: Sequence[Order]) -> Sequence[Submitted | StoreError]:
        return await anyio.to_thread.run_sync(self._intake.submit_all, orders, limiter=self._group_threads)

    async def _run(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._threads)

    def _lane(self, document: dict[str, Any]) -> str:
        """Return the drone class that the order names, ``""`` if it names none of the fleet."""
        named = document.get("drone_class")
        return named if isinstance(named, str) and self._fleet.drone_class(named) else ""

    @contextmanager
    def _place(self, lane: str | None = None) -> Iterator[None]:
        """Count a request that needs the store; an order also by its ``lane``, which may take 3/4 of the queue.

        Raises :class:`Problem` if too many wait.
        """
        if lane is not None and self._orders[lane] >= self._capacity - self._capacity // 4:
            detail = f"Too many orders for {lane or 'no class in particular'} wait for the store."
            raise Problem(503, "overloaded", detail, retry_after_s=1.0)
        if self._requests >= self._capacity:
            raise Problem(503, "overloaded", "Too many requests wait for the store.", retry_after_s=1.0)
        self._requests += 1
        if lane is not None:
            self._orders[lane] += 1
        try:
            yield
        finally:
            self._requests -= 1
            if lane is not None:
                self._orders[lane] -= 1
