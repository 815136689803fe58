"""Conversion of a drone's journal for the checkers."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.drone.events import Cleared, Closed, Dropping, Entry, EpochRaised, FleetJoined, GoalAccepted, Loaded
from ..core.types import Outcome
from .records import JournalHistory

_CLOSED_AS = {Outcome.DELIVERED: "dropped", Outcome.RETURNED: "returned"}


def journal_history(drone_id: str, journal_id: str, entries: Iterable[Entry]) -> JournalHistory:
    """Return the entries about packages. A goal closed as delivered is a drop, one closed as returned a return.

    A compacted journal is acceptable: it forgets whole goals, so it can hide a violation but not invent one. So is one
    that begins in another fleet: what was before its last change of fleet is left out.
    """
    told: list[tuple[str, str, int]] = []
    epochs: list[int] = []
    fleet = ""
    for entry in entries:
        match entry:
            case FleetJoined(fleet_id, assigned):
                if fleet not in ("", fleet_id):
                    told.clear()
                if assigned or fleet not in ("", fleet_id):
                    epochs.clear()
                fleet = fleet_id
            case EpochRaised(epoch) | GoalAccepted(epoch=epoch):
                epochs.append(epoch)
            case Cleared(message_id, attempt, epoch):
                epochs.append(epoch)
                told.append(("cleared", message_id, attempt))
            case Loaded(message_id, attempt):
                told.append(("loaded", message_id, attempt))
            case Dropping(message_id, attempt):
                told.append(("dropping", message_id, attempt))
            case Closed(message_id, attempt, outcome):
                told.append((_CLOSED_AS.get(outcome, "closed"), message_id, attempt))
            case _:
                pass
    return JournalHistory(drone_id, journal_id, tuple(told), tuple(epochs))
