"""The lanes of a real process: a thread that decides, and a few that wait for the store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from ..core.leader.events import Event, Tick
from ..core.types import Instant

QUEUE_BOUND = 100_000
#: Whoever posts looks so often (s) whether a full queue has room again.
FULL_RETRY_S = 0.01
MAX_BATCH = 1024
#: Without any deadline the core is looked at so often.
IDLE_S = 1.0

_Job = tuple[float, Callable[[], Iterable[Event]]]


class ThreadLanes:
    """Implements :class:`.driver.Lanes`; ``workers`` has the number of threads of each lane.

    ``turn`` and calls must not raise: whoever gives them has wrapped them.
    """

    def __init__(self, now: Callable[[], Instant], workers: Mapping[Enum, int]) -> None:
        self._now = now
        # Thousands of events a second pass it, which Python's own Queue takes microseconds for each way.
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._jobs: dict[Enum, queue.SimpleQueue[_Job | None]] = {lane: queue.SimpleQueue() for lane in workers}
        self._workers = dict(workers)
        self._halted = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(self._jobs[lane],), name=lane.name.lower(), daemon=True)
            for lane, count in workers.items()
            for _ in range(count)
        ]

    def start(self, turn: Callable[[Sequence[Event]], None], deadline: Callable[[], float | None]) -> None:
        """See :meth:`.driver.Lanes.start`."""
        self._threads.insert(
            0, threading.Thread(target=self._decide, args=(turn, deadline), name="decide", daemon=True)
        )
        for thread in self._threads:
            thread.start()

    def post(self, event: Event) -> None:
        """Waits while the queue is full; an event that comes when there are no more turns is kept for ``stop``."""
        while self._events.qsize() >= QUEUE_BOUND:
            if self._halted.wait(FULL_RETRY_S):
                return
        self._events.put(event)

    def run(self, lane: Enum, call: Callable[[], Iterable[Event]], after_s: float = 0.0) -> None:
        """See :meth:`.driver.Lanes.run`."""
        self._jobs[lane].put((after_s, call))

    def halt(self) -> None:
        """See :meth:`.driver.Lanes.halt`."""
        self._halted.set()
        self._events.put(Tick())  # it may be asleep

    def stop(self) -> list[Event]:
        """See :meth:`.driver.Lanes.stop`."""
        self.halt()
        decide, *workers = self._threads
        if decide.ident is not None and decide is not threading.current_thread():
            decide.join()
        for lane, count in self._workers.items():
            for _ in range(count):
                self._jobs[lane].put(None)  # behind everything that the last turn has asked for
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
        """What is in the queue now, without waiting."""
        events: list[Event] = []
        while len(events) < bound:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                break
        return events

    def _work(self, jobs: queue.SimpleQueue[_Job | None]) -> None:
        while (job := jobs.get()) is not None:
            after_s, call = job
            if after_s:
                self._halted.wait(after_s)
            for event in call():
                self.post(event)
