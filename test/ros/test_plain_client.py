"""A plain client, which knows the interfaces but not this project's code, uses every ROS name of a fleet."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from drone_interfaces.action import ExecuteDelivery
from drone_interfaces.msg import (
    BackPressure,
    DroneState,
    DroneTelemetry,
    GeoPosition,
    LeaderHeartbeat,
    LeaderState,
    Order,
    OrderRequest,
    SagaEvent,
    SagaTable,
)
from drone_interfaces.srv import CancelOrder, RequestClearance, SubmitOrder
from lifecycle_msgs.msg import Transition
from node_process import NodeProcess, Operator
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from visualization_msgs.msg import MarkerArray

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import DomainReservation
from drone_orchestrator.ros.params import SECRET

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
#: A request that is sent again because its first answer was lost finds the order there.
TAKEN = (SubmitOrder.Response.ACCEPTED, SubmitOrder.Response.ALREADY_ACCEPTED)
NEAR = {"lat": 37.7605, "lon": -122.4009}
TOPICS: dict[str, tuple[Any, Any]] = {
    "leader_heartbeat": (LeaderHeartbeat, 10),
    "leader": (LeaderState, LATCHED),
    "drone_states": (DroneState, LATCHED),
    "drones/drone_1/telemetry": (DroneTelemetry, qos_profile_sensor_data),
    "saga_events": (SagaEvent, LATCHED),
    "saga_table": (SagaTable, LATCHED),
    "back_pressure": (BackPressure, LATCHED),
    "fleet_markers": (MarkerArray, LATCHED),
    "/diagnostics": (DiagnosticArray, 10),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run one process of each kind, and return their DDS domain."""
    reservation, folder = DomainReservation(), tmp_path_factory.mktemp("fleet")
    domain, data = reservation.domain, Path(folder)
    with EtcdProcess() as etcd:
        store = {"etcd_endpoints": '"' + etcd.endpoints[0].removeprefix("http://") + '"'}
        drones = {"drone_ids": "[drone_1]", "data_dir": data, "time_scale": 40.0}
        with (
            NodeProcess(domain, "drone_executor", **drones),
            NodeProcess(domain, "orchestrator", archive_dir=data, **store) as orchestrator,
            NodeProcess(domain, "saga_monitor", **store),
            NodeProcess(
                domain, "order_gateway", http_port=0, allow_unsigned_orders=True, operator_token="s3cret", **store
            ),
        ):
            orchestrator.wait_line("leading with epoch")
            yield domain
    reservation.release()


class Client(Operator):
    """Client that keeps every message it receives."""

    def __init__(self, domain: int) -> None:
        super().__init__(domain, "a_plain_client")
        self.heard: dict[str, list[Any]] = {name: [] for name in TOPICS}
        for name, (kind, profile) in TOPICS.items():
            self.node.create_subscription(kind, name, self.heard[name].append, profile)

    def submit(self, order: Order, message_id: str = "") -> Any:
        return self.call(SubmitOrder, "submit_order", SubmitOrder.Request(message_id=message_id, order=order))

    def wait_status(self, message_id: str, status: str) -> None:  # type: ignore[override]
        self.wait(f"{message_id} is {status}", lambda: self.has_status(message_id, status))

    def has_status(self, message_id: str, status: str) -> bool:
        return any(e.message_id == message_id and e.to_status == status for e in self.heard["saga_events"])


@pytest.fixture(scope="module")
def client(fleet: int) -> Iterator[Client]:
    with Client(fleet) as client:
        yield client


def order(order_id: str) -> Order:
    destination = GeoPosition(latitude_deg=NEAR["lat"], longitude_deg=NEAR["lon"], altitude_m=math.nan)
    return Order(order_id=order_id, destination=destination, package_weight_kg=1.0)


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_is_heard(client: Client, name: str) -> None:
    if name in ("saga_events", "saga_table"):
        assert client.submit(order("first")).result in TAKEN
    client.wait(name, lambda: client.heard[name])


def test_an_order_is_submitted_and_delivered(client: Client) -> None:
    message_id = str(uuid.uuid4())
    assert client.submit(order("by-service"), message_id).result in TAKEN
    client.wait_status(message_id, "DELIVERED")
    assert {e.order_id for e in client.heard["saga_events"] if e.message_id == message_id} == {"by-service"}
    tables = client.heard["saga_table"]
    client.wait("the table", lambda: any(r.message_id == message_id and r.drone_id for r in tables[-1].sagas))


def test_the_leader_says_its_name(client: Client) -> None:
    client.wait("the leader", lambda: client.heard["leader"])
    assert client.heard["leader"][-1].holder == "orchestrator"


def test_parameters_can_be_read_except_the_token(client: Client) -> None:
    assert client.get_parameter("order_gateway", "operator_token") == SECRET
    assert client.get_parameter("order_gateway", "http_host") == "127.0.0.1"


def test_an_order_is_published_and_cancelled(client: Client) -> None:
    publisher = client.node.create_publisher(OrderRequest, "orders", 10)
    client.wait("the gateway listens", publisher.get_subscription_count)
    # Its class has no drone here, so it cannot be delivered first.
    payload = {"order_id": "by-topic", "destination": NEAR, "package_weight_kg": 1.0, "drone_class": "heavy"}
    message_id, now = str(uuid.uuid4()), time.time_ns()
    stamp = Time(sec=now // 10**9, nanosec=now % 10**9)
    request = OrderRequest(message_id=message_id, type="order.submit", payload=json.dumps(payload), timestamp=stamp)
    # A subscription that this publisher has discovered may not have discovered it yet.
    client.repeat(lambda: publisher.publish(request), lambda: client.has_status(message_id, "PENDING"), "PENDING")
    answer = client.call(CancelOrder, "cancel_order", CancelOrder.Request(id=message_id))
    assert answer.result in (CancelOrder.Response.REQUESTED, CancelOrder.Response.ALREADY_REQUESTED)
    assert answer.message_id == message_id
    client.wait_status(message_id, "CANCELLED")


def test_clearance_is_refused_to_a_drone_without_an_order(client: Client) -> None:
    R = RequestClearance.Response
    request = RequestClearance.Request(drone_id="drone_1", message_id="nobody-s", attempt=1, journal_id="a")
    answer = client.call(RequestClearance, "request_clearance", request)
    assert answer.verdict in (R.REFUSED, R.ASK_AGAIN) and answer.verdict != R.GRANTED
    assert (answer.message_id, answer.attempt, answer.journal_id) == ("nobody-s", 1, "a")
    no_journal = client.call(RequestClearance, "request_clearance", RequestClearance.Request(drone_id="drone_1"))
    assert no_journal.verdict == R.REFUSED


def test_a_goal_is_executed_and_cancelled(fleet: int, client: Client, tmp_path: Path) -> None:
    """Act as the leader of a separate drone, in a namespace without one."""
    drones = {"drone_ids": "[drone_9]", "data_dir": tmp_path, "time_scale": 40.0}
    with NodeProcess(fleet, "drone_executor", "-r", "__ns:=/elsewhere", **drones):
        action = ActionClient(client.node, ExecuteDelivery, "/elsewhere/drones/drone_9/execute_delivery")
        client.wait("the drone's action", action.server_is_ready)
        client.wait_state("/elsewhere/drone_9", "active")
        stale = ExecuteDelivery.Goal(message_id="m", attempt=1, epoch=0, order=order("o"))
        assert not client.answer(lambda: action.send_goal_async(stale), "the answer").accepted
        goal = ExecuteDelivery.Goal(message_id=str(uuid.uuid4()), attempt=1, epoch=5, order=order("o"))
        feedback: list[Any] = []
        handle = client.result(action.send_goal_async(goal, feedback_callback=feedback.append), "the answer")
        assert handle.accepted
        client.wait("feedback", lambda: feedback)
        client.answer(handle.cancel_goal_async, "the recall")
        result = client.answer(handle.get_result_async, "the result")
        assert result.status == GoalStatus.STATUS_CANCELED
        assert result.result.outcome == ExecuteDelivery.Result.NOT_LOADED
        action.destroy()


def test_the_lifecycle_services_of_every_managed_node(client: Client) -> None:
    """Must be last: afterwards there is no leader."""
    assert client.state("/orchestrator") == "active"
    assert client.change_state("/drone_1", Transition.TRANSITION_DEACTIVATE)
    assert client.change_state("/drone_1", Transition.TRANSITION_ACTIVATE)
    assert client.change_state("/orchestrator", Transition.TRANSITION_DEACTIVATE)
    assert client.state("/orchestrator") == "inactive"
