"""Runs an orchestrator's core: collects events, steps the core, carries out its effects.

The driver decides in *turns* and never waits for the store. Commits, leases and elections are *calls*: pools of workers
make them and post the events that they return. Commits that pile up while a transaction is in flight share the next one
(group commit), which costs nothing at low load. :class:`~.workers.Workers` run the turns and calls, with threads in a
real process and in virtual time in the simulation. The driver is the same in both.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..core.changes import Change, Fate, Reserve, Retirement, Transition, WriteNote
from ..core.leader.effects import (
    AnswerClearance,
    Archive,
    Campaign,
    Commit,
    Compact,
    Effect,
    FollowAgain,
    Heartbeat,
    HoldFleet,
    KeepReservation,
    RecallGoal,
    RefreshLease,
    Report,
    Resign,
    SendGoal,
    SetAside,
    StartLeading,
    StopLeading,
)
from ..core.leader.events import CampaignDone, CommitDone, Event, LeaseLost, LeaseRefreshed, StoreChanged, ViewLoaded
from ..core.leader.orchestrator import Orchestrator
from ..core.policies import backoff_s
from ..core.types import AcknowledgeOutcome, Snapshot, StoreChange
from ..ports import Clock, Fleet, OrderArchive, StoreError, StoreLeader, WatchHandle
from . import archive as archives
from .outages import Outages
from .vitals import DriverObserver, Vitals
from .workers import Call, Pool, ThreadWorkers, Workers

#: Maximum steps per transaction (etcd's operation limit). Smaller groups wait for the one in flight; a full group does
#: not.
FULL_GROUP = 25
#: Renewals due within this many seconds share one call. Far below the duration of any lease.
KEEP_TOGETHER_S = 0.1
#: Delay (s) from a reservation to the renewal of busy drones' leases. No renewal begins while one is scheduled.
FRESHEN_AFTER_S = 1.0
FOLLOW_RETRY_BASE_S = 0.2
FOLLOW_RETRY_CAP_S = 5.0
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SENT = (Fate.SUCCEEDED, Fate.CONFLICT, Fate.FENCED, Fate.REFUSED)

T = TypeVar("T")
ForFleet = SendGoal | RecallGoal | AnswerClearance | AcknowledgeOutcome | Heartbeat | StartLeading | StopLeading


class Driver:
    """Shell of one replica. ``post`` may be called from any thread; ``start`` and ``stop`` once each.

    A core that retires orders needs ``archive``. The caller closes it after ``stop``.
    """

    def __init__(
        self,
        core: Orchestrator,
        store: StoreLeader,
        fleet: Fleet,
        logger: logging.Logger,
        *,
        clock: Clock | None = None,
        on_commit: Callable[[CommitDone, float], None] | None = None,
        on_crash: Callable[[BaseException], None] | None = None,
        on_set_aside: Callable[[SetAside], None] | None = None,
        observer: DriverObserver | None = None,
        workers: Workers | None = None,
        archive: OrderArchive | None = None,
        full_group: int = FULL_GROUP,
    ) -> None:
        self.core = core
        self.crash: BaseException | None = None
        self._store = store
        self._fleet = fleet
        self._archive = archive
        self._log = logger
        self._clock = clock or Clock()
        self._on_commit = on_commit
        self._on_crash = on_crash
        self._on_set_aside = on_set_aside
        self._observer = observer
        self._workers: Workers = workers or ThreadWorkers(self._clock.now)
        self._lock = threading.Lock()
        self._commits: dict[Pool, deque[Commit]] = {Pool.COMMIT: deque(), Pool.RETIRE: deque()}
        self._writing: dict[Pool, int] = dict.fromkeys(self._commits, 0)
        self._full_group = full_group
        self._keeping: dict[str, None] = {}
        self._freshening = False
        self._outages = Outages(logger)
        self._committed_at_s: float | None = None
        self._stopping = False
        self._watch: WatchHandle | None = None
        self._follow_failures = 0

    @property
    def store_fails(self) -> bool:
        """``True`` if the latest call to the store, or the watch, failed."""
        return self._outages.last_failed

    def start(self) -> None:
        """Load the view, follow the store, and start deciding."""
        self._workers.start(
            lambda events: self._guarded(self._turn, events), lambda: self._guarded(self.core.next_deadline)
        )
        self._run(Pool.FOLLOW, self._follow)

    def post(self, event: Event) -> None:
        """Queue ``event`` for the core's next step."""
        self._workers.post(event)

    def vitals(self) -> Vitals:
        """Return the state of this replica. Thread-safe; the fields may be one turn apart."""
        core = self.core
        queued = sum(len(commits) for commits in self._commits.values())
        return Vitals(
            core.role,
            core.epoch,
            core.view.revision,
            queued,
            self._committed_at_s,
            tuple(self._outages.failing),
            self._outages.denied,
            self._watch.silent_s() if self._watch is not None else 0.0,
            core.dispatcher.set_aside,
            core.dispatcher.doubled(self._clock.now().mono_s),
            core.dispatcher.wall_clock.trouble(self._clock.now()),
            core.dispatcher.troubles(self._clock.now().mono_s) if core.epoch else {},
            core.held,
        )

    def stop(self) -> None:
        """Stop deciding, and resign if this replica leads or has just won an election. Idempotent.

        Resigns before the calls in flight return: they are fenced, and may be waiting for an unreachable store.
        """
        if self._stopping:
            return
        self._stopping = True
        self._workers.halt()
        held = self.core.epoch
        if held:
            self._resign(held)
        left = self._workers.stop()
        if self._watch is not None:
            self._watch.close()
        won = {event.epoch for event in left if isinstance(event, CampaignDone)}
        for epoch in sorted((won | {self.core.epoch}) - {0, held}):
            self._resign(epoch)

    # --- turns --------------------------------------------------------------------------------------------------

    def _turn(self, events: Sequence[Event]) -> None:
        now = self._clock.now()
        due_s = self.core.next_deadline() if self._observer and not events else None
        for effect in self.core.step(events, now):
            self._carry_out(effect)
        if self._observer:
            late_s = 0.0 if due_s is None else max(0.0, now.mono_s - due_s)
            self._observer.turned(len(events), self._clock.now().mono_s - now.mono_s, late_s)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Commit():
                self._queue_commit(effect)
            case Archive():
                self._run(Pool.RETIRE, lambda: self._archive_orders(effect))
            case Compact():
                self._run(Pool.RETIRE, lambda: self._compact(effect.revision))
            case KeepReservation():
                self._queue_keep(effect.drone_id)
            case Campaign():
                self._run(Pool.LEAD, lambda: self._campaign(effect))
            case RefreshLease():
                self._run(Pool.LEAD, lambda: self._refresh(effect))
            case HoldFleet() | Resign():
                self._run(Pool.LEAD, lambda: self._give_up(effect))
            case FollowAgain():
                self._run(Pool.FOLLOW, self._follow_again)
            case Report():
                self._log.log(_LEVELS[effect.level], "%s", effect.text)
            case SetAside():
                self._log.error("%s is set aside: %r", effect.what, effect.error, exc_info=effect.error)
                if self._on_set_aside:
                    self._on_set_aside(effect)
            case _:
                self._tell_fleet(effect)

    def _tell_fleet(self, effect: ForFleet) -> None:
        match effect:
            case SendGoal():
                self._fleet.send_goal(effect)
            case RecallGoal():
                self._fleet.recall(effect)
            case AnswerClearance():
                self._fleet.answer_clearance(effect)
            case AcknowledgeOutcome():
                self._fleet.acknowledge(effect)
            case Heartbeat():
                self._fleet.heartbeat(effect)
            case StartLeading():
                self._fleet.start_leading(effect.epoch)
            case StopLeading():
                self._fleet.stop_leading(effect.epoch, effect.reason)

    def _guarded(self, call: Callable[..., T], *args: object) -> T | None:
        """Return the result of ``call``. If it raises, stop the process loudly; a supervisor restarts it."""
        if self.crash is not None:
            return None
        try:
            return call(*args)
        except BaseException as error:
            self.crash = error
            self._log.critical("%s died: %r", threading.current_thread().name, error, exc_info=error)
            self._workers.halt()
            if self._on_crash:
                self._on_crash(error)
            return None

    def _run(self, pool: Pool, call: Call, after_s: float = 0.0) -> None:
        self._workers.run(pool, lambda: self._guarded(call) or (), after_s)

    # --- calls: they may block, and return the events to post -----------------------------------------------------

    def _queue_commit(self, commit: Commit) -> None:
        pool = Pool.RETIRE if isinstance(commit.change, (Retirement, WriteNote)) else Pool.COMMIT
        with self._lock:
            self._commits[pool].append(commit)
            begin = self._begin_writing(pool)
        if begin:
            self._run(pool, lambda: self._write(pool))

    def _begin_writing(self, pool: Pool) -> bool:
        """Claim a call for the waiting commits, unless they must wait for the one in flight.

        Concurrent groups are safe: until the core knows the fate of a step, it requests no other for the same order or
        drone. So it does not matter in which order groups are committed.
        """
        writing, waiting = self._writing[pool], len(self._commits[pool])
        due = waiting > 0 and (not writing or (writing < pool.size and waiting >= self._full_group))
        self._writing[pool] += due
        return due

    def _write(self, pool: Pool) -> list[Event]:
        """Commit what has accumulated, as one group for each epoch."""
        commits = self._commits[pool]
        with self._lock:
            group = [commits.popleft() for _ in range(min(len(commits), self._full_group))]
        done: list[Event] = []
        if not self._stopping:  # else no effect could follow the commit; the next leader decides again
            for epoch in dict.fromkeys(commit.epoch for commit in group):
                done += self._write_group(epoch, [commit for commit in group if commit.epoch == epoch])
        with self._lock:
            self._writing[pool] -= 1
            again = sum(iter(lambda: self._begin_writing(pool), False))
        for _ in range(again):
            self._run(pool, lambda: self._write(pool))
        return done

    def _write_group(self, epoch: int, group: list[Commit]) -> list[CommitDone]:
        began = self._clock.now()
        results = self._store.commit(epoch, [commit.change for commit in group])
        took_s = self._clock.now().mono_s - began.mono_s
        if any(result.fate is Fate.SUCCEEDED for result in results):
            self._committed_at_s = began.mono_s + took_s
            if any(_reserves(commit.change) for commit in group):
                self._queue_freshen()
        lost = next((result.fate for result in results if result.fate not in _SENT), None)
        self._outages.note("commit", lost and f"the store answers {lost.value}")
        done = [CommitDone(commit, r.fate, r.revision, r.error) for commit, r in zip(group, results, strict=True)]
        if self._on_commit:
            for each in done:
                self._on_commit(each, took_s)
        if self._observer:
            self._observer.committed(done, began, took_s)
        return done

    def _archive_orders(self, effect: Archive) -> list[Event]:
        if self._stopping:
            return []
        if self._archive is None:
            raise RuntimeError("orders are to be retired, but the driver has no archive")
        archived = archives.carry_out(effect, self._store, self._archive)
        if self._observer:
            self._observer.archived(archived.error)
        return [archived]

    def _compact(self, revision: int) -> list[Event]:
        if not self._stopping:
            try:
                self._store.compact(revision)
            except StoreError as error:
                self._outages.note("compact the store", error)
            else:
                self._outages.note("compact the store", None)
        return []

    def _follow(self) -> list[Event]:
        """Load the view, then follow the watch. Retry later if the store is unreachable."""
        if self._stopping:
            return []
        try:
            snapshot = self._store.snapshot()
        except StoreError as error:
            self._outages.note("follow the store", error)
            self._follow_failures += 1
            pause_s = backoff_s(
                self._follow_failures,
                base_s=FOLLOW_RETRY_BASE_S,
                cap_s=FOLLOW_RETRY_CAP_S,
                seed=self.core.election.record.instance_id,
            )
            self._run(Pool.FOLLOW, self._follow, pause_s)
            return []
        self._outages.note("follow the store", None)
        # Posted here, not returned: it must come before the first change.
        self._view_loaded(snapshot)
        self._watch = self._store.watch(
            snapshot.revision,
            on_change=lambda change: self._guarded(self._store_changed, change),
            on_snapshot=lambda fresh: self._guarded(self._view_loaded, fresh),
            on_health=lambda healthy: self._outages.note("follow the store", None if healthy else "the watch broke"),
            with_events=False,
        )
        return []

    def _follow_again(self) -> list[Event]:
        """Replace a watch that is dead."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        return self._follow()

    def _store_changed(self, change: StoreChange) -> None:
        self.post(StoreChanged(change))

    def _view_loaded(self, snapshot: Snapshot) -> None:
        self.post(ViewLoaded(snapshot))

    def _campaign(self, effect: Campaign) -> list[Event]:
        sent = self._clock.now().mono_s
        if self._stopping:
            return []
        try:
            epoch = self._store.campaign(
                effect.record, effect.ttl_s, effect.over_epoch, effect.fleet, effect.fleet_revision
            )
        except StoreError as error:
            self._outages.note("campaign", error)
            return [CampaignDone(0, sent)]
        self._outages.note("campaign", None)
        return [CampaignDone(epoch, sent)]

    def _refresh(self, effect: RefreshLease) -> list[Event]:
        sent = self._clock.now().mono_s
        if self._stopping:
            return []
        try:
            alive = self._store.refresh_lease(effect.epoch)
        except StoreError as error:
            self._outages.note("renew the leader's lease", error)
            return []
        self._outages.note("renew the leader's lease", None)
        silent_s = self._watch.silent_s() if self._watch is not None else 0.0
        return [LeaseRefreshed(effect.epoch, sent, silent_s) if alive else LeaseLost(effect.epoch)]

    def _give_up(self, effect: HoldFleet | Resign) -> list[Event]:
        return self._resign(effect.epoch) if isinstance(effect, Resign) else self._hold(effect)

    def _hold(self, effect: HoldFleet) -> list[Event]:
        try:
            self._store.hold(effect.fleet, effect.revision, effect.epoch)
        except StoreError as error:
            self._outages.note("hold the fleet", error)
        else:
            self._outages.note("hold the fleet", None)
        return []

    def _resign(self, epoch: int) -> list[Event]:
        try:
            self._store.resign(epoch)
        except StoreError as error:
            self._outages.note("resign (the lease will expire)", error)
        else:
            self._outages.note("resign (the lease will expire)", None)
        return []

    def _queue_keep(self, drone_id: str) -> None:
        """Queue the renewal of a reservation. Renewals share a call, because each call costs a stream and none is
        urgent. They do not pile up while the store is slow."""
        with self._lock:
            begin = not self._keeping
            self._keeping[drone_id] = None
        if begin:
            self._run(Pool.LEASE, self._keep_reservations, KEEP_TOGETHER_S)

    def _keep_reservations(self) -> list[Event]:
        with self._lock:
            drones, self._keeping = list(self._keeping), {}
        if self._stopping:
            return []
        try:
            self._store.keep_reservations(drones)
        except StoreError as error:
            self._outages.note("renew reservation leases", error)
        else:
            self._outages.note("renew reservation leases", None)
        return []

    def _queue_freshen(self) -> None:
        with self._lock:
            begin, self._freshening = not self._freshening, True
        if begin:
            self._run(Pool.LEASE, self._freshen, FRESHEN_AFTER_S)

    def _freshen(self) -> list[Event]:
        with self._lock:
            self._freshening = False
        if not self._stopping:
            try:
                self._store.freshen_leases()
            except StoreError as error:
                self._log.debug("leases could not be renewed: %s", error)
        return []


def _reserves(change: Change) -> bool:
    return isinstance(change, Transition) and isinstance(change.reservation, Reserve)
