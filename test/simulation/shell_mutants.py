"""Mutants of what a drone has on disk when it acts and speaks.

Importing this module adds them to :data:`mutants.MUTANTS`.
"""

from __future__ import annotations

from typing import Any

from mutants import Patch, mutant

from drone_orchestrator.core.drone.events import Dropping, EpochRaised, GoalAccepted
from drone_orchestrator.runtime.drone_journal import DroneJournal


def _never_written(patch: Patch, kind: type[Any]) -> None:
    """Let journals leave out the entries of this type."""

    def append(honest: Any, journal: DroneJournal, entry: Any) -> None:
        if not isinstance(entry, kind):
            honest(journal, entry)

    patch.around(DroneJournal, "append", append)


@mutant("I4")
def epoch_not_on_disk(patch: Patch) -> None:
    """A drone keeps the epoch of a new leader in memory only, and forgets it when it restarts."""
    _never_written(patch, EpochRaised)


@mutant("I5")
def goal_not_on_disk(patch: Patch) -> None:
    """A drone accepts a goal without writing it to its journal."""
    _never_written(patch, GoalAccepted)


@mutant("I5")
def drop_not_journalled(patch: Patch) -> None:
    """A drone drops its package without having written that it will."""
    _never_written(patch, Dropping)
