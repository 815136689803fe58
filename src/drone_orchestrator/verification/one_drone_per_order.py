"""I1: at any revision an order is named by at most one reservation, and only by that of its saga's drone."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.types import Kind, Reservation
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay


class OneDronePerOrder:
    """Checker of the orders whose saga or reservation a revision changed."""

    id = "I1"

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        touched: dict[str, None] = {}
        for change in step.changes:
            if change.kind is Kind.SAGA:
                touched[change.id] = None
            elif isinstance(change.after, Reservation):
                touched[change.after.message_id] = None
        for message_id in touched:
            yield from self._look_at(message_id, step.revision, replay)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        return iter(())

    def _look_at(self, message_id: str, revision: int, replay: StoreReplay) -> Iterator[Violation]:
        drones = replay.drones_of.get(message_id, {})
        if len(drones) > 1:
            names = " and ".join(sorted(drones))
            yield Violation(self.id, f"order {message_id} is reserved for {names} at once", (revision,))
        saga = replay.sagas.get(message_id)
        if saga is None:
            if drones and (Kind.SAGA, message_id) not in replay.unreadable:
                text = f"{min(drones)} is reserved for order {message_id}, which has no saga"
                yield Violation(self.id, text, (revision,))
            return
        for drone_id, reservation in drones.items():
            if (drone_id, reservation.attempt) != (saga.drone_id, saga.attempt):
                has = f"{drone_id} is reserved for order {message_id}, attempt {reservation.attempt}"
                wants = f"{saga.drone_id or 'no drone'}, attempt {saga.attempt}"
                yield Violation(self.id, f"{has}, but its saga ({saga.status.value}) names {wants}", (revision,))
