"""The projection of a region's store that every reader folds from a snapshot and the changes after it.

The leader decides on it, standbys keep it warm, the monitor and the gateway show it. It is disposable: throwing it away
and loading a snapshot gives the same view.
"""

from __future__ import annotations

from .types import Corrupt, Entry, Kind, Snapshot, StoreChange


class FleetView:
    """Living keys by kind, each with its mod revision. Entries only ever get newer.

    ``revision`` is the newest revision up to which *everything* is applied. The own commits of a leader may be applied
    before the watch delivers them (``put_local``); their echo is then recognised by its revision and changes nothing.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.inbox: dict[str, Entry] = {}
        self.cancels: dict[str, Entry] = {}
        self.sagas: dict[str, Entry] = {}
        self.reservations: dict[str, Entry] = {}
        self.leader: Entry | None = None
        self.corrupt: dict[str, Entry] = {}
        self._deleted: dict[tuple[Kind, str], int] = {}

    def load(self, snapshot: Snapshot) -> None:
        """Replace everything by ``snapshot``."""
        self.__init__()  # type: ignore[misc]
        for entry in snapshot.entries:
            self._put(entry)
        self.revision = snapshot.revision

    def apply(self, change: StoreChange) -> list[Entry]:
        """Apply one revision; return the entries that were news."""
        fresh = [entry for entry in change.entries if self._put(entry)]
        self.revision = max(self.revision, change.revision)
        # A deletion is only remembered against echoes of older revisions, and those have all arrived by now.
        if self._deleted:
            self._deleted = {key: rev for key, rev in self._deleted.items() if rev > self.revision}
        return fresh

    def put_local(self, entry: Entry) -> None:
        """Apply what the own commit is known to have written, ahead of the watch."""
        self._put(entry)

    def _table(self, kind: Kind) -> dict[str, Entry] | None:
        return {
            Kind.INBOX_ORDER: self.inbox,
            Kind.INBOX_CANCEL: self.cancels,
            Kind.SAGA: self.sagas,
            Kind.ASSIGNMENT: self.reservations,
        }.get(kind)

    def _put(self, entry: Entry) -> bool:
        if entry.kind is Kind.LEADER:
            if self.leader is not None and entry.mod_revision <= self.leader.mod_revision:
                return False
            self.leader = entry  # a deleted key stays visible as an entry without value
            return True
        table = self._table(entry.kind)
        if table is None:
            return entry.kind is Kind.EVENT
        known = table.get(entry.id)
        newest = max(known.mod_revision if known else 0, self._deleted.get((entry.kind, entry.id), 0))
        if entry.mod_revision <= newest:
            return False
        name = f"{entry.kind.value}/{entry.id}"
        if isinstance(entry.value, Corrupt):
            # What cannot be read is set aside: nothing is decided on it, and it is reported until somebody mends it.
            self.corrupt[name] = entry
        else:
            self.corrupt.pop(name, None)
        if entry.value is None:
            table.pop(entry.id, None)
            self._deleted[entry.kind, entry.id] = entry.mod_revision
        else:
            table[entry.id] = entry
        return True
