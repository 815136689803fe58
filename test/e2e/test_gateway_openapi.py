"""Valid and invalid requests generated from the OpenAPI document, sent to a real gateway with a real etcd.

Every answer must be documented, in the documented form, and must not be a server error.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("schemathesis")

import schemathesis
from gateway_process import REGION, GatewayProcess, order_document
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, EtcdProcess, find_etcd
from drone_orchestrator.core.types import LeaderRecord
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.slow]

OPERATIONS = [
    "POST /orders",
    "GET /orders",
    "GET /orders/{id}",
    "GET /orders/{id}/events",
    "DELETE /orders/{id}",
    "GET /fleet",
    "GET /events",
    "POST /leader/handover",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
]
#: Requests without invalid variants: any text is a valid id by the document.
CAN_BE_WRONG = ("POST /orders", "GET /orders", "GET /events")
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
EXAMPLES = 25


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    with EtcdProcess() as etcd, GatewayProcess(etcd.endpoints[0], rate_limit_per_s=0.0) as process:
        process.wait_ready()
        store = EtcdStore(etcd.endpoints, REGION)
        # A leader that cannot be reached, as the answer to a handover must say.
        store.campaign(LeaderRecord("nobody", "1", 0.0), 600.0)
        store.close()
        yield process
        assert process.process.poll() is None
        assert not [line for line in process.said if "Traceback" in line], process.said


@pytest.fixture(scope="module")
def document(gateway: GatewayProcess) -> Any:
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(pytest.param(name, RIGHT, id=f"right {name}") for name in OPERATIONS),
        *(pytest.param(name, WRONG, id=f"wrong {name}") for name in CAN_BE_WRONG),
    ],
)
def test_every_answer_conforms_to_the_document(
    gateway: GatewayProcess, document: Any, name: str, mode: GenerationMode
) -> None:
    method, path = name.split(" ")
    operation = document[path][method]
    known = str(gateway.post(order_document(f"order-{uuid.uuid4().hex[:12]}")).json()["message_id"])
    statuses = set()

    @seed(20260101)
    @settings(
        max_examples=EXAMPLES if operation.body or operation.query else 12,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if path == "/events":
            statuses.add(ask_for_events(gateway, case))
            return
        if "id" in (case.path_parameters or {}) and len(statuses) == 1:
            case.path_parameters["id"] = known  # of an order that exists
        response = case.call(timeout=90)
        case.validate_response(
            response,
            checks=[
                checks.status_code_conformance,
                checks.content_type_conformance,
                checks.response_schema_conformance,
                checks.response_headers_conformance,
                checks.unsupported_method,
                no_error_of_the_server,
            ],
        )
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"], response.headers
        statuses.add(response.status_code)

    ask()
    assert statuses


def no_error_of_the_server(ctx: Any, response: Any, case: Any) -> None:
    """A 503 says when to retry; an unreachable leader is not an error of the gateway."""
    assert response.status_code < 500 or (response.status_code == 503 and "retry-after" in response.headers)


def ask_for_events(gateway: GatewayProcess, case: Any) -> int:
    """Check only the head of a stream, which has no end."""
    headers = {name: value for name, value in (case.headers or {}).items()}
    with gateway.http.stream("GET", "/events", params=dict(case.query or {}), headers=headers) as response:
        if response.status_code == 200:
            assert response.headers["content-type"].startswith("text/event-stream")
        else:
            assert response.status_code in (422, 503), response.status_code
            assert response.headers["content-type"] == "application/problem+json"
        return int(response.status_code)


def test_every_operation_is_tested(gateway: GatewayProcess) -> None:
    paths = gateway.http.get("/openapi.json").json()["paths"]
    told = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert told == set(OPERATIONS)
