"""The topic `orders`: envelopes signed with a known key become orders."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time  # noqa: E402
from drone_interfaces.msg import OrderRequest  # noqa: E402
from gateway_process import GatewayProcess, eventually, order_document  # noqa: E402

from drone_orchestrator.bringup import dds  # noqa: E402
from drone_orchestrator.bringup.etcd_process import (  # noqa: E402
    EtcdNotStarted,
    EtcdProcess,
    find_etcd,
)
from drone_orchestrator.security.envelope import Envelope, sign  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

KEY = bytes(range(32))
#: Interval (s) between two attempts to be heard.
AGAIN_S = 0.5


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    keys = tmp_path_factory.mktemp("keys") / "orders"
    keys.write_text(f"shop:{KEY.hex()}\n")
    with EtcdProcess() as etcd, GatewayProcess(etcd.endpoints[0], order_keys_file=keys) as process:
        process.wait_ready()
        yield process


class Shop:
    """A publisher of envelopes that reads the outcome from the gateway's metrics."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self._context = rclpy.Context()
        self._context.init(domain_id=gateway.domain)
        self._node = rclpy.create_node("a_shop", context=self._context)
        self._publisher = self._node.create_publisher(OrderRequest, "orders", 10)
        self._meet()

    def close(self) -> None:
        self._node.destroy_node()
        self._context.try_shutdown()

    def publish(self, sent: Envelope) -> None:
        sec, nanosec = divmod(sent.timestamp_ns, 1_000_000_000)
        self._publisher.publish(
            OrderRequest(
                message_id=sent.message_id,
                type=sent.type,
                payload=sent.payload,
                timestamp=Time(sec=sec, nanosec=nanosec),
                key_id=sent.key_id,
                signature=sent.signature,
            )
        )

    def _meet(self) -> None:
        """Publish until the gateway counts an envelope; from then on none is lost.

        A subscription that this publisher has discovered may not have discovered the publisher yet.
        """

        def is_counted() -> bool:
            self.publish(Envelope("", "", "", 0))
            time.sleep(AGAIN_S)
            return "malformed" in self.counts()

        eventually("the gateway listens", is_counted)
        # Messages arrive in order: once this one is counted, no earlier one is in flight.
        self.publish(envelope())
        eventually("the gateway has counted them all", lambda: "unsigned" in self.counts())

    def counts(self) -> dict[str, int]:
        text = self._gateway.http.get("/metrics").text
        found = re.findall(r'orchestrator_requests_total{.*?result="(\w+)".*?source="dds_topic".*?} ([\d.]+)', text)
        return {result: int(float(count)) for result, count in found}

    def result(self, sent: Envelope) -> str:
        """Publish, and return the label of the one counter that it increased."""
        before = self.counts()
        self.publish(sent)
        after = eventually("the gateway counts it", lambda: None if self.counts() == before else self.counts())
        moved = {result: n - before.get(result, 0) for result, n in after.items() if n != before.get(result, 0)}
        assert list(moved.values()) == [1]
        return next(iter(moved))


@pytest.fixture(scope="module")
def shop(gateway: GatewayProcess) -> Iterator[Shop]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dds.loopback().items():
            patch.setenv(name, value)
        made = Shop(gateway)
    yield made
    made.close()


def envelope(payload: Any = None, type_: str = "order.submit", age_s: float = 0.0) -> Envelope:
    payload = order_document(f"order-{uuid.uuid4().hex[:12]}") if payload is None else payload
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return Envelope(str(uuid.uuid4()), type_, text, time.time_ns() - round(age_s * 1e9))


def signed(*args: Any, **options: Any) -> Envelope:
    return sign(envelope(*args, **options), "shop", KEY)


def test_a_signed_order_is_accepted_and_known_again(shop: Shop, gateway: GatewayProcess) -> None:
    sent = signed()
    assert shop.result(sent) == "accepted"
    order_id = json.loads(sent.payload)["order_id"]
    assert gateway.http.get(f"/orders/{order_id}").json()["message_id"] == sent.message_id
    assert shop.result(sign(replace(sent, timestamp_ns=time.time_ns()), "shop", KEY)) == "already_accepted"
    other = replace(sent, payload=sent.payload.replace("0.5", "0.6"), timestamp_ns=time.time_ns())
    assert shop.result(sign(other, "shop", KEY)) == "conflict"


def test_a_signed_cancellation_is_put_on_record(shop: Shop, gateway: GatewayProcess) -> None:
    sent = signed()
    assert shop.result(sent) == "accepted"
    assert shop.result(signed({"id": sent.message_id}, "order.cancel")) == "cancel_requested"
    assert shop.result(signed({"id": "nobody"}, "order.cancel")) == "not_found"
    assert shop.result(signed({"order": "x"}, "order.cancel")) == "malformed"


def test_an_order_that_breaks_a_rule_is_invalid(shop: Shop) -> None:
    assert shop.result(signed(order_document("heavy", package_weight_kg=999.0))) == "invalid"
    assert shop.result(signed({"surprise": 1})) == "invalid"


@pytest.mark.parametrize(
    ("sent", "result"),
    [
        (envelope, "unsigned"),
        (lambda: replace(signed(), payload='{"order_id": "mine"}'), "forged"),
        (lambda: sign(envelope(), "shop", bytes(32)), "forged"),
        (lambda: sign(envelope(), "thief", KEY), "unknown_key"),
        (lambda: signed(age_s=3600.0), "stale"),
        (lambda: signed(age_s=-3600.0), "stale"),
        (lambda: signed("x" * (64 * 1024 + 1)), "oversized"),
        (lambda: signed("not json"), "malformed"),
        (lambda: signed("[" * 60_000), "malformed"),
        (lambda: signed(type_="order.steal"), "malformed"),
        (lambda: signed(order_document("twice", message_id=str(uuid.uuid4()))), "malformed"),
        (lambda: Envelope("", "", "", 0), "malformed"),
    ],
)
def test_an_invalid_envelope_is_refused_and_counted(shop: Shop, sent: Any, result: str) -> None:
    assert shop.result(sent()) == result


def test_a_replay_is_refused(shop: Shop) -> None:
    sent = signed()
    assert (shop.result(sent), shop.result(sent)) == ("accepted", "replayed")


def test_unsigned_orders_can_be_allowed(gateway: GatewayProcess, tmp_path: Path) -> None:
    with (
        EtcdProcess(data_dir=tmp_path) as etcd,
        GatewayProcess(etcd.endpoints[0], domain=gateway.domain, allow_unsigned_orders=True) as open_,
    ):
        # Both are in one domain and receive it; only one accepts it.
        open_.wait_ready()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in dds.loopback().items():
                patch.setenv(name, value)
            context = rclpy.Context()
            context.init(domain_id=gateway.domain)
        node = rclpy.create_node("anybody", context=context)
        publisher = node.create_publisher(OrderRequest, "orders", 10)
        try:
            eventually("both listen", lambda: publisher.get_subscription_count() == 2)
            message_id, now = str(uuid.uuid4()), time.time_ns()
            payload = json.dumps(order_document("from-anybody"))
            sent = OrderRequest(
                message_id=message_id,
                type="order.submit",
                payload=payload,
                timestamp=Time(sec=now // 1_000_000_000),
            )

            def is_accepted() -> bool:
                # The subscription may not have matched the publisher yet, so publish at least once.
                publisher.publish(sent)
                time.sleep(AGAIN_S)
                return open_.http.get("/orders/from-anybody").status_code == 200

            eventually("it is accepted", is_accepted)
            assert gateway.http.get("/orders/from-anybody").status_code == 404
        finally:
            node.destroy_node()
            context.try_shutdown()


def test_keys_that_cannot_be_used_end_the_process_with_a_reason(tmp_path: Path) -> None:
    process = GatewayProcess("127.0.0.1:1", order_keys_file=tmp_path / "missing")
    assert process.wait() == 2
    assert any("order_keys_file" in line and "missing" in line for line in process.said)
