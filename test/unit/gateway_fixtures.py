"""A gateway over the in-memory store, and orders for it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient

from drone_orchestrator.core.types import DroneClass, FleetSpec, GeoPoint, Order
from drone_orchestrator.gateway.app import GatewaySettings, create_app
from drone_orchestrator.gateway.bulkheads import Bulkheads
from drone_orchestrator.gateway.intake import Intake
from drone_orchestrator.runtime.breaker import StoreBreaker
from drone_orchestrator.runtime.projection import Projection
from drone_orchestrator.store.memory import MemoryBackend, MemoryStore
from drone_orchestrator.telemetry.metrics import Metrics

REGION = "test"
ALWAYS_PROBING = GatewaySettings(probe_interval_s=0.0)
FLEET = FleetSpec(
    region=REGION,
    depot=GeoPoint(37.77, -122.42),
    service_radius_m=10_000.0,
    classes=(DroneClass("light", 2.5, 15.0, 3.0, 60.0, 100.0, 4.0, 400.0),),
)
_numbers = itertools.count(1)


def order_document(**changes: Any) -> dict[str, Any]:
    """The body of an order that the fleet can serve, with a new order id."""
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


class Gateway:
    """Everything between HTTP and the in-memory store; ``mono`` is the breaker's and the lanes' clock, ``wall`` the
    orders'."""

    def __init__(
        self, settings: GatewaySettings = ALWAYS_PROBING, loaded: bool = True, fleet: FleetSpec = FLEET
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
        self.projection = Projection(self.store, folds=(self.bulkheads,))
        self.app = create_app(self.intake, self.projection, fleet, self.metrics, settings)
        self.http = TestClient(self.app, raise_server_exceptions=False)
        self.http.__enter__()  # one event loop for all requests, as in the real process
        if loaded:
            self.projection.start()
            assert self.projection.wait_loaded(5.0)

    def count(self, result: str, source: str = "http") -> float:
        """How many requests were answered so."""
        labels = {"agent_type": "order_gateway", "region": REGION, "source": source, "result": result}
        return self.metrics.registry.get_sample_value("orchestrator_requests_total", labels) or 0.0

    def close(self) -> None:
        self.http.__exit__()
        self.projection.close()
        self.store.close()
