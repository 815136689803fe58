"""The projection of a region's store that every reader folds from a snapshot and the changes after it.

The leader decides on it, standbys keep it warm, the monitor and the gateway show it. It is disposable: throwing it away
and loading a snapshot gives the same view.
"""

from __future__ import annotations

from collections import deque

from .changes import Change, Release, Reserve, Transition
from .types import (
    Breaker,
    CancelRequest,
    Corrupt,
    Entry,
    Kind,
    OperatorCommand,
    Order,
    Reservation,
    Saga,
    Snapshot,
    StoreChange,
    Value,
)


class FleetView:
    """Living keys by kind, each with its mod revision. Entries only ever get newer.

    ``revision`` is the newest revision up to which *everything* is applied. The own commits of a leader may be applied
    before the watch delivers them (``apply_commit``); their echo is known by its revision and changes nothing.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.inbox: dict[str, Entry] = {}
        self.cancels: dict[str, Entry] = {}
        self.commands: dict[str, Entry] = {}
        self.sagas: dict[str, Entry] = {}
        self.reservations: dict[str, Entry] = {}
        self.breakers: dict[str, Entry] = {}
        self.by_drone: dict[str, dict[str, None]] = {}  # living orders that name the drone, in a fixed order
        self.leader: Entry | None = None
        self.corrupt: dict[str, Entry] = {}
        self._deleted: dict[tuple[Kind, str], int] = {}
        self._forgettable: deque[tuple[int, tuple[Kind, str]]] = deque()  # deletions, nearly by revision
        self._tables: dict[Kind, dict[str, Entry]] = {
            Kind.INBOX_ORDER: self.inbox,
            Kind.INBOX_CANCEL: self.cancels,
            Kind.INBOX_COMMAND: self.commands,
            Kind.BREAKER: self.breakers,
            Kind.SAGA: self.sagas,
            Kind.ASSIGNMENT: self.reservations,
        }

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
        while self._forgettable and self._forgettable[0][0] <= self.revision:
            revision, key = self._forgettable.popleft()
            if self._deleted.get(key) == revision:
                del self._deleted[key]
        return fresh

    def apply_commit(self, change: Change, revision: int) -> None:
        """Apply what an own commit is known to have written, ahead of the watch.

        Where the watch is past that revision already, it has shown the commit and what came after it, such as the end
        of the reservation's lease: applying it once more would bring the dead back.
        """
        if revision <= self.revision:
            return
        for used in change.consume:
            self._put(Entry(used.kind, used.id, None, revision))
        if not isinstance(change, Transition):
            return
        saga, held, breaker = change.saga, change.reservation, change.breaker
        self._put(Entry(Kind.SAGA, saga.message_id, saga, revision))
        if isinstance(held, Release):
            self._put(Entry(Kind.ASSIGNMENT, held.drone_id, None, revision))
        elif held is not None:
            value = Reservation(held.drone_id, saga.message_id, saga.attempt, saga.epoch, isinstance(held, Reserve))
            self._put(Entry(Kind.ASSIGNMENT, held.drone_id, value, revision))
        if breaker is not None:
            self._put(Entry(Kind.BREAKER, breaker.breaker.drone_id, breaker.breaker, revision))

    def saga_of(self, message_id: str, attempt: int | None = None) -> Saga | None:
        """The order's saga, if there is a readable one (and it is at ``attempt``)."""
        entry = self.sagas.get(message_id)
        saga = entry.value if entry is not None and isinstance(entry.value, Saga) else None
        return saga if saga is not None and attempt in (None, saga.attempt) else None

    def order_of(self, message_id: str) -> Order | None:
        """The order, wherever it is: in its saga or still in the inbox."""
        saga = self.saga_of(message_id)
        if saga is not None:
            return saga.order
        entry = self.inbox.get(message_id)
        return entry.value if entry is not None and isinstance(entry.value, Order) else None

    def cancel_of(self, message_id: str) -> CancelRequest | None:
        entry = self.cancels.get(message_id)
        return entry.value if entry is not None and isinstance(entry.value, CancelRequest) else None

    def command_of(self, message_id: str) -> OperatorCommand | None:
        entry = self.commands.get(message_id)
        return entry.value if entry is not None and isinstance(entry.value, OperatorCommand) else None

    def breaker_of(self, drone_id: str) -> Breaker | None:
        entry = self.breakers.get(drone_id)
        return entry.value if entry is not None and isinstance(entry.value, Breaker) else None

    def reservation_of(self, saga: Saga) -> Entry | None:
        """The reservation of the saga's drone, if it is for this order and attempt."""
        entry = self.reservations.get(saga.drone_id or "")
        if entry is None or not isinstance(entry.value, Reservation):
            return None
        return entry if (entry.value.message_id, entry.value.attempt) == (saga.message_id, saga.attempt) else None

    def is_corrupt(self, id_: str, kinds: tuple[Kind, ...] = (Kind.SAGA, Kind.INBOX_ORDER)) -> bool:
        """Whether something that the order of this message (or what ``kinds`` say) is made of cannot be read."""
        return bool(self.corrupt) and any(f"{kind.value}/{id_}" in self.corrupt for kind in kinds)

    def _index(self, message_id: str, before: Value | None, after: Value | None) -> None:
        if isinstance(before, Saga) and before.drone_id in self.by_drone:
            self.by_drone[before.drone_id].pop(message_id, None)
        if isinstance(after, Saga) and after.drone_id is not None and not after.status.is_terminal:
            self.by_drone.setdefault(after.drone_id, {})[message_id] = None

    def _put(self, entry: Entry) -> bool:
        if entry.kind is Kind.LEADER:
            if self.leader is not None and entry.mod_revision <= self.leader.mod_revision:
                return False
            self.leader = entry  # a deleted key stays visible as an entry without value
            return True
        table = self._tables.get(entry.kind)
        if table is None:
            return entry.kind is Kind.EVENT
        known = table.get(entry.id)
        newest = max(known.mod_revision if known else 0, self._deleted.get((entry.kind, entry.id), 0))
        if entry.mod_revision <= newest:
            return False
        if entry.kind is Kind.SAGA:
            self._index(entry.id, known.value if known else None, entry.value)
        if isinstance(entry.value, Corrupt):
            # What cannot be read is set aside: nothing is decided on it, and it is reported until somebody mends it.
            self.corrupt[f"{entry.kind.value}/{entry.id}"] = entry
        elif self.corrupt:
            self.corrupt.pop(f"{entry.kind.value}/{entry.id}", None)
        if entry.value is None:
            table.pop(entry.id, None)
            self._deleted[entry.kind, entry.id] = entry.mod_revision
            self._forgettable.append((entry.mod_revision, (entry.kind, entry.id)))
        else:
            table[entry.id] = entry
        return True
