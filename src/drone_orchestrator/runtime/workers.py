"""Runs the turns and calls of a driver: the protocol, and its implementation with threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Protocol

from ..core.leader.events import Event, Tick
from ..core.types import Instant
from .loops import vital

QUEUE_BOUND = 100_000
#: Poll interval (s) while the queue is full.
FULL_RETRY_S = 0.01
MAX_BATCH = 1024
#: Without an earlier deadline, take a turn at least this often (s).
IDLE_S = 1.0

Call = Callable[[], Iterable[Event]]


class Pool(Enum):
    """Worker pools, kept apart so that one cannot delay another. ``size`` is the pool's maximum concurrency."""

    COMMIT = ("commit", 3)
    LEAD = ("lead", 1)  # separate from LEASE: renewals must not delay an election,
    LEASE = ("lease", 2)  # nor the reverse
    FOLLOW = ("follow", 1)
    RETIRE = ("retire", 1)  # archiving delays nothing

    def __init__(self, label: str, size: int) -> None:
        self.label = label
        self.size = size


class Workers(Protocol):
    """Runs turns and calls. Turns never overlap. The calls of one pool begin in the order of their submission."""

    def start(self, turn: Callable[[Sequence[Event]], None], deadline: Callable[[], float | None]) -> None:
        """Call ``turn`` with posted events, and at ``deadline()`` (monotonic, s) at the latest even without any."""

    def post(self, event: Event) -> None:
        """Add ``event`` to the next turn. Thread-safe."""

    def run(self, pool: Pool, call: Call, after_s: float = 0.0) -> None:
        """Run ``call`` in ``pool`` after at least ``after_s``, and post the events that it returns."""

    def halt(self) -> None:
        """Start no more turns. Thread-safe and idempotent."""

    def stop(self) -> list[Event]:
        """Start no more turns, wait for every call, and return the events that no turn has processed."""


class ThreadWorkers:
    """Implements :class:`Workers` with one thread for the turns and several that wait for the store.

    ``sizes`` replaces the number of threads of each pool. ``turn``, its deadline and calls must not raise: the caller
    wraps them.
    """

    def __init__(self, now: Callable[[], Instant], sizes: Mapping[Pool, int] | None = None) -> None:
        self._now = now
        # queue.Queue takes microseconds per put and get, too much for thousands of events per second.
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._sizes = dict(sizes or {pool: pool.size for pool in Pool})
        self._jobs: dict[Pool, queue.SimpleQueue[tuple[float, Call] | None]] = {
            pool: queue.SimpleQueue() for pool in self._sizes
        }
        self._halted = threading.Event()
        self._threads = [
            vital(pool.label, self._work, self._jobs[pool], may_end=self._halted.is_set)
            for pool, size in self._sizes.items()
            for _ in range(size)
        ]

    def start(self, turn: Callable[[Sequence[Event]], None], deadline: Callable[[], float | None]) -> None:
        """See :meth:`Workers.start`."""
        self._threads.insert(0, vital("decide", self._decide, turn, deadline, may_end=self._halted.is_set))
        for thread in self._threads:
            thread.start()

    def post(self, event: Event) -> None:
        """Add an event. Waits while the queue is full; after ``halt`` the event is kept for ``stop``."""
        while self._events.qsize() >= QUEUE_BOUND:
            if self._halted.wait(FULL_RETRY_S):
                return
        self._events.put(event)

    def run(self, pool: Pool, call: Call, after_s: float = 0.0) -> None:
        """See :meth:`Workers.run`."""
        self._jobs[pool].put((after_s, call))

    def halt(self) -> None:
        """See :meth:`Workers.halt`."""
        self._halted.set()
        self._events.put(Tick())  # wakes the deciding thread

    def stop(self) -> list[Event]:
        """See :meth:`Workers.stop`."""
        self.halt()
        decide, *workers = self._threads
        if decide.ident is not None and decide is not threading.current_thread():
            decide.join()
        for pool, size in self._sizes.items():
            for _ in range(size):
                self._jobs[pool].put(None)  # after every call that the last turn submitted
        for thread in workers:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()
        return self._taken(self._events.qsize())

    def _decide(self, turn: Callable[[Sequence[Event]], None], deadline: Callable[[], float | None]) -> None:
        while True:
            at_s = deadline()
            wait_s = IDLE_S if at_s is None else min(IDLE_S, max(0.0, at_s - self._now().mono_s))
            try:
                first = self._events.get(timeout=wait_s) if wait_s > 0 else self._events.get_nowait()
                events = [first, *self._taken(MAX_BATCH - 1)]
            except queue.Empty:
                events = []
            if self._halted.is_set():
                for event in events:
                    self.post(event)
                return
            turn(events)

    def _taken(self, bound: int) -> list[Event]:
        """Return up to ``bound`` events that are queued now, without waiting."""
        events: list[Event] = []
        while len(events) < bound:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                break
        return events

    def _work(self, jobs: queue.SimpleQueue[tuple[float, Call] | None]) -> None:
        while (job := jobs.get()) is not None:
            after_s, call = job
            if after_s:
                self._halted.wait(after_s)
            for event in call():
                self.post(event)
