"""One region's store on top of a key-value driver: the :class:`~drone_orchestrator.ports.Store` protocol.

Everything that decides is here, once: which keys a step compares, what an unanswered request may have done, whose
fault a failed group is. The drivers below only carry requests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..core.changes import Change, Fate, ReservationChange, Reserve, Transition
from ..core.types import (
    CancelRequest,
    Corrupt,
    Entry,
    Kind,
    LeaderRecord,
    OperatorCommand,
    Order,
    Saga,
    SagaEvent,
    Snapshot,
    StoreChange,
    Value,
)
from ..ports import (
    CommitResult,
    FateUnknown,
    HistoryGone,
    OrderView,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    Submitted,
    WatchHandle,
)
from .codec import decode, encode
from .keys import InvalidId, Keys, range_end
from .kv import Compacted, Delete, Driver, Expect, KeyValue, LeaseGone, Op, Put, RawChange, WatchSink
from .leases import DroneLeases
from .transactions import MAX_OPERATIONS, Plan, Written, fate_by_reading, grouped, plan

MIN_LEASE_S = 2.0
_CREATE_ATTEMPTS = 2
_HISTORY_ATTEMPTS = 3
_REMEMBERED = 8192  # own records whose echo has not come yet


class CorruptRecord(StoreError):
    """A record that was asked for cannot be read; the text names it and says why."""


class RegionStore:
    """The store of ``region`` over ``driver``.

    ``reservation_ttl_s`` (s, at least 2): how long a drone's reservation outlives its last ``keep_reservations``.
    Safe to use from several threads.
    """

    def __init__(
        self,
        driver: Driver,
        region: str,
        *,
        reservation_ttl_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if reservation_ttl_s < MIN_LEASE_S:
            raise ValueError(f"reservation_ttl_s is {reservation_ttl_s:g}; etcd grants no lease under {MIN_LEASE_S:g}")
        self.keys = Keys(region)
        self._driver = driver
        self._leases = DroneLeases(driver, reservation_ttl_s, clock)
        self._lock = threading.Lock()
        self._leader_lease: tuple[int, int] | None = None  # (epoch, lease)
        self._written: dict[str, Written] = {}  # by key

    # --- reading -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """All keys but events, at one revision."""
        revision, found = self._driver.scan(self.keys.all_but_events())
        entries = tuple(self._entry(kv.key, kv, kv.mod_revision) for kv in found)
        leases = {
            entry.id: (kv.mod_revision, kv.lease)
            for entry, kv in zip(entries, found, strict=True)
            if entry.kind is Kind.ASSIGNMENT
        }
        self._leases.load(revision, leases)
        return Snapshot(revision, entries)

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
        """See :meth:`drone_orchestrator.ports.Store.watch`. ``on_health(True)`` also tells of the first connection.

        An exception in a callback ends the watch loudly (``threading.excepthook``): the view would have a hole.
        """

        def deliver(raw: RawChange) -> None:
            self._learn_leases(raw)
            on_change(self._change(raw))

        def start_over() -> int:
            fresh = self.snapshot()
            on_snapshot(fresh)
            return fresh.revision

        without = () if with_events else (self.keys.below(Kind.EVENT), self.keys.below(Kind.ORDER_INDEX))
        sink = WatchSink(deliver, start_over, on_health or (lambda healthy: None), without)
        span = self.keys.all_keys()[0]
        if only is not None:
            below = self.keys.below(only)
            span = (below, range_end(below))
        return self._driver.watch(span, after_revision, sink)

    def find(self, order_or_message_id: str) -> OrderView | None:
        """One order by message id, else by order id. ``revision`` is that of its saga (else of its inbox entry).

        Raises :class:`CorruptRecord` where it exists but cannot be read.
        """
        try:
            index = self.keys.order_index(order_or_message_id)
        except InvalidId:
            return None
        view, found = self._view(order_or_message_id, index)
        if view is not None or index not in found:
            return view
        message_id = self._require(found[index])
        return self._view(str(message_id))[0]

    def _view(self, message_id: str, *more: str) -> tuple[OrderView | None, Mapping[str, KeyValue]]:
        """Saga, inbox entry and cancellation of one message, read at one revision together with the keys ``more``."""
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
        """The events of one order, in order; raises :class:`CorruptRecord` for one that cannot be read."""
        first = self.keys.events_of(message_id)
        events = [self._require(kv) for kv in self._driver.scan(((first, range_end(first)),))[1]]
        return [event for event in events if isinstance(event, SagaEvent)]

    def histories(self, message_ids: Sequence[str]) -> list[list[SagaEvent | Corrupt]]:
        """See :meth:`drone_orchestrator.ports.Store.histories`."""
        prefixes = [self.keys.events_of(message_id) for message_id in message_ids]
        found = self._driver.ranges([(prefix, range_end(prefix)) for prefix in prefixes])
        values = [[self._decode(kv) for kv in keys] for keys in found]
        return [[v for v in history if isinstance(v, (SagaEvent, Corrupt))] for history in values]

    def history(self, after_revision: int = 0, *, gapless: bool = False) -> Iterator[StoreChange]:
        """Every change of ``(after_revision, now]``, events included.

        Where the oldest part is compacted, the first change is the state at the compact revision: its entries keep
        their own, lower mod revisions; with ``gapless`` it is :class:`~drone_orchestrator.ports.HistoryGone` instead.
        A store that is compacted past the reader raises :class:`StoreUnavailable`.
        """
        until = self._revision()
        span = self.keys.all_keys()[0]
        state: list[KeyValue] = []
        for _ in range(_HISTORY_ATTEMPTS):
            changes = self._driver.history(span, after_revision, until)
            try:
                # The state is told only when the changes after it are sure to follow: a second one would be no history.
                change = next(changes, None)
            except Compacted as gap:
                if gapless:
                    raise HistoryGone(str(gap)) from gap
                try:
                    after_revision, state = self._driver.scan((span,), gap.revision)
                except Compacted:
                    pass  # compacted further in between: the next attempt finds out
                until = max(until, after_revision)
                continue
            if state:
                yield StoreChange(after_revision, tuple(self._entry(kv.key, kv, kv.mod_revision) for kv in state))
            try:
                while change is not None:
                    yield self._change(change)
                    change = next(changes, None)
            except Compacted as gap:
                raise StoreUnavailable("the history was compacted while it was read: read it again") from gap
            return
        raise StoreUnavailable("the history is being compacted faster than it can be read")

    def status(self) -> dict[str, object]:
        """``region``, ``revision`` (0: no quorum), ``has_quorum``, ``detail``, and what the driver tells:
        ``reachable``, ``endpoints`` (name: reachable), ``version``, ``db_size_bytes``."""
        try:
            revision, detail = self._revision(), ""
        except StoreUnavailable as error:
            revision, detail = 0, str(error)
        quorum = {"revision": revision, "has_quorum": revision > 0, "detail": detail}
        return {"region": self.keys.region, **quorum, **self._driver.status()}

    def _revision(self) -> int:
        """The store's current revision, linearizable."""
        return self._driver.read((self.keys.leader,)).revision

    def close(self) -> None:
        """Close connections and stop threads."""
        self._driver.close()

    # --- leadership --------------------------------------------------------------------------------------------------

    def campaign(self, record: LeaderRecord, ttl_s: float, over_epoch: int = 0) -> int:
        """Put the leader key on a fresh lease: the epoch (its mod revision), or 0 where somebody else holds it.

        ``over_epoch`` 0: only if there is no leader key; else replace the leader of exactly that epoch.
        """
        try:
            lease = self._driver.grant_leases(ttl_s, 1)[0]
        except FateUnknown as error:  # a lease with nothing on it, at most
            raise StoreUnavailable(f"campaign: {error}") from error
        key = self.keys.leader
        try:
            result = self._driver.txn((Expect(key, over_epoch),), (Put(key, encode(record), lease),))
        except FateUnknown:
            epoch = self._won_after_all(lease)
        except (StoreUnavailable, LeaseGone) as error:
            raise StoreUnavailable(f"campaign: {error}") from error
        else:
            epoch = result.revision if result.succeeded else 0
            if not epoch:
                self._revoke(lease)
        if epoch:
            with self._lock:
                self._leader_lease = (epoch, lease)
        return epoch

    def _won_after_all(self, lease: int) -> int:
        """Whether an unanswered campaign was won. If not, its lease is revoked, so that it cannot be won later."""
        try:
            holder = self._driver.read((self.keys.leader,)).found.get(self.keys.leader)
            if holder is None or holder.lease != lease:  # a lease is granted to one campaign only
                self._driver.revoke_lease(lease)
                return 0
            return holder.mod_revision
        except StoreError as error:
            raise FateUnknown(f"campaign: {error}") from error

    def refresh_lease(self, epoch: int) -> bool:
        """Keep the lease of the own leadership alive; ``False``: it is gone, or it is not of this epoch."""
        lease = self._lease_of(epoch)
        return bool(lease) and self._driver.keep_leases((lease,))[0]

    def resign(self, epoch: int) -> None:
        """Delete the leader key if it still has this epoch; revoke its lease. Tried once: else the lease runs out."""
        key = self.keys.leader
        self._driver.txn((Expect(key, epoch),), (Delete(key),))
        lease = self._lease_of(epoch)
        if lease:
            with self._lock:
                self._leader_lease = None
            self._revoke(lease)

    def _lease_of(self, epoch: int) -> int:
        with self._lock:
            return self._leader_lease[1] if self._leader_lease and self._leader_lease[0] == epoch else 0

    # --- the leader's writes -----------------------------------------------------------------------------------------

    def commit(self, epoch: int, changes: Sequence[Change]) -> list[CommitResult]:
        """See :meth:`drone_orchestrator.ports.Store.commit`. Raises only ``StoreDenied`` and programming errors.

        After a group that was fenced or not answered for sure, the rest is not sent any more: its fate is then
        ``FENCED`` or ``UNAVAILABLE``, and the call stays short while the store is away.
        """
        if epoch <= 0:
            raise ValueError(f"epoch {epoch} was never anybody's")
        reserved = [_reserved(change) for change in changes]
        try:
            leases = self._leases.take([drone for drone in reserved if drone])
        except (StoreUnavailable, FateUnknown):
            return [CommitResult(Fate.UNAVAILABLE)] * len(changes)
        plans = [plan(c, self.keys, leases.get(drone, 0)) for c, drone in zip(changes, reserved, strict=True)]
        self._remember(plans)
        results = [CommitResult(Fate.UNAVAILABLE)] * len(plans)
        for group in grouped(plans):
            outcome = self._commit_group(epoch, [plans[i] for i in group])
            for index, result in zip(group, outcome, strict=True):
                results[index] = result
            fates = {result.fate for result in outcome}
            if Fate.FENCED in fates:
                last = group[-1] + 1
                results[last:] = [CommitResult(Fate.FENCED)] * (len(plans) - last)
                break
            if fates & {Fate.UNKNOWN, Fate.UNAVAILABLE}:
                break
        for change, result in zip(changes, results, strict=True):
            held = _reservation(change)
            if held is not None and result.fate is Fate.SUCCEEDED:
                lease = leases.get(held.drone_id, 0) if isinstance(held, Reserve) else 0
                self._leases.note(held.drone_id, result.revision, lease)
        return results

    def _commit_group(self, epoch: int, plans: Sequence[Plan]) -> list[CommitResult]:
        """One fenced transaction; where it fails, those to blame are left out and the others tried again."""
        leader = self.keys.leader
        results = [CommitResult(Fate.CONFLICT)] * len(plans)
        pending = list(range(len(plans)))
        to_blame = False
        while pending:
            batch = [plans[i] for i in pending]
            expects = [Expect(leader, epoch), *(expect for item in batch for expect in item.expects)]
            try:
                # Hardly ever is anybody to blame: only then it is asked again in a way that tells whom.
                outcome = self._driver.txn(expects, [op for item in batch for op in item.ops], read=to_blame)
            except FateUnknown:
                fates = self._resolve(epoch, batch)
            except LeaseGone:
                leased = [op.key for item in batch for op in item.ops if isinstance(op, Put) and op.lease]
                self._leases.forget(self.keys.parse(key)[1] for key in leased)
                fates = [CommitResult(Fate.UNAVAILABLE)] * len(batch)
            except StoreUnavailable:
                fates = [CommitResult(Fate.UNAVAILABLE)] * len(batch)
            else:
                holder = outcome.found.get(leader)
                if outcome.succeeded:
                    fates = [CommitResult(Fate.SUCCEEDED, outcome.revision)] * len(batch)
                elif not to_blame:
                    to_blame = True
                    continue
                elif holder is None or holder.mod_revision != epoch:
                    fates = [CommitResult(Fate.FENCED)] * len(batch)
                else:
                    innocent = [i for i in pending if not plans[i].conflicts_with(outcome.found)]
                    if len(innocent) == len(pending):
                        raise StoreError("the store refused a transaction all of whose compares hold")
                    pending = innocent
                    continue
            for index, fate in zip(pending, fates, strict=True):
                results[index] = fate
            break
        return results

    def _resolve(self, epoch: int, batch: Sequence[Plan]) -> list[CommitResult]:
        """Find out by reading what became of a transaction that was sent and not answered."""
        try:
            reading = self._driver.read((self.keys.leader, *(item.proof.key for item in batch)))
        except StoreUnavailable:
            return [CommitResult(Fate.UNKNOWN)] * len(batch)
        return [fate_by_reading(item, reading, self.keys.leader, epoch) for item in batch]

    # --- reservations ------------------------------------------------------------------------------------------------

    def keep_reservations(self, drone_ids: Sequence[str]) -> frozenset[str]:
        """Prolong the leases of drones' reservations. Those whose was; the others have none to prolong."""
        leases = {drone: self._leases.held_by(drone) for drone in drone_ids}
        kept = self._leases.keep({drone: lease for drone, lease in leases.items() if lease})
        return kept | self._leases.keep(self._look_up_leases([drone for drone, lease in leases.items() if not lease]))

    def freshen_leases(self) -> None:
        """See :meth:`drone_orchestrator.ports.Store.freshen_leases`."""
        self._leases.freshen()

    def _look_up_leases(self, drone_ids: Sequence[str]) -> dict[str, int]:
        """The leases that drones' reservations hang on, read from the store; nothing for those that hang on none."""
        leases: dict[str, int] = {}
        for start in range(0, len(drone_ids), MAX_OPERATIONS):
            keys = {self.keys.assignment(drone): drone for drone in drone_ids[start : start + MAX_OPERATIONS]}
            for key, current in self._driver.read(list(keys)).found.items():
                self._leases.note(keys[key], current.mod_revision, current.lease)
                if current.lease:
                    leases[keys[key]] = current.lease
        return leases

    def _learn_leases(self, raw: RawChange) -> None:
        below = self.keys.below(Kind.ASSIGNMENT)
        for key, kv in raw.keys:
            if key.startswith(below):
                self._leases.note(key[len(below) :], raw.revision, kv.lease if kv else 0)

    def _revoke(self, lease: int) -> bool:
        """Revoke a lease nobody needs; ``False`` if the store is away: it expires by itself then."""
        try:
            self._driver.revoke_lease(lease)
        except (StoreUnavailable, FateUnknown):
            return False
        return True

    # --- intake ------------------------------------------------------------------------------------------------------

    def submit_all(self, orders: Sequence[Order]) -> list[Submitted | StoreError]:
        """Put many orders in the inbox, as many as fit in each transaction; the answers of :meth:`submit`, in order.

        What :meth:`submit` would raise stands in the place of the answer: one order never fails its neighbours. After
        one that the store did not answer no other is asked for: the call stays short while the store is away.
        """
        answers: dict[int, Submitted | StoreError] = {}
        plans = [self._submission(order) for order in orders]
        lost: StoreError | None = None
        for group in grouped(plans):
            created, unanswered = (False, False) if lost else self._created_together([plans[i] for i in group])
            for index in group:
                if created:
                    answers[index] = Submitted(orders[index].message_id, created=True)
                elif lost:
                    answers[index] = FateUnknown(str(lost)) if unanswered else StoreUnavailable(str(lost))
                else:
                    answers[index] = answer = self._submitted(orders[index], unanswered)
                    lost = answer if isinstance(answer, (StoreUnavailable, FateUnknown, StoreDenied)) else None
        return [answers[index] for index in range(len(orders))]

    def _created_together(self, plans: Sequence[Plan]) -> tuple[bool, bool]:
        """Whether one transaction created them all, and else whether it may have. Each then asks for itself."""
        if len(plans) < 2:
            return False, False
        try:
            expects = [expect for item in plans for expect in item.expects]
            ops = [op for item in plans for op in item.ops]
            return self._driver.txn(expects, ops, read=False).succeeded, False
        except FateUnknown:
            return False, True
        except StoreUnavailable:
            return False, False

    def _submitted(self, order: Order, asked_before: bool) -> Submitted | StoreError:
        try:
            return self.submit(order, asked_before=asked_before)
        except StoreError as error:
            return error

    def _submission(self, order: Order) -> Plan:
        inbox, saga = self.keys.inbox_order(order.message_id), self.keys.saga(order.message_id)
        index = self.keys.order_index(order.order_id)
        put = Put(inbox, encode(order))
        expects = (Expect(inbox, 0), Expect(saga, 0), Expect(index, 0))
        return Plan(expects, (put, Put(index, encode(order.message_id))), put)

    def submit(self, order: Order, *, asked_before: bool = False) -> Submitted:
        """Put the order in the inbox, once; see :class:`~drone_orchestrator.ports.Submitted`.

        ``asked_before``: a request for it was sent already, and not answered. Raises :class:`FateUnknown` only if
        asking again did not get an answer either.
        """
        request = self._submission(order)
        created, found, repeated = self._create(request.expects, request.ops)
        asked_before |= repeated
        if created:
            return Submitted(order.message_id, created=True)
        inbox, saga = self.keys.inbox_order(order.message_id), self.keys.saga(order.message_id)
        stored = found.get(saga) or found.get(inbox)
        if stored is None:
            return Submitted(order.message_id, created=False, conflict="order_id")
        value = self._decode(stored)
        theirs = value.order if isinstance(value, Saga) else value
        if not isinstance(theirs, Order) or not theirs.same_request(order):
            return Submitted(order.message_id, created=False, conflict="message_id")
        # Unanswered at first and now there to the last digit of its time: it was this very call.
        return Submitted(order.message_id, created=asked_before and theirs == order)

    def request_cancel(self, request: CancelRequest) -> bool:
        """Put the cancellation in the inbox; ``False`` where one was there already."""
        return self._put_request(self.keys.inbox_cancel(request.message_id), request)

    def request_command(self, command: OperatorCommand) -> bool:
        """Put a person's decision in the inbox; ``False`` where one waits already."""
        return self._put_request(self.keys.inbox_command(command.message_id), command)

    def _put_request(self, key: str, request: Value) -> bool:
        value = encode(request)
        created, found, asked_before = self._create((Expect(key, 0),), (Put(key, value),))
        return created or (asked_before and key in found and found[key].value == value)

    def _create(self, expects: Sequence[Expect], ops: Sequence[Op]) -> tuple[bool, Mapping[str, KeyValue], bool]:
        """A create-only transaction: whether it created, what was there instead, and whether it was sent before.

        Sent again when unanswered, which is harmless; the second answer is then the reading that resolves the first.
        """
        unanswered: FateUnknown | None = None
        for _ in range(_CREATE_ATTEMPTS):
            try:
                result = self._driver.txn(expects, ops)
            except FateUnknown as error:
                unanswered = error
            except StoreUnavailable as error:
                if unanswered is None:
                    raise
                raise FateUnknown(str(error)) from unanswered
            else:
                return result.succeeded, result.found, unanswered is not None
        assert unanswered is not None
        raise unanswered

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
        own = self._own(raw.keys) if self._written else {}
        return StoreChange(
            raw.revision,
            tuple(
                Entry(own[key].kind, own[key].id, own[key].value, raw.revision)
                if key in own
                else self._entry(key, kv, raw.revision)
                for key, kv in raw.keys
            ),
        )

    def _remember(self, plans: Sequence[Plan]) -> None:
        """Most of what a leader hears is what it has just written: it need not be decoded again."""
        with self._lock:
            for item in plans:
                for written in item.written:
                    self._written[written.put.key] = written
            while len(self._written) > _REMEMBERED:
                del self._written[next(iter(self._written))]

    def _own(self, keys: Sequence[tuple[str, KeyValue | None]]) -> dict[str, Written]:
        """Of ``keys`` those that are as they were written here, each told of once."""
        own: dict[str, Written] = {}
        with self._lock:
            for key, kv in keys:
                written = self._written.get(key)
                if written is None or kv is None:
                    continue
                if written.put.value == kv.value and written.put.lease == kv.lease:
                    own[key] = self._written.pop(key)
        return own


def _reserved(change: Change) -> str:
    """The drone that ``change`` reserves on a lease, else empty."""
    held = _reservation(change)
    return held.drone_id if isinstance(held, Reserve) else ""


def _reservation(change: Change) -> ReservationChange | None:
    return change.reservation if isinstance(change, Transition) else None
