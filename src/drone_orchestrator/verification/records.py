"""The checkers' input and reports."""

from __future__ import annotations

from dataclasses import dataclass, field

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


#: Judges of service by id, with the names that reports print. Invariants say what must never happen to an order; judges
#: say what must be done for it.
JUDGES = {
    "J1": "justified_end",
    "J2": "cancel_honoured",
    "J3": "bounded_stay",
    "J4": "fair_breaker",
    "J5": "park_with_cause",
    "J7": "goodput",
    "J8": "office_held_usefully",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """Broken invariant, or verdict of a judge. ``text`` gives the smallest evidence; ``revisions`` are those of the
    store that show it."""

    invariant: str  # "I1" … "I7", or a judge: "J1" …
    text: str
    revisions: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return INVARIANTS.get(self.invariant) or JUDGES[self.invariant]


@dataclass(frozen=True, slots=True)
class JournalHistory:
    """Entries of one drone's journal, oldest first: ``(kind, message_id, attempt)``.

    Kinds: ``cleared``, ``loaded``, ``dropping``, ``dropped``, ``returned``, ``closed``; others are ignored.
    ``epochs`` are the epochs that the drone heard, and those of the commands that it obeyed, oldest first.
    """

    drone_id: str
    journal_id: str
    entries: tuple[tuple[str, str, int], ...]
    epochs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Verdict on a history. ``invariants`` counts all violations; ``violations`` lists the first of them.

    ``judges`` counts those of each judge that was called. ``archived``: orders in the
    checked archive, without ``repeats`` of them.
    """

    orders: int
    events: int
    revisions: int
    violations: tuple[Violation, ...]
    invariants: dict[str, int]
    archived: int = 0
    repeats: int = 0
    judges: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not any(self.invariants.values()) and not any(self.judges.values())
