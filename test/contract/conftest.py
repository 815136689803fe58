"""Both stores behind one fixture: every contract test runs against memory and against a real etcd."""

from __future__ import annotations

import itertools
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, EtcdProcess, find_etcd
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Consume, Release, Reserve, Transition
from drone_orchestrator.core.types import (
    Entry,
    GeoPoint,
    Kind,
    LeaderRecord,
    Order,
    Saga,
    SagaStatus,
    Snapshot,
    StoreChange,
)
from drone_orchestrator.store import MemoryBackend, MemoryStore, RegionStore
from drone_orchestrator.store.kv import Put

DEADLINE_S = 60.0
_numbers = itertools.count(1)


class Twin:
    """One store implementation, with a separate region for each test."""

    def __init__(self, kind: str, endpoints: list[str]) -> None:
        self.kind = kind
        self.region = f"test-{uuid.uuid4().hex[:12]}"
        self.backend = MemoryBackend() if kind == "memory" else None
        self._endpoints = endpoints
        self._stores: list[RegionStore] = []

    def store(self, client: str = "a", *, region: str = "", reservation_ttl_s: float = 30.0) -> RegionStore:
        region = region or self.region
        if self.backend is not None:
            store: RegionStore = MemoryStore(self.backend, region, client, reservation_ttl_s=reservation_ttl_s)
        else:
            from drone_orchestrator.store import EtcdStore

            store = EtcdStore(self._endpoints, region, reservation_ttl_s=reservation_ttl_s)
        self._stores.append(store)
        return store

    def put_raw(self, store: RegionStore, key: str, value: bytes) -> None:
        store._driver.txn((), (Put(key, value),))

    def compact(self, store: RegionStore, revision: int) -> None:
        if self.backend is not None:
            self.backend.compact(revision)
            return
        from etcd3 import etcdrpc

        member = store._driver._connection.current()
        member.kv.Compact(etcdrpc.CompactionRequest(revision=revision, physical=True), timeout=5.0)

    def close(self) -> None:
        for store in self._stores:
            store.close()


class Watching:
    """Record of what a watch delivers; ``until`` waits for a condition, with a deadline."""

    def __init__(self, store: RegionStore, after_revision: int) -> None:
        self.changes: list[StoreChange] = []
        self.snapshots: list[Snapshot] = []
        self.health: list[bool] = []
        self.log: list[object] = []
        self._news = threading.Condition()
        self.handle = store.watch(
            after_revision,
            lambda change: self._note(self.changes, change),
            lambda snapshot: self._note(self.snapshots, snapshot),
            lambda healthy: self._note(self.health, healthy),
        )

    def _note(self, where: list, what: object) -> None:
        with self._news:
            where.append(what)
            self.log.append(what)
            self._news.notify_all()

    def until(self, condition: Callable[[Watching], object], deadline_s: float = DEADLINE_S) -> None:
        with self._news:
            reached = self._news.wait_for(lambda: condition(self), deadline_s)
        assert reached, f"not seen within {deadline_s} s; seen: {self.log}"

    def saw(self, kind: Kind, id_: str, *, deleted: bool = False) -> bool:
        return any(
            e.kind is kind and e.id == id_ and (e.value is None) == deleted for c in self.changes for e in c.entries
        )

    @property
    def revisions(self) -> list[int]:
        return [change.revision for change in self.changes]


class Proxy:
    """A TCP proxy whose directions can be silenced: ``answers`` (server to client) and ``requests``."""

    def __init__(self, target_port: int) -> None:
        self.answers = threading.Event()
        self.requests = threading.Event()
        self.answers.set()
        self.requests.set()
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.request_bytes = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every open connection."""
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed by its peer already
            sock.close()
        self._sockets = []

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            for source, sink, gate in ((client, server, self.requests), (server, client, self.answers)):
                threading.Thread(target=self._pump, args=(source, sink, gate), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, gate: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                if gate is self.requests:
                    self.request_bytes += len(data)
                if gate.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def make_order(**changes: object) -> Order:
    n = next(_numbers)
    order = Order(f"m{n}", f"o{n}", GeoPoint(47.39, 8.54), 1.5, 1000.0 + n, trace_context=f"trace-{n}")
    return replace(order, **changes)


def make_leader(name: str = "orchestrator_a") -> LeaderRecord:
    return LeaderRecord(name, uuid.uuid4().hex, 1000.0)


def accepting(order: Order, epoch: int, inbox_revision: int = 0, drone: str = "") -> Transition:
    """Accept an order, and assign it if ``drone`` is given, in one transition."""
    events = [sagas.begin(order, now_s=2000.0, epoch=epoch)]
    if drone:
        pending = sagas.fold(events)
        assert pending is not None
        event = sagas.next_event(
            pending, sagas.ASSIGNED, SagaStatus.ASSIGNED, now_s=2001.0, epoch=epoch, drone_id=drone
        )
        events.append(event)
    saga = sagas.fold(events)
    assert saga is not None
    consume = (Consume(Kind.INBOX_ORDER, order.message_id, inbox_revision),) if inbox_revision else ()
    return Transition(saga, tuple(events), 0, Reserve(drone) if drone else None, consume)


def stepping(
    saga: Saga, type_: str, to: SagaStatus, revision: int, change: object = None, **fields: object
) -> Transition:
    """Return one further step of a stored saga."""
    fields = {"now_s": 3000.0, "epoch": saga.epoch, **fields}
    event = sagas.next_event(saga, type_, to, **fields)
    return Transition(sagas.apply(saga, event), (event,), revision, change)


def releasing(saga: Saga, revision: int, reservation_revision: int) -> Transition:
    """Abandon and compensate an assigned saga, releasing its drone."""
    drone = saga.drone_id
    first = sagas.next_event(
        saga, sagas.ABANDONED, SagaStatus.COMPENSATING, now_s=1.0, epoch=saga.epoch, target=SagaStatus.PENDING
    )
    middle = sagas.apply(saga, first)
    second = sagas.next_event(middle, sagas.COMPENSATED, SagaStatus.PENDING, now_s=2.0, epoch=saga.epoch)
    return Transition(sagas.apply(middle, second), (first, second), revision, Release(drone, reservation_revision))


def entry_of(snapshot: Snapshot, kind: Kind, id_: str) -> Entry | None:
    return next((e for e in snapshot.entries if e.kind is kind and e.id == id_), None)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Return builders of orders, leaders, transitions, watches and proxies."""
    return SimpleNamespace(
        order=make_order,
        leader=make_leader,
        accepting=accepting,
        stepping=stepping,
        releasing=releasing,
        entry_of=entry_of,
        watching=Watching,
        proxy=Proxy,
        eventually=eventually,
    )


def eventually(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> float:
    """Poll ``condition`` until it holds, and return the seconds that it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < deadline_s, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - begin


@pytest.fixture(scope="session")
def etcd_binary() -> str:
    try:
        return find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def etcd(etcd_binary: str) -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@pytest.fixture(params=["memory", "etcd"])
def twin(request: pytest.FixtureRequest) -> Iterator[Twin]:
    endpoints = request.getfixturevalue("etcd").endpoints if request.param == "etcd" else []
    twin = Twin(request.param, endpoints)
    yield twin
    twin.close()


@pytest.fixture
def store(twin: Twin) -> RegionStore:
    return twin.store()


@pytest.fixture
def epoch(store: RegionStore) -> int:
    """Return the epoch of a leadership that ``store`` has just won."""
    return store.campaign(make_leader(), 60.0)
