"""I3: every accepted order reaches exactly one terminal state; FAILED has a reason and finished compensations."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.types import Kind, Order, Reservation, Saga, SagaStatus
from .records import JournalHistory, Violation
from .store_replay import Change, Step, StoreReplay


class NothingLost:
    """Follower of every order from the revision that accepted it to the one that ended it."""

    id = "I3"

    def __init__(self) -> None:
        self.orders = 0  # accepted so far
        self._accepted_at: dict[str, int] = {}
        self._ended: dict[str, tuple[SagaStatus, int]] = {}

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for change in step.changes:
            if change.kind is Kind.SAGA:
                yield from self._saga_changed(change, step.revision)
            elif change.kind is Kind.INBOX_ORDER:
                yield from self._inbox_changed(change, step.revision, replay)
            elif change.kind is Kind.INBOX_CANCEL and change.before is not None and change.after is None:
                yield from self._cancel_taken(change.id, step.revision, replay)
        for change in step.changes:
            if change.kind is Kind.SAGA and isinstance(change.after, Saga) and change.after.status.is_terminal:
                yield from self._held(change.id, step.revision, replay)
            elif isinstance(change.after, Reservation) and change.after.message_id in self._ended:
                yield from self._held(change.after.message_id, step.revision, replay)
        for saga in step.retired:
            del self._accepted_at[saga.message_id], self._ended[saga.message_id]

    def _accept(self, message_id: str, revision: int) -> None:
        if message_id not in self._accepted_at:
            self._accepted_at[message_id] = revision
            self.orders += 1

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield the orders that have not ended, if the history is ``complete``."""
        if not complete:
            return
        for message_id, revision in self._accepted_at.items():
            if message_id not in self._ended:
                saga = replay.sagas.get(message_id)
                where = saga.status.value if saga else "in the inbox" if message_id in replay.inbox else "nowhere"
                yield Violation(self.id, f"order {message_id} never ended; it is {where}", (revision, replay.revision))

    def _held(self, message_id: str, revision: int, replay: StoreReplay) -> Iterator[Violation]:
        """Yield a violation if an ended order keeps its drone: the last compensation shares the ending transaction."""
        drones = replay.drones_of.get(message_id)
        if drones:
            status, ended_at = self._ended[message_id]
            text = f"order {message_id} is {status.value}, but {min(drones)} is still reserved for it"
            yield Violation(self.id, text, (ended_at, revision))

    def _inbox_changed(self, change: Change, revision: int, replay: StoreReplay) -> Iterator[Violation]:
        if isinstance(change.after, Order):
            self._accept(change.id, revision)
        elif change.after is None and not self._has_saga(change.id, replay):
            text = f"order {change.id} left the inbox without becoming a saga"
            yield Violation(self.id, text, (self._accepted_at.get(change.id, revision), revision))

    def _cancel_taken(self, message_id: str, revision: int, replay: StoreReplay) -> Iterator[Violation]:
        """Yield a violation if a cancel request disappears before its order has ended."""
        saga = replay.sagas.get(message_id)
        if message_id in replay.inbox or (saga is not None and not saga.status.is_terminal):
            where = saga.status.value if saga is not None else "in the inbox"
            text = f"the request to cancel order {message_id} was taken out of the inbox while the order was {where}"
            yield Violation(self.id, text, (revision,))

    def _has_saga(self, message_id: str, replay: StoreReplay) -> bool:
        known = message_id in replay.sagas or message_id in self._ended
        return known or (Kind.SAGA, message_id) in replay.unreadable

    def _saga_changed(self, change: Change, revision: int) -> Iterator[Violation]:
        message_id, saga = change.id, change.after
        ended = self._ended.get(message_id)
        if saga is None:
            if ended is None:
                was = f" in {change.before.status.value}" if isinstance(change.before, Saga) else ""
                yield Violation(self.id, f"the saga of order {message_id} was deleted{was}", (revision,))
            return
        if not isinstance(saga, Saga):
            return
        self._accept(message_id, revision)
        if ended is not None and saga.status is not ended[0]:
            text = f"order {message_id} had ended {ended[0].value} and then became {saga.status.value}"
            yield Violation(self.id, text, (ended[1], revision))
        if saga.status.is_terminal and ended is None:
            self._ended[message_id] = (saga.status, revision)
            if saga.status is SagaStatus.FAILED and not saga.reason:
                yield Violation(self.id, f"order {message_id} FAILED without a reason", (revision,))
