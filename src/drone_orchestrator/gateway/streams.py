"""``GET /events``: server-sent events that resume where a client left off.

A stream keeps a revision and nothing else. Recent events come from the :class:`~.feed.Feed`, older ones from the
store's history if it is not compacted. If neither reaches back far enough, an event ``reset`` tells the client to load
everything again. The id of an event is its revision. Of several events at one revision only the last carries the id, so
a client that resumes may receive an event twice and never misses one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio
import anyio.to_thread
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..core.types import StoreChange
from ..ports import HistoryGone, StoreError
from .feed import Batch, Feed, items_of
from .problems import Problem

log = logging.getLogger(__name__)

MAX_STREAMS = 64
KEEP_ALIVE_S = 15.0
FLEET_PERIOD_S = 0.5
#: Events within this time (s) are sent together, for one wake-up.
GATHER_S = 0.01
#: How far back a stream may begin, in revisions of the store. Beyond that, loading everything again is quicker.
MAX_BACK = 50_000
#: Batches of events sent at once; the socket slows down a client that cannot keep up.
CHUNK = 128
HISTORY_CHUNK = 2000
#: How long (s) to wait for a revision that this gateway has not seen yet: the client got it from another gateway.
CATCH_UP_S = 5.0
RETRY_MS = 2000

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Streams:
    """All streams of one gateway, on one event loop. ``close`` may be called from any thread."""

    def __init__(
        self,
        feed: Feed,
        history: Callable[[int], Iterable[StoreChange]],
        fleet: Callable[[], dict[str, Any] | None],
        *,
        max_streams: int = MAX_STREAMS,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        """``history(after)`` reads the store's, without gaps. ``fleet()`` returns the body of ``GET /fleet``.

        Both may block and are called on threads.
        """
        self._feed = feed
        self._history = history
        self._fleet = fleet
        self._max_streams = max_streams
        self._keep_alive_s = keep_alive_s
        self._open = 0
        self._bell = _Bell()
        self._closing = False
        self._readers = anyio.CapacityLimiter(2)
        self._fleet_lock = anyio.Lock()
        self._fleet_text = ""
        self._fleet_at_s = float("-inf")
        feed.listen(self._bell.ring)

    @property
    def open(self) -> int:
        """Return the number of open streams."""
        return self._open

    def close(self) -> None:
        """End all streams at once and open no more."""
        self._closing = True
        self._bell.ring()

    def response(self, after: int | None, message_id: str = "") -> StreamingResponse:
        """Return the stream from ``after`` (``None``: from now), of one order or of all. Only for the event loop."""
        if self._closing or self._open >= self._max_streams:
            detail = "This gateway is shutting down." if self._closing else f"{self._open} streams are open already."
            raise Problem(503, "too_many_streams", detail, retry_after_s=5.0)
        self._open += 1
        return _EventStream(self.text(after, message_id), self._left)

    async def text(self, after: int | None, message_id: str = "") -> AsyncIterator[str]:
        """Yield the text of the stream, piece by piece."""
        self._bell.attach()
        yield f"retry: {RETRY_MS}\n\n"
        cursor = self._feed.head if after is None else after
        ahead_until_s = time.monotonic() + CATCH_UP_S
        if after is not None:
            while cursor > self._feed.head and time.monotonic() < ahead_until_s and not self._closing:
                await self._bell.wait(0.2)
            if cursor > self._feed.head or self._feed.since(cursor, 1) is None:
                async for piece, reached in self._catch_up(cursor, message_id):
                    cursor = reached
                    yield piece
            if self._closing:
                return
        yield f"id: {cursor}\n\n"
        fleet_at_s, heard_at_s = float("-inf"), time.monotonic()
        while not self._closing:
            found = self._feed.since(cursor, CHUNK)
            if found is None:
                yield _reset(self._feed.head, "this client is too slow")
                return
            text = "".join(_render(batch, message_id) for batch in found[0])
            cursor = found[1]
            now_s = time.monotonic()
            if not text and not message_id and now_s - fleet_at_s >= FLEET_PERIOD_S:
                fleet_at_s = now_s
                text = await self._fleet_event()
            if not text and now_s - heard_at_s >= self._keep_alive_s:
                text = f": keep-alive\nid: {cursor}\n\n"
            if text:
                heard_at_s = now_s
                yield text
            else:
                next_s = heard_at_s + self._keep_alive_s
                if not message_id:
                    next_s = min(next_s, fleet_at_s + FLEET_PERIOD_S)
                await self._bell.wait(max(0.0, next_s - time.monotonic()))

    async def _catch_up(self, after: int, message_id: str) -> AsyncIterator[tuple[str, int]]:
        """Yield the events between ``after`` and the start of the feed, each piece with its last revision."""
        while not self._closing:
            head = self._feed.head
            if after > head:
                yield _reset(head, "the store has no such revision"), head
                return
            if head - after > MAX_BACK:
                yield _reset(head, "too long ago"), head
                return
            try:
                batches = await anyio.to_thread.run_sync(
                    self._read_history, after, limiter=self._readers, abandon_on_cancel=True
                )
            except HistoryGone as error:
                yield _reset(head, str(error)), head
                return
            except StoreError as error:
                log.warning("a stream ends because the history cannot be read: %s", error)
                raise
            if self._closing:
                return  # possibly in the middle: no id may be sent that was not reached
            # All of it was read: reading began after the feed had reached `head`.
            after = batches[-1].revision if len(batches) >= HISTORY_CHUNK else max(head, after)
            yield "".join(_render(batch, message_id) for batch in batches), after
            if self._feed.since(after, 1) is not None:
                return

    def _read_history(self, after: int) -> list[Batch]:
        """Read up to :data:`HISTORY_CHUNK` batches after ``after``. Blocks."""
        batches: list[Batch] = []
        for change in self._history(after):
            if items := items_of(change.entries):
                batches.append(Batch(change.revision, items))
            if len(batches) >= HISTORY_CHUNK or self._closing:
                break
        return batches

    async def _fleet_event(self) -> str:
        """Return the event ``fleet``, rendered once for all streams."""
        async with self._fleet_lock:
            if time.monotonic() - self._fleet_at_s >= FLEET_PERIOD_S * 0.9:
                body = await anyio.to_thread.run_sync(self._fleet)
                document = json.dumps(body, separators=(",", ":")) if body is not None else ""
                self._fleet_text = f"event: fleet\ndata: {document}\n\n" if document else ""
                self._fleet_at_s = time.monotonic()
            return self._fleet_text

    def _left(self) -> None:
        self._open -= 1


class _EventStream(StreamingResponse):
    def __init__(self, text: AsyncIterator[str], on_end: Callable[[], None]) -> None:
        super().__init__(_until_the_store_fails(text), headers=_HEADERS, media_type="text/event-stream")
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _until_the_store_fails(text: AsyncIterator[str]) -> AsyncIterator[str]:
    """End the stream if the store fails: the client reconnects by itself, with its last id."""
    try:
        async for piece in text:
            yield piece
    except StoreError:
        return


class _Bell:
    """Wakes coroutines of one event loop from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._rung = False

    def attach(self) -> None:
        """Wake the coroutines of this loop from now on."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        loop = self._loop
        if loop is None or self._rung:
            return
        self._rung = True
        try:
            loop.call_soon_threadsafe(loop.call_later, GATHER_S, self._wake)
        except RuntimeError:  # the loop is closed: nothing waits
            self._rung = False

    async def wait(self, timeout_s: float) -> None:
        """Return when the bell rings, or after ``timeout_s``."""
        with anyio.move_on_after(timeout_s):
            await self._event.wait()

    def _wake(self) -> None:
        self._rung = False
        event, self._event = self._event, asyncio.Event()
        event.set()


def _render(batch: Batch, message_id: str) -> str:
    """Return the batch's events, or those of one order; the last one carries the revision."""
    items = [item for item in batch.items if not message_id or item.message_id == message_id]
    lines = [f"event: {item.name}\ndata: {item.data}\n" for item in items]
    return "\n".join([*lines[:-1], f"id: {batch.revision}\n{lines[-1]}\n"]) if lines else ""


def _reset(revision: int, reason: str) -> str:
    data = json.dumps({"revision": revision, "reason": reason})
    return f"id: {revision}\nevent: reset\ndata: {data}\n\n"


def revision_of(*texts: str | None) -> int | None:
    """Return the revision to resume from: the first of ``texts`` that is not empty. Raises :class:`Problem`."""
    for each in texts:
        if each:
            if not each.isascii() or not each.isdecimal() or len(each) > 18:
                raise Problem(422, "bad_event_id", "must be an id that this stream sent", field="Last-Event-ID")
            return int(each)
    return None
