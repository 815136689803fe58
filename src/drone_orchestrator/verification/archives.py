"""Orders that left the store: each archived order replays (I3, I4, I6), and no two records of it differ (I7).

Archive and store must also agree: every retired order had been archived, and an order in both has the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ..core.saga import CLEARED, RESOLVED, IllegalTransition, fold
from ..core.types import ArchivedOrder, Kind, Saga, SagaStatus
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """Record of an archive file: an order, or the description of a ``damage``. ``source`` is file and line."""

    source: str
    order: ArchivedOrder | None = None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class _Life:
    """One order under a message id. A released id can have several, one after the other."""

    source: str
    saga: bytes
    content: bytes
    first_epoch: int
    last_epoch: int
    created_at: float
    submitted_at: float
    ended_at: float
    retention_s: float

    def is_too_soon(self, created_at: float, submitted_at: float) -> bool:
        """Return whether another order with this id came before the retention of this one was over.

        Clocks of intakes and those of leaders must both say so: one wrong clock proves nothing.
        """
        by_leaders, by_intakes = created_at - self.ended_at, submitted_at - self.submitted_at
        return max(by_leaders, by_intakes) < self.retention_s


class ArchiveIndex:
    """Checker of archive records in sequence. Keeps digests, never the orders."""

    def __init__(self) -> None:
        self.orders = 0
        self.repeats = 0
        self._lives: dict[str, dict[int, _Life]] = {}  # message id -> revision of the saga -> life
        self._cleared: dict[str, dict[int, tuple[str, str]]] = {}  # message id -> attempt -> drone, journal
        self._brought_back: set[tuple[str, int]] = set()  # (message id, attempt): by a person, so not in any journal

    def add(self, record: ArchiveRecord) -> Iterator[Violation]:
        """Yield the violations of this record, alone or in comparison with the earlier ones."""
        order = record.order
        if record.damage:
            yield Violation("I6", f"{record.source}: {record.damage}")
        if order is None:
            return
        saga = order.saga
        for invariant, text in _faults(order):
            yield Violation(invariant, f"{record.source}: order {saga.message_id} {text}", (order.revision,))
        epochs = [event.epoch for event in order.events] or [saga.epoch]
        times = (saga.created_at, saga.order.submitted_at, saga.updated_at, order.retention_s)
        life = _Life(record.source, _digest(saga), _digest((saga, order.events)), epochs[0], epochs[-1], *times)
        lives = self._lives.setdefault(saga.message_id, {})
        known = lives.setdefault(order.revision, life)
        if known is life:
            self.orders += 1
            cleared = (event for event in order.events if event.type == CLEARED)
            self._cleared[saga.message_id] = {e.attempt: (e.drone_id or "", e.journal_id or "") for e in cleared}
            by_hand = (e for e in order.events if e.type == RESOLVED and e.to_status is not SagaStatus.DELIVERED)
            self._brought_back |= {(saga.message_id, e.attempt) for e in by_hand}
        elif known.content == life.content:
            # If a leader dies between archiving and deleting, its successor archives the order again.
            self.repeats += 1
        else:
            text = f"{record.source}: order {saga.message_id} is archived with other content in {known.source}"
            yield Violation("I7", text, (order.revision,))

    def finish(self) -> Iterator[Violation]:
        """Yield violations of reuse: an id is reused only after its release, so never under an earlier leader."""
        for message_id, lives in self._lives.items():
            for (earlier, first), (later, second) in pairwise(sorted(lives.items())):
                if second.first_epoch < first.last_epoch:
                    text = f"order {message_id} is archived as two that overlap, in {first.source} and {second.source}"
                    yield Violation("I7", text, (earlier, later))
                if first.is_too_soon(second.created_at, second.submitted_at):
                    text = f"order {message_id} of {first.source} gave its id back too early, to {second.source}"
                    yield Violation("I7", text, (earlier, later))

    def too_soon(self, saga: Saga, revision: int) -> str:
        """Return the source of an order that gave its id back to this one too early, ``""`` if there is none."""
        lives = self._lives.get(saga.message_id, {}).items()
        early = (life for ended, life in lives if ended < revision and saga.created_at >= life.created_at)
        return next((e.source for e in early if e.is_too_soon(saga.created_at, saga.order.submitted_at)), "")

    def holds(self, message_id: str, revision: int) -> bool:
        """Return True if the order whose saga ended at ``revision`` is archived."""
        return revision in self._lives.get(message_id, {})

    def differs(self, saga: Saga, revision: int) -> str:
        """Return the source of a record of this order that differs from the store, ``""`` if there is none."""
        life = self._lives.get(saga.message_id, {}).get(revision)
        return life.source if life is not None and life.saga != _digest(saga) else ""

    def later_than(self, message_id: str, revision: int) -> int:
        """Return the revision at which the order ended according to the archive, if after ``revision``; else 0."""
        return max((r for r in self._lives.get(message_id, {}) if r > revision), default=0)

    def has_earlier(self, message_id: str, revision: int = 0) -> bool:
        """Return True if an order with this id ended before ``revision`` (0: before another order with this id)."""
        lives = self._lives.get(message_id, {})
        return len(lives) > 1 if not revision else any(r < revision for r in lives)

    def cleared(self, message_id: str) -> dict[int, tuple[str, str]] | None:
        """Return the cleared (drone, journal) by attempt; ``None`` unless exactly one order had this id."""
        return self._cleared[message_id] if len(self._lives.get(message_id, {})) == 1 else None

    def brought_back(self, message_id: str, attempt: int) -> bool:
        """Return True if a person brought the package back."""
        return (message_id, attempt) in self._brought_back


class Retired:
    """Comparison of the store's history with the archive. Reports violations of I3 and I7."""

    id = "I3"

    def __init__(self, archive: ArchiveIndex) -> None:
        self._archive = archive
        self._ended_at: dict[str, int] = {}

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for change in step.changes:
            saga = change.after
            if change.kind is Kind.SAGA and isinstance(saga, Saga):
                self._ended_at[change.id] = change.mod_revision
                source = self._archive.differs(saga, change.mod_revision)
                if source:
                    text = f"order {change.id} is another in the store than in {source}"
                    yield Violation("I7", text, (change.mod_revision,))
                source = self._archive.too_soon(saga, change.mod_revision) if change.before is None else ""
                if source:
                    text = f"order {change.id} of {source} gave its id back too early"
                    yield Violation("I7", text, (change.mod_revision,))
        for saga in step.retired:
            ended_at = self._ended_at.pop(saga.message_id)
            if not self._archive.holds(saga.message_id, ended_at):
                text = f"order {saga.message_id} ({saga.status.value}) left the store and is in no archive"
                yield Violation("I3", text, (ended_at, step.revision))

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield a violation for an open order that ended later according to the archive."""
        for message_id in replay.sagas:
            ends_at = self._archive.later_than(message_id, self._ended_at[message_id])
            if ends_at:
                text = f"order {message_id} is archived as of revision {ends_at}, and the store has an older one"
                yield Violation("I7", text, (self._ended_at[message_id], ends_at))


def _faults(order: ArchivedOrder) -> Iterator[tuple[str, str]]:
    saga = order.saga
    try:
        folded = fold(order.events)
    except IllegalTransition as error:
        yield "I6", f"has events that do not follow: {error}"
    else:
        if folded != saga:
            yield "I6", "is archived in another state than its events lead to"
    if not saga.status.is_terminal:
        yield "I3", f"was archived while it was {saga.status.value}"
    elif saga.status is SagaStatus.FAILED and not saga.reason:
        yield "I3", "FAILED without a reason"
    for earlier, later in pairwise(order.events):
        if later.epoch < earlier.epoch:
            yield "I4", f"has event {later.n} of epoch {later.epoch} after one of epoch {earlier.epoch}"
    if order.age_s < order.retention_s:
        kept, owed = f"{order.age_s:.0f} s after its end", f"{order.retention_s:.0f} s"
        yield "I7", f"gave its id back {kept}, and was to keep it for {owed}"
    if order.events and order.events[-1].epoch >= order.revision:
        yield "I4", f"ended at revision {order.revision}, before its leader's epoch {order.events[-1].epoch} began"


def _digest(value: object) -> bytes:
    return hashlib.sha256(repr(value).encode()).digest()
