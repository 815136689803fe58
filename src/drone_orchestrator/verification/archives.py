"""What left the store: every archived order replays (I3, I4, I6), none is there twice with different content (I7).

Beside the store's history, the two must agree: what was retired had been archived, and what is archived and still in
the store is the same.
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
    """One record of an archive file: an order, or what is wrong (``damage``). ``source`` is file and line."""

    source: str
    order: ArchivedOrder | None = None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class _Life:
    """One order under a message id. An id that was given back may have several, one after the other."""

    source: str
    saga: bytes
    content: bytes
    first_epoch: int
    last_epoch: int


class ArchiveIndex:
    """Checks records as they come and keeps digests of them, never the orders."""

    def __init__(self) -> None:
        self.orders = 0
        self.repeats = 0
        self._lives: dict[str, dict[int, _Life]] = {}  # message id -> revision of the saga -> life
        self._cleared: dict[str, dict[int, tuple[str, str]]] = {}  # message id -> attempt -> drone, journal
        self._brought_back: set[tuple[str, int]] = set()  # message id, attempt: by hand, no journal knows

    def add(self, record: ArchiveRecord) -> Iterator[Violation]:
        """What is wrong with this record, by itself or beside those before it."""
        order = record.order
        if record.damage:
            yield Violation("I6", f"{record.source}: {record.damage}")
        if order is None:
            return
        saga = order.saga
        for invariant, text in _faults(order):
            yield Violation(invariant, f"{record.source}: order {saga.message_id} {text}", (order.revision,))
        epochs = [event.epoch for event in order.events] or [saga.epoch]
        life = _Life(record.source, _digest(saga), _digest((saga, order.events)), epochs[0], epochs[-1])
        lives = self._lives.setdefault(saga.message_id, {})
        known = lives.setdefault(order.revision, life)
        if known is life:
            self.orders += 1
            cleared = (event for event in order.events if event.type == CLEARED)
            self._cleared[saga.message_id] = {e.attempt: (e.drone_id or "", e.journal_id or "") for e in cleared}
            by_hand = (e for e in order.events if e.type == RESOLVED and e.to_status is not SagaStatus.DELIVERED)
            self._brought_back |= {(saga.message_id, e.attempt) for e in by_hand}
        elif known.content == life.content:
            # A leader that died between archiving and deleting leaves the order to the next, which archives it again.
            self.repeats += 1
        else:
            text = f"{record.source}: order {saga.message_id} is archived with other content in {known.source}"
            yield Violation("I7", text, (order.revision,))

    def finish(self) -> Iterator[Violation]:
        """An id is given back before it is given again: under another leader it cannot have been an earlier one."""
        for message_id, lives in self._lives.items():
            for (earlier, first), (later, second) in pairwise(sorted(lives.items())):
                if second.first_epoch < first.last_epoch:
                    text = f"order {message_id} is archived as two that overlap, in {first.source} and {second.source}"
                    yield Violation("I7", text, (earlier, later))

    def holds(self, message_id: str, revision: int) -> bool:
        """Whether the order whose saga ended at ``revision`` is archived."""
        return revision in self._lives.get(message_id, {})

    def differs(self, saga: Saga, revision: int) -> str:
        """Where this very order is archived as another than the store has it, ``""`` for nowhere."""
        life = self._lives.get(saga.message_id, {}).get(revision)
        return life.source if life is not None and life.saga != _digest(saga) else ""

    def later_than(self, message_id: str, revision: int) -> int:
        """The revision at which the archive says that the order ended, if that is after ``revision``; else 0."""
        return max((r for r in self._lives.get(message_id, {}) if r > revision), default=0)

    def has_earlier(self, message_id: str, revision: int = 0) -> bool:
        """Whether the id was that of an order before: one that ended before ``revision`` (0: before another one)."""
        lives = self._lives.get(message_id, {})
        return len(lives) > 1 if not revision else any(r < revision for r in lives)

    def cleared(self, message_id: str) -> dict[int, tuple[str, str]] | None:
        """Attempt to (drone, journal) that was cleared; ``None`` where the id is not that of exactly one order."""
        return self._cleared[message_id] if len(self._lives.get(message_id, {})) == 1 else None

    def brought_back(self, message_id: str, attempt: int) -> bool:
        """Whether a person brought the package back."""
        return (message_id, attempt) in self._brought_back


class Retired:
    """Holds the store's history against the archive. Its findings are those of I3 and I7."""

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
        for saga in step.retired:
            ended_at = self._ended_at.pop(saga.message_id)
            if not self._archive.holds(saga.message_id, ended_at):
                text = f"order {saga.message_id} ({saga.status.value}) left the store and is in no archive"
                yield Violation("I3", text, (ended_at, step.revision))

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """What still lives cannot have ended later than the store knows of it."""
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
    if order.events and order.events[-1].epoch >= order.revision:
        yield "I4", f"ended at revision {order.revision}, before its leader's epoch {order.events[-1].epoch} began"


def _digest(value: object) -> bytes:
    return hashlib.sha256(repr(value).encode()).digest()
