"""The store at one revision, and the changes of the latest revision."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.types import (
    Breaker,
    CancelRequest,
    Corrupt,
    Entry,
    FleetIdentity,
    Kind,
    LeaderNote,
    LeaderRecord,
    Order,
    Reservation,
    Saga,
    SagaEvent,
    StoreChange,
    Value,
)
from ..core.view import epoch_in

_TYPE_OF: dict[Kind, type] = {
    Kind.INBOX_ORDER: Order,
    Kind.INBOX_CANCEL: CancelRequest,
    Kind.LEADER: LeaderRecord,
    Kind.FLEET: FleetIdentity,
    Kind.SAGA: Saga,
    Kind.ORDER_INDEX: str,
    Kind.ASSIGNMENT: Reservation,
    Kind.EVENT: SagaEvent,
    Kind.BREAKER: Breaker,
    Kind.NOTE: LeaderNote,
}


@dataclass(frozen=True, slots=True)
class Change:
    """Key before and after a revision; ``None``: absent. Event keys have no ``before``.

    ``mod_revision`` is the key's own: at a baseline it is older than the step.
    """

    kind: Kind
    id: str
    before: Value | None
    after: Value | None
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Step:
    """One revision. ``baseline``: the whole content with which the history starts, not a change.

    ``leader_epoch`` is that of the leader in office when the revision was written, 0 for none. ``events`` are those
    that were written, in the order of their numbers. ``retired``: orders that had ended and left the store; their ids
    are free again.
    """

    revision: int
    baseline: bool
    leader_epoch: int
    changes: tuple[Change, ...]
    events: tuple[SagaEvent, ...]
    retired: tuple[Saga, ...] = ()


class StoreReplay:
    """Replay of a history. Holds all live keys except events, with indices so that a check costs only what changed.

    A value that could not be decoded, or is not of its key's type, is in ``unreadable`` only.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.starts_late = False
        self.leader_epoch = 0
        self.inbox: dict[str, Order] = {}
        self.cancels: dict[str, CancelRequest] = {}
        self.sagas: dict[str, Saga] = {}
        self.index: dict[str, str] = {}
        self.reservations: dict[str, Reservation] = {}  # by the drone id in the key
        self.drones_of: dict[str, dict[str, Reservation]] = {}  # message id -> drone id in the key -> reservation
        self.carrying: dict[str, set[str]] = {}  # drone id -> orders in LOADING or IN_TRANSIT
        self.unreadable: dict[tuple[Kind, str], str] = {}

    def advance(self, change: StoreChange) -> Step:
        """Apply one revision and return its changes. The first one may be a snapshot of older keys."""
        baseline = self.revision == 0 and any(e.mod_revision < change.revision for e in change.entries)
        self.starts_late = self.starts_late or baseline
        epoch_before = self.leader_epoch
        changes = tuple(self._put(entry) for entry in change.entries)
        self.revision = change.revision
        events = sorted((c.after for c in changes if isinstance(c.after, SagaEvent)), key=lambda e: (e.message_id, e.n))
        left = (c.before for c in changes if c.kind is Kind.SAGA and c.after is None)
        retired = tuple(saga for saga in left if isinstance(saga, Saga) and saga.status.is_terminal)
        return Step(change.revision, baseline, epoch_before, changes, tuple(events), retired)

    def _put(self, entry: Entry) -> Change:
        kind, key, value = entry.kind, entry.id, entry.value
        self.unreadable.pop((kind, key), None)
        wanted = _TYPE_OF.get(kind)
        if isinstance(value, Corrupt):
            self.unreadable[kind, key] = value.reason
        elif value is not None and wanted is not None and not isinstance(value, wanted):
            value = Corrupt(b"", f"not a {wanted.__name__} but a {type(value).__name__}")
            self.unreadable[kind, key] = value.reason
        before: Value | None = None
        if kind is Kind.SAGA:
            before = self.sagas.pop(key, None)
            self._note_saga(key, before, value)
        elif kind is Kind.ASSIGNMENT:
            before = self.reservations.pop(key, None)
            self._note_reservation(key, before, value)
        elif kind is Kind.INBOX_ORDER:
            before = self.inbox.pop(key, None)
            if isinstance(value, Order):
                self.inbox[key] = value
        elif kind is Kind.INBOX_CANCEL:
            before = self.cancels.pop(key, None)
            if isinstance(value, CancelRequest):
                self.cancels[key] = value
        elif kind is Kind.ORDER_INDEX:
            before = self.index.pop(key, None)
            if isinstance(value, str):
                self.index[key] = value
        elif kind is Kind.LEADER:
            self.leader_epoch = epoch_in(entry)
        return Change(kind, key, before, value, entry.mod_revision)

    def _note_saga(self, key: str, before: Value | None, after: Value | None) -> None:
        if isinstance(before, Saga) and before.drone_id in self.carrying:
            self.carrying[before.drone_id].discard(key)
        if isinstance(after, Saga):
            self.sagas[key] = after
            if after.drone_id is not None and after.status.package_may_be_out:
                self.carrying.setdefault(after.drone_id, set()).add(key)

    def _note_reservation(self, key: str, before: Value | None, after: Value | None) -> None:
        if isinstance(before, Reservation):
            drones = self.drones_of.get(before.message_id, {})
            drones.pop(key, None)
            if not drones:
                self.drones_of.pop(before.message_id, None)
        if isinstance(after, Reservation):
            self.reservations[key] = after
            self.drones_of.setdefault(after.message_id, {})[key] = after
