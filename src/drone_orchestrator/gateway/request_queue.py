"""What all requests share: the way to the store on bounded threads, and bodies of bounded size.

The store's calls block, so they run on threads, at most ``store_threads`` at a time; past ``max_waiting`` requests in
line a further one is turned away at once, because a queue that nobody sees the end of helps nobody. Orders of one drone
class get three quarters of that line at most, so that a flood of them leaves room for the others.

Orders about which there is nothing to find out share a few threads and their transactions; the others have a thread
each, which asks the store what it must know.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from ..core.types import FleetSpec, Order
from ..core.view import FleetView
from ..intake.answers import Answer, Result
from ..intake.intake import Intake
from ..ports import StoreError, Submitted
from ..runtime.breaker import FAILURES
from ..runtime.projection import Freshness, Projection
from ..telemetry import tracing
from ..telemetry.metrics import Metrics
from .feed import Feed
from .fleet_document import FleetPicture
from .group_commit import WAYS, GroupCommit
from .handover import Handover, LeaderControl
from .problems import Problem
from .request_bodies import parse_object
from .streams import Streams

T = TypeVar("T")

log = logging.getLogger(__name__)

SOURCE = "http"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Bounds of the HTTP interface. ``rate_limit_per_s`` 0.0: no limit; see :mod:`.rate_limit`."""

    max_body_bytes: int = 64 * 1024
    body_timeout_s: float = 10.0
    store_threads: int = 16
    max_waiting: int = 256
    probe_interval_s: float = 1.0
    max_streams: int = 64
    rate_limit_per_s: float = 0.0
    rate_limit_burst: int = 1000
    client_key_header: str = ""
    operator_token: str = ""


class Service:
    """What the requests share."""

    def __init__(
        self,
        intake: Intake,
        projection: Projection,
        fleet: FleetSpec,
        metrics: Metrics,
        settings: GatewaySettings,
        picture: FleetPicture,
        feed: Feed,
        control: LeaderControl,
    ) -> None:
        self.intake = intake
        self.projection = projection
        self.fleet = fleet
        self.metrics = metrics
        self.settings = settings
        self.streams = Streams(feed, intake.changes, self._fleet_or_none, max_streams=settings.max_streams)
        self.handover = Handover(projection, control)
        self._picture = picture
        self.probe = _StoreProbe(intake, settings.probe_interval_s)
        self._threads = anyio.CapacityLimiter(settings.store_threads)
        self._ways = anyio.CapacityLimiter(WAYS)
        self._group = GroupCommit(self._submit_all)
        # Requests on a thread or waiting for one, and orders among them by class; only the event loop touches these.
        self._in_line = 0
        self._orders_in_line: Counter[str] = Counter()

    def close(self) -> None:
        """End the streams at once and a handover soon. Requests are answered still."""
        self.streams.close()
        self.handover.close()

    async def accept(self, document: dict[str, Any], key: str | None) -> Answer:
        """Take in an order without blocking the event loop. Raises :class:`Problem` if too many requests wait."""
        with (
            self._share_of_class(document),
            self._place_in_line(),
            self.intake.open(document, key, SOURCE) as submission,
        ):
            submitted = await self._submit(submission.order) if submission.order else None
            answer = submission.answer(submitted)
            return answer if answer is not None else await self._run(submission.resolve)

    async def _submit(self, order: Order) -> Submitted | None:
        """Submit ``order`` in a group with others. ``None``: its fate is not known."""
        try:
            with tracing.step("store commit"):
                return await self._group.submit(order)
        except StoreError:
            return None

    async def _submit_all(self, orders: Sequence[Order]) -> Sequence[Submitted | StoreError]:
        return await anyio.to_thread.run_sync(self.intake.submit_all, orders, limiter=self._ways)

    @contextmanager
    def _share_of_class(self, document: dict[str, Any]) -> Iterator[None]:
        """Count an order by its drone class, which may take 3/4 of the line. Raises :class:`Problem` beyond that."""
        named = document.get("drone_class")
        lane = named if isinstance(named, str) and self.fleet.drone_class(named) else ""
        line = self.settings.store_threads + self.settings.max_waiting
        if self._orders_in_line[lane] >= line - line // 4:
            detail = f"Too many orders for {lane or 'no class in particular'} wait for the store."
            raise Problem(503, "overloaded", detail, retry_after_s=1.0)
        self._orders_in_line[lane] += 1
        try:
            yield
        finally:
            self._orders_in_line[lane] -= 1

    @contextmanager
    def _place_in_line(self) -> Iterator[None]:
        """For one request that the store will be asked for; a :class:`Problem` where too many wait already."""
        if self._in_line >= self.settings.store_threads + self.settings.max_waiting:
            raise Problem(503, "overloaded", "Too many requests wait for the store.", retry_after_s=1.0)
        self._in_line += 1
        try:
            yield
        finally:
            self._in_line -= 1

    async def on_thread(self, call: Callable[[], T]) -> T:
        """``call()`` on a thread; a :class:`Problem` where too many wait already, or where the store is away."""
        try:
            with self._place_in_line():
                return await self._run(call)
        except FAILURES as error:
            retry_after_s = self.intake.breaker.reset_s
            detail = f"The store cannot be reached: {error}"
            raise Problem(503, "store_unavailable", detail, retry_after_s=retry_after_s) from error
        except StoreError as error:
            log.error("asking the store again will not help: %s", error)
            raise Problem(500, "unreadable", str(error)) from error

    async def _run(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, limiter=self._threads)

    def read(self, select: Callable[[FleetView], T]) -> tuple[T, Freshness]:
        """What the projection shows; a :class:`Problem` where it has never been loaded: nothing is not an answer."""
        selected, freshness = self.projection.read(select)
        if not freshness.loaded:
            raise Problem(503, "not_loaded", "The store was not reached yet.", retry_after_s=1.0)
        return selected, freshness

    def fleet_body(self) -> dict[str, Any]:
        """The body of ``GET /fleet``; raises :class:`Problem` where the store was never reached."""
        return self._picture.finish(*self.read(self._picture.select))

    def _fleet_or_none(self) -> dict[str, Any] | None:
        try:
            return self.fleet_body()
        except Problem:
            return None

    async def read_order(self, request: Request) -> dict[str, Any]:
        """The JSON object of the body; a refusal counts as an invalid order."""
        try:
            _check_content_type(request)
            return parse_object(await self._read_body(request))
        except Problem:
            self.intake.count(Answer(Result.INVALID), SOURCE)
            raise

    async def _read_body(self, request: Request) -> bytes:
        limit = self.settings.max_body_bytes
        too_large = Problem(413, "body_too_large", f"The body may have {limit} bytes at most.")
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            raise too_large
        body = bytearray()
        try:
            with anyio.fail_after(self.settings.body_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            raise Problem(408, "body_too_slow", "The body did not arrive in time.") from None
        return bytes(body)


class _StoreProbe:
    """Asks the store for a sign of life at most once in a while, however many ask for the answer."""

    def __init__(self, intake: Intake, interval_s: float) -> None:
        self._intake = intake
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._asked_at_s = float("-inf")
        self._reason = ""

    def reason(self) -> str:
        """Why the store cannot be used, ``""`` if it can. Blocks for the store's deadline at most."""
        with self._lock:
            if time.monotonic() - self._asked_at_s >= self._interval_s:
                try:
                    self._intake.check_store()
                    self._reason = ""
                except StoreError as error:
                    self._reason = str(error) or type(error).__name__
                self._asked_at_s = time.monotonic()
            return self._reason


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "not_json", "Send the order with Content-Type: application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "encoded", "Send the order without Content-Encoding.")


def refuse_unknown_parameters(request: Request, *known: str) -> None:
    """A misspelt filter would otherwise give everything, and look like an answer."""
    for name in request.query_params:
        if name not in known:
            raise Problem(422, "unknown_parameter", f"known are {', '.join(known)}", field=name)
