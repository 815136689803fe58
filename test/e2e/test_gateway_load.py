"""A gateway under load: it shuts down without losing an answer, and concurrent orders share transactions."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from gateway_process import DEADLINE_S, REGION, GatewayProcess, order_document

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, EtcdProcess, find_etcd
from drone_orchestrator.core.types import Kind, Order
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd]


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    with EtcdProcess() as process:
        yield process


class Shop(threading.Thread):
    """A client that submits orders on one connection until it breaks, and records what became of each."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_S)
        self.accepted: set[str] = set()
        self.unanswered: set[str] = set()  # sent in whole or in part, without an answer
        self.other: list[int] = []

    def run(self) -> None:
        while True:
            order_id = f"order-{uuid.uuid4().hex[:12]}"
            body = json.dumps(order_document(order_id))
            self.unanswered.add(order_id)
            try:
                self._connection.request("POST", "/orders", body, {"Content-Type": "application/json"})
                answer = self._connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return
            self.unanswered.discard(order_id)
            if answer.status == 202:
                self.accepted.add(order_id)
            else:
                self.other.append(answer.status)


def orders_in(store: EtcdStore) -> dict[str, int]:
    """Return the order ids in the inbox, each with its revision."""
    entries = [e for e in store.snapshot().entries if e.kind is Kind.INBOX_ORDER]
    return {e.value.order_id: e.mod_revision for e in entries if isinstance(e.value, Order)}


def shops_that_sold(orders: int, url: str) -> list[Shop]:
    """Start shops, and return them once ``orders`` of their orders were accepted."""
    shops = [Shop(url) for _ in range(24)]
    for shop in shops:
        shop.start()
    deadline_s = time.monotonic() + DEADLINE_S
    while sum(len(shop.accepted) for shop in shops) < orders:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return shops


def test_sigterm_under_load_loses_no_order_and_no_answer(etcd: EtcdProcess) -> None:
    """Every order answered with 202 is in etcd, and every order in etcd was answered with 202."""
    store = EtcdStore(etcd.endpoints, REGION)
    before = set(orders_in(store))
    with GatewayProcess(etcd.endpoints[0], rate_limit_per_s=0.0) as gateway:
        gateway.wait_ready()
        shops = shops_that_sold(200, gateway.url)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.wait() == 0
        for shop in shops:
            shop.join(DEADLINE_S)
    stored = orders_in(store)
    store.close()

    accepted = set().union(*(shop.accepted for shop in shops))
    unanswered = set().union(*(shop.unanswered for shop in shops))
    assert {status for shop in shops for status in shop.other} <= {503}
    assert accepted <= stored.keys()
    assert not unanswered & stored.keys()
    assert set(stored) - before == accepted
    assert len(accepted) >= 200


def test_orders_of_many_clients_share_transactions(etcd: EtcdProcess) -> None:
    store = EtcdStore(etcd.endpoints, REGION)
    before = set(orders_in(store))
    with GatewayProcess(etcd.endpoints[0], rate_limit_per_s=0.0, store_timeout_s=30.0) as gateway:
        gateway.wait_ready()
        etcd.pause_member(0)  # the first transaction waits, and so do all orders that arrive meanwhile
        try:
            waiting = [order_under_way(gateway.url) for _ in range(24)]
            assert gateway.http.get("/healthz").status_code == 200  # by now it has read everything that was sent before
        finally:
            etcd.resume_member(0)
        assert [connection.getresponse().status for connection in waiting] == [202] * 24
        for connection in waiting:
            connection.close()
    stored = {order_id: revision for order_id, revision in orders_in(store).items() if order_id not in before}
    store.close()

    assert len(stored) == 24
    assert len(set(stored.values())) < 12


def order_under_way(url: str) -> http.client.HTTPConnection:
    """Return a connection with an order that is not answered yet."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_S)
    body = json.dumps(order_document(f"order-{uuid.uuid4().hex[:12]}"))
    connection.request("POST", "/orders", body, {"Content-Type": "application/json"})
    return connection


@pytest.mark.slow
def test_junk_does_not_hold_up_good_orders() -> None:
    """Run ``fleetctl bench junk-flood`` briefly. Its default bound is for an otherwise idle machine. The one here only
    separates a gateway that limits a flooder from one that does not, which slows down a hundredfold."""
    command = [sys.executable, "-m", "drone_orchestrator.cli.main", "bench", "junk-flood"]
    command += ["--seconds", "6", "--turns", "2", "--bound", "15", "--json"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=270.0)
    assert run.returncode == 0, (run.stdout, run.stderr)
    figures = json.loads(run.stdout.splitlines()[-1])
    assert figures["junk_answers"].keys() & {"400", "404", "415", "422"}
    assert figures["orders"]["flood"] > 0
