"""I5: at most one drone has a package; it leaves again only after a return, and is dropped at most once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ..core.saga import CLEARED, COMPENSATED, DELIVERED, RESOLVED
from ..core.types import Kind, Saga, SagaEvent, SagaStatus
from .archives import ArchiveIndex
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay


@dataclass(frozen=True, slots=True)
class _Clearance:
    drone_id: str
    journal_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class _Loading:
    """One loading of a package. ``ending``: ``dropped``, ``returned``, or ``""`` while it is still on board."""

    attempt: int
    drone_id: str
    journal_id: str
    ending: str


class PickedOnce:
    """Comparison of two witnesses: events record which drone was cleared to load, journals which drone did."""

    id = "I5"

    def __init__(self, archive: ArchiveIndex | None = None) -> None:
        self._archive = archive or ArchiveIndex()
        self._out: dict[str, int] = {}  # message id -> revision of the open clearance
        self._delivered: dict[str, int] = {}
        self._cleared: dict[tuple[str, int], _Clearance] = {}
        self._first_event: dict[str, int] = {}
        self._brought_back: set[tuple[str, int]] = set()  # by a person, so not in the drone's journal
        self._retired: set[str] = set()
        self._reused: set[str] = set()

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for event in step.events:
            self._first_event.setdefault(event.message_id, event.n)
            if event.message_id in self._retired:
                self._reused.add(event.message_id)
            if event.type == CLEARED:
                yield from self._on_cleared(event, step, replay)
            elif event.type == COMPENSATED:
                self._out.pop(event.message_id, None)
            elif event.type == RESOLVED and event.to_status is not SagaStatus.DELIVERED:
                self._out.pop(event.message_id, None)
                self._brought_back.add((event.message_id, event.attempt))
            elif event.type in (DELIVERED, RESOLVED):
                yield from self._on_delivered(event, step)
        for change in step.changes:
            if isinstance(change.after, Saga) and self._archive.has_earlier(change.id, change.mod_revision):
                self._reused.add(change.id)
        for saga in step.retired:
            self._retired.add(saga.message_id)
            self._out.pop(saga.message_id, None)
            self._delivered.pop(saga.message_id, None)

    def _on_cleared(self, event: SagaEvent, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        message_id, what = event.message_id, f"order {event.message_id}, attempt {event.attempt}"
        earlier = self._delivered.get(message_id) or self._out.get(message_id)
        if earlier is not None:
            why = "after it was delivered" if message_id in self._delivered else "while an earlier load may be out"
            yield Violation(self.id, f"{what}: cleared to load {why}", (earlier, step.revision))
        self._out[message_id] = step.revision
        drone_id, journal_id = event.drone_id or "", event.journal_id or ""
        self._cleared[message_id, event.attempt] = _Clearance(drone_id, journal_id, step.revision)
        if not journal_id:
            yield Violation(self.id, f"{what}: cleared to no journal", (step.revision,))
        if step.baseline or (Kind.ASSIGNMENT, drone_id) in replay.unreadable:
            return
        # The package may now be out for longer than any lease lasts: the reservation must exist and stay.
        held = replay.reservations.get(drone_id)
        if held is None or held.leased or (held.message_id, held.attempt) != (message_id, event.attempt):
            text = f"{what}: cleared for {drone_id or 'no drone'} without a firm reservation"
            yield Violation(self.id, text, (step.revision,))

    def _on_delivered(self, event: SagaEvent, step: Step) -> Iterator[Violation]:
        message_id = event.message_id
        if message_id in self._delivered:
            text = f"order {message_id} was delivered twice"
            yield Violation(self.id, text, (self._delivered[message_id], step.revision))
        elif message_id not in self._out and self._first_event[message_id] == 1:
            yield Violation(self.id, f"order {message_id} was delivered without having been loaded", (step.revision,))
        self._delivered[message_id] = step.revision
        self._out.pop(message_id, None)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Compare the journals with each other and with the clearances.

        Journals do not tell apart orders that had the same id one after the other: those are left out.
        """
        loads: defaultdict[str, list[_Loading]] = defaultdict(list)
        for journal in journals:
            for message_id, load in _loads(journal):
                loads[message_id].append(load)
        for message_id in sorted(loads.keys() - self._reused):
            if self._archive.has_earlier(message_id):
                continue
            ordered = sorted(loads[message_id], key=lambda load: (load.attempt, load.drone_id, load.journal_id))
            yield from self._one_at_a_time(message_id, ordered)
            yield from self._allowed(message_id, ordered, replay)

    def _one_at_a_time(self, message_id: str, loads: list[_Loading]) -> Iterator[Violation]:
        drops = [load for load in loads if load.ending == "dropped"]
        if len(drops) > 1:
            who = " and ".join(f"{d.drone_id} (attempt {d.attempt})" for d in drops)
            yield Violation(self.id, f"order {message_id} was dropped {len(drops)} times, by {who}")
        for earlier, later in pairwise(loads):
            goal = (message_id, earlier.attempt)
            by_hand = goal in self._brought_back or self._archive.brought_back(*goal)
            if earlier.ending != "returned" and not by_hand:
                had = "had dropped" if earlier.ending == "dropped" else "still held"
                text = (
                    f"order {message_id}: {later.drone_id} loaded it (attempt {later.attempt}) although "
                    f"{earlier.drone_id} {had} it (attempt {earlier.attempt})"
                )
                yield Violation(self.id, text)

    def _allowed(self, message_id: str, loads: list[_Loading], replay: StoreReplay) -> Iterator[Violation]:
        archived: dict[int, tuple[str, str]] | None = None
        if message_id not in self._first_event:
            archived = self._archive.cleared(message_id)
        # Without the history or an archive of that time, nothing proves that the load was forbidden.
        if archived is None and self._first_event.get(message_id, 0 if replay.starts_late else 1) != 1:
            return
        for load in loads:
            who = f"{load.drone_id} (journal {load.journal_id}) loaded order {message_id}, attempt {load.attempt}"
            cleared = self._cleared.get((message_id, load.attempt))
            if archived is not None and load.attempt in archived:
                cleared = _Clearance(*archived[load.attempt], 0)
            if cleared is None:
                yield Violation(self.id, f"{who}, which was never cleared")
            elif (cleared.drone_id, cleared.journal_id) != (load.drone_id, load.journal_id):
                other = f"{cleared.drone_id} (journal {cleared.journal_id})"
                yield Violation(self.id, f"{who}, but {other} was cleared", (cleared.revision,))


def _loads(journal: JournalHistory) -> Iterator[tuple[str, _Loading]]:
    """Return every load in a journal with its ending. A drop without a preceding load counts as a load of its own."""
    open_loads: dict[tuple[str, int], str] = {}
    for kind, message_id, attempt in journal.entries:
        goal = (message_id, attempt)
        if kind == "loaded" and goal not in open_loads:
            open_loads[goal] = ""
        elif kind in ("dropped", "returned"):
            if open_loads.get(goal) == "dropped" and kind == "dropped":
                yield message_id, _Loading(attempt, journal.drone_id, journal.journal_id, kind)
            if kind == "dropped" or goal in open_loads:
                open_loads[goal] = kind
    for (message_id, attempt), ending in open_loads.items():
        yield message_id, _Loading(attempt, journal.drone_id, journal.journal_id, ending)
