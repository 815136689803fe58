"""``HEAD`` on the gateway, for load balancers and monitors that need no body."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_fixtures import Gateway, order_document

from drone_orchestrator.gateway.settings import GatewaySettings

STATIC = ("/", "/docs", "/openapi.json")
PROBES = ("/healthz", "/readyz", "/metrics")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


@pytest.mark.parametrize("path", [*STATIC, *PROBES, "/fleet", "/orders", "/orders/{id}", "/orders/{id}/events"])
def test_head_answers_like_get_without_a_body(gateway: Gateway, path: str) -> None:
    accepted = gateway.http.post("/orders", json=order_document()).json()
    gateway.wait_shown()
    url = path.format(id=accepted["message_id"])
    head, get = gateway.http.head(url), gateway.http.get(url)
    assert head.status_code == get.status_code == 200
    assert head.headers.keys() == get.headers.keys()
    assert head.headers["content-type"] == get.headers["content-type"]
    assert (head.content, get.content != b"") == (b"", True)


def test_every_path_with_get_is_tested_here(gateway: Gateway) -> None:
    paths = {path for path, methods in gateway.app.openapi()["paths"].items() if "get" in methods}
    renamed = {path.replace("{message_id}", "{id}") for path in paths}
    assert renamed == {*PROBES, "/fleet", "/orders", "/orders/{id}", "/orders/{id}/events", "/events"}


def test_head_of_the_event_stream_ends_and_leaves_no_stream_open() -> None:
    gateway = Gateway(GatewaySettings(probe_interval_s=0.0, max_streams=1))
    try:
        for _ in range(2):  # the second would be refused if the first were still open
            response = gateway.http.head("/events")
            assert (response.status_code, response.content) == (200, b"")
            assert response.headers["content-type"].startswith("text/event-stream")
    finally:
        gateway.close()


def test_head_reports_that_a_gateway_is_not_ready() -> None:
    waiting = Gateway(loaded=False)
    try:
        response = waiting.http.head("/readyz")
        assert (response.status_code, response.content) == (503, b"")
        assert response.headers["retry-after"] == "1"
    finally:
        waiting.close()


def test_head_on_an_unknown_path_or_one_without_get_is_refused(gateway: Gateway) -> None:
    assert gateway.http.head("/nowhere").status_code == 404
    response = gateway.http.head("/leader/handover")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_a_refused_method_is_told_the_allowed_ones_including_head(gateway: Gateway) -> None:
    assert gateway.http.put("/readyz").headers["allow"] == "GET, HEAD"
