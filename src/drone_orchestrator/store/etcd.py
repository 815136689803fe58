"""The store on etcd, with the Python package that imports as ``etcd3`` (distribution ``cslab-etcd3``).

``etcd3`` 0.12.0 cannot be imported with a current protobuf. In ``python3-etcd3`` 0.13.0 the watch thread dies of a
``NameError`` when its stream breaks, and stays silent forever. ``cslab-etcd3`` 0.12.1 is the same code without either
fault. Only its endpoints and generated stubs are used; :mod:`.connection` and :mod:`.watch` explain why.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import grpc
from etcd3 import etcdrpc as rpc

from ..ports import StoreError, StoreUnavailable
from .connection import Connection, Member, Safety
from .keys import ROOT, range_end
from .kv import (
    AnotherStore,
    Compacted,
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
from .region import MIN_LEASE_S, RegionStore
from .watch import WatchLoop, WatchStream, key_value

__all__ = ["EtcdDriver", "EtcdStore"]

_PAGE_KEYS = 2000
_SCAN_ATTEMPTS = 3
_RANGES_PER_REQUEST = 50
_RANGE_KEYS = 100  # a longer range gets a request of its own, so that an answer stays well below 4 MiB
_EVERYTHING: Span = ("\0", "\0")


class EtcdDriver:
    """Requests to etcd; see :class:`~.kv.KeyValueDriver`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watches: list[WatchLoop] = []
        connection.check_history = self._check_history

    def read(self, keys: Sequence[str]) -> Reading:
        request = rpc.TxnRequest(success=[_get(key) for key in keys])
        answer = self._connection.call(lambda m: m.kv.Txn, request, Safety.READ)
        return Reading(answer.header.revision, _found(answer))

    def scan(self, spans: Sequence[Span], revision: int = 0) -> tuple[int, list[KeyValue]]:
        """Read page by page at one revision. If that is compacted meanwhile and was not requested, start again."""
        for _ in range(_SCAN_ATTEMPTS):
            try:
                return self._scan_at(spans, revision)
            except Compacted:
                if revision:
                    raise
        raise StoreUnavailable(f"etcd at {self._connection.names} is compacted faster than it can be read")

    def _scan_at(self, spans: Sequence[Span], revision: int) -> tuple[int, list[KeyValue]]:
        found: list[KeyValue] = []
        for first, end in spans:
            start, more = first.encode(), True
            while more:
                request = rpc.RangeRequest(key=start, range_end=end.encode(), limit=_PAGE_KEYS, revision=revision)
                answer = self._connection.call(lambda m: m.kv.Range, request, Safety.READ)
                revision = revision or answer.header.revision
                found += [key_value(kv) for kv in answer.kvs]
                more = answer.more
                if more:
                    start = answer.kvs[-1].key + b"\0"
        return revision, found

    def ranges(self, spans: Sequence[Span]) -> list[list[KeyValue]]:
        found: list[list[KeyValue]] = []
        for start in range(0, len(spans), _RANGES_PER_REQUEST):
            chunk = spans[start : start + _RANGES_PER_REQUEST]
            request = rpc.TxnRequest(success=[_get_range(span) for span in chunk])
            answer = self._connection.call(lambda m: m.kv.Txn, request, Safety.READ)
            for span, response in zip(chunk, answer.responses, strict=True):
                page = response.response_range
                found.append(self.scan((span,))[1] if page.more else [key_value(kv) for kv in page.kvs])
        return found

    def txn(self, expects: Sequence[Expect], ops: Sequence[Op], *, read: bool = True) -> TxnResult:
        request = rpc.TxnRequest(failure=[_get(expect.key) for expect in expects] if read else ())
        _compare(request, expects)
        _change(request, ops)
        answer = self._connection.call(lambda m: m.kv.Txn, request, Safety.ONCE)
        return TxnResult(answer.succeeded, answer.header.revision, {} if answer.succeeded else _found(answer))

    def grant_leases(self, ttl_s: float, count: int) -> list[int]:
        """Grant leases in parallel at the current member. Retry failed ones one by one, with failover."""
        request = rpc.LeaseGrantRequest(TTL=math.ceil(ttl_s))
        granted: list[int] = []
        if count > 1:
            member, metadata = self._connection.current(), self._connection.metadata()
            options = {"timeout": self._connection.timeout_s, "metadata": metadata}
            futures = [member.lease.LeaseGrant.future(request, **options) for _ in range(count)]
            granted = [future.result().ID for future in futures if future.exception() is None]
        while len(granted) < count:
            granted.append(self._connection.call(lambda m: m.lease.LeaseGrant, request, Safety.REPEATABLE).ID)
        return granted

    def keep_leases(self, leases: Sequence[int]) -> list[bool]:
        requests = [rpc.LeaseKeepAliveRequest(ID=lease) for lease in leases]
        answers = self._connection.call(_keep_alive, requests, Safety.REPEATABLE)
        ttls = {answer.ID: answer.TTL for answer in answers}
        return [ttls.get(lease, 0) > 0 for lease in leases]

    def revoke_lease(self, lease: int) -> None:
        try:
            self._connection.call(lambda m: m.lease.LeaseRevoke, rpc.LeaseRevokeRequest(ID=lease), Safety.REPEATABLE)
        except LeaseGone:
            return

    def watch(self, span: Span, place: Landmark, sink: WatchSink) -> WatchLoop:
        loop = WatchLoop(self._connection, span, place, sink, partial(_prove, self._ask_range, span))
        self._watches.append(loop)
        return loop

    def log_lead(self) -> int | None:
        """Return raft's index minus the revision. The member reads its revision first, so the lead is never too low."""
        try:
            status = self._connection.call(lambda m: m.maintenance.Status, rpc.StatusRequest(), Safety.READ)
        except StoreError:
            return None
        return int(status.raftIndex) - int(status.header.revision) if status.raftIndex else None

    def _ask_range(self, request: Any) -> Any:
        return self._connection.call(lambda m: m.kv.Range, request, Safety.READ)

    def _check_history(self, ask: Callable[[Any], Any]) -> None:
        """Check that a member has the history that the watches have read. If it has not, or cannot tell, they ask."""
        for loop in list(self._watches):
            if loop.closed:
                continue  # it never reads on, so sooner or later no history would have its place
            try:
                _prove(ask, loop.span, loop.place)
            except (AnotherStore, Compacted):
                loop.doubt()
                raise

    def history(self, span: Span, after_revision: int, until_revision: int) -> Iterator[RawChange]:
        """Watch *all* keys and filter: every revision changes some key, so ``until_revision`` always arrives.

        The last change within ``span`` may be older, or a delete, which no range request shows. Progress notifications
        do not reliably follow the changes (see :mod:`.watch`).
        """
        if after_revision >= until_revision:
            return
        first, end = span
        stream = WatchStream(self._connection, _EVERYTHING, after_revision)
        try:
            for change in stream:
                if change is None:
                    continue
                if change.revision > until_revision:
                    return
                keys = tuple(item for item in change.keys if first <= item[0] < end)
                if keys:
                    yield RawChange(change.revision, keys)
                if change.revision == until_revision:
                    return
        finally:
            stream.close()

    def compact(self, revision: int) -> None:
        try:
            self._connection.call(lambda m: m.kv.Compact, rpc.CompactionRequest(revision=revision), Safety.REPEATABLE)
        except Compacted:
            return

    def status(self) -> dict[str, object]:
        """Return ``reachable``, ``endpoints`` (name: reachable), ``version``, ``db_size_bytes``, ``db_in_use_bytes``
        and ``alarms`` (such as ``NOSPACE``; empty without permission)."""
        answers = {member.name: self._member_status(member) for member in self._connection.members}
        living = [answer for answer in answers.values() if answer is not None]
        return {
            "reachable": bool(living),
            "endpoints": {name: answer is not None for name, answer in answers.items()},
            "version": living[0].version if living else "",
            "db_size_bytes": max((answer.dbSize for answer in living), default=0),
            "db_in_use_bytes": max((_in_use(answer) for answer in living), default=0),
            "alarms": self._alarms() if living else [],
        }

    def _alarms(self) -> list[str]:
        """Return the names of the alarms raised in the cluster, each once."""
        request = rpc.AlarmRequest(action=rpc.AlarmRequest.GET, memberID=0, alarm=rpc.NONE)
        try:
            answer = self._connection.call(lambda m: m.maintenance.Alarm, request, Safety.READ)
        except (StoreError, ValueError):
            return []
        # A newer server has alarms that these stubs do not name; 2 means that a member's data is corrupt.
        names = {int(rpc.NOSPACE): "NOSPACE", 2: "CORRUPT"}
        return sorted({names.get(int(alarm.alarm), f"alarm {int(alarm.alarm)}") for alarm in answer.alarms})

    def _member_status(self, member: Member) -> Any:
        try:
            metadata = self._connection.metadata()
            return member.maintenance.Status(rpc.StatusRequest(), timeout=self._connection.timeout_s, metadata=metadata)
        except (grpc.RpcError, ValueError, StoreUnavailable):
            return None

    def close(self) -> None:
        for loop in self._watches:
            loop.close()
        self._connection.close()


class EtcdStore(RegionStore):
    """One region's store on etcd.

    ``endpoints``: ``host:port``, ``http://host:port`` or ``https://host:port``. ``user`` and ``password`` need https,
    except on loopback. ``ca_cert``, ``cert``, ``key``: PEM files. ``timeout_s`` bounds each attempt of each call.
    Nothing is connected before the first call, which raises :class:`~drone_orchestrator.ports.StoreUnavailable` naming
    the endpoints if none answers; malformed settings raise ``ValueError`` here.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        region: str,
        *,
        user: str | None = None,
        password: str | None = None,
        ca_cert: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        timeout_s: float = 2.0,
        reservation_ttl_s: float = 10.0,
    ) -> None:
        connection = Connection(
            endpoints, user=user, password=password, ca_cert=ca_cert, cert=cert, key=key, timeout_s=timeout_s
        )
        self._connection = connection
        super().__init__(EtcdDriver(connection), region, reservation_ttl_s=reservation_ttl_s)

    def regions(self) -> list[str]:
        """Return all regions that have keys in this etcd. One short request per region."""
        found: list[str] = []
        start, end = ROOT.encode(), range_end(ROOT).encode()
        while True:
            request = rpc.RangeRequest(key=start, range_end=end, limit=1, keys_only=True)
            answer = self._connection.call(lambda m: m.kv.Range, request, Safety.READ)
            if not answer.kvs:
                return found
            found.append(answer.kvs[0].key.decode(errors="replace")[len(ROOT) :].partition("/")[0])
            start = range_end(f"{ROOT}{found[-1]}/").encode()

    def commit_time_s(self) -> float:
        """Measure the time (s) of a commit with quorum and disk write, using a lease grant, which stores no key."""
        began = time.monotonic()
        request = rpc.LeaseGrantRequest(TTL=math.ceil(MIN_LEASE_S))
        lease = self._connection.call(lambda m: m.lease.LeaseGrant, request, Safety.REPEATABLE).ID
        took_s = time.monotonic() - began
        self._driver.revoke_lease(lease)
        return took_s


def _in_use(status: Any) -> int:
    """Return the bytes in use: field 9 of etcd's answer, which these stubs do not know; else the database's size."""
    data = status.SerializeToString()  # it keeps unknown fields
    try:
        return _varint_field(data, 9) or int(status.dbSize)
    except LookupError:
        return int(status.dbSize)


def _varint_field(data: bytes, wanted: int) -> int:
    """Return the last value of a field of type varint in a serialized message; 0 if there is none."""
    at = found = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            value = varint()
            found = value if number == wanted else found
        elif kind == 2:
            length = varint()
            at += length
        else:
            at += {1: 8, 5: 4}[kind]
    return found


def _keep_alive(member: Member) -> Callable[..., Any]:
    """Turn etcd's stream of keep-alives into one call with an answer for each request."""

    def call(requests: Sequence[Any], **options: Any) -> list[Any]:
        stream = member.lease.LeaseKeepAlive(iter(requests), **options)
        try:
            answers = list(islice(stream, len(requests)))
        finally:
            stream.cancel()
        if len(answers) < len(requests):
            raise StoreUnavailable(f"etcd at {member.name} ended a keep-alive without an answer")
        return answers

    return call


# Messages are filled in place: adding a finished message copies it, which takes four times as long.


def _compare(request: Any, expects: Sequence[Expect]) -> None:
    add, target, result = request.compare.add, rpc.Compare.MOD, rpc.Compare.EQUAL
    for key, mod_revision in expects:
        add(target=target, result=result, key=key.encode(), mod_revision=mod_revision)


def _change(request: Any, ops: Sequence[Op]) -> None:
    add = request.success.add
    for op in ops:
        if isinstance(op, Put):
            put = add().request_put
            put.key, put.value = op.key.encode(), op.value
            if op.lease:
                put.lease = op.lease
        else:
            delete = add().request_delete_range
            delete.key = op.key.encode()
            if op.end:
                delete.range_end = op.end.encode()


def _prove(ask: Callable[[Any], Any], span: Span, place: Landmark) -> None:
    """Ask the store whether ``place`` is in its history. Raises :class:`AnotherStore` if not, and :class:`Compacted` if
    it cannot tell.

    Without a record, the first key of ``span`` is asked for: etcd may let this client read nothing else.
    """
    newest = place.newest
    key = newest.key if newest is not None else span[0]
    revision = newest.mod_revision if newest is not None else place.revision
    compacted: Compacted | None = None
    try:
        answer = ask(rpc.RangeRequest(key=key.encode(), revision=revision))
    except Compacted as error:
        # An unchanged record is as good: nothing was read after it.
        answer, compacted = ask(rpc.RangeRequest(key=key.encode())), error
    if answer.header.revision < place.revision:
        raise AnotherStore(f"its revision went back from {place.revision} to {answer.header.revision}")
    if not place.is_in(key_value(answer.kvs[0]) if answer.kvs else None):
        if compacted is not None:
            raise compacted
        raise AnotherStore(f"{key} at revision {revision} is not what was read there")


def _get(key: str) -> Any:
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key.encode()))


def _get_range(span: Span) -> Any:
    request = rpc.RangeRequest(key=span[0].encode(), range_end=span[1].encode(), limit=_RANGE_KEYS)
    return rpc.RequestOp(request_range=request)


def _found(answer: Any) -> dict[str, KeyValue]:
    kvs = [kv for response in answer.responses for kv in response.response_range.kvs]
    return {kv.key: kv for kv in map(key_value, kvs)}
