"""Guards around the requests: rate limits, operator access, security headers; and the dashboard."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gateway_fixtures import Clock, Gateway, Leader, order_document
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from drone_orchestrator.core.types import LeaderRecord
from drone_orchestrator.gateway import rate_limit
from drone_orchestrator.gateway.connections import guarded
from drone_orchestrator.gateway.dashboard import add_dashboard
from drone_orchestrator.gateway.rate_limit import Clients, RateLimit
from drone_orchestrator.gateway.settings import GatewaySettings

HERE = ("127.0.0.1", 4711)
ELSEWHERE = ("192.0.2.7", 4711)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


def client(gateway: Gateway, address: tuple[str, int] = HERE, url: str = "http://127.0.0.1") -> TestClient:
    return TestClient(gateway.app, base_url=url, client=address, raise_server_exceptions=False)


# --- rate limit ------------------------------------------------------------------------------------------------------


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def limited(clock: Clock, app: ASGIApp = _nothing, **changes: Any) -> RateLimit:
    bounds = {"rate_per_s": 2.0, "burst": 3, "clock": clock, **changes}
    hold_s = bounds.pop("hold_s", 0.0)
    return RateLimit(app, clients=Clients(**bounds), hold_s=hold_s)


def asked(limit: RateLimit, address: str = "192.0.2.1", path: str = "/fleet", **headers: str) -> int:
    return TestClient(limit, client=(address, 1)).get(path, headers=headers).status_code


def test_a_client_that_sends_too_many_requests_is_told_when_to_retry() -> None:
    gateway = Gateway(GatewaySettings(rate_limit_per_s=0.5, rate_limit_burst=2))
    assert [gateway.http.get("/fleet").status_code for _ in range(2)] == [200, 200]

    refused = gateway.http.post("/orders", json=order_document())

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert gateway.http.get("/healthz").status_code == 200  # supervisors are never rejected
    gateway.close()


def test_a_bucket_refills_and_each_client_has_its_own() -> None:
    clock = Clock()
    limit = limited(clock)
    assert [asked(limit) for _ in range(4)] == [204, 204, 204, 429]
    assert asked(limit, "192.0.2.2") == 204
    clock.now_s += 10.0
    assert [asked(limit) for _ in range(4)] == [204, 204, 204, 429]


def test_a_client_that_ignores_rejections_stays_rejected_until_it_slows_down() -> None:
    clock = Clock()
    limit = limited(clock, rate_per_s=10.0, burst=10)
    assert [asked(limit) for _ in range(12)] == [204] * 10 + [429] * 2
    for _ in range(20):  # twice the rate, for two seconds
        clock.now_s += 0.1
        assert asked(limit) == 429
    clock.now_s += 2.0
    assert asked(limit) == 204


def test_a_client_that_keeps_ignoring_rejections_is_shut_out() -> None:
    clock = Clock()
    limit = limited(clock, rate_per_s=10.0, burst=40)
    clients = limit._clients
    assert not clients.shut_out("192.0.2.1")
    assert [asked(limit) for _ in range(43)] == [204] * 40 + [429] * 3
    assert clients.shut_out("192.0.2.1") and not clients.shut_out("192.0.2.2")
    clock.now_s += 2.0
    assert clients.shut_out("192.0.2.1")  # it continued despite the rejections
    clock.now_s += 8.0
    assert not clients.shut_out("192.0.2.1")
    shared = limited(clock, burst=1, key_header="X-API-Key")
    assert [asked(shared) for _ in range(9)] == [204] + [429] * 8
    assert not shared._clients.shut_out("192.0.2.1")  # that may be the address of a proxy


def test_a_faulty_request_costs_as_much_as_twenty() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 422, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limit = limited(Clock(), refuse, rate_per_s=1.0, burst=60)
    assert [asked(limit) for _ in range(4)] == [422] * 3 + [429]


def test_rejections_are_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []

    async def sleep(seconds: float) -> None:
        held.append(seconds)

    monkeypatch.setattr(rate_limit.anyio, "sleep", sleep)
    limit = limited(Clock(), burst=1, rate_per_s=2.0, hold_s=0.75)
    assert [asked(limit) for _ in range(3)] == [204, 429, 429]
    assert held == [0.5, 0.75]
    monkeypatch.setattr(rate_limit, "MAX_HELD", 0)
    assert asked(limit) == 429
    assert len(held) == 2


def test_a_header_identifies_clients_only_if_it_is_trusted() -> None:
    limit = limited(Clock(), burst=1)
    assert [asked(limit, **{"X-Api-Key": key}) for key in "ab"] == [204, 429]
    limit = limited(Clock(), burst=1, key_header="X-API-Key")
    assert [asked(limit, **{"X-Api-Key": key}) for key in "aab"] == [204, 429, 204]
    assert asked(limit) == 204  # without a key the address identifies the client


def test_the_table_of_clients_is_bounded() -> None:
    limit = limited(Clock(), burst=1, max_clients=10)
    for number in range(30):
        assert asked(limit, f"192.0.2.{number}") == 204
    assert len(limit._clients) == 10
    assert asked(limit, "192.0.2.29") == 429


def test_a_rate_of_zero_means_no_limit() -> None:
    limit = limited(Clock(), rate_per_s=0.0, burst=1)
    assert [asked(limit) for _ in range(5)] == [204] * 5
    assert len(limit._clients) == 0


# --- handover --------------------------------------------------------------------------------------------------------


def wait_for(what: Any) -> None:
    end = time.monotonic() + 60.0
    while not what():
        assert time.monotonic() < end
        threading.Event().wait(0.005)


def test_a_leader_that_handed_over_stands_by_again_once_there_is_another(gateway: Gateway) -> None:
    leader = Leader(gateway)
    gateway.wait_shown()

    response = client(gateway).post("/leader/handover")

    assert (response.status_code, response.json()) == (202, {"holder": "orchestrator_a", "epoch": leader.epoch})
    assert gateway.control.asked == [("deactivate", "orchestrator_a")]
    again = client(gateway).post("/leader/handover")
    assert (again.status_code, again.json()["code"]) == (409, "handover_under_way")
    gateway.store.campaign(LeaderRecord("orchestrator_b", "2", 0.0), 60.0, over_epoch=leader.epoch)
    wait_for(lambda: len(gateway.control.asked) == 2)
    assert gateway.control.asked[1] == ("activate", "orchestrator_a")


def test_the_only_replica_leads_again_when_the_gateway_stops(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Leader(gateway)
    gateway.wait_shown()
    assert client(gateway).post("/leader/handover").status_code == 202

    gateway.app.state.close()

    assert gateway.control.asked == [("deactivate", "orchestrator_a"), ("activate", "orchestrator_a")]
    said = [record for record in caplog.records if record.name.endswith("gateway.handover")]
    assert said and all(record.levelno == logging.INFO for record in said)


def test_a_handover_without_a_reachable_leader_is_refused(gateway: Gateway) -> None:
    http = client(gateway)
    assert http.post("/leader/handover").json()["code"] == "no_leader"
    Leader(gateway)
    gateway.wait_shown()
    gateway.control.unreachable = True
    response = http.post("/leader/handover")
    assert (response.status_code, response.json()["code"]) == (503, "leader_unreachable")
    gateway.control.unreachable, gateway.control.obeys = False, False
    assert http.post("/leader/handover").json()["code"] == "leader_refused"
    gateway.control.obeys = True
    assert http.post("/leader/handover").status_code == 202
    gateway.app.state.close()


@pytest.mark.parametrize(
    ("address", "url", "headers", "code"),
    [
        (ELSEWHERE, "http://127.0.0.1", {}, "operator_only"),
        (HERE, "http://attacker.example", {}, "operator_only"),  # a foreign name that resolves to this machine
        (HERE, "http://127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, "operator_only"),
        (HERE, "http://127.0.0.1", {"Origin": "http://attacker.example"}, "cross_origin"),
        (HERE, "http://127.0.0.1", {"Origin": "null"}, "cross_origin"),
        (HERE, "http://127.0.0.1:8080", {"Origin": "http://127.0.0.1:8080"}, ""),
        (("::1", 1), "http://[::1]:8080", {}, ""),
        (HERE, "http://localhost", {}, ""),
    ],
)
def test_without_a_token_only_this_machine_may_hand_over(
    gateway: Gateway, address: tuple[str, int], url: str, headers: dict[str, str], code: str
) -> None:
    Leader(gateway)
    gateway.wait_shown()

    response = client(gateway, address, url).post("/leader/handover", headers=headers)

    assert response.status_code == (403 if code else 202)
    assert response.json().get("code", "") == code
    assert bool(gateway.control.asked) is not bool(code)
    gateway.app.state.close()


@pytest.mark.parametrize(
    ("given", "status"),
    [("Bearer s3cret", 202), ("Bearer wrong", 403), ("s3cret", 403), ("", 403), ("Bearer ü", 403)],
)
def test_with_a_token_only_a_client_that_sends_it_may_hand_over(given: str, status: int) -> None:
    gateway = Gateway(GatewaySettings(operator_token="s3cret"))
    Leader(gateway)
    gateway.wait_shown()
    http = client(gateway, ELSEWHERE, "http://gateway.example")

    response = http.post("/leader/handover", headers={"Authorization": given.encode()} if given else {})

    assert response.status_code == status, response.text
    gateway.app.state.close()
    gateway.close()


# --- headers, dashboard, document ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fleet", "/nothing", "/docs", "/metrics", "/orders?limit=x"])
def test_every_response_has_the_security_headers(gateway: Gateway, path: str) -> None:
    headers = gateway.http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert "default-src" in headers["content-security-policy"]
    assert len(headers.get_list("content-security-policy")) == 1


def test_the_documentation_page_may_use_only_its_own_style(gateway: Gateway) -> None:
    response = gateway.http.get("/docs")
    style = re.search(r"<style>(.*?)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in response.headers["content-security-policy"]


def test_the_dashboard_is_served_as_built(tmp_path: Path) -> None:
    app = FastAPI()
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>fleet</title>", encoding="utf-8")
    (tmp_path / "assets" / "app.js").write_text("1;", encoding="utf-8")
    add_dashboard(app, tmp_path)
    http = TestClient(app)

    page, script = http.get("/"), http.get("/static/assets/app.js")

    assert page.text.startswith("<!doctype html>") and page.headers["content-type"].startswith("text/html")
    assert script.text == "1;" and script.headers["cache-control"] == "no-cache"
    assert http.get("/static/../secret").status_code == 404
    assert http.get("/static/nothing.js").status_code == 404


def test_without_a_dashboard_the_answer_points_to_the_documentation(tmp_path: Path) -> None:
    gateway = Gateway(dashboard=tmp_path / "nowhere")
    for path in ("/", "/static/app.js"):
        response = gateway.http.get(path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
    assert "/docs" in gateway.http.get("/").json()["detail"]
    gateway.close()


def test_every_operation_has_a_summary_and_every_answer_an_example(gateway: Gateway) -> None:
    document = gateway.http.get("/openapi.json").json()
    seen = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            for status, response in operation["responses"].items():
                assert response["description"], (where, status)
                for kind, body in response["content"].items():
                    assert "example" in body, (where, status, kind)
                    seen += 1
            for body in operation.get("requestBody", {}).get("content", {}).values():
                assert "example" in body["schema"], where
    assert seen > 40


def test_without_httptools_h11_parses_http(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients(0.0, 1)
    assert not issubclass(guarded(clients), H11Protocol)
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    assert issubclass(guarded(clients), H11Protocol)
