"""One trace of one order, from the HTTP request to the drop and its acknowledgement, sent to a real OTLP collector."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_process import eventually

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, find_etcd
from drone_orchestrator.bringup.fleet_config import load
from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions
from drone_orchestrator.telemetry.otel import CLOSE_S

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SHOP_SPAN = "b7ad6b7169203331"
#: Every span of an order that goes well, and its parent. ``""``: the shop's own.
PARENTS = {
    "POST /orders": "",
    "admission": "POST /orders",
    "store commit": "POST /orders",
    "queue wait": "POST /orders",
    "assign": "queue wait",
    "dispatch": "POST /orders",
    "delivery": "dispatch",
    "fly to pickup": "delivery",
    "clearance": "delivery",
    "grant clearance": "clearance",
    "load": "delivery",
    "fly to destination": "delivery",
    "drop": "delivery",
    "record outcome": "delivery",
    "outcome acknowledged": "delivery",
}


@dataclass(frozen=True)
class Span:
    """A span as received over OTLP."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_s: float
    ended_s: float
    service: str
    attributes: dict[str, Any]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps every span it receives; a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Collector:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait(5)

    def Export(self, request: Any, context: Any) -> Any:
        with self._lock:
            for resource in request.resource_spans:
                service = _plain(resource.resource.attributes)["service.name"]
                for scope in resource.scope_spans:
                    self._spans += [_span(each, service) for each in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self, trace_id: str = TRACE_ID) -> list[Span]:
        with self._lock:
            return [span for span in self._spans if span.trace_id == trace_id]

    def names(self) -> set[str]:
        return {span.name for span in self.spans()}


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _span(span: Any, service: str) -> Span:
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano * 1e-9,
        span.end_time_unix_nano * 1e-9,
        service,
        _plain(span.attributes),
    )


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")  # ms
        yield running


@pytest.fixture
def fleet(collector: Collector) -> Iterator[LocalFleet]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    with LocalFleet(FleetOptions(drones=1, replicas=2, time_scale=20.0, http_port=0, monitor=False)) as running:
        yield running


def hand_in(fleet: LocalFleet, headers: dict[str, str]) -> dict[str, Any]:
    """Submit an order, waiting for the gateway to come up, and return the response."""
    depot = load().depot
    destination = {"lat": depot.lat_deg + 0.03, "lon": depot.lon_deg}
    document = {"order_id": "traced", "destination": destination, "package_weight_kg": 0.5}

    def accepted() -> Any:
        try:
            answer = httpx.post(f"{fleet.url}/orders", json=document, headers=headers, timeout=30.0)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 202 else None

    return dict(eventually(accepted, lambda: fleet.last_line("order_gateway")))


@pytest.mark.ros
@pytest.mark.etcd
@pytest.mark.slow
def test_one_order_makes_one_trace_from_the_request_to_the_drop_whatever_dies(
    fleet: LocalFleet, collector: Collector
) -> None:
    eventually(lambda: is_ready(fleet), lambda: fleet.last_line("order_gateway"))
    order = hand_in(fleet, {"traceparent": f"00-{TRACE_ID}-{SHOP_SPAN}-01"})
    # By then the first leader has sent all of its spans, and the drone has eight seconds to go.
    begun = {"queue wait", "assign", "dispatch", "grant clearance", "load"}
    eventually(lambda: collector.names() >= begun, collector.names)
    cleared = next(span for span in collector.spans() if span.name == "grant clearance")
    assert fleet.kill(cleared.attributes["orchestrator"], respawn_delay_s=60.0)  # its successor records the outcome
    eventually(lambda: collector.names() >= PARENTS.keys(), lambda: PARENTS.keys() - collector.names())

    found = collector.spans()
    spans = {span.name: span for span in found if span.name in PARENTS}
    assert sorted(span.name for span in found) == sorted(PARENTS), "there must be one span of each kind"
    assert spans["POST /orders"].parent_id == SHOP_SPAN
    for name, parent in PARENTS.items():
        if parent:
            assert spans[name].parent_id == spans[parent].span_id, f"{name} is not below {parent}"
        if name not in ("POST /orders", "admission", "store commit"):
            assert spans[name].attributes["message_id"] == order["message_id"]
        assert spans[name].began_s <= spans[name].ended_s
    flight = ["fly to pickup", "clearance", "load", "fly to destination", "drop"]
    for before, after in pairwise(flight):
        assert spans[before].ended_s <= spans[after].began_s + 0.001
    services = {name: span.service for name, span in spans.items()}
    assert services["POST /orders"] == "order_gateway"
    assert services["dispatch"] == services["record outcome"] == "orchestrator"
    assert services["drop"] == "drone_executor"
    assert spans["record outcome"].attributes["orchestrator"] != cleared.attributes["orchestrator"]
    assert spans["record outcome"].attributes["epoch"] > cleared.attributes["epoch"]
    assert spans["drop"].attributes["drone"] == "drone_1"


def is_ready(fleet: LocalFleet) -> bool:
    """Return whether the gateway accepts orders, so that the first request is the accepted one."""
    try:
        return httpx.get(f"{fleet.url}/readyz", timeout=2.0).status_code == 200
    except httpx.TransportError:
        return False


def test_no_process_loads_the_sdk_if_traces_are_off() -> None:
    nodes = ("orchestrator.node", "drone_executor.host", "saga_monitor.node", "order_gateway.node")
    imports = "; ".join(f"import drone_orchestrator.nodes.{name}" for name in nodes)
    check = (
        f"{imports}; import sys; from drone_orchestrator.telemetry import tracer_setup; "
        "assert not tracer_setup.from_environment('s', 'i', 'r').enabled; "
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_process_ends_in_time_if_no_collector_answers() -> None:
    work = (
        "from drone_orchestrator.telemetry import tracer_setup, tracing\n"
        "tracer = tracer_setup.from_environment('service', 'instance', 'region')\n"
        "with tracer.request('work', '', {}) as request: assert tracing.current() == request.context\n"
        "tracer.close()"
    )
    # The exporter would retry for an hour.
    exporter = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "3600"}
    environment = {**os.environ, **exporter}
    subprocess.run([sys.executable, "-c", work], capture_output=True, timeout=180, check=True, env=environment)
    assert LocalFleet.stop_role_s >= 2 * CLOSE_S, "the supervisor would kill the process"
