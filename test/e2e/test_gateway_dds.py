"""The gateway's services: the same intake as over HTTP, with the same answers."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

from drone_interfaces.msg import GeoPosition, Order  # noqa: E402
from drone_interfaces.srv import CancelOrder, SubmitOrder  # noqa: E402
from gateway_process import DEADLINE_S, DEPOT, GatewayProcess, eventually, order_document  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from drone_orchestrator.bringup import dds  # noqa: E402
from drone_orchestrator.bringup.etcd_process import (  # noqa: E402
    EtcdNotStarted,
    EtcdProcess,
    find_etcd,
)

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

R = SubmitOrder.Response
#: Time (s) after which an unanswered request is sent again.
AGAIN_S = 2.0
#: In the no-fly zone of the packaged fleet.
ON_THE_ISLAND = GeoPosition(latitude_deg=37.81, longitude_deg=-122.365)


class Client:
    """A client of the gateway's services with a node of its own. Every call has a deadline."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        self._context.init(domain_id=domain)
        self._node = rclpy.create_node("a_robot", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._submit = self._node.create_client(SubmitOrder, "submit_order")
        self._cancel = self._node.create_client(CancelOrder, "cancel_order")
        for service, nothing in (
            (self._submit, SubmitOrder.Request(order=Order())),
            (self._cancel, CancelOrder.Request()),
        ):
            assert service.wait_for_service(DEADLINE_S)
            # The gateway may discover this client later than this client discovers it; its answers are lost till then.
            eventually("the gateway answers", lambda ask=(service, nothing): self._ask(*ask, AGAIN_S))

    def submit(self, order: Order, message_id: str = "") -> Any:
        return self._call(self._submit, SubmitOrder.Request(message_id=message_id, order=order))

    def cancel(self, id_: str) -> Any:
        return self._call(self._cancel, CancelOrder.Request(id=id_))

    def close(self) -> None:
        self._node.destroy_node()
        self._context.try_shutdown()

    def _call(self, service: Any, request: Any) -> Any:
        answer = self._ask(service, request, DEADLINE_S)
        assert answer is not None
        return answer

    def _ask(self, service: Any, request: Any, timeout_s: float) -> Any:
        """Return the answer, or ``None`` if there is none in time."""
        future = service.call_async(request)
        self._executor.spin_until_future_complete(future, timeout_sec=timeout_s)
        return future.result() if future.done() else None


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    with EtcdProcess() as etcd, GatewayProcess(etcd.endpoints[0]) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dds.loopback().items():
            patch.setenv(name, value)
        made = Client(gateway.domain)
    yield made
    made.close()


def order_msg(**changes: Any) -> Order:
    document = order_document(f"order-{uuid.uuid4().hex[:12]}")
    destination = document["destination"]
    order = Order(
        order_id=document["order_id"],
        destination=GeoPosition(latitude_deg=destination["lat"], longitude_deg=destination["lon"], altitude_m=math.nan),
        package_weight_kg=document["package_weight_kg"],
    )
    for name, value in changes.items():
        setattr(order, name, value)
    return order


def test_a_repeated_order_is_accepted_once(client: Client, gateway: GatewayProcess) -> None:
    order, message_id = order_msg(package_weight_kg=0.3, priority=Order.HIGH, deadline_s=900.0), str(uuid.uuid4())

    first, again = client.submit(order, message_id), client.submit(order, message_id)

    assert (first.result, again.result) == (R.ACCEPTED, R.ALREADY_ACCEPTED)
    assert first.message_id == again.message_id == message_id
    shown = gateway.http.get(f"/orders/{order.order_id}").json()["order"]
    assert (shown["package_weight_kg"], shown["priority"], shown["deadline_s"]) == (0.3, "high", 900.0)


def test_without_a_message_id_the_order_id_identifies_a_repeated_order(client: Client) -> None:
    order = order_msg()

    first, again = client.submit(order), client.submit(order)

    assert (first.result, again.result) == (R.ACCEPTED, R.ALREADY_ACCEPTED)
    assert first.message_id == again.message_id != ""


def test_an_order_submitted_over_http_is_known_over_dds(client: Client, gateway: GatewayProcess) -> None:
    order, message_id = order_msg(), str(uuid.uuid4())
    assert gateway.post(order_document(order.order_id, message_id=message_id)).status_code == 202

    assert client.submit(order, message_id).result == R.ALREADY_ACCEPTED
    order.package_weight_kg = 0.7
    assert client.submit(order, message_id).result == R.CONFLICT


@pytest.mark.parametrize(
    ("changes", "message_id", "field"),
    [
        ({"package_weight_kg": math.nan}, "", "package_weight_kg"),
        ({"package_weight_kg": 999.0}, "", "package_weight_kg"),
        ({"order_id": ""}, "", "order_id"),
        ({"order_id": "a/b"}, "", "order_id"),
        ({"destination": GeoPosition(latitude_deg=math.nan)}, "", "destination"),
        ({"destination": GeoPosition(latitude_deg=-DEPOT.lat_deg, longitude_deg=0.0)}, "", "destination"),
        ({"destination": ON_THE_ISLAND}, "", "destination"),
        ({"priority": 77}, "", "priority"),
        ({"drone_class": "zeppelin"}, "", "drone_class"),
        ({}, "not-a-uuid", "message_id"),
    ],
)
def test_a_bad_order_is_refused_by_name(client: Client, changes: dict[str, Any], message_id: str, field: str) -> None:
    answer = client.submit(order_msg(**changes), message_id)

    assert (answer.result, answer.field, answer.message_id) == (R.INVALID, field, "")
    assert answer.reason


def test_an_order_can_be_cancelled(client: Client) -> None:
    order = order_msg()
    message_id = client.submit(order).message_id

    answers = [client.cancel(order.order_id), client.cancel(message_id), client.cancel("nobody"), client.cancel("")]

    C = CancelOrder.Response
    assert [a.result for a in answers] == [C.REQUESTED, C.ALREADY_REQUESTED, C.NOT_FOUND, C.NOT_FOUND]
    assert [a.message_id for a in answers] == [message_id, message_id, "", ""]
