"""Agreement of the replicas on what they decide with: the fleet description and the lease of reservations.

A leader notes the version and a digest of its configuration in the store. The newest is the one with the highest
``version`` in ``fleet.yaml``; of two that differ and have the same version, the one that was noted first. A replica
whose configuration is not the newest may lead, but ends no order on its own file's word.

Reservations may be on leases of the shortest time that any leader of this version used. Every leader renews them often
enough for that, whatever its own parameter says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..changes import Fate, WriteNote
from ..types import Kind, LeaderNote
from ..view import FleetView
from .effects import Commit, Effect, Report
from .events import CommitDone

#: Id of the note.
NOTE = "configuration"
#: Reservations are renewed this often within the time of their lease.
RENEWALS_PER_LEASE = 5.0


@dataclass(frozen=True, slots=True)
class Configuration(LeaderNote):
    """Version and digest of a fleet description, and the shortest time (s) of a reservation's lease; 0: unknown."""

    version: int = 0
    digest: str = ""
    reservation_ttl_s: float = 0.0


class Agreement:
    """Comparison of this replica's configuration with the newest one. Without ``own`` everything is agreed on."""

    def __init__(self, view: FleetView, own: Configuration | None) -> None:
        self._view = view
        self._own = own
        self._epoch = 0
        self._writing: int | None = None
        self._next_id = 1

    @property
    def objection(self) -> str:
        """Reason why this replica's configuration is not the newest; empty if it is. Other threads may read it."""
        own, newest = self._own, self._newest()
        if own is None or newest is None or newest.digest == own.digest or own.version > newest.version:
            return ""
        if own.version < newest.version:
            return f"this replica's fleet description has version {own.version}, the fleet's has {newest.version}"
        return f"this replica's fleet description differs from the fleet's, and both have version {own.version}"

    @property
    def keep_reservation_s(self) -> float:
        """Longest time (s) between two renewals of a reservation; infinite if nothing is known."""
        newest = self._newest()
        ttl_s = newest.reservation_ttl_s if newest is not None else 0.0
        return ttl_s / RENEWALS_PER_LEASE if ttl_s > 0.0 else float("inf")

    def begin_term(self, epoch: int) -> list[Effect]:
        """Note this replica's configuration if it is the newest, else say what this leader does not decide."""
        self._epoch, self._writing = epoch, None
        objection = self.objection
        if objection:
            text = f"{objection}: no order is ended because of it; start this replica with the fleet's description"
            return [Report("warning", text), *self._write()]
        return self._write()

    def end_term(self) -> None:
        self._epoch, self._writing = 0, None

    def commit_done(self, event: CommitDone) -> None:
        """Apply the note to the view. After a failure, the next term writes it."""
        if event.commit.commit_id == self._writing and event.fate is Fate.SUCCEEDED:
            self._view.apply_commit(event.commit.change, event.revision)

    def _write(self) -> list[Effect]:
        note = self._wanted()
        if note is None:
            return []
        self._writing, self._next_id = self._next_id, self._next_id + 1
        change = WriteNote(NOTE, note, self._view.revision_of(Kind.NOTE, NOTE))
        return [Commit(self._writing, self._epoch, change)]

    def _wanted(self) -> Configuration | None:
        """Return the note that this leader has to write, if any."""
        own, newest = self._own, self._newest()
        if own is None:
            return None
        if newest is None or own.version > newest.version:
            return replace(own, epoch=self._epoch)
        if 0.0 < own.reservation_ttl_s < newest.reservation_ttl_s:
            return replace(newest, epoch=self._epoch, reservation_ttl_s=own.reservation_ttl_s)
        return None

    def _newest(self) -> Configuration | None:
        stored = self._view.notes.get(NOTE)
        return stored.value if stored is not None and isinstance(stored.value, Configuration) else None
