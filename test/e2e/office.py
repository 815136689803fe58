"""A leader played by the test: it writes orders and their steps into a real store, without a fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from typing import Any

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Change, Consume, Fate, MakeFirm, Release, Reserve, Transition
from drone_orchestrator.core.types import GeoPoint, Kind, LeaderRecord, Order, Saga, SagaStatus
from drone_orchestrator.store import EtcdStore

FLEETCTL = [sys.executable, "-m", "drone_orchestrator.cli.main"]


class Office:
    """Leader of a separate region in ``etcd``, with its epoch."""

    def __init__(self, etcd: EtcdProcess, region: str = "") -> None:
        self.region = region or f"r{uuid.uuid4().hex[:8]}"
        self.endpoints = ",".join(etcd.endpoints)
        self.store = EtcdStore(etcd.endpoints, self.region)
        self.epoch = 0

    def lead(self, since: float | None = None) -> None:
        record = LeaderRecord("orchestrator_a", uuid.uuid4().hex, time.time() if since is None else since)
        self.epoch = self.store.campaign(record, 60.0)

    def submit(self, order_id: str, **fields: Any) -> Order:
        """Put an order in the inbox."""
        order = Order(str(uuid.uuid4()), order_id, GeoPoint(37.77, -122.42), 1.0, time.time(), **fields)
        self.store.submit(order)
        return order

    def accept(self, order: Order, drone_id: str = "", at: float | None = None) -> Saga:
        """Accept an order, and reserve ``drone_id`` if given."""
        view = self.store.find(order.message_id)
        assert view is not None
        now_s = time.time() if at is None else at
        events = [sagas.begin(order, now_s=now_s, epoch=self.epoch)]
        saga = sagas.apply(None, events[0])
        if drone_id:
            fields = {"now_s": now_s, "epoch": self.epoch, "drone_id": drone_id}
            events.append(sagas.next_event(saga, sagas.ASSIGNED, SagaStatus.ASSIGNED, **fields))
            saga = sagas.apply(saga, events[1])
        used = (Consume(Kind.INBOX_ORDER, order.message_id, view.revision),)
        self._commit(Transition(saga, tuple(events), 0, Reserve(drone_id) if drone_id else None, used))
        return saga

    def step(self, saga: Saga, type_: str, to: SagaStatus, **fields: Any) -> Saga:
        """Write one more event. Clearance makes the reservation firm; a terminal status releases the drone."""
        view = self.store.find(saga.message_id)
        assert view is not None
        event = sagas.next_event(saga, type_, to, **{"now_s": time.time(), "epoch": self.epoch, **fields})
        after = sagas.apply(saga, event)
        held = [e for e in self.store.snapshot().entries if e.kind is Kind.ASSIGNMENT and e.id == saga.drone_id]
        drone: Release | MakeFirm | None = None
        if held and saga.drone_id and to.is_terminal:
            drone = Release(saga.drone_id, held[0].mod_revision)
        elif held and saga.drone_id and to is SagaStatus.LOADING:
            drone = MakeFirm(saga.drone_id, held[0].mod_revision)
        self._commit(Transition(after, (event,), view.revision, drone))
        return after

    def deliver(self, saga: Saga) -> Saga:
        """Take a saga from ASSIGNED to DELIVERED."""
        saga = self.step(saga, sagas.GOAL_ACCEPTED, SagaStatus.DISPATCHED)
        saga = self.step(saga, sagas.CLEARED, SagaStatus.LOADING, journal_id="j1")
        saga = self.step(saga, sagas.LOADED, SagaStatus.IN_TRANSIT)
        return self.step(saga, sagas.DELIVERED, SagaStatus.DELIVERED)

    def fleetctl(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command on this region to its end."""
        environment = {**self.environment(), **options.pop("env", {})}
        return subprocess.run(
            [*FLEETCTL, *args], env=environment, capture_output=True, text=True, timeout=180, check=False, **options
        )

    def document(self, *args: str) -> dict[str, Any]:
        """Run a command with ``--json``. It must exit with 0 and print nothing else on stdout. Returns the object."""
        done = self.fleetctl(*args, "--json")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 1, done.stdout
        return dict(json.loads(lines[0]))

    def environment(self) -> dict[str, str]:
        """Return an environment in which a command finds this region and no other fleet."""
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
        return {**kept, "ETCD_ENDPOINTS": self.endpoints, "DRONE_ORCHESTRATOR_REGION": self.region}

    def close(self) -> None:
        self.store.close()

    def _commit(self, change: Change) -> None:
        [result] = self.store.commit(self.epoch, [change])
        assert result.fate is Fate.SUCCEEDED, result
