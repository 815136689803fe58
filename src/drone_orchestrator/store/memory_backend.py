"""The "server" of the in-memory twin of etcd: revisions, history, leases, watches, compaction, and faults on demand.

:class:`MemoryBackend` is shared; each :class:`~.memory.MemoryStore` is a client of it. Time is injected. With
``threaded=False`` nothing runs in the background: :meth:`MemoryBackend.pump` expires leases and delivers watches, as a
deterministic simulation requires.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, RLock

from ..ports import FateUnknown, StoreUnavailable
from ..runtime.loops import Loop
from .kv import (
    Compacted,
    Delete,
    Expect,
    KeyValue,
    Landmark,
    LeaseGone,
    Op,
    Put,
    RawChange,
    Reading,
    Span,
    TxnResult,
    WatchSink,
)
from .region import MIN_LEASE_S

#: What one revision of a key takes in etcd beside key and value, about.
BYTES_PER_REVISION = 100


@dataclass(slots=True)
class _Lease:
    ttl_s: float
    expires_at: float
    keys: set[str] = field(default_factory=set)


class MemoryBackend:
    """Shared state of all clients. ``clock`` gives monotonic seconds; ``on_change`` is called at each new revision.

    Fault hooks: :meth:`set_available`, :meth:`lose_answers`, :meth:`deliver_late`, :meth:`break_watches`,
    :meth:`compact`, :meth:`expire_lease_of`. Clients are identified by name.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        threaded: bool = True,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.changed = Condition(RLock())
        self.threaded = threaded
        self._clock = clock
        self._on_change = on_change
        self._revision = 1
        self._log_lead = 0
        self._compacted = 0
        self._living: dict[str, KeyValue] = {}
        self._base: dict[str, KeyValue] = {}  # state at the compact revision
        self._changes: list[RawChange] = []
        self._leases: dict[int, _Lease] = {}
        self._last_lease = 0
        self._away: set[str | None] = set()
        self._faults: list[tuple[str | None, bool]] = []
        self._late: list[tuple[tuple[Expect, ...], tuple[Op, ...]]] = []
        self._watches: list[MemoryWatch] = []
        #: Like etcd, a store beyond its quota (bytes, by default none) takes no puts and grants no leases any more.
        self.quota_bytes: int | None = None
        self.used_bytes = 0
        self.is_full = False

    def now(self) -> float:
        """Return monotonic time (s)."""
        return self._clock()

    # --- faults ------------------------------------------------------------------------------------------------------

    def set_available(self, available: bool, client: str | None = None) -> None:
        """Disconnect one client (``None``: all) from the store, or reconnect it. Watches stall meanwhile."""
        with self.changed:
            if available:
                self._away.discard(client)
            else:
                self._away.add(client)
            self.changed.notify_all()

    def lose_answers(self, count: int = 1, *, applied: bool, client: str | None = None) -> None:
        """End the next ``count`` transactions (of one client) in ``FateUnknown``, ``applied`` or not.

        One that is not applied stays in flight until :meth:`deliver_late`.
        """
        with self.changed:
            self._faults.extend([(client, applied)] * count)

    def deliver_late(self) -> None:
        """Deliver transactions in flight now. They are applied if their compares still hold."""
        with self.changed:
            late, self._late = self._late, []
            for expects, ops in late:
                if all(self._leased(op) for op in ops):
                    self._apply(expects, ops)

    def has_late(self) -> bool:
        """Return whether a transaction is in flight or will be, so that :meth:`deliver_late` has work."""
        with self.changed:
            return bool(self._late) or any(not applied for _, applied in self._faults)

    def forget_faults(self) -> None:
        """Reconnect all clients, and lose no more answers."""
        with self.changed:
            self._away.clear()
            self._faults.clear()
            self.changed.notify_all()

    def break_watches(self, client: str | None = None) -> None:
        """Break the stream of every watch, so that it has to resume."""
        with self.changed:
            for watch in self._watches:
                if client in (None, watch.client):
                    watch.broken = True
            self.changed.notify_all()

    def kill_watches(self, client: str) -> None:
        """Let the watches of a client deliver nothing more, as if their thread had died; its calls still work."""
        with self.changed:
            for watch in self._watches:
                watch.dead = watch.dead or watch.client == client

    def is_blind(self, client: str) -> bool:
        """Return whether all watches of the client are dead."""
        watches = [watch.dead for watch in self._watches if watch.client == client]
        return bool(watches) and all(watches)

    def revive_watches(self) -> None:
        """Let all watches deliver again, from where they stopped."""
        with self.changed:
            for watch in self._watches:
                watch.dead = False
            self.changed.notify_all()

    def compact(self, revision: int | None = None) -> None:
        """Compact the history up to ``revision`` (``None``: now). The state at that revision stays."""
        with self.changed:
            self.expire()
            self._compacted = self._revision if revision is None else max(revision, self._compacted)
            for change in self._changes:
                if change.revision <= self._compacted:
                    _replay(self._base, change)
            self._changes = [c for c in self._changes if c.revision > self._compacted]
            kept = [item for change in self._changes for item in change.keys]
            self.used_bytes = sum(_size_of(key, kv) for key, kv in (*self._base.items(), *kept))

    def restore(self, revision: int, raised_by: int = 0) -> None:
        """Replace the store by its backup of ``revision`` (1: by an empty one), with its revision raised afterwards."""
        with self.changed:
            self._living = self._state_at(revision) if revision > 1 else {}
            self._compacted, self._base = (self._compacted, self._base) if revision > 1 else (0, {})
            self._leases = {kv.lease: _Lease(MIN_LEASE_S, self._clock() + MIN_LEASE_S) for kv in self._living.values()}
            self._leases.pop(0, None)
            for kv in self._living.values():
                if kv.lease:
                    self._leases[kv.lease].keys.add(kv.key)
            self._changes = [change for change in self._changes if change.revision <= revision]
            self._changes += [RawChange(revision + 1 + n, ()) for n in range(raised_by)]
            self._revision, self._late = revision + raised_by, []
            self._log_lead = -revision if revision > 1 else 0
            self.break_watches()

    def expire_lease_of(self, key: str) -> None:
        """Let the lease of ``key`` expire now."""
        with self.changed:
            self._drop_lease(self._living[key].lease)

    def leased_keys(self) -> list[str]:
        """Return the keys on leases, sorted."""
        with self.changed:
            return sorted(key for key, kv in self._living.items() if kv.lease)

    def pump(self, client: str | None = None) -> int:
        """Expire leases, and deliver due changes to the watches of one client (``None``: of all), on this thread.

        Returns the number of deliveries.
        """
        with self.changed:
            self.expire()
            watches = [watch for watch in self._watches if client in (None, watch.client)]
        return sum(watch.drain() for watch in watches)

    # --- requests ----------------------------------------------------------------------------------------------------

    def enter(self, client: str) -> None:
        """Begin a request of ``client`` (with ``changed`` held). Raises ``StoreUnavailable`` if it is disconnected."""
        self.expire()
        if not self.reachable(client):
            raise StoreUnavailable("the in-memory store is switched off")

    def reachable(self, client: str) -> bool:
        return not self._away & {None, client}

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def log_lead(self) -> int:
        return self._log_lead

    def has(self, place: Landmark) -> str:
        """Return why the history does not have ``place``; empty if it does, or if that is compacted."""
        if place.revision > self._revision:
            return f"its revision went back from {place.revision} to {self._revision}"
        newest = place.newest
        if newest is None or newest.mod_revision < self._compacted:
            return ""
        if place.is_in(self._state_at(newest.mod_revision).get(newest.key)):
            return ""
        return f"{newest.key} at revision {newest.mod_revision} is not what was read there"

    def read(self, keys: Sequence[str]) -> Reading:
        return Reading(self._revision, {key: self._living[key] for key in keys if key in self._living})

    def scan(self, spans: Sequence[Span], revision: int) -> tuple[int, list[KeyValue]]:
        state = self._living if revision in (0, self._revision) else self._state_at(revision)
        return revision or self._revision, [state[key] for key in sorted(state) if within(key, spans)]

    def changes_after(self, revision: int) -> list[RawChange]:
        if revision < self._compacted:
            raise Compacted(self._compacted)
        # Every revision has one change, so its number gives its position.
        first = self._revision - len(self._changes) + 1
        return self._changes[max(0, revision + 1 - first) :]

    def txn(self, client: str, expects: Sequence[Expect], ops: Sequence[Op]) -> TxnResult:
        if any(isinstance(op, Put) for op in ops):
            self._make_room()
        if not all(self._leased(op) for op in ops):
            raise LeaseGone("the transaction names a lease that does not exist")
        for fault in self._faults:
            if fault[0] in (None, client):
                self._faults.remove(fault)
                if fault[1]:
                    self._apply(expects, ops)
                else:
                    self._late.append((tuple(expects), tuple(ops)))
                raise FateUnknown("the answer was lost on purpose")
        return self._apply(expects, ops)

    def _make_room(self) -> None:
        """Raise the alarm if the quota is used up. Only :attr:`is_full` set to false ends it, as in etcd."""
        self.is_full = self.is_full or (self.quota_bytes is not None and self.used_bytes >= self.quota_bytes)
        if self.is_full:
            raise StoreUnavailable("etcdserver: mvcc: database space exceeded")

    def grant(self, ttl_s: float) -> int:
        self._make_room()
        self._last_lease += 1
        ttl_s = max(ttl_s, MIN_LEASE_S)
        self._leases[self._last_lease] = _Lease(ttl_s, self._clock() + ttl_s)
        self.changed.notify_all()
        return self._last_lease

    def keep(self, lease: int) -> bool:
        if lease not in self._leases:
            return False
        self._leases[lease].expires_at = self._clock() + self._leases[lease].ttl_s
        return True

    def revoke(self, lease: int) -> None:
        self._drop_lease(lease)

    def next_expiry_s(self) -> float | None:
        """Return the time (s) until the next lease expires."""
        if not self._leases:
            return None
        return max(0.0, min(lease.expires_at for lease in self._leases.values()) - self._clock())

    def add_watch(self, watch: MemoryWatch) -> None:
        with self.changed:
            self._watches.append(watch)

    def has_watch(self, watch: MemoryWatch) -> bool:
        return watch in self._watches

    def remove_watch(self, watch: MemoryWatch) -> None:
        with self.changed:
            if watch in self._watches:
                self._watches.remove(watch)

    # --- state -------------------------------------------------------------------------------------------------------

    def _apply(self, expects: Sequence[Expect], ops: Sequence[Op]) -> TxnResult:
        found = self.read([e.key for e in expects]).found
        if any((found[e.key].mod_revision if e.key in found else 0) != e.mod_revision for e in expects):
            return TxnResult(False, self._revision, found)
        if len({op.key for op in ops}) != len(ops):
            raise ValueError("duplicate key given in transaction")  # etcd's own text
        self._change(ops)
        return TxnResult(True, self._revision)

    def _change(self, ops: Sequence[Op]) -> None:
        revision = self._revision + 1
        keys: list[tuple[str, KeyValue | None]] = []
        for op in (single for each in ops for single in self._each_key(each)):
            before = self._living.pop(op.key, None)
            if before is not None and before.lease:
                self._leases[before.lease].keys.discard(op.key)
            if isinstance(op, Put):
                after = KeyValue(op.key, op.value, revision, op.lease)
                self._living[op.key] = after
                if op.lease:
                    self._leases[op.lease].keys.add(op.key)
                keys.append((op.key, after))
            elif before is not None:
                keys.append((op.key, None))
        if keys:
            self._revision = revision
            self._changes.append(RawChange(revision, tuple(keys)))
            self.used_bytes += sum(_size_of(key, kv) for key, kv in keys)
            self._on_change()
            self.changed.notify_all()

    def _leased(self, op: Op) -> bool:
        return not isinstance(op, Put) or not op.lease or op.lease in self._leases

    def _each_key(self, op: Op) -> list[Op]:
        if isinstance(op, Delete) and op.end:
            return [Delete(key) for key in sorted(key for key in self._living if op.key <= key < op.end)]
        return [op]

    def expire(self) -> None:
        """Delete the keys of expired leases (with ``changed`` held)."""
        now = self._clock()
        for lease in [id_ for id_, lease in self._leases.items() if lease.expires_at <= now]:
            self._drop_lease(lease)

    def _drop_lease(self, lease: int) -> None:
        if lease not in self._leases:
            return
        self._change([Delete(key) for key in sorted(self._leases[lease].keys)])
        del self._leases[lease]

    def _state_at(self, revision: int) -> dict[str, KeyValue]:
        if revision < self._compacted:
            raise Compacted(self._compacted)
        state = dict(self._base)
        for change in self._changes:
            if change.revision <= revision:
                _replay(state, change)
        return state


class MemoryWatch:
    """One watch: a cursor into the backend's history, moved by its thread or by ``pump``."""

    def __init__(self, backend: MemoryBackend, client: str, span: Span, place: Landmark, sink: WatchSink) -> None:
        self.client = client
        self.broken = False
        self.dead = False
        self._dead_since_s: float | None = None
        self._backend = backend
        self._span = span
        self._place = place
        self._sink = sink
        self._healthy: bool | None = None
        self._closed = False
        self._busy_since_s: float | None = None
        self._loop = Loop(f"memory-watch-{client}", self._turn)
        backend.add_watch(self)
        if backend.threaded:
            self._loop.start()

    def silent_s(self) -> float:
        """See :meth:`drone_orchestrator.ports.WatchHandle.silent_s`."""
        if self._backend.threaded:
            since_s = self._busy_since_s
            return 0.0 if since_s is None else time.monotonic() - since_s
        if not self.dead and self._backend.has_watch(self):
            self._dead_since_s = None
            return 0.0
        if self._dead_since_s is None:
            self._dead_since_s = self._backend.now()
        return self._backend.now() - self._dead_since_s

    def close(self) -> None:
        """Stop; no callback runs after this returns (unless it is called from one)."""
        self._backend.remove_watch(self)
        with self._backend.changed:
            self._closed = True
            self._backend.changed.notify_all()
        self._loop.close()

    @property
    def follows(self) -> bool:
        """True unless the stream broke and the store has not proved yet that it is the one that was read."""
        return not self.broken or not self._backend.has(self._place)

    def drain(self) -> int:
        """Deliver due changes. Returns the number of deliveries."""
        delivered = 0
        while (step := self._next()) is not None:
            step()
            delivered += 1
        return delivered

    def _turn(self) -> None:
        """Deliver due changes, or wait for some. After an exception of a callback, start over with a snapshot."""
        self._busy_since_s = time.monotonic()
        if self._loop.trouble:
            self._tell(False)
            self._place = self._sink.on_compacted("")
        delivered = self.drain()
        self._busy_since_s = None
        with self._backend.changed:
            if not delivered and not self._closed and self._next() is None:
                self._backend.changed.wait(self._backend.next_expiry_s())
                self._backend.expire()

    def _next(self) -> Callable[[], object] | None:
        """Return the next delivery, or ``None``. It is chosen under the lock and carried out without it."""
        with self._backend.changed:
            if self._closed or self.dead:
                return None
            if self.broken or not self._backend.reachable(self.client):
                if self._healthy is not False:
                    return partial(self._tell, False)
                if not self._backend.reachable(self.client):
                    return None
                self.broken = False
                breach = self._backend.has(self._place)
                if breach:
                    return partial(self._start_over, breach)
            if self._healthy is not True:
                return partial(self._tell, True)
            try:
                due = self._backend.changes_after(self._place.revision)
            except Compacted:
                return self._start_over
            for change in due:
                keys = tuple(item for item in change.keys if within(item[0], (self._span,)))
                if keys:
                    told = tuple(item for item in keys if not item[0].startswith(self._sink.without))
                    return partial(self._deliver, RawChange(change.revision, told))
                self._place = Landmark(change.revision, self._place.newest)
            return None

    def _tell(self, healthy: bool) -> None:
        self._healthy = healthy
        self._sink.on_health(healthy)

    def _start_over(self, breach: str = "") -> None:
        try:
            self._place = self._sink.on_compacted(breach)
        except StoreUnavailable:
            self._tell(False)

    def _deliver(self, change: RawChange) -> None:
        self._place = self._place.after(change)
        self._sink.on_change(change)


def _size_of(key: str, kv: KeyValue | None) -> int:
    """Return about how many bytes one revision of a key takes in etcd."""
    return BYTES_PER_REVISION + len(key) + (len(kv.value) if kv is not None else 0)


def _replay(state: dict[str, KeyValue], change: RawChange) -> None:
    for key, kv in change.keys:
        if kv is None:
            state.pop(key, None)
        else:
            state[key] = kv


def within(key: str, spans: Sequence[Span]) -> bool:
    return any(first <= key < end for first, end in spans)
