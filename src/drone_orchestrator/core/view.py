"""The projection of a region's store: every reader folds it from a snapshot and the changes after it.

The leader decides with it, standbys keep it up to date, the monitor and the gateway display it. It is disposable: a new
view of a snapshot is as good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .changes import Change, Release, Reserve, Transition, WriteNote
from .saga import contradiction
from .types import (
    Breaker,
    CancelRequest,
    Corrupt,
    Entry,
    FleetIdentity,
    Kind,
    LeaderNote,
    LeaderRecord,
    OperatorCommand,
    Order,
    Reservation,
    Saga,
    SagaStatus,
    Snapshot,
    StoreChange,
)

T_co = TypeVar("T_co", covariant=True)

#: Bits of an epoch that hold a revision of the store. The generation is above them.
REVISION_BITS = 44
GENERATIONS = 1 << 20  # so that an epoch fits a uint64

#: The lead of a store's log as measured is too high by what the member has not applied yet. A recorded one must not be,
#: or a sound store would be taken for a restored one.
LEAD_SLACK = 100

#: The kinds of records that name an order by its message id.
_OF_ORDERS = (Kind.SAGA, Kind.INBOX_ORDER, Kind.INBOX_CANCEL, Kind.INBOX_COMMAND)


def epoch_of(generation: int, revision: int) -> int:
    """Return the epoch of a leader key with this mod revision: ``generation << 44 | revision``."""
    return generation << REVISION_BITS | revision


def split_epoch(epoch: int) -> tuple[int, int]:
    """Return generation and revision of an epoch. The store's fence compares the revision alone."""
    return epoch >> REVISION_BITS, epoch & ((1 << REVISION_BITS) - 1)


def recorded_lead(measured: int) -> int:
    """Return the lead of the store's log to record with a fleet's identity, as measured at most 0."""
    return measured - LEAD_SLACK if measured < 0 else 0


def held_in(view: FleetView) -> str:
    """Return the reason why the fleet is held, as far as this reader can tell; empty if it is not."""
    return view.estranged or (view.fleet.held if view.fleet is not None else "")


def breach_of_identity(known: FleetIdentity | None, found: object) -> str:
    """Return why ``found``, the value of the key ``fleet``, cannot follow the identity that was ``known``; empty if it
    can. An unreadable value is reported as such, and proves nothing."""
    if known is None or isinstance(found, Corrupt):
        return ""
    if not isinstance(found, FleetIdentity):
        return f"it has lost the identity of fleet {known.fleet_id}"
    if found.fleet_id != known.fleet_id:
        return f"it belongs to fleet {found.fleet_id}, not to {known.fleet_id}"
    if found.generation < known.generation:
        return f"its generation went back from {known.generation} to {found.generation}"
    return ""


class Stored(Protocol[T_co]):
    """An existing, readable record: an ``Entry`` of a known kind, so its value has a known type.

    The store decodes each kind of key to its own type, or to ``Corrupt``, which never enters a table.
    """

    @property
    def id(self) -> str: ...

    @property
    def value(self) -> T_co: ...

    @property
    def mod_revision(self) -> int: ...


@dataclass(frozen=True, slots=True)
class OrderView:
    """One order: its saga if it has one, else only the inbox entry."""

    order: Order
    saga: Saga | None
    cancel_requested: bool = False
    revision: int = 0

    @property
    def status(self) -> SagaStatus:
        """The saga's status; an order that is still in the inbox is pending."""
        return self.saga.status if self.saga is not None else SagaStatus.PENDING

    @property
    def parked(self) -> bool:
        """True if the order waits for a person's decision."""
        return self.saga is not None and self.saga.parked

    @property
    def updated_at(self) -> float:
        """Time of the last change (wall clock, s); the submission time while the order is in the inbox."""
        return self.saga.updated_at if self.saga is not None else self.order.submitted_at


@dataclass(frozen=True, slots=True)
class CurrentLeader:
    """The replica that holds the leader key. ``since`` is wall clock in s."""

    holder: str
    epoch: int
    instance_id: str
    since: float


def epoch_in(key: Entry | None) -> int:
    """Return the epoch of a leader key; of an unreadable one, the mod revision; 0 if it is free."""
    if key is None or key.value is None:
        return 0
    generation = key.value.generation if isinstance(key.value, LeaderRecord) else 0
    return epoch_of(generation, key.mod_revision)


class FleetView:
    """Existing records by kind, each with its mod revision. A record is never replaced by an older one.

    ``revision`` is the newest revision up to which *everything* is applied. A leader may apply its commits before the
    watch delivers them (``apply_commit``); their echo is recognised by its revision and changes nothing.

    The tables hold readable records. An unreadable record is only in ``corrupt``, by ``<kind>/<id>``, until an operator
    repairs or removes it. No decision uses it.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.inbox: dict[str, Stored[Order]] = {}
        self.cancels: dict[str, Stored[CancelRequest]] = {}
        self.commands: dict[str, Stored[OperatorCommand]] = {}
        self.sagas: dict[str, Stored[Saga]] = {}
        self.reservations: dict[str, Stored[Reservation]] = {}
        self.breakers: dict[str, Stored[Breaker]] = {}
        self.notes: dict[str, Stored[LeaderNote]] = {}
        self.by_drone: dict[str, dict[str, None]] = {}  # active orders that name the drone, in a fixed order
        self.leader_key: Entry | None = None  # a deleted key stays visible as an entry without value
        self.fleet_key: Entry | None = None  # as the leader key
        self.identity: FleetIdentity | None = None  # the last one that was read, even if the key was deleted since
        self.estranged = ""  # why the key ``fleet`` is not that of ``identity`` any more
        self.corrupt: dict[str, Entry] = {}
        self._deleted: dict[tuple[Kind, str], int] = {}
        self._forgettable: deque[tuple[int, tuple[Kind, str]]] = deque()  # deletions, nearly by revision
        self._tables: dict[Kind, dict[str, Any]] = {
            Kind.INBOX_ORDER: self.inbox,
            Kind.INBOX_CANCEL: self.cancels,
            Kind.INBOX_COMMAND: self.commands,
            Kind.BREAKER: self.breakers,
            Kind.NOTE: self.notes,
            Kind.SAGA: self.sagas,
            Kind.ASSIGNMENT: self.reservations,
        }

    @classmethod
    def of(cls, snapshot: Snapshot) -> FleetView:
        """Return a view of ``snapshot``."""
        view = cls()
        view.load(snapshot)
        return view

    # --- writing ------------------------------------------------------------------------------------------------

    def load(self, snapshot: Snapshot) -> None:
        """Replace everything with ``snapshot``."""
        for table in self._tables.values():
            table.clear()
        self.by_drone.clear()
        self.corrupt.clear()
        self._deleted.clear()
        self._forgettable.clear()
        self.leader_key = self.fleet_key = None
        for entry in snapshot.entries:
            self._put(entry)
        if self.fleet_key is None:
            self._compare_identity(None)
        self.revision = snapshot.revision

    def breach(self, snapshot: Snapshot) -> str:
        """Return why ``snapshot`` cannot be a later state of what is held here; empty if it can.

        All keys up to ``revision`` are held here. So a record that is older than the one held, or as old and not held,
        was brought back. Records that this replica committed after the snapshot say nothing.
        """
        if snapshot.revision < self.revision:
            return f"its revision went back from {self.revision} to {snapshot.revision}"
        fleet = next((entry.value for entry in snapshot.entries if entry.kind is Kind.FLEET), None)
        lost = breach_of_identity(self.identity, fleet)
        if lost:
            return lost
        for kind, id_, _, revision in snapshot.entries:
            if kind in self._tables and revision <= self.revision:
                held = self.revision_of(kind, id_) or self._deleted.get((kind, id_), 0)
                if held != revision and held <= snapshot.revision:
                    return f"{kind.value}/{id_} is of revision {revision}, and was of revision {held} before"
        return ""

    def apply(self, change: StoreChange) -> list[Entry]:
        """Apply one revision; return the entries that were new."""
        fresh = [entry for entry in change.entries if self._put(entry)]
        self.revision = max(self.revision, change.revision)
        # A deletion is remembered only to ignore echoes of older revisions, and those have all arrived by now.
        while self._forgettable and self._forgettable[0][0] <= self.revision:
            revision, key = self._forgettable.popleft()
            if self._deleted.get(key) == revision:
                del self._deleted[key]
        return fresh

    def apply_commit(self, change: Change, revision: int) -> None:
        """Apply a commit of this replica ahead of the watch.

        Do nothing if the watch is past ``revision``: it has delivered the commit and later changes, such as the end of
        the reservation's lease. Applying the commit again would resurrect an expired reservation.
        """
        if revision <= self.revision:
            return
        if isinstance(change, WriteNote):
            self._put(Entry(Kind.NOTE, change.id, change.note, revision))
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
            leased, unknown = (True, "") if isinstance(held, Reserve) else (False, held.unknown)
            value = Reservation(held.drone_id, saga.message_id, saga.attempt, saga.epoch, leased, unknown)
            self._put(Entry(Kind.ASSIGNMENT, held.drone_id, value, revision))
        if breaker is not None:
            self._put(Entry(Kind.BREAKER, breaker.breaker.drone_id, breaker.breaker, revision))

    # --- reading ------------------------------------------------------------------------------------------------

    @property
    def leadership(self) -> CurrentLeader | None:
        """The leader according to the store; ``None`` if the key is free or cannot be read."""
        key = self.leader_key
        if key is None or not isinstance(key.value, LeaderRecord):
            return None
        return CurrentLeader(key.value.holder, epoch_in(key), key.value.instance_id, key.value.since)

    @property
    def leader_epoch(self) -> int:
        """The epoch of the leader key; of an unreadable one, the mod revision; 0 if it is free."""
        return epoch_in(self.leader_key)

    @property
    def fleet(self) -> FleetIdentity | None:
        """The identity of the fleet; ``None`` before its first leader, or if the key cannot be read."""
        key = self.fleet_key
        return key.value if key is not None and isinstance(key.value, FleetIdentity) else None

    def orders(self) -> Iterator[OrderView]:
        """Yield every readable order: those with a saga, then those still in the inbox."""
        for id_, saga in self.sagas.items():
            yield OrderView(saga.value.order, saga.value, id_ in self.cancels, saga.mod_revision)
        for id_, order in self.inbox.items():
            if not self._begun(id_):
                yield OrderView(order.value, None, id_ in self.cancels, order.mod_revision)

    def order_view(self, message_id: str) -> OrderView | None:
        """Return one of :meth:`orders`."""
        saga, cancelled = self.sagas.get(message_id), message_id in self.cancels
        if saga is not None:
            return OrderView(saga.value.order, saga.value, cancelled, saga.mod_revision)
        order = self.inbox.get(message_id)
        if order is None or self._begun(message_id):
            return None
        return OrderView(order.value, None, cancelled, order.mod_revision)

    def waiting(self) -> Iterator[Order]:
        """Yield the readable orders in the inbox that have no saga yet."""
        return (order.value for id_, order in self.inbox.items() if not self._begun(id_))

    def counts(self) -> dict[SagaStatus, int]:
        """Count :meth:`orders` by status, with a 0 for a status that no order has."""
        counts = dict.fromkeys(SagaStatus, 0)
        for saga in self.sagas.values():
            counts[saga.value.status] += 1
        counts[SagaStatus.PENDING] += sum(1 for _ in self.waiting())
        return counts

    def message_ids(self) -> list[str]:
        """Return the message ids of all orders and of all requests about orders, unreadable ones included."""
        prefixes = tuple(f"{kind.value}/" for kind in _OF_ORDERS)
        corrupt = (entry.id for name, entry in self.corrupt.items() if name.startswith(prefixes))
        return list(dict.fromkeys([*self.sagas, *self.inbox, *self.cancels, *self.commands, *corrupt]))

    def has_order(self, message_id: str) -> bool:
        """Return whether the store has this order, even an unreadable one."""
        return message_id in self.sagas or message_id in self.inbox or self.is_corrupt(message_id)

    def saga_of(self, message_id: str, attempt: int | None = None) -> Saga | None:
        """Return the order's saga if there is a readable one (and it is at ``attempt``)."""
        stored = self.sagas.get(message_id)
        if stored is None or (attempt is not None and stored.value.attempt != attempt):
            return None
        return stored.value

    def order_of(self, message_id: str) -> Order | None:
        """Return the order from its saga or, before it has one, from the inbox."""
        saga = self.sagas.get(message_id)
        if saga is not None:
            return saga.value.order
        order = self.inbox.get(message_id)
        return order.value if order is not None else None

    def cancel_of(self, message_id: str) -> CancelRequest | None:
        stored = self.cancels.get(message_id)
        return stored.value if stored is not None else None

    def command_of(self, message_id: str) -> OperatorCommand | None:
        stored = self.commands.get(message_id)
        return stored.value if stored is not None else None

    def breaker_of(self, drone_id: str) -> Breaker | None:
        stored = self.breakers.get(drone_id)
        return stored.value if stored is not None else None

    def reservation_of(self, saga: Saga) -> Stored[Reservation] | None:
        """Return the reservation of the saga's drone, if it is for this order and attempt."""
        held = self.reservations.get(saga.drone_id or "")
        if held is None or held.value.message_id != saga.message_id or held.value.attempt != saga.attempt:
            return None
        return held

    def contradictions(self) -> dict[str, str]:
        """Return what is wrong with each readable record that contradicts itself, by ``<kind>/<id>``.

        The leader decides nothing on them, as on those in ``corrupt``.
        """
        found = {}
        for kind, table in self._tables.items():
            for id_, stored in table.items():
                wrong = contradiction(stored.value)
                if wrong:
                    found[f"{kind.value}/{id_}"] = wrong
        return found

    def revision_of(self, kind: Kind, id_: str) -> int:
        """Return the mod revision of an existing record, readable or not; 0 if there is none."""
        stored = self._tables[kind].get(id_)
        if stored is None and self.corrupt:
            stored = self.corrupt.get(f"{kind.value}/{id_}")
        return stored.mod_revision if stored is not None else 0

    def is_corrupt(self, id_: str, kinds: tuple[Kind, ...] = (Kind.SAGA, Kind.INBOX_ORDER)) -> bool:
        """Return whether the order with this message id (or a record of ``kinds``) cannot be read."""
        return bool(self.corrupt) and any(f"{kind.value}/{id_}" in self.corrupt for kind in kinds)

    def _begun(self, message_id: str) -> bool:
        return message_id in self.sagas or self.is_corrupt(message_id, (Kind.SAGA,))

    def _index(self, message_id: str, before: Stored[Saga] | None, after: object) -> None:
        if before is not None and before.value.drone_id in self.by_drone:
            self.by_drone[before.value.drone_id].pop(message_id, None)
        if isinstance(after, Saga) and after.drone_id is not None and not after.status.is_terminal:
            self.by_drone.setdefault(after.drone_id, {})[message_id] = None

    def _put(self, entry: Entry) -> bool:
        kind, id_, value, revision = entry
        if kind is Kind.LEADER:
            if self.leader_key is not None and revision <= self.leader_key.mod_revision:
                return False
            self.leader_key = entry
            return True
        if kind is Kind.FLEET:
            return self._put_fleet(entry)
        table = self._tables.get(kind)
        if table is None:
            return kind is Kind.EVENT
        before = known = table.get(id_)
        if known is None and self.corrupt:
            known = self.corrupt.get(f"{kind.value}/{id_}")
        newest = known.mod_revision if known is not None else self._deleted.get((kind, id_), 0)
        if revision <= newest:
            return False
        if kind is Kind.SAGA:
            self._index(id_, before, value)
        if self.corrupt:
            self.corrupt.pop(f"{kind.value}/{id_}", None)
        if value is None:
            table.pop(id_, None)
            self._deleted[kind, id_] = revision
            self._forgettable.append((revision, (kind, id_)))
        elif isinstance(value, Corrupt):
            table.pop(id_, None)
            self.corrupt[f"{kind.value}/{id_}"] = entry
        else:
            table[id_] = entry
        return True

    def _put_fleet(self, entry: Entry) -> bool:
        if self.fleet_key is not None and entry.mod_revision <= self.fleet_key.mod_revision:
            return False
        self.fleet_key = entry
        self.corrupt.pop(f"{Kind.FLEET.value}/", None)
        if isinstance(entry.value, Corrupt):
            self.corrupt[f"{Kind.FLEET.value}/"] = entry
        self._compare_identity(entry.value)
        return True

    def _compare_identity(self, found: object) -> None:
        if isinstance(found, Corrupt):
            return  # it proves nothing, neither for the store nor against it
        self.estranged = breach_of_identity(self.identity, found)
        if isinstance(found, FleetIdentity) and not self.estranged:
            self.identity = found
