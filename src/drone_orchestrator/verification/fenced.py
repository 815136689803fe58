"""I4: no write and no drone command from a deposed leader takes effect."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..core.types import Breaker, Kind, LeaderNote, Reservation, Saga, SagaEvent
from .records import JournalHistory, Violation
from .store_replay import Change, Step, StoreReplay


class Fenced:
    """Comparison of the epoch in each of the leader's values with the leader key at the time of writing.

    Deletions carry no epoch. A reservation may vanish in its saga's transition, or by itself while it is leased,
    together with nothing but other keys on leases.
    """

    id = "I4"

    def __init__(self) -> None:
        self._last_epoch: dict[str, int] = {}

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        if step.baseline:
            for event in step.events:
                self._last_epoch[event.message_id] = max(event.epoch, self._last_epoch.get(event.message_id, 0))
            return
        leader = f"epoch {step.leader_epoch} was in office" if step.leader_epoch else "nobody was in office"
        for change in step.changes:
            if isinstance(change.after, (Saga, SagaEvent, Reservation, Breaker, LeaderNote)):
                if change.after.epoch != step.leader_epoch:
                    text = f"{change.kind.value}/{change.id} was written by epoch {change.after.epoch}, but {leader}"
                    yield Violation(self.id, text, (step.revision,))
            elif change.after is None:
                yield from self._deleted(change, step, leader)
        for event in step.events:
            last = self._last_epoch.get(event.message_id, 0)
            if event.epoch < last:
                text = f"event {event.message_id}/{event.n} has epoch {event.epoch} after one of epoch {last}"
                yield Violation(self.id, text, (step.revision,))
            self._last_epoch[event.message_id] = max(event.epoch, last)
        for saga in step.retired:
            self._last_epoch.pop(saga.message_id, None)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield a violation if a drone obeyed an epoch lower than one that it had heard before."""
        for journal in journals:
            for earlier, later in pairwise(journal.epochs):
                if later < earlier:
                    who = f"{journal.drone_id} (journal {journal.journal_id})"
                    yield Violation(self.id, f"{who} obeyed epoch {later} after epoch {earlier}", (later, earlier))

    def _deleted(self, change: Change, step: Step, leader: str) -> Iterator[Violation]:
        if change.kind is Kind.ASSIGNMENT and isinstance(change.before, Reservation):
            message_id = change.before.message_id
            in_transition = any(c.kind is Kind.SAGA and c.id == message_id for c in step.changes)
            by_lease = all(c.after is None and c.kind in (Kind.ASSIGNMENT, Kind.LEADER) for c in step.changes)
            if in_transition or (by_lease and change.before.leased):
                return
            how = "leased" if change.before.leased else "firm"
            text = f"the {how} reservation of {change.id} for {message_id} was deleted without a step of its saga"
            yield Violation(self.id, text, (step.revision,))
        elif change.kind in (Kind.SAGA, Kind.EVENT) and not step.leader_epoch:
            yield Violation(self.id, f"{change.kind.value}/{change.id} was deleted while {leader}", (step.revision,))
