"""I6: folding an order's events gives its stored state, at every revision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from ..core.saga import IllegalTransition, apply
from ..core.types import Corrupt, Kind, Saga, SagaEvent
from .records import JournalHistory, Violation
from .store_replay import Change, Step, StoreReplay


class Replayable:
    """Fold of events in sequence. Keeps the folded state of each order, never the events."""

    id = "I6"

    def __init__(self) -> None:
        self._folded: dict[str, Saga] = {}
        self._written: dict[str, int] = {}  # message id -> highest event number ever written
        self._living: dict[str, int] = {}  # message id -> number of its event keys
        self._archived: set[str] = set()  # ended before the history starts; their events may be gone

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        touched: dict[str, None] = {}
        for change in step.changes:
            if isinstance(change.after, Corrupt):
                text = f"{change.kind.value}/{change.id} cannot be read: {change.after.reason}"
                yield Violation(self.id, text, (step.revision,))
            if change.kind is Kind.SAGA:
                touched[change.id] = None
            elif change.kind is Kind.EVENT:
                yield from self._event_key(change, step, replay)
        if step.baseline:
            self._skip_archived(step, replay)
        for event in step.events:
            if event.message_id not in self._archived:
                touched[event.message_id] = None
                yield from self._fold(event, step.revision)
        for message_id in touched:
            yield from self._compare(message_id, step.revision, replay)
        for saga in step.retired:
            yield from self._retired(saga.message_id, step.revision)

    def _retired(self, message_id: str, revision: int) -> Iterator[Violation]:
        """Forget a retired order: its events left with it, and the next order with its id begins at number 1."""
        left = self._living.pop(message_id, 0)
        if left:
            yield Violation(self.id, f"order {message_id} was retired, but {left} of its events stayed", (revision,))
        self._folded.pop(message_id, None)
        self._written.pop(message_id, None)
        self._archived.discard(message_id)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        return iter(())

    def _event_key(self, change: Change, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        """Yield a violation if an event is rewritten, has a wrong number, or is deleted before its order has ended."""
        message_id, _, number = change.id.rpartition("/")
        if change.after is None:
            self._living[message_id] = self._living.get(message_id, 0) - 1
            saga = replay.sagas.get(message_id) or self._folded.get(message_id)
            if saga is not None and not saga.status.is_terminal:
                text = f"event {change.id} was deleted while its order is {saga.status.value}"
                yield Violation(self.id, text, (step.revision,))
            return
        n = int(number) if number.isdecimal() else 0
        if isinstance(change.after, SagaEvent) and (message_id, n) != (change.after.message_id, change.after.n):
            text = f"the event under {change.id} is {change.after.message_id}/{change.after.n}"
            yield Violation(self.id, text, (step.revision,))
        if n <= self._written.get(message_id, 0) and not step.baseline:
            yield Violation(self.id, f"event {change.id} was written again", (step.revision,))
        else:
            self._living[message_id] = self._living.get(message_id, 0) + 1
        self._written[message_id] = max(n, self._written.get(message_id, 0))

    def _skip_archived(self, step: Step, replay: StoreReplay) -> None:
        """Record the orders that ended before the history starts: archiving may have removed their events or saga."""
        present: dict[str, int] = {}
        last: dict[str, int] = {}
        for event in step.events:
            present[event.message_id] = present.get(event.message_id, 0) + 1
            last[event.message_id] = event.n
        for message_id, saga in replay.sagas.items():
            if saga.status.is_terminal and present.get(message_id, 0) < saga.event_count:
                self._archived.add(message_id)
                self._folded[message_id] = saga
        self._archived |= {m for m, n in last.items() if m not in replay.sagas and present[m] < n}

    def _fold(self, event: SagaEvent, revision: int) -> Iterator[Violation]:
        try:
            self._folded[event.message_id] = apply(self._folded.get(event.message_id), event)
        except IllegalTransition as error:
            yield Violation(self.id, f"event {event.message_id}/{event.n} does not follow: {error}", (revision,))

    def _compare(self, message_id: str, revision: int, replay: StoreReplay) -> Iterator[Violation]:
        stored, folded = replay.sagas.get(message_id), self._folded.get(message_id)
        if stored is None:
            deleted = folded is None or folded.status.is_terminal
            if not deleted and (Kind.SAGA, message_id) not in replay.unreadable:
                assert folded is not None
                text = f"order {message_id} has events up to number {folded.event_count}, but no saga"
                yield Violation(self.id, text, (revision,))
            return
        if stored == folded:
            return
        if folded is None:
            yield Violation(self.id, f"the saga of order {message_id} has no events", (revision,))
        else:
            names = [f.name for f in fields(Saga) if getattr(stored, f.name) != getattr(folded, f.name)]
            parts = (f"{name} is {getattr(stored, name)!r}, events say {getattr(folded, name)!r}" for name in names)
            yield Violation(self.id, f"order {message_id}: {'; '.join(parts)}", (revision,))
        self._folded[message_id] = stored  # one report per divergence, not one per revision after it
