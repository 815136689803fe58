"""J5: an order is parked only for a reason that is true, because a person must then look for its package.

The store's history tells neither where packages are nor what happens to drones, so a witness does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..core.reasons import Consequence, Reason
from ..core.saga import PARKED
from ..core.types import SagaEvent
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay

_PARKS = frozenset(Reason.that(Consequence.PARKS))


class ParkWitness(Protocol):
    """Knowledge of a run that its history does not have."""

    def was_grounded(self, drone_id: str, revision: int) -> bool:
        """Return whether the drone was grounded for about as long as the leaders' grace before the revision."""

    def newest_journal(self, message_id: str, revision: int) -> str:
        """Return the identity of the newest journal of the order's drone at the revision that parks the order."""

    def was_on_board(self, message_id: str, revision: int) -> bool:
        """Return whether the package was on board the order's drone at the revision that parks the order."""

    def was_troubled(self, first: int, last: int) -> bool:
        """Return whether anything failed in the world that can trouble an order between these two revisions."""


class ParkWithCause:
    """Judge of every order that is parked. Without a witness, it knows only which reasons park an order."""

    id = "J5"

    def __init__(self, witness: ParkWitness | None = None) -> None:
        self._witness = witness
        self._parked: dict[str, str] = {}  # order -> reason for which it is parked now

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for event in step.events:
            before = self._parked.pop(event.message_id, None)
            if event.type != PARKED:
                continue
            self._parked[event.message_id] = event.reason or ""
            # Parked again for the same reason: only its drone is released.
            objection = "" if before == event.reason or step.baseline else self._objection(event, step.revision)
            if objection:
                text = f"order {event.message_id} is parked ({event.reason}), although {objection}"
                yield Violation(self.id, text, (step.revision,))

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield nothing: every order is judged when it is parked."""
        yield from ()

    def _objection(self, event: SagaEvent, revision: int) -> str:
        """Return what contradicts the reason of the event, or ``""``."""
        witness, drone_id = self._witness, event.drone_id or ""
        if event.reason not in _PARKS:
            return "that is no reason to park it"
        if witness is None:
            return ""
        match event.reason:
            case Reason.DRONE_GROUNDED_WITH_PACKAGE:
                return "" if witness.was_grounded(drone_id, revision) else f"{drone_id} has not been grounded that long"
            case Reason.JOURNAL_LOST_WITH_PACKAGE:
                lost = witness.newest_journal(event.message_id, revision) != event.journal_id
                return "" if lost else f"{drone_id} has the journal that was cleared to load"
            case Reason.PACKAGE_MISSING:
                there = witness.was_on_board(event.message_id, revision)
                return f"the package is on board {drone_id}" if there else ""
        return "" if witness.was_troubled(revision, revision) else "nothing had failed"
