"""Workers of a simulated process: turns of the driver and calls to the store, in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from ..core.leader.events import Event
from ..runtime.workers import Call, Pool
from .profile import Conditions
from .scheduler import Process, Scheduler, SimulatedClock

#: Shortest time (s) between two turns, as a thread needs.
SHORTEST_TURN_S = 0.01


class _Job:
    """A call and, once it was made, its events. The process may die before it gets them."""

    __slots__ = ("call", "events")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.events: list[Event] | None = None

    def make(self) -> list[Event]:
        if self.events is None:
            self.events = list(self.call())
        return self.events


class SimulatedWorkers:
    """Implements :class:`~drone_orchestrator.runtime.workers.Workers`.

    A call takes time to reach the store, and its answer takes time to return. The process may be killed or hang at any
    moment in between. ``turn_delay_s()`` is the longest time (s) from an event to the turn that takes it.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        process: Process,
        clock: SimulatedClock,
        rng: Random,
        conditions: Callable[[], Conditions],
        turn_delay_s: Callable[[], float],
    ) -> None:
        self._scheduler = scheduler
        self._process = process
        self._clock = clock
        self._rng = rng
        self._conditions = conditions
        self._turn_delay_s = turn_delay_s
        self._inbox: list[Event] = []
        self._halted = False
        self._armed_s: float | None = None
        self._queues: dict[Pool, deque[tuple[_Job, float]]] = {pool: deque() for pool in Pool}
        self._under_way: dict[Pool, list[_Job]] = {pool: [] for pool in Pool}

    def start(self, turn: Callable[[Sequence[Event]], None], deadline: Callable[[], float | None]) -> None:
        self._turn = turn
        self._deadline = deadline
        self._arm(self._scheduler.now_s)

    def post(self, event: Event) -> None:
        self._inbox.append(event)
        if len(self._inbox) == 1:
            self._arm(self._scheduler.now_s + self._rng.random() * self._turn_delay_s())

    def run(self, pool: Pool, call: Call, after_s: float = 0.0) -> None:
        job = _Job(call)
        if len(self._under_way[pool]) < pool.size:
            self._begin(pool, job, after_s)
        else:
            self._queues[pool].append((job, after_s))

    def halt(self) -> None:
        self._halted = True

    def stop(self) -> list[Event]:
        """Make all calls that wait, at once, and those that they lead to. Returns the events that no turn has taken."""
        self._halted = True
        left, self._inbox = self._inbox, []
        for pool in Pool:
            for job in self._under_way[pool]:
                left += job.make()
            while self._queues[pool]:
                job, _ = self._queues[pool].popleft()
                left += job.make()
        return left

    def _arm(self, at_s: float) -> None:
        """Take a turn at ``at_s``, unless an earlier one is scheduled."""
        if self._armed_s is None or at_s < self._armed_s:
            self._armed_s = at_s
            self._process.at(at_s, lambda: self._take_turn(at_s))

    def _take_turn(self, armed_s: float) -> None:
        if self._halted or self._armed_s != armed_s:
            return
        self._armed_s = None
        events, self._inbox = self._inbox, []
        self._turn(events)
        now_s, due_s = self._scheduler.now_s, self._deadline()
        if due_s is not None:
            self._arm(max(self._clock.at_mono(due_s), now_s + SHORTEST_TURN_S))
        if self._inbox:
            self._arm(now_s + self._rng.random() * self._turn_delay_s())

    def _begin(self, pool: Pool, job: _Job, after_s: float) -> None:
        self._under_way[pool].append(job)
        self._process.after(after_s + self._delay_s(), lambda: self._reach(pool, job))

    def _reach(self, pool: Pool, job: _Job) -> None:
        job.make()
        self._process.after(self._delay_s(), lambda: self._answer(pool, job))

    def _answer(self, pool: Pool, job: _Job) -> None:
        self._under_way[pool].remove(job)
        for event in job.make():
            self.post(event)
        if self._queues[pool]:
            self._begin(pool, *self._queues[pool].popleft())

    def _delay_s(self) -> float:
        return 0.001 + self._rng.random() * self._conditions().store_delay_s
