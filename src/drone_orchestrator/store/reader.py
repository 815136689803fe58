"""Reading a region: snapshot, watch, single orders, histories.

Implements :class:`~drone_orchestrator.ports.StoreReader`. Stored bytes become records here; :mod:`.codec` has the
format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..core.admission import canonical_id
from ..core.types import Corrupt, Entry, FleetIdentity, Kind, Order, Saga, SagaEvent, Snapshot, StoreChange
from ..core.view import OrderView, breach_of_identity
from ..ports import HistoryGone, StoreError, StoreHeld, StoreUnavailable, WatchHandle
from .codec import decode
from .keys import InvalidId, Keys, range_end
from .kv import Compacted, KeyValue, KeyValueDriver, Landmark, RawChange, WatchSink
from .leases import DroneLeases
from .own_writes import OwnWrites

_HISTORY_ATTEMPTS = 3
RESTORED = "the store was restored from a backup"


class CorruptRecord(StoreError):
    """The requested record cannot be read; the message names the key and the reason."""


class Reader:
    """Reads the region of ``keys`` through ``driver``. Safe to use from several threads.

    ``leases`` learns the lease of each reservation from every snapshot and change. Records in ``own_writes``
    are not decoded again when the watch delivers them.
    """

    def __init__(self, driver: KeyValueDriver, keys: Keys, leases: DroneLeases, own_writes: OwnWrites) -> None:
        self.keys = keys
        self._driver = driver
        self._leases = leases
        self._own_writes = own_writes
        self._place = Landmark(0)  # of the latest snapshot
        self._fleet: FleetIdentity | None = None  # as last read
        self._estranged = ""  # why the key is not that of this identity any more

    def snapshot(self) -> Snapshot:
        """Read all keys except events, at one revision, and compare the store with its identity."""
        snapshot, self._place = self._snapshot()
        return snapshot

    def _snapshot(self) -> tuple[Snapshot, Landmark]:
        revision, found = self._driver.scan(self.keys.all_but_events())
        entries = tuple(self._entry(kv.key, kv, kv.mod_revision) for kv in found)
        leases = {
            entry.id: (kv.mod_revision, kv.lease)
            for entry, kv in zip(entries, found, strict=True)
            if entry.kind is Kind.ASSIGNMENT
        }
        self._leases.load(revision, leases)
        place = Landmark(revision, max(found, key=lambda kv: kv.mod_revision, default=None))
        fleet = next((e.value for e in entries if isinstance(e.value, FleetIdentity)), None)
        lead = self._driver.log_lead()
        if lead is None:  # unknown: nothing is concluded from it, and nothing new is recorded
            lead = fleet.log_lead if fleet is not None else 0
        lead = min(lead, 0)
        self._note_fleet(next((e.value for e in entries if e.kind is Kind.FLEET), None))
        breach = RESTORED if fleet is not None and lead < fleet.log_lead else ""
        return Snapshot(revision, entries, breach, lead), place

    def watch(
        self,
        after_revision: int,
        on_change: Callable[[StoreChange], None],
        on_snapshot: Callable[[Snapshot], None],
        on_health: Callable[[bool], None] | None = None,
        *,
        with_events: bool = True,
        only: Kind | None = None,
    ) -> WatchHandle:
        """See :meth:`drone_orchestrator.ports.StoreReader.watch`.

        ``on_health(True)`` also reports the first connection.
        An exception in a callback, or in reading a change, would leave a gap in the view. The watch therefore starts
        over with a snapshot, with back-off.
        """

        def deliver(raw: RawChange) -> None:
            self._learn_leases(raw)
            self._learn_fleet(raw)
            on_change(self._change(raw))

        def start_over(breach: str) -> Landmark:
            if breach:
                self._leases.clear()
                self._own_writes.clear()
            fresh, place = self._snapshot()
            on_snapshot(replace(fresh, breach=breach) if breach else fresh)
            return place

        without = () if with_events else (self.keys.below(Kind.EVENT), self.keys.below(Kind.ORDER_INDEX))
        sink = WatchSink(deliver, start_over, on_health or (lambda healthy: None), without)
        span = self.keys.all_keys()[0]
        if only is not None:
            below = self.keys.below(only)
            span = (below, range_end(below))
        place = self._place
        return self._driver.watch(span, place if place.revision == after_revision else Landmark(after_revision), sink)

    def find(self, order_or_message_id: str) -> OrderView | None:
        """Find an order by message id, else by order id. ``revision`` is that of its saga, else of its inbox entry.

        A message id may be in upper case. Raises :class:`CorruptRecord` if the order exists but cannot be read.
        """
        try:
            index = self.keys.order_index(order_or_message_id)
        except InvalidId:
            return None
        view, found = self._view(canonical_id(order_or_message_id), index)
        if view is not None or index not in found:
            return view
        message_id = self._require(found[index])
        return self._view(str(message_id))[0]

    def _view(self, message_id: str, *more: str) -> tuple[OrderView | None, Mapping[str, KeyValue]]:
        """Read saga, inbox entry and cancellation of one message, and the keys ``more``, at one revision."""
        saga_key, inbox_key = self.keys.saga(message_id), self.keys.inbox_order(message_id)
        cancel_key = self.keys.inbox_cancel(message_id)
        found = self._driver.read((saga_key, inbox_key, cancel_key, *more)).found
        cancelled = cancel_key in found
        if saga_key in found:
            saga = self._require(found[saga_key])
            assert isinstance(saga, Saga)
            return OrderView(saga.order, saga, cancelled, found[saga_key].mod_revision), found
        if inbox_key in found:
            order = self._require(found[inbox_key])
            assert isinstance(order, Order)
            return OrderView(order, None, cancelled, found[inbox_key].mod_revision), found
        return None, found

    def events(self, message_id: str) -> list[SagaEvent]:
        """Return the events of one order, oldest first. Raises :class:`CorruptRecord` for an unreadable one."""
        first = self.keys.events_of(message_id)
        events = [self._require(kv) for kv in self._driver.scan(((first, range_end(first)),))[1]]
        return [event for event in events if isinstance(event, SagaEvent)]

    def histories(self, message_ids: Sequence[str]) -> list[list[SagaEvent | Corrupt]]:
        """See :meth:`drone_orchestrator.ports.StoreReader.histories`."""
        prefixes = [self.keys.events_of(message_id) for message_id in message_ids]
        found = self._driver.ranges([(prefix, range_end(prefix)) for prefix in prefixes])
        values = [[self._decode(kv) for kv in keys] for keys in found]
        return [[v for v in history if isinstance(v, (SagaEvent, Corrupt))] for history in values]

    def history(self, after_revision: int = 0, *, gapless: bool = False) -> Iterator[StoreChange]:
        """Yield every change in ``(after_revision, now]``, events included.

        If the oldest part is compacted, the first change is the state at the compact revision; its entries keep their
        own, lower mod revisions. With ``gapless`` that raises :class:`~drone_orchestrator.ports.HistoryGone` instead.
        Raises :class:`StoreUnavailable` if the store is compacted past the point that was reached.
        """
        until = self._revision()
        span = self.keys.all_keys()[0]
        state: list[KeyValue] = []
        for _ in range(_HISTORY_ATTEMPTS):
            changes = self._driver.history(span, after_revision, until)
            try:
                # Yield the state only once the changes after it can be read: a history has one state, at its start.
                change = next(changes, None)
            except Compacted as gap:
                if gapless:
                    raise HistoryGone(str(gap)) from gap
                try:
                    after_revision, state = self._driver.scan((span,), gap.revision)
                except Compacted:
                    pass  # compacted further meanwhile: the next attempt learns the new revision
                until = max(until, after_revision)
                continue
            if state:
                yield StoreChange(after_revision, tuple(self._entry(kv.key, kv, kv.mod_revision) for kv in state))
            try:
                while change is not None:
                    yield self._change(change)
                    change = next(changes, None)
            except Compacted as gap:
                raise StoreUnavailable("the history was compacted while it was being read; read it again") from gap
            return
        raise StoreUnavailable("the history is being compacted faster than it can be read")

    def status(self) -> dict[str, object]:
        """Return ``region``, ``revision`` (0: no quorum), ``has_quorum``, ``detail`` and the driver's own status:
        ``reachable``, ``endpoints`` (name: reachable), ``version``, ``db_size_bytes``."""
        try:
            revision, detail = self._revision(), ""
        except StoreUnavailable as error:
            revision, detail = 0, str(error)
        quorum = {"revision": revision, "has_quorum": revision > 0, "detail": detail}
        return {"region": self.keys.region, **quorum, **self._driver.status()}

    def _revision(self) -> int:
        """Return the store's current revision; a linearizable read."""
        return self._driver.read((self.keys.leader,)).revision

    def close(self) -> None:
        """Close connections and stop threads."""
        self._driver.close()

    def _learn_leases(self, raw: RawChange) -> None:
        below = self.keys.below(Kind.ASSIGNMENT)
        for key, kv in raw.keys:
            if key.startswith(below):
                self._leases.note(key[len(below) :], raw.revision, kv.lease if kv else 0)

    def _learn_fleet(self, raw: RawChange) -> None:
        for key, kv in raw.keys:
            if key == self.keys.fleet:
                self._note_fleet(self._decode(kv) if kv is not None else None)

    def _note_fleet(self, value: object) -> None:
        if isinstance(value, Corrupt):
            return  # it proves nothing, neither for the store nor against it
        self._estranged = breach_of_identity(self._fleet, value)
        if isinstance(value, FleetIdentity) and not self._estranged:
            self._fleet = value

    def _check_not_held(self) -> None:
        """Raise :class:`StoreHeld` while the fleet is held, as far as this client has read."""
        held = self._estranged or (self._fleet.held if self._fleet is not None else "")
        if held:
            raise StoreHeld(f"the fleet is held: {held}")

    # --- decoding ----------------------------------------------------------------------------------------------------

    def _decode(self, kv: KeyValue) -> object:
        kind, id_ = self.keys.parse(kv.key)
        return decode(kind, id_, kv.value, leased=bool(kv.lease))

    def _require(self, kv: KeyValue) -> object:
        value = self._decode(kv)
        if isinstance(value, Corrupt):
            raise CorruptRecord(f"{kv.key} cannot be read: {value.reason}")
        return value

    def _entry(self, key: str, kv: KeyValue | None, revision: int) -> Entry:
        kind, id_ = self.keys.parse(key)
        value = None if kv is None else decode(kind, id_, kv.value, leased=bool(kv.lease))
        return Entry(kind, id_, value, revision)

    def _change(self, raw: RawChange) -> StoreChange:
        own = self._own_writes.take(raw.keys)
        return StoreChange(
            raw.revision,
            tuple(
                Entry(own[key].kind, own[key].id, own[key].value, raw.revision)
                if key in own
                else self._entry(key, kv, raw.revision)
                for key, kv in raw.keys
            ),
        )
