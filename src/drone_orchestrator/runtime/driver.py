"""Runs an orchestrator's core for real: one queue, one thread that decides, a few that wait for the store.

The deciding thread takes whatever has happened since it last looked, steps the core once, and carries the effects out.
It never waits for the network: commits, leases and elections go to threads of their own, and their answers come back as
events. Commits that pile up while one transaction is under way share the next one (group commit), which costs nothing
when load is low.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from ..core.effects import (
    AcknowledgeOutcome,
    AnswerClearance,
    Campaign,
    Commit,
    Effect,
    KeepReservation,
    LeaveOffice,
    RecallGoal,
    RefreshLease,
    Report,
    Resign,
    SendGoal,
    TakeOffice,
)
from ..core.events import CampaignDone, CommitDone, Event, LeaseLost, LeaseRefreshed, StoreChanged, Tick, ViewLoaded
from ..core.orchestrator import Orchestrator
from ..core.types import Instant
from ..ports import Store, StoreError, WatchHandle

MAX_GROUP = 64
QUEUE_BOUND = 100_000
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Fleet(Protocol):
    """The drones and the outside world, as the shell reaches them. No method may block."""

    def send_goal(self, effect: SendGoal) -> None:
        """Answered by ``GoalAnswered`` or ``GoalUnreachable``."""

    def recall(self, effect: RecallGoal) -> None:
        """Best effort; what comes of it shows in the drone's state."""

    def answer_clearance(self, effect: AnswerClearance) -> None: ...

    def acknowledge(self, effect: AcknowledgeOutcome) -> None: ...

    def office_taken(self, epoch: int) -> None:
        """This replica leads from now on."""

    def office_left(self, epoch: int, reason: str) -> None:
        """It does not any more."""


class Clock:
    """Both clocks of the machine."""

    def now(self) -> Instant:
        return Instant(time.monotonic(), time.time())


class Driver:
    """Owns the threads of one replica. ``post`` may be called from any thread; ``start`` and ``stop`` once each."""

    def __init__(
        self,
        core: Orchestrator,
        store: Store,
        fleet: Fleet,
        logger: logging.Logger,
        *,
        clock: Clock | None = None,
        on_commit: Callable[[CommitDone, float], None] | None = None,
        on_crash: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.core = core
        self._store = store
        self._fleet = fleet
        self._log = logger
        self._clock = clock or Clock()
        self._on_commit = on_commit
        self._on_crash = on_crash
        self._events: queue.Queue[Event] = queue.Queue(QUEUE_BOUND)
        self._commits: queue.Queue[Commit | None] = queue.Queue()
        self._stopping = threading.Event()
        self._watch: WatchHandle | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(self._decide,), name="decide", daemon=True),
            threading.Thread(target=self._guard, args=(self._write,), name="commit", daemon=True),
            threading.Thread(target=self._guard, args=(self._follow,), name="follow", daemon=True),
        ]
        # Leadership never waits behind the leases of drones, nor those behind a slow election.
        self._lead_pool = ThreadPoolExecutor(1, "lead")
        self._lease_pool = ThreadPoolExecutor(2, "lease")
        self.crash: BaseException | None = None

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop deciding, then hand the office back if this replica holds it. Idempotent."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._events.put(Tick())
        self._commits.put(None)
        for thread in self._threads:
            thread.join(timeout=5.0)
        self._lead_pool.shutdown(wait=True, cancel_futures=True)
        self._lease_pool.shutdown(wait=True, cancel_futures=True)
        if self._watch is not None:
            self._watch.close()
        if self.core.epoch:
            try:
                self._store.resign(self.core.epoch)
            except StoreError as error:
                self._log.warning("could not resign, the lease will run out by itself: %s", error)

    def post(self, event: Event) -> None:
        """Tell the core that something happened."""
        self._events.put(event)

    # --- threads ------------------------------------------------------------------------------------------------

    def _guard(self, run: Callable[[], None]) -> None:
        """A defect in a thread must stop the process loudly; a supervisor starts it afresh."""
        try:
            run()
        except BaseException as error:
            self.crash = error
            self._log.critical("%s thread died: %r", threading.current_thread().name, error, exc_info=error)
            self._stopping.set()
            if self._on_crash:
                self._on_crash(error)

    def _decide(self) -> None:
        while not self._stopping.is_set():
            events = self._gather()
            for effect in self.core.step(events, self._clock.now()):
                self._carry_out(effect)

    def _gather(self) -> list[Event]:
        """Wait for an event or the core's deadline; take along all that came meanwhile."""
        deadline = self.core.next_deadline()
        wait_s = 1.0 if deadline is None else min(1.0, max(0.0, deadline - self._clock.now().mono_s))
        try:
            events = [self._events.get(timeout=wait_s) if wait_s > 0 else self._events.get_nowait()]
        except queue.Empty:
            return [Tick()]
        while len(events) < 1024:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                break
        return events

    def _write(self) -> None:
        while True:
            first = self._commits.get()
            if first is None:
                return
            group = [first]
            while len(group) < MAX_GROUP:
                try:
                    more = self._commits.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._commits.put(None)
                    break
                group.append(more)
            for epoch in dict.fromkeys(commit.epoch for commit in group):
                self._write_group(epoch, [commit for commit in group if commit.epoch == epoch])

    def _write_group(self, epoch: int, group: list[Commit]) -> None:
        began = time.monotonic()
        results = self._store.commit(epoch, [commit.transition for commit in group])
        took = time.monotonic() - began
        for commit, result in zip(group, results, strict=True):
            done = CommitDone(commit, result.fate, result.revision)
            if self._on_commit:
                self._on_commit(done, took)
            self.post(done)

    def _follow(self) -> None:
        """Load the view, then follow the watch; keep trying while the store is away."""
        pause_s = 0.2
        while not self._stopping.is_set():
            try:
                snapshot = self._store.snapshot()
                break
            except StoreError as error:
                self._log.warning("waiting for the store: %s", error)
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, 5.0)
        else:
            return
        self.post(ViewLoaded(snapshot))
        self._watch = self._store.watch(
            snapshot.revision,
            on_change=lambda change: self.post(StoreChanged(change)),
            on_snapshot=lambda fresh: self.post(ViewLoaded(fresh)),
        )

    # --- effects ------------------------------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Commit():
                self._commits.put(effect)
            case SendGoal():
                self._fleet.send_goal(effect)
            case RecallGoal():
                self._fleet.recall(effect)
            case AnswerClearance():
                self._fleet.answer_clearance(effect)
            case AcknowledgeOutcome():
                self._fleet.acknowledge(effect)
            case KeepReservation():
                self._lease_pool.submit(self._guard, lambda: self._keep_reservation(effect))
            case Campaign():
                self._lead_pool.submit(self._guard, lambda: self._campaign(effect))
            case RefreshLease():
                self._lead_pool.submit(self._guard, lambda: self._refresh(effect))
            case Resign():
                self._lead_pool.submit(self._guard, lambda: self._resign(effect))
            case TakeOffice():
                self._fleet.office_taken(effect.epoch)
            case LeaveOffice():
                self._fleet.office_left(effect.epoch, effect.reason)
            case Report():
                self._log.log(_LEVELS[effect.level], "%s", effect.text)

    def _campaign(self, effect: Campaign) -> None:
        sent = self._clock.now().mono_s
        try:
            self.post(CampaignDone(self._store.campaign(effect.record, effect.ttl_s), sent))
        except StoreError as error:
            self.post(CampaignDone(0, sent, str(error)))

    def _refresh(self, effect: RefreshLease) -> None:
        sent = self._clock.now().mono_s
        try:
            alive = self._store.refresh_lease(effect.epoch)
        except StoreError as error:
            self._log.warning("could not refresh the leader's lease: %s", error)
            return
        self.post(LeaseRefreshed(effect.epoch, sent) if alive else LeaseLost(effect.epoch))

    def _resign(self, effect: Resign) -> None:
        try:
            self._store.resign(effect.epoch)
        except StoreError as error:
            self._log.warning("could not resign, the lease will run out by itself: %s", error)

    def _keep_reservation(self, effect: KeepReservation) -> None:
        try:
            self._store.keep_reservation(effect.drone_id)
        except StoreError as error:
            self._log.warning("could not keep the reservation of %s: %s", effect.drone_id, error)
