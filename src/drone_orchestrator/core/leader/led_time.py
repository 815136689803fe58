"""Age of records without a wall clock: the time for which the region has had a leader.

Each leader adds the time that its own monotonic clock measures to the total of its predecessors, and writes down which
revision the store had at which total. So a record's age follows from its revision. No clock that is set, and no machine
whose clock is wrong, can make a record older than it is. Time without a leader is not counted, nor are the last moments
of a leader that died. A record may thus be older than its age here, never younger.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from ..changes import Fate, WriteNote
from ..types import Instant, Kind, LeaderNote
from ..view import FleetView
from .effects import Commit, Effect
from .events import CommitDone

#: Id of the note.
NOTE = "led_time"
#: A leader writes the total at least this often (s).
LONGEST_PERIOD_S = 60.0
#: Marks that were written this long ago in relation to their distance are thinned out: an age is exact to 1/16.
DENSITY = 16.0


@dataclass(frozen=True, slots=True)
class LedTime(LeaderNote):
    """Totals of the time with a leader (s), each with the revision that the store had then, oldest first."""

    marks: tuple[tuple[int, float], ...] = ()

    @property
    def total_s(self) -> float:
        return self.marks[-1][1] if self.marks else 0.0

    def at(self, revision: int) -> float | None:
        """Return the total at ``revision`` or soon after it; ``None``: the revision is newer than all marks."""
        index = bisect_left(self.marks, (revision, float("-inf")))
        return self.marks[index][1] if index < len(self.marks) else None

    def revision_at(self, total_s: float) -> int:
        """Return the revision of the newest mark that is not newer than ``total_s``; 0 if there is none."""
        return max((revision for revision, at_s in self.marks if at_s <= total_s), default=0)

    def marked(self, epoch: int, revision: int, total_s: float, keep_s: float) -> LedTime:
        """Return the note with one more mark. Of those older than ``keep_s``, only the newest is kept."""
        kept: list[tuple[int, float]] = [(revision, total_s)]
        marks = [mark for mark in self.marks if mark[0] < revision and mark[1] <= total_s]
        for index in range(len(marks) - 1, -1, -1):
            newer, mark = kept[-1], marks[index]
            if total_s - newer[1] >= keep_s:
                break
            older_s = marks[index - 1][1] if index else None
            if older_s is None or newer[1] - older_s > (total_s - newer[1]) / DENSITY:
                kept.append(mark)
        return LedTime(epoch, tuple(reversed(kept)))


class LedClock:
    """The total so far, by this leader's monotonic clock and its predecessors' note. Writes the note while it leads."""

    def __init__(self, view: FleetView) -> None:
        self._view = view
        self._epoch = 0
        self._keep_s = 0.0
        self._base_s = 0.0  # the total when the term began
        self._began_at_s = 0.0
        self._due_at_s: float | None = None
        self._writing: int | None = None  # id of the commit in flight

    def begin_term(self, epoch: int, keep_s: float, now: Instant) -> None:
        """Continue from the predecessors' total. The note covers the last ``keep_s``."""
        if epoch != self._epoch:
            self._base_s, self._began_at_s = self._known().total_s, now.mono_s
        self._epoch, self._keep_s, self._due_at_s, self._writing = epoch, keep_s, now.mono_s, None

    def end_term(self) -> None:
        self._epoch, self._due_at_s, self._writing = 0, None, None

    def keep(self, keep_s: float) -> None:
        self._keep_s = keep_s

    def total_s(self, now: Instant) -> float:
        return self._base_s + max(0.0, now.mono_s - self._began_at_s)

    def total_at(self, revision: int, now: Instant) -> float:
        """Return the total when the store had ``revision``, or a later one: a lower bound on the age since then."""
        then_s, now_s = self._known().at(revision), self.total_s(now)
        return now_s if then_s is None else min(then_s, now_s)

    def revision_before(self, age_s: float, now: Instant) -> int:
        """Return a revision that is at least ``age_s`` old, or 0."""
        return self._known().revision_at(self.total_s(now) - age_s)

    def next_deadline(self) -> float | None:
        """Return the time (monotonic, s) of the next note."""
        return self._due_at_s if self._writing is None else None

    def tick(self, commit_id: int, now: Instant) -> list[Effect]:
        """Return the commit of a new mark if one is due."""
        if self._due_at_s is None or self._writing is not None or now.mono_s < self._due_at_s:
            return []
        self._writing = commit_id
        note = self._known().marked(self._epoch, self._view.revision, self.total_s(now), self._keep_s)
        change = WriteNote(NOTE, note, self._view.revision_of(Kind.NOTE, NOTE))
        return [Commit(commit_id, self._epoch, change)]

    def commit_done(self, event: CommitDone, now: Instant) -> None:
        """Plan the next mark. One that failed is not repeated: the next one says more."""
        if event.commit.commit_id != self._writing:
            return
        self._writing = None
        self._due_at_s = now.mono_s + min(LONGEST_PERIOD_S, self._keep_s / 20.0)
        if event.fate is Fate.SUCCEEDED:
            self._view.apply_commit(event.commit.change, event.revision)

    def _known(self) -> LedTime:
        stored = self._view.notes.get(NOTE)
        return stored.value if stored is not None and isinstance(stored.value, LedTime) else LedTime(0)
