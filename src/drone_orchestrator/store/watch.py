"""A watch that cannot stall unnoticed: streams with a liveness check, and a loop that resumes without a gap.

A quiet stream is checked with etcd's progress requests; any answer counts. The revisions in the answers are not used,
because etcd before 3.4.25 may send them ahead of pending changes.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import grpc
from etcd3 import etcdrpc as rpc

from ..ports import StoreDenied, StoreError, StoreUnavailable
from ..runtime.loops import Loop
from .connection import Connection, Member
from .kv import AnotherStore, Compacted, KeyValue, Landmark, RawChange, Span, WatchSink

PROGRESS_INTERVAL_S = 2.0
SILENCE_LIMIT_S = 7.0
FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 2.0

#: Makes a member that has lost its quorum end the stream instead of going quiet.
_REQUIRE_LEADER = (("hasleader", "true"),)
_DELETE = 1  # mvccpb.Event.DELETE


class StreamBroken(StoreUnavailable):
    """The stream ended, or was silent for too long."""


class WatchStream:
    """One watch stream after ``after_revision``, at one member. Iterate over it; any thread may close it.

    Raises :class:`StreamBroken` if it ends or is silent, :class:`Compacted` if its revision is compacted, and
    :class:`StoreDenied` if the watch is not permitted. All changes of a revision arrive together: etcd splits a
    revision only for clients that request fragments.
    """

    def __init__(self, connection: Connection, span: Span, after_revision: int, without: tuple[str, ...] = ()) -> None:
        """Watch ``span``, leaving out keys with a prefix in ``without``."""
        self.member: Member = connection.current()
        self._connection = connection
        self._span = span
        self._without = tuple(prefix.encode() for prefix in without)
        self._after = after_revision
        self._heard_mono_s = time.monotonic()
        self._ended = threading.Event()
        self._silent = False
        try:
            metadata = (*_REQUIRE_LEADER, *connection.metadata())
            self._call = self.member.watch.Watch(self._requests(), metadata=metadata)
        except ValueError as error:  # gRPC raises it for a closed channel
            raise StreamBroken(str(error)) from error

    def __iter__(self) -> Iterator[RawChange | None]:
        """Yield changes, and ``None`` for an answer without one (the first confirms the watch)."""
        try:
            for response in self._call:
                self._heard_mono_s = time.monotonic()
                if response.canceled:
                    self._cancelled(response)
                if not response.events:
                    yield None
                yield from self._changes(response.events)
        except grpc.RpcError as error:
            why = f"silent for {SILENCE_LIMIT_S:g} s" if self._silent else f"{error.code().name}: {error.details()}"
            raise StreamBroken(f"watch at {self.member.name}: {why}") from error
        finally:
            self.close()
        raise StreamBroken(f"watch at {self.member.name}: ended by etcd")

    def _changes(self, events: Iterable[Any]) -> Iterator[RawChange]:
        """Yield changes revision by revision, skipping those already known."""
        told: list[tuple[str, KeyValue | None]] = []
        current = 0
        for event in events:
            kv = event.kv
            revision = kv.mod_revision
            if revision != current:
                if current > self._after:
                    yield RawChange(current, tuple(told))
                told, current = [], revision
            if not kv.key.startswith(self._without):
                key = _text(kv.key)
                told.append((key, None if event.type == _DELETE else KeyValue(key, kv.value, revision, kv.lease)))
        if current > self._after:
            yield RawChange(current, tuple(told))

    def close(self) -> None:
        """End the stream. A blocked reader gets :class:`StreamBroken`."""
        self._ended.set()
        self._call.cancel()

    def _requests(self) -> Iterator[Any]:
        """Yield the requests. gRPC iterates on a separate thread, which also serves as the stream's watchdog."""
        first, end = self._span
        # Start at the known revision and drop its changes. etcd before 3.4.36 accepts a watch from its compact revision
        # although it has forgotten the deletes in it. Started one revision earlier, such a watch is refused as
        # compacted. (0 would mean "from now on".)
        start = max(self._after, 1)
        create = rpc.WatchCreateRequest(key=first.encode(), range_end=end.encode(), start_revision=start)
        yield rpc.WatchRequest(create_request=create)
        while not self._ended.wait(PROGRESS_INTERVAL_S):
            quiet_s = time.monotonic() - self._heard_mono_s
            if quiet_s > SILENCE_LIMIT_S:
                self._silent = True
                self._call.cancel()
                return
            if quiet_s >= PROGRESS_INTERVAL_S:
                yield rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())

    def _cancelled(self, response: Any) -> None:
        if response.compact_revision:
            raise Compacted(response.compact_revision)
        reason = response.cancel_reason or "no reason given"
        if "permission" in reason or "token" in reason or "auth" in reason:
            raise StoreDenied(f"watch at {self.member.name}: {reason}")
        raise StreamBroken(f"watch at {self.member.name}: cancelled by etcd: {reason}")


class WatchLoop:
    """A thread that delivers the changes of ``span`` after a place to a sink, until closed.

    After every interruption it resumes at the next member from the next revision, with exponential back-off and jitter.
    First ``prove`` asks the store whether it has the place in its history. It raises :class:`AnotherStore` if not, and
    :class:`Compacted` if the store cannot tell; then the watch starts over with a snapshot. It also does so after any
    other exception, as of a callback: an unknown part of a change was taken.
    """

    def __init__(
        self, connection: Connection, span: Span, place: Landmark, sink: WatchSink, prove: Callable[[Landmark], None]
    ) -> None:
        self.span = span
        self.place = place  # other threads may read it
        self._connection = connection
        self._sink = sink
        self._prove = prove
        self._lock = threading.Lock()
        self._stream: WatchStream | None = None
        self._healthy: bool | None = None
        self._failures = 0
        self._alive_mono_s = time.monotonic()
        self._loop = Loop("etcd-watch", self._step, longest_pause_s=MAX_BACKOFF_S)
        self._loop.start()

    def silent_s(self) -> float:
        """See :meth:`drone_orchestrator.ports.WatchHandle.silent_s`."""
        return time.monotonic() - self._alive_mono_s

    def close(self) -> None:
        """Stop; no callback runs after this returns (unless it is called from one)."""
        self._loop.stop()
        self.doubt()
        self._loop.close()

    @property
    def closed(self) -> bool:
        return self._loop.closing

    def doubt(self) -> None:
        """End the stream, so that the watch asks for proof that it still follows the same store."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def _step(self) -> None:
        """Follow one stream. Raises what the callbacks raise."""
        if self._loop.trouble:
            self._tell(False)
            self._start_over()
            self._loop.works()
        try:
            self._prove(self.place)
            self._follow()
        except Compacted:
            self._guarded(self._start_over)
        except AnotherStore as error:
            self._tell(False)
            self._guarded(partial(self._start_over, str(error)))
        except StoreDenied:
            # An expired token looks like a missing permission: renew it, then try again.
            self._guarded(self._connection.renew_token)
            self._interrupted()
        except StoreError:
            self._interrupted()

    def _follow(self) -> None:
        """Read one stream until it breaks."""
        stream = WatchStream(self._connection, self.span, self.place.revision, self._sink.without)
        with self._lock:
            self._stream = stream
            if self._loop.closing:  # close() came before this stream existed
                stream.close()
        try:
            for change in stream:
                if self._loop.closing:
                    return
                self._connection_works()
                if change is not None:
                    self.place = self.place.after(change)
                    self._sink.on_change(change)
                self._alive_mono_s = time.monotonic()
        except StreamBroken:
            self._connection.failed(stream.member)
            raise
        finally:
            stream.close()

    def _start_over(self, breach: str = "") -> None:
        if not self._loop.closing:
            self.place = self._sink.on_compacted(breach)
            self._healthy = None  # a snapshot says nothing about the stream after it

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run a step between streams; handle its failure like that of a stream."""
        try:
            step()
        except StoreError:
            self._interrupted()

    def _connection_works(self) -> None:
        self._failures = 0
        self._tell(True)

    def _interrupted(self) -> None:
        if self._loop.closing:
            return
        self._tell(False)
        self._failures += 1
        backoff_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._failures, 16))
        self._loop.pause(backoff_s * random.uniform(0.5, 1.0))  # jitter: many clients lose a member at once

    def _tell(self, healthy: bool) -> None:
        if self._healthy is not healthy and not self._loop.closing:
            self._healthy = healthy
            self._sink.on_health(healthy)


def key_value(kv: Any) -> KeyValue:
    """Convert an etcd ``KeyValue`` message."""
    return KeyValue(_text(kv.key), kv.value, kv.mod_revision, kv.lease)


def _text(key: bytes) -> str:
    """Decode a key. Bytes that are not UTF-8 stay escaped."""
    return key.decode("utf-8", "backslashreplace")
