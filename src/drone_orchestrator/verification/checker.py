"""The checker of histories. Simulation, tests, chaos runs and ``fleetctl audit`` all call :func:`check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from ..core.types import StoreChange
from .archives import ArchiveIndex, ArchiveRecord, Retired
from .fenced import Fenced
from .idempotent import Idempotent
from .nothing_lost import NothingLost
from .one_drone_per_order import OneDronePerOrder
from .one_order_per_drone import OneOrderPerDrone
from .picked_once import PickedOnce
from .records import INVARIANTS, CheckReport, JournalHistory, Violation
from .replayable import Replayable
from .store_replay import Step, StoreReplay

#: Most violations that a report lists; it counts all.
MAX_LISTED = 1000


class Invariant(Protocol):
    """One rule of an invariant or a judge. It sees each revision once, after the replay has applied it."""

    id: str

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        """Yield the violations of this revision."""

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield the violations of the whole history. ``complete``: the run is over and nothing is in flight."""


class HistoryOutOfOrder(ValueError):
    """The revisions do not increase, so the input is not a history."""


def check(
    history: Iterable[StoreChange],
    journals: Sequence[JournalHistory] = (),
    *,
    complete: bool,
    archive: Iterable[ArchiveRecord] | None = None,
    judges: Sequence[Invariant] = (),
) -> CheckReport:
    """Check I1 … I7 at every revision of ``history``, as ``Store.history()`` yields it, and call the ``judges``.

    The first change may be a snapshot at which a compacted history starts. ``journals`` are those of all drones, if
    available. ``complete`` requires that every order has ended. ``archive`` is the complete archive of the same store:
    it must contain every order that left the store. Reads history and archive once, in linear time, and does not keep
    them. Raises :class:`HistoryOutOfOrder`.
    """
    found, archived = _Findings((*INVARIANTS, *(judge.id for judge in judges))), ArchiveIndex()
    for record in archive or ():
        found.add(archived.add(record))
    found.add(archived.finish())
    replay, lost = StoreReplay(), NothingLost()
    invariants: tuple[Invariant, ...] = (
        OneDronePerOrder(),
        OneOrderPerDrone(),
        lost,
        Fenced(),
        PickedOnce(archived),
        Replayable(),
        Idempotent(),
        *(() if archive is None else (Retired(archived),)),
        *judges,
    )
    events = revisions = 0
    for change in history:
        if change.revision <= replay.revision:
            raise HistoryOutOfOrder(f"revision {change.revision} after {replay.revision}")
        step = replay.advance(change)
        revisions += 1
        events += len(step.events)
        for invariant in invariants:
            found.add(invariant.observe(step, replay))
    for invariant in invariants:
        found.add(invariant.finish(replay, tuple(journals), complete))
    return CheckReport(
        lost.orders,
        events,
        revisions,
        tuple(found.listed),
        {key: found.counts[key] for key in INVARIANTS},
        archived.orders,
        archived.repeats,
        {judge.id: found.counts[judge.id] for judge in judges},
    )


class _Findings:
    def __init__(self, ids: Iterable[str]) -> None:
        self.counts = dict.fromkeys(ids, 0)
        self.listed: list[Violation] = []

    def add(self, violations: Iterator[Violation]) -> None:
        for violation in violations:
            self.counts[violation.invariant] += 1
            if len(self.listed) < MAX_LISTED:
                self.listed.append(violation)
