"""What the checkers read and what they report."""

from __future__ import annotations

from dataclasses import dataclass

#: Invariants by id, with the names that reports print.
INVARIANTS = {
    "I1": "one_drone_per_order",
    "I2": "one_order_per_drone",
    "I3": "nothing_lost",
    "I4": "fenced",
    "I5": "picked_once",
    "I6": "replayable",
    "I7": "idempotent",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant. ``text`` names the smallest evidence; ``revisions`` are where in the store to look."""

    invariant: str  # "I1" … "I7"
    text: str
    revisions: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return INVARIANTS[self.invariant]


@dataclass(frozen=True, slots=True)
class JournalHistory:
    """What one drone's journal says, oldest first: ``(kind, message_id, attempt)``.

    Kinds: ``cleared``, ``loaded``, ``dropping``, ``dropped``, ``returned``, ``closed``; others are ignored.
    ``epochs`` are those that the drone heard of, and those of the commands that it obeyed, oldest first.
    """

    drone_id: str
    journal_id: str
    entries: tuple[tuple[str, str, int], ...]
    epochs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The verdict on a history. ``invariants`` counts all violations; ``violations`` lists the first of them.

    ``archived``: orders in the archive that was checked along, not counting ``repeats`` of them.
    """

    orders: int
    events: int
    revisions: int
    violations: tuple[Violation, ...]
    invariants: dict[str, int]
    archived: int = 0
    repeats: int = 0

    @property
    def ok(self) -> bool:
        return not any(self.invariants.values())
