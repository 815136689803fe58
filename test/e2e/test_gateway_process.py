"""The gateway as a process, over HTTP and DDS, with a real etcd that fails and recovers."""

from __future__ import annotations

import json
import math
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from gateway_process import DEADLINE_S, REGION, GatewayProcess, eventually, order_document

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, EtcdProcess, find_etcd
from drone_orchestrator.core.types import Kind
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd]


def new_etcd() -> EtcdProcess:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    return EtcdProcess()


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    with new_etcd() as process:
        yield process


@pytest.fixture(scope="module")
def gateway(etcd: EtcdProcess) -> Iterator[GatewayProcess]:
    with GatewayProcess(etcd.endpoints[0]) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def store(etcd: EtcdProcess) -> Iterator[EtcdStore]:
    made = EtcdStore(etcd.endpoints, REGION)
    yield made
    made.close()


def new_id() -> str:
    return f"order-{uuid.uuid4().hex[:12]}"


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    return body


# --- accepting orders ------------------------------------------------------------------------------------------------


def test_orders_are_accepted_with_no_orchestrator_at_all(gateway: GatewayProcess, store: EtcdStore) -> None:
    order_id = new_id()

    response = gateway.post(order_document(order_id))

    assert response.status_code == 202
    entries = [e for e in store.snapshot().entries if e.id == response.json()["message_id"]]
    assert [entry.kind for entry in entries] == [Kind.INBOX_ORDER]
    assert gateway.http.get("/fleet").json()["leader"] is None


def test_the_same_message_from_32_clients_at_once_is_one_order(gateway: GatewayProcess, store: EtcdStore) -> None:
    document = order_document(new_id(), message_id=str(uuid.uuid4()))
    together = threading.Barrier(32)

    def post() -> tuple[int, bytes]:
        with httpx.Client(base_url=gateway.url, timeout=DEADLINE_S, trust_env=False) as client:
            together.wait()
            response = client.post("/orders", json=document)
            return response.status_code, response.content

    with ThreadPoolExecutor(32) as pool:
        answers = [future.result() for future in [pool.submit(post) for _ in range(32)]]

    assert sorted(status for status, _ in answers) == [200] * 31 + [202]
    assert len({content for _, content in answers}) == 1
    orders = [e.id for e in store.snapshot().entries if e.kind is Kind.INBOX_ORDER]
    assert orders.count(document["message_id"]) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"package_weight_kg": math.nan}, "package_weight_kg"),
        ({"package_weight_kg": -0.5}, "package_weight_kg"),
        ({"package_weight_kg": "heavy"}, "package_weight_kg"),
        ({"destination": {"lat": 95.0, "lon": 0.0}}, "destination.lat"),
        ({"destination": {"lat": 0.0, "lon": 0.0}}, "destination"),
        ({"destination": "depot"}, "destination"),
        ({"order_id": "../../leader"}, "order_id"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bad_order_is_refused_by_name(gateway: GatewayProcess, change: dict[str, Any], field: str) -> None:
    raw = json.dumps(order_document(new_id()) | change)

    response = gateway.http.post("/orders", content=raw, headers={"Content-Type": "application/json"})

    assert assert_problem(response, 422)["field"] == field


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ten_megabytes_is_refused_and_the_answer_arrives(gateway: GatewayProcess, chunked: bool) -> None:
    raw = b'{"order_id": "' + b"x" * 10_000_000 + b'"}'
    content: Any = (raw[i : i + 65536] for i in range(0, len(raw), 65536)) if chunked else raw

    response = gateway.http.post("/orders", content=content, headers={"Content-Type": "application/json"})

    assert_problem(response, 413)
    assert gateway.post(order_document(new_id())).status_code == 202


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /orders?q=",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ",
        b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: ",
    ],
    ids=["line", "header", "trailer"],
)
def test_an_endless_request_is_cut_off(gateway: GatewayProcess, begin: bytes) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client, pytest.raises(OSError):
        client.sendall(begin)
        while sent < 64 * 1024**2:
            sent += client.send(b"x" * 65536)

    assert sent < 16 * 1024**2, "the gateway still reads the request"
    assert gateway.post(order_document(new_id())).status_code == 202


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing_behind(gateway: GatewayProcess) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )

    assert gateway.post(order_document(new_id())).status_code == 202
    assert not [line for line in gateway.said if "Traceback" in line]


def test_an_order_is_cancelled_by_its_order_id(gateway: GatewayProcess, store: EtcdStore) -> None:
    order_id = new_id()
    message_id = gateway.post(order_document(order_id)).json()["message_id"]

    assert gateway.http.delete(f"/orders/{order_id}").status_code == 202
    assert gateway.http.delete(f"/orders/{message_id}").status_code == 202
    assert Kind.INBOX_CANCEL in {entry.kind for entry in store.snapshot().entries if entry.id == message_id}
    assert gateway.http.get(f"/orders/{order_id}").json()["cancel_requested"] is True


def test_a_listing_shows_orders_of_another_gateway(etcd: EtcdProcess, gateway: GatewayProcess) -> None:
    order_id = new_id()
    with GatewayProcess(etcd.endpoints[0]) as other:
        other.wait_ready()
        assert other.post(order_document(order_id)).status_code == 202

    def listed() -> bool:
        orders = gateway.http.get("/orders", params={"limit": 1000}).json()["orders"]
        return order_id in {order["order_id"] for order in orders}

    eventually("the order is in the other gateway's listing", listed)


# --- start and end ---------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_one_line_and_code_2(etcd: EtcdProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = GatewayProcess(etcd.endpoints[0], http_port=port)
        assert refused.wait() == 2

    said = [line for line in refused.said if line]
    assert len(said) == 1
    assert str(port) in said[0] and "in use" in said[0]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_request_under_way_is_finished_before_the_end(name: str) -> None:
    """ "100 Continue" shows that the request is being processed; the store delays it until after the signal."""
    with new_etcd() as etcd, GatewayProcess(etcd.endpoints[0], store_timeout_s=30.0) as gateway:
        gateway.wait_ready()
        etcd.pause_member(0)
        host, port = gateway.url.removeprefix("http://").split(":")
        body = json.dumps(order_document(new_id())).encode()
        head = f"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
            client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 100")
            client.sendall(body)
            gateway.process.send_signal(getattr(signal, name))
            eventually("the gateway refuses connections", lambda: not _connects(host, int(port)))
            etcd.resume_member(0)
            assert client.recv(4096).startswith(b"HTTP/1.1 202")
        assert gateway.wait() == 0


def _connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


# --- the store fails and recovers ------------------------------------------------------------------------------------


def test_it_starts_without_a_store_and_is_ready_when_the_store_comes() -> None:
    with new_etcd() as etcd:
        etcd.kill_member(0)
        with GatewayProcess(etcd.endpoints[0]) as gateway:
            document = order_document(new_id())
            assert gateway.http.get("/healthz").status_code == 200
            assert_problem(gateway.http.get("/readyz"), 503)
            refused = gateway.post(document)
            assert_problem(refused, 503)
            assert int(refused.headers["retry-after"]) >= 1

            etcd.start_member(0)

            gateway.wait_ready()
            assert gateway.post(document).status_code == 202


def test_orders_survive_a_store_that_is_killed_and_started_again() -> None:
    """A client that repeats each order until 200 or 202 has it in the store exactly once."""
    with new_etcd() as etcd, GatewayProcess(etcd.endpoints[0], breaker_reset_s=0.5) as gateway:
        gateway.wait_ready()
        documents = [order_document(new_id()) for _ in range(40)]
        refusals: list[int] = []
        submitted = threading.Semaphore(0)

        def insist(document: dict[str, Any]) -> None:
            def accepted() -> bool:
                response = gateway.post(document)
                if response.status_code not in (200, 202):
                    refusals.append(assert_problem(response, 503)["status"])
                return response.status_code in (200, 202)

            eventually(f"{document['order_id']} is accepted", accepted)
            submitted.release()

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(insist, document) for document in documents]
            assert submitted.acquire(timeout=DEADLINE_S)
            etcd.kill_member(0)
            eventually("an order is refused", lambda: refusals)
            stale = gateway.http.get("/orders").json()
            etcd.start_member(0)
            for future in futures:
                future.result()

        assert stale["orders"], "the listing goes on without the store"
        gateway.wait_ready()
        store = EtcdStore(etcd.endpoints, REGION)
        entries = store.snapshot().entries
        store.close()
        stored = sorted(e.value.order_id for e in entries if e.kind is Kind.INBOX_ORDER)
        assert stored == sorted(document["order_id"] for document in documents)


def test_a_store_that_does_not_answer_fails_fast_once_the_breaker_is_open() -> None:
    timeout_s = 1.0
    with (
        new_etcd() as etcd,
        GatewayProcess(etcd.endpoints[0], store_timeout_s=timeout_s, breaker_reset_s=300.0) as gateway,
    ):
        gateway.wait_ready()
        etcd.pause_member(0)

        def fails_fast() -> bool:
            response = gateway.post(order_document(new_id()))
            assert_problem(response, 503)
            return response.elapsed.total_seconds() < timeout_s / 2

        eventually("503 comes at once", fails_fast)
        metrics = gateway.http.get("/metrics").text
        etcd.resume_member(0)

        series = f'circuit_breaker_state{{agent_type="order_gateway",region="{REGION}",service="etcd"}} 2.0'
        assert series in metrics
