"""A gateway over the in-memory store, and orders for it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from drone_orchestrator.core.changes import Transition
from drone_orchestrator.core.saga import apply, begin, next_event
from drone_orchestrator.core.types import (
    DroneClass,
    FleetSpec,
    GeoPoint,
    LeaderRecord,
    NoFlyZone,
    Order,
    Saga,
    SagaStatus,
)
from drone_orchestrator.gateway.app import create_app
from drone_orchestrator.gateway.dashboard import FOLDER
from drone_orchestrator.gateway.feed import Feed
from drone_orchestrator.gateway.fleet_counts import FleetCounts
from drone_orchestrator.gateway.fleet_document import FleetDocument
from drone_orchestrator.gateway.handover import LeaderUnreachable
from drone_orchestrator.gateway.live_drones import LiveDrones
from drone_orchestrator.gateway.settings import GatewaySettings
from drone_orchestrator.gateway.state import GatewayParts
from drone_orchestrator.gateway.waiting import WaitingReasons
from drone_orchestrator.intake.bulkheads import Bulkheads
from drone_orchestrator.intake.intake import Intake
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.runtime.breaker import StoreBreaker
from drone_orchestrator.runtime.projection import Projection
from drone_orchestrator.store import MemoryBackend, MemoryStore
from drone_orchestrator.telemetry.findings import Findings, HeardFindings
from drone_orchestrator.telemetry.metrics import Metrics

REGION = "test"
ALWAYS_PROBING = GatewaySettings(probe_interval_s=0.0)
FLEET = FleetSpec(
    region=REGION,
    depot=GeoPoint(37.77, -122.42),
    service_radius_m=10_000.0,
    classes=(DroneClass("light", 2.5, 15.0, 3.0, 60.0, 100.0, 4.0, 400.0),),
    no_fly_zones=(NoFlyZone("zoo", (GeoPoint(37.7, -122.4), GeoPoint(37.7, -122.41), GeoPoint(37.71, -122.4))),),
)
_numbers = itertools.count(1)


def order_document(**changes: Any) -> dict[str, Any]:
    """Return the body of an order that the fleet can serve, with a new order id."""
    document = {
        "order_id": f"order-{next(_numbers)}",
        "destination": {"lat": 37.78, "lon": -122.41},
        "package_weight_kg": 1.2,
    }
    return {**document, **changes}


def anything_flies(fleet: FleetSpec, order: Order) -> bool:
    return True


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Control:
    """Stand-in for the orchestrators' lifecycle services. ``asked`` records the requests."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.unreachable = False
        self.obeys = True
        self.stepped_down: Callable[[], None] = lambda: None

    def deactivate(self, holder: str) -> bool:
        if self.unreachable:
            raise LeaderUnreachable(f"{holder} did not answer")
        self.asked.append(("deactivate", holder))
        self.stepped_down()
        return self.obeys

    def activate(self, holder: str) -> None:
        self.asked.append(("activate", holder))


class Gateway:
    """Everything between HTTP and the in-memory store.

    ``mono`` is the clock of breaker and lanes, ``wall`` that of the orders.
    """

    def __init__(
        self,
        settings: GatewaySettings = ALWAYS_PROBING,
        loaded: bool = True,
        fleet: FleetSpec = FLEET,
        dashboard: Path = FOLDER,
    ) -> None:
        self.backend = MemoryBackend()
        self.store = MemoryStore(self.backend, REGION, "gateway")
        self.metrics = Metrics("order_gateway", REGION)
        self.mono, self.wall = Clock(), Clock()
        self.breaker = StoreBreaker(
            fail_max=3, reset_s=2.0, clock=self.mono, on_state=self.metrics.show_breaker("etcd")
        )
        self.bulkheads = Bulkheads(fleet, anything_flies, clock=self.mono)
        self.intake = Intake(
            self.store,
            fleet,
            anything_flies,
            self.metrics,
            self.breaker,
            self.bulkheads,
            clock=self.wall,
            retry_for_s=0.5,
        )
        self.live, self.counts, self.feed = LiveDrones(self.mono), FleetCounts(self.wall), Feed()
        self.projection = Projection(self.store, folds=(self.bulkheads, self.counts, self.feed))
        self.control = Control()
        self.findings, self.heard_findings = Findings("gateway", REGION, Metrics("x", REGION)), HeardFindings()
        findings = (self.findings, self.heard_findings)
        document = FleetDocument(fleet, self.counts, self.bulkheads, self.breaker, self.live, findings, self.wall)
        parts = GatewayParts(
            self.intake,
            self.projection,
            fleet,
            self.metrics,
            settings,
            document,
            self.feed,
            self.control,
            WaitingReasons(fleet, AssignmentPlanner(), self.live, self.wall),
        )
        self.app = create_app(parts, dashboard)
        self.http = TestClient(self.app, raise_server_exceptions=False)
        self.http.__enter__()  # one event loop for all requests, as in the real process
        if loaded:
            self.projection.start()
            assert self.projection.wait_loaded(60.0)

    def count(self, result: str, source: str = "http") -> float:
        """Return how many requests from ``source`` got this result."""
        labels = {"agent_type": "order_gateway", "region": REGION, "source": source, "result": result}
        return self.metrics.registry.get_sample_value("orchestrator_requests_total", labels) or 0.0

    def wait_shown(self) -> None:
        """Wait until the projection shows the current state of the store."""
        revision = self.store.snapshot().revision
        deadline_s = time.monotonic() + 60.0
        while self.projection.freshness().revision < revision:
            assert time.monotonic() < deadline_s, "the projection did not follow"
            time.sleep(0.001)

    def close(self) -> None:
        self.http.__exit__()
        self.projection.close()
        self.store.close()


class Leader:
    """The leader of the gateway's region, without an orchestrator."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.epoch = gateway.store.campaign(LeaderRecord("orchestrator_a", "1", 77.0), 60.0)
        assert self.epoch

    def take_up(self, message_id: str) -> Saga:
        view = self.gateway.store.find(message_id)
        assert view is not None
        first = begin(view.order, now_s=1.0, epoch=self.epoch)
        saga = apply(None, first)
        self.commit(Transition(saga, (first,), 0))
        return saga

    def step(self, saga: Saga, kind: str, status: SagaStatus, **more: Any) -> Saga:
        held, breaker = more.pop("reservation", None), more.pop("breaker", None)
        revision = self.revision_of(saga)
        event = next_event(saga, kind, status, epoch=self.epoch, **{"now_s": self.gateway.wall(), **more})
        after = apply(saga, event)
        self.commit(Transition(after, (event,), revision, reservation=held, breaker=breaker))
        return after

    def revision_of(self, saga: Saga) -> int:
        view = self.gateway.store.find(saga.message_id)
        assert view is not None
        return view.revision

    def commit(self, change: Transition) -> None:
        (result,) = self.gateway.store.commit(self.epoch, [change])
        assert result.revision, result
        self.gateway.wait_shown()
