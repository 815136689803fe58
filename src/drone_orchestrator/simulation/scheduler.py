"""Virtual time, and the processes and clocks that live in it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial

from ..core.types import Instant
from ..ports import Clock

Action = Callable[[], object]

#: Wall-clock time (s) at which every simulation begins.
WALL_START_S = 1_700_000_000.0


class OutOfBounds(RuntimeError):
    """The run takes more events than it may: something loops."""


class Scheduler:
    """Heap of actions by time (s). Actions due at the same time happen in the order in which they were scheduled."""

    def __init__(self, max_events: int) -> None:
        self.now_s = 0.0
        self.events = 0
        self._max_events = max_events
        self._heap: list[tuple[float, int, Action]] = []
        self._count = 0

    def at(self, at_s: float, action: Action) -> None:
        """Schedule ``action`` at ``at_s``, or now if that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (max(at_s, self.now_s), self._count, action))

    def after(self, delay_s: float, action: Action) -> None:
        self.at(self.now_s + delay_s, action)

    def run_until(self, end_s: float) -> None:
        """Run all actions due up to ``end_s``. Raises :class:`OutOfBounds`."""
        while self._heap and self._heap[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(self._heap)
            self.events += 1
            if self.events > self._max_events:
                raise OutOfBounds(f"more than {self._max_events} events by {self.now_s:.1f} s")
            action()
        self.now_s = end_s


class Process:
    """One run of a program. Once killed, none of its actions happen; while hung, they wait until it wakes up."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.alive = True
        self.hung = False
        self._scheduler = scheduler
        self._waiting: list[Action] = []

    @property
    def runs(self) -> bool:
        return self.alive and not self.hung

    def at(self, at_s: float, action: Action) -> None:
        self._scheduler.at(at_s, lambda: self.do(action))

    def after(self, delay_s: float, action: Action) -> None:
        self._scheduler.after(delay_s, lambda: self.do(action))

    def do(self, action: Action) -> None:
        """Run ``action`` now, on waking up if the process hangs, or never if it was killed."""
        if not self.alive:
            return
        if self.hung:
            self._waiting.append(action)
        else:
            action()

    def kill(self) -> None:
        self.alive = False
        self._waiting.clear()

    def hang(self) -> None:
        self.hung = True

    def wake(self) -> None:
        """Run at once, and in order, all the actions that have waited."""
        self.hung = False
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            self._scheduler.at(self._scheduler.now_s, partial(self.do, action))


class SimulatedClock(Clock):
    """Clocks of one machine. Its monotonic clock never jumps; its wall clock may be set at any time."""

    def __init__(self, scheduler: Scheduler, mono_offset_s: float) -> None:
        self.wall_error_s = 0.0
        self._scheduler = scheduler
        self._mono_offset_s = mono_offset_s

    def now(self) -> Instant:
        now_s = self._scheduler.now_s
        return Instant(now_s + self._mono_offset_s, WALL_START_S + now_s + self.wall_error_s)

    def at_mono(self, mono_s: float) -> float:
        """Return the virtual time at which the monotonic clock shows ``mono_s``."""
        return mono_s - self._mono_offset_s
