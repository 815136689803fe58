"""Orders at a steady rate over HTTP, timed until the store shows each as assigned."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...bringup import fleet_config, leftovers
from ...bringup.local_fleet import LocalFleet
from ...bringup.plan import FleetOptions
from ...core.types import Kind, Saga, SagaStatus, Snapshot, StoreChange
from ...core.view import FleetView
from ...ports import StoreError, WatchHandle
from ...store import EtcdStore
from ..fleet_run import running
from ..output import Failure, Output

#: Connections that take turns, so that a slow answer does not delay the next order.
CLIENTS = 4
ANSWER_WITHIN_S = 5.0


def percentile_ms(times_s: Sequence[float], q: float) -> float:
    """Return the ``q``-th percentile (0 to 100) of times given in s, in ms."""
    return round(float(np.percentile(times_s, q)) * 1e3, 2)


class OrderProbe:
    """Shop that times each order from ``POST`` to the commit of ``ASSIGNED`` by this machine's monotonic clock.

    The commit counts from the moment when a watch on the store shows it here. A context manager."""

    def __init__(self, fleet: LocalFleet, destination: Mapping[str, float], name: str) -> None:
        self.refused: list[str] = []
        self.answered_s: list[float] = []
        self._fleet = fleet
        self._destination = destination
        self._name = name
        self._sent: dict[str, float] = {}
        self._assigned: dict[str, float] = {}
        self._ended: set[str] = set()
        self._changed = threading.Condition()
        self._number = itertools.count(1)
        self._store = EtcdStore(fleet.options.etcd_endpoints.split(","), fleet.options.region)
        self._watch: WatchHandle | None = None

    def __enter__(self) -> OrderProbe:
        try:
            # Sagas only: the measurement must not process every other commit.
            revision = self._store.snapshot().revision
            self._watch = self._store.watch(revision, self._hear, self._hear, only=Kind.SAGA)
        except StoreError as error:
            self._store.close()
            raise Failure(str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.close()
        self._store.close()

    def leader(self) -> str | None:
        """Return the name of the leading process, read from the store. Raises the store's errors."""
        leader = FleetView.of(self._store.snapshot()).leadership
        return leader.holder if leader is not None else None

    def under_way(self) -> int:
        """Return the number of orders that were sent and have not ended."""
        with self._changed:
            return len(self._sent.keys() - self._ended)

    def send(self, rate_per_s: float, seconds: float) -> list[str]:
        """Submit evenly spaced orders and return their order ids once the last one is answered."""
        count = max(1, round(rate_per_s * seconds))
        ids = [f"{self._name}-{os.getpid()}-{next(self._number)}" for _ in range(count)]
        began_s = time.monotonic()
        due = iter([(began_s + index / rate_per_s, order_id) for index, order_id in enumerate(ids)])
        lock = threading.Lock()
        clients = [
            threading.Thread(target=self._client, args=(due, lock), name=f"client-{i}", daemon=True)
            for i in range(CLIENTS)
        ]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        if self.refused:
            raise Failure(f"an order was not taken in: {self.refused[0]}")
        return ids

    def latencies_s(self, ids: Sequence[str], timeout_s: float) -> list[float]:
        """Return the latencies of the assigned orders (s), after waiting at most ``timeout_s`` for all of them."""
        wanted, deadline = set(ids), time.monotonic() + timeout_s
        with self._changed:
            while not wanted <= self._assigned.keys() and self._changed.wait(max(0.0, deadline - time.monotonic())):
                pass
            return [self._assigned[each] - self._sent[each] for each in ids if each in self._assigned]

    def _client(self, due: Iterator[tuple[float, str]], lock: threading.Lock) -> None:
        connection = http.client.HTTPConnection(
            self._fleet.options.http_host, self._fleet.options.http_port, timeout=ANSWER_WITHIN_S
        )
        try:
            while True:
                with lock:
                    at_s, order_id = next(due, (0.0, ""))
                if not order_id or self.refused:
                    return
                time.sleep(max(0.0, at_s - time.monotonic()))
                self._post(connection, order_id)
        except (OSError, http.client.HTTPException) as error:
            self.refused.append(repr(error))
        finally:
            connection.close()

    def _post(self, connection: http.client.HTTPConnection, order_id: str) -> None:
        document: dict[str, Any] = {
            "order_id": order_id,
            "destination": self._destination,
            "package_weight_kg": 1.0,
        }
        body = json.dumps(document)
        headers = {"Content-Type": "application/json", "Idempotency-Key": order_id}
        sent_s = self._sent[order_id] = time.monotonic()
        connection.request("POST", "/orders", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        self.answered_s.append(time.monotonic() - sent_s)
        if answer.status != 202:
            self.refused.append(f"{answer.status} {text.decode(errors='replace')}")

    def _hear(self, change: StoreChange | Snapshot) -> None:
        now_s = time.monotonic()
        sagas = [entry.value for entry in change.entries if isinstance(entry.value, Saga)]
        if not sagas:
            return
        with self._changed:
            for saga in sagas:
                if saga.status is SagaStatus.ASSIGNED:
                    self._assigned.setdefault(saga.order_id, now_s)
                elif saga.status.is_terminal:
                    self._ended.add(saga.order_id)
            self._changed.notify_all()


@contextmanager
def benched(options: FleetOptions, out: Output) -> Iterator[LocalFleet]:
    """Adapt the fleet of ``options`` to a benchmark: one class of drones, journals in memory. Within the context, this
    process has the fleet's environment.

    One class is one lane, in which any free drone may fly any order, so no order waits for a drone of its class. The
    journals are in memory because a hundred drones on this machine's disk would wait for each other, and etcd for
    them; real drones have their own disks. Raises ``FileRefused``.
    """
    with _memory() as folder:
        fleet = fleet_config.load(options.fleet_config)
        config = fleet_config.save(folder / "fleet.yaml", replace(fleet, classes=fleet.classes[:1]))
        options = replace(options, fleet_config=str(config), data_dir=str(folder))
        with running(options, out, visible=False) as local, environment(local.environment):
            yield local


@contextmanager
def _memory() -> Iterator[Path]:
    """Create a folder in memory if the system supports that."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with leftovers.temporary_folder(where=where) as folder:
        yield folder


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Add ``values`` to the environment of this process and of its children within the context."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
