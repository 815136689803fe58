"""Retention: finished orders leave the store, archived first and deleted afterwards, without delaying any decision.

The leader retires every order that ended more than ``retention_s`` ago, one batch at a time. The shell archives the
histories. Only orders that it reports as archived are deleted, each by a fenced commit that compares the saga's
revision. After any failure (a full disk, a lost answer, another leader) the orders stay in the store and are tried
again. If the leader dies between archiving and deleting, an order is archived twice.

``retention_s`` is therefore also the time during which a repeated order id is recognised. How long ago an order ended
follows from the revision at which it ended (:mod:`.led_time`), not from any wall clock: a clock that is set, or that
was wrong when the order ended, makes no leader forget an order early.
"""

from __future__ import annotations

import heapq

from ..changes import Fate, Retirement
from ..policies import RetentionPolicy, backoff_s
from ..types import Instant
from ..view import FleetView
from .effects import Archive, Commit, Compact, Effect, Ended, Report
from .events import Archived, CommitDone
from .led_time import LedClock
from .steps import requests_about

#: Share of the store's quota from which ended orders leave early, and below which they stay for their time again.
FILLING, CALM = 0.6, 0.5
#: History that stays in the store while it fills up (s), and the time between two compactions.
HISTORY_S, COMPACT_PERIOD_S = 600.0, 60.0


class Retention:
    """Archives finished orders once they are old enough. O(log n) per order; holds one small record per finished order.

    Without a policy it retires nothing.
    """

    def __init__(self, view: FleetView, policy: RetentionPolicy | None) -> None:
        self._view = view
        self._keeps_all = policy is None
        self._policy = policy or RetentionPolicy()
        self._epoch = 0
        self._clock = LedClock(view)
        self._ended: list[tuple[float, str, int]] = []  # a heap: led time of the end, message id, revision of the saga
        self._known: dict[str, int] = {}  # message id -> revision of the saga, until the view shows the deletion
        self._archiving: Archive | None = None
        self._deleting: dict[int, Ended] = {}  # by commit id
        self._next_id = 1
        self._failures = 0
        self._resume_at_s = float("-inf")
        self._tick_at_s: float | None = None
        self._filling = False
        self.is_full = False
        self._compact_at_s = float("-inf")

    @property
    def retention_s(self) -> float:
        """Time (s) for which ended orders stay now."""
        policy = self._policy
        return min(policy.retention_s, policy.least_retention_s) if self._filling else policy.retention_s

    def space_seen(self, share: float) -> list[Effect]:
        """Retire orders early while the store fills up."""
        self.is_full = share >= 1.0
        filling = share >= (CALM if self._filling else FILLING)
        if filling == self._filling or self._keeps_all:
            return []
        self._filling = filling
        if not self._epoch:
            return []
        if filling:
            text = f"the store fills up ({share:.0%} of its quota): ended orders leave after {self.retention_s:g} s"
            return [Report("warning", text)]
        return [Report("info", f"the store has room again: ended orders stay for {self.retention_s:g} s")]

    def adopt(self, policy: RetentionPolicy) -> None:
        """Use ``policy`` from the next tick on. Raises ``ValueError`` if this replica retires nothing."""
        if self._keeps_all:
            raise ValueError("this orchestrator keeps all orders: it has no retention to change")
        self._policy = policy
        self._clock.keep(policy.retention_s)

    def begin_term(self, epoch: int, now: Instant) -> None:
        self._forget_all()
        if self._keeps_all:
            return
        self._epoch = epoch
        self._clock.begin_term(epoch, self._policy.retention_s, now)
        for message_id in self._view.sagas:
            self.saga_changed(message_id, now)

    def end_term(self) -> None:
        """Forget everything. Commits in flight are harmless, because they are fenced."""
        self._forget_all()
        self._clock.end_term()

    def _forget_all(self) -> None:
        self._epoch = self._failures = 0
        self._ended, self._known, self._archiving, self._deleting = [], {}, None, {}
        self._resume_at_s, self._tick_at_s = float("-inf"), None

    def saga_changed(self, message_id: str, now: Instant) -> None:
        """Follow a possible change of the order's saga."""
        stored = self._view.sagas.get(message_id)
        if not self._epoch or stored is None:
            self._known.pop(message_id, None)
        elif stored.value.status.is_terminal and self._known.get(message_id) != stored.mod_revision:
            self._known[message_id] = stored.mod_revision
            ended_s = self._clock.total_at(stored.mod_revision, now)
            heapq.heappush(self._ended, (ended_s, message_id, stored.mod_revision))

    def next_deadline(self) -> float | None:
        """Return the time (monotonic, s) of the next tick."""
        deadlines = (self._tick_at_s, self._clock.next_deadline())
        return min((each for each in deadlines if each is not None), default=None)

    def tick(self, now: Instant) -> list[Effect]:
        """Write down the time if that is due, and begin the next batch if one is due and none is in flight."""
        due = self._clock.next_deadline()
        mark = self._clock.tick(self._new_id(), now) if due is not None and now.mono_s >= due else []
        return mark + self._compaction(now) + self._next_batch(now)

    def _compaction(self, now: Instant) -> list[Effect]:
        """Let old history go while the store fills up. Without that, deleted orders still take room."""
        if not self._filling or not self._epoch or now.mono_s < self._compact_at_s:
            return []
        self._compact_at_s = now.mono_s + COMPACT_PERIOD_S
        revision = self._clock.revision_before(HISTORY_S, now)
        return [Compact(revision)] if revision else []

    def _next_batch(self, now: Instant) -> list[Effect]:
        self._tick_at_s = None
        if not self._epoch or self._archiving is not None or self._deleting or not self._ended:
            return []
        if now.mono_s < self._resume_at_s:
            self._tick_at_s = self._resume_at_s
            return []
        batch: list[Ended] = []
        while self._ended and len(batch) < self._policy.max_under_way and self._due_in_s(now) <= 0.0:
            ended_s, message_id, revision = heapq.heappop(self._ended)
            stored = self._view.sagas.get(message_id)
            if stored is not None and stored.mod_revision == revision:
                age_s = self._clock.total_s(now) - ended_s
                batch.append(Ended(stored.value, revision, age_s, self.retention_s))
        if batch:
            self._archiving = Archive(self._new_id(), self._epoch, tuple(batch))
            return [self._archiving]
        if self._ended:
            self._tick_at_s = now.mono_s + self._due_in_s(now)
        return []

    def archived(self, event: Archived, now: Instant) -> list[Effect]:
        """Delete the archived orders. Report those that could not be archived, and leave them in the store."""
        archive = self._archiving
        if archive is None or archive != event.archive:
            return []
        self._archiving = None
        if event.error:
            self._put_off(archive.orders, now)
            # Report it once, however long it lasts.
            text = f"history cannot be archived, so it stays in the store: {event.error}"
            return [Report("error", text)] if self._failures == 1 else []
        recovered = [Report("info", "history is archived again")] if self._failures else []
        self._failures = 0
        refused = dict(event.refused)
        effects = [Report("error", f"{id_}: not archived, it stays in the store: {why}") for id_, why in event.refused]
        return [*recovered, *effects, *(self._retire(o) for o in archive.orders if o.saga.message_id not in refused)]

    def commit_done(self, event: CommitDone, now: Instant) -> list[Effect]:
        """Retry deletions that failed. The watch removes deleted orders from the view."""
        self._clock.commit_done(event, now)
        ended = self._deleting.pop(event.commit.commit_id, None)
        if ended is None or event.fate is Fate.SUCCEEDED:
            return []
        if event.fate is Fate.REFUSED:
            return [Report("error", f"{ended.saga.message_id}: not deleted, it stays in the store: {event.error}")]
        self._again(ended, now)
        self._resume_at_s = max(self._resume_at_s, now.mono_s + self._policy.retry_base_s)
        return []

    def _retire(self, ended: Ended) -> Commit:
        saga = ended.saga
        commit_id = self._new_id()
        self._deleting[commit_id] = ended
        left = requests_about(self._view, saga.message_id)
        return Commit(commit_id, self._epoch, Retirement(saga.message_id, saga.order_id, ended.revision, left))

    def _put_off(self, orders: tuple[Ended, ...], now: Instant) -> None:
        self._failures += 1
        policy = self._policy
        pause_s = backoff_s(self._failures, base_s=policy.retry_base_s, cap_s=policy.retry_cap_s, seed="archive")
        self._resume_at_s = now.mono_s + pause_s
        for ended in orders:
            self._again(ended, now)

    def _again(self, ended: Ended, now: Instant) -> None:
        ended_s = self._clock.total_s(now) - ended.age_s  # older by now, which does no harm
        heapq.heappush(self._ended, (ended_s, ended.saga.message_id, ended.revision))

    def _due_in_s(self, now: Instant) -> float:
        return self._ended[0][0] + self.retention_s - self._clock.total_s(now)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id
