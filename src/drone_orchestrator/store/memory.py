"""A client of the in-memory twin of etcd (:mod:`.memory_backend`), with the semantics of :mod:`.etcd`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .kv import AnotherStore, Expect, KeyValue, Landmark, Op, RawChange, Reading, Span, TxnResult, WatchSink
from .memory_backend import MemoryBackend, MemoryWatch, within
from .region import RegionStore


class MemoryDriver:
    """One client's connection to a :class:`MemoryBackend`."""

    def __init__(self, backend: MemoryBackend, client: str) -> None:
        self._backend = backend
        self._client = client
        self._watches: list[MemoryWatch] = []

    def read(self, keys: Sequence[str]) -> Reading:
        with self._backend.changed:
            self._backend.enter(self._client)
            return self._backend.read(keys)

    def scan(self, spans: Sequence[Span], revision: int = 0) -> tuple[int, list[KeyValue]]:
        with self._backend.changed:
            self._backend.enter(self._client)
            return self._backend.scan(spans, revision)

    def ranges(self, spans: Sequence[Span]) -> list[list[KeyValue]]:
        with self._backend.changed:
            self._backend.enter(self._client)
            return [self._backend.scan((span,), 0)[1] for span in spans]

    def txn(self, expects: Sequence[Expect], ops: Sequence[Op], *, read: bool = True) -> TxnResult:
        with self._backend.changed:
            self._backend.enter(self._client)
            if not all(watch.follows for watch in self._watches):
                raise AnotherStore("the store is not the one that was read")
            result = self._backend.txn(self._client, expects, ops)
            return result if read else TxnResult(result.succeeded, result.revision)

    def grant_leases(self, ttl_s: float, count: int) -> list[int]:
        with self._backend.changed:
            self._backend.enter(self._client)
            return [self._backend.grant(ttl_s) for _ in range(count)]

    def keep_leases(self, leases: Sequence[int]) -> list[bool]:
        with self._backend.changed:
            self._backend.enter(self._client)
            return [self._backend.keep(lease) for lease in leases]

    def revoke_lease(self, lease: int) -> None:
        with self._backend.changed:
            self._backend.enter(self._client)
            self._backend.revoke(lease)

    def watch(self, span: Span, place: Landmark, sink: WatchSink) -> MemoryWatch:
        watch = MemoryWatch(self._backend, self._client, span, place, sink)
        self._watches.append(watch)
        return watch

    def log_lead(self) -> int | None:
        with self._backend.changed:
            self._backend.enter(self._client)
            return self._backend.log_lead

    def history(self, span: Span, after_revision: int, until_revision: int) -> Iterator[RawChange]:
        with self._backend.changed:
            self._backend.enter(self._client)
            changes = self._backend.changes_after(after_revision)
        for change in changes:
            keys = tuple(item for item in change.keys if within(item[0], (span,)))
            if keys and change.revision <= until_revision:
                yield RawChange(change.revision, keys)

    def status(self) -> dict[str, object]:
        with self._backend.changed:
            reachable = self._backend.reachable(self._client)
            used = self._backend.used_bytes
            alarms = ["NOSPACE"] if self._backend.is_full else []
        sizes = {"db_size_bytes": used, "db_in_use_bytes": used, "alarms": alarms}
        return {"reachable": reachable, "endpoints": {"memory": reachable}, "version": "memory", **sizes}

    def compact(self, revision: int) -> None:
        self._backend.enter(self._client)
        self._backend.compact(revision)

    def close(self) -> None:
        for watch in self._watches:
            watch.close()


class MemoryStore(RegionStore):
    """One client's store of ``region`` in ``backend``; same semantics as :class:`~.etcd.EtcdStore`."""

    def __init__(
        self, backend: MemoryBackend, region: str, client: str = "client", *, reservation_ttl_s: float = 10.0
    ) -> None:
        super().__init__(MemoryDriver(backend, client), region, reservation_ttl_s=reservation_ttl_s, clock=backend.now)
