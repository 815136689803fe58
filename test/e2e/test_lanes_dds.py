"""Lanes over DDS: a full lane refuses with a typed result, the monitor publishes back pressure, other lanes accept."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

import yaml  # noqa: E402
from drone_interfaces.msg import BackPressure, GeoPosition, Order  # noqa: E402
from drone_interfaces.srv import SubmitOrder  # noqa: E402
from gateway_process import DEADLINE_S, REGION, GatewayProcess, eventually, order_document  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from drone_orchestrator.bringup import dds  # noqa: E402
from drone_orchestrator.bringup.etcd_process import (  # noqa: E402
    EtcdNotStarted,
    EtcdProcess,
    find_etcd,
)
from drone_orchestrator.bringup.local_fleet import dies_with_parent  # noqa: E402
from drone_orchestrator.bringup.paths import default_fleet_config  # noqa: E402
from drone_orchestrator.core.leader.steps import build_transition  # noqa: E402
from drone_orchestrator.core.saga import CANCELLED, apply, begin, next_event  # noqa: E402
from drone_orchestrator.core.types import LeaderRecord, SagaStatus  # noqa: E402
from drone_orchestrator.core.view import FleetView  # noqa: E402
from drone_orchestrator.ros import names, qos  # noqa: E402
from drone_orchestrator.store import EtcdStore  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

R = SubmitOrder.Response
BOUND = 3
#: Time (s) after which an unanswered request is sent again.
AGAIN_S = 2.0


class Robot:
    """A client that submits orders and listens to ``back_pressure``, each with a deadline."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        self._context.init(domain_id=domain)
        self._node = rclpy.create_node(f"robot_{uuid.uuid4().hex[:8]}", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._submit = self._node.create_client(SubmitOrder, names.SUBMIT_ORDER)
        self.pressure: dict[str, BackPressure] = {}
        self._node.create_subscription(BackPressure, names.BACK_PRESSURE, self._on_pressure, qos.state(10))

    def submit(self, drone_class: str) -> Any:
        self._meet()
        document = order_document(f"order-{uuid.uuid4().hex[:12]}")
        where = document["destination"]
        destination = GeoPosition(latitude_deg=where["lat"], longitude_deg=where["lon"], altitude_m=math.nan)
        order = Order(order_id=document["order_id"], destination=destination, package_weight_kg=0.5)
        order.drone_class = drone_class
        answer = self._ask(SubmitOrder.Request(message_id=str(uuid.uuid4()), order=order), DEADLINE_S)
        assert answer is not None
        return answer

    def hears(self, what: Callable[[dict[str, BackPressure]], bool]) -> bool:
        """Return whether ``what`` becomes true of the published back pressure within the deadline."""
        end = time.monotonic() + DEADLINE_S
        while not what(self.pressure) and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.1)
        return what(self.pressure)

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _meet(self) -> None:
        """Ask until the gateway answers: it may discover this client later than this client discovers it."""
        assert self._submit.wait_for_service(DEADLINE_S)
        no_order = SubmitOrder.Request(order=Order())
        eventually("the gateway answers", lambda: self._ask(no_order, AGAIN_S))

    def _ask(self, request: SubmitOrder.Request, timeout_s: float) -> Any:
        """Return the answer, or ``None`` if there is none in time."""
        future = self._submit.call_async(request)
        self._executor.spin_until_future_complete(future, timeout_sec=timeout_s)
        return future.result() if future.done() else None

    def _on_pressure(self, msg: BackPressure) -> None:
        self.pressure[msg.drone_class] = msg


@pytest.fixture
def fleet_config(tmp_path: Path) -> Path:
    """Return the packaged fleet with a low limit on orders for couriers."""
    document = yaml.safe_load(default_fleet_config().read_text(encoding="utf-8"))
    document["drone_classes"]["courier"]["max_waiting"] = BOUND
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def etcd() -> Iterator[EtcdProcess]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    with EtcdProcess() as process:
        yield process


@pytest.fixture
def gateway(etcd: EtcdProcess, fleet_config: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with a saga monitor beside it."""
    with GatewayProcess(etcd.endpoints[0], fleet_config=fleet_config) as process:
        process.wait_ready()
        environment = {
            "ROS_DOMAIN_ID": str(process.domain),
            **dds.loopback(),
            "ROS_LOG_DIR": str(tmp_path),
        }
        endpoint = etcd.endpoints[0].removeprefix("http://")
        settings = ["-p", f"etcd_endpoints:={endpoint}", "-p", f"fleet_config:={fleet_config}"]
        monitor = subprocess.Popen(
            [
                *dies_with_parent(),
                sys.executable,
                "-m",
                "drone_orchestrator.nodes.saga_monitor",
                "--ros-args",
                *settings,
            ],
            env={**os.environ, **environment},
        )
        yield process
        monitor.terminate()
        assert monitor.wait(DEADLINE_S) == 0


@pytest.fixture
def new_robot(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Robot]]:
    for name, value in dds.loopback().items():
        monkeypatch.setenv(name, value)
    made: list[Robot] = []

    def make() -> Robot:
        made.append(Robot(gateway.domain))
        return made[-1]

    yield make
    for robot in made:
        robot.close()


def cancel_all_couriers(etcd: EtcdProcess) -> None:
    """End all orders that wait for a courier, as the leader would."""
    store = EtcdStore([etcd.endpoints[0]], REGION)
    try:
        epoch = store.campaign(LeaderRecord("orchestrator_a", "1", 0.0), 30.0)
        view = FleetView.of(store.snapshot())
        for message_id in list(view.inbox):
            order = view.order_of(message_id)
            if order is not None and order.drone_class == "courier":
                first = begin(order, now_s=1.0, epoch=epoch)
                saga = apply(None, first)
                second = next_event(saga, CANCELLED, SagaStatus.CANCELLED, now_s=2.0, epoch=epoch, reason="because")
                assert store.commit(epoch, [build_transition(view, (first, second), None)])[0].revision > 0
    finally:
        store.close()


def test_a_full_lane_refuses_orders_until_it_has_drained(etcd: EtcdProcess, new_robot: Callable[[], Robot]) -> None:
    robot = new_robot()
    assert robot.hears(lambda lanes: {c.level for c in lanes.values()} == {BackPressure.CLEAR} and len(lanes) == 2)
    assert robot.pressure["courier"].waiting_bound == BOUND

    answers = [robot.submit("courier") for _ in range(BOUND + 2)]

    assert [a.result for a in answers] == [R.ACCEPTED] * BOUND + [R.LANE_FULL] * 2
    assert 1.0 <= answers[-1].retry_after_s <= 60.0
    assert "lane courier" in answers[-1].reason and answers[-1].message_id == ""
    assert robot.submit("heavy").result == R.ACCEPTED
    assert robot.hears(lambda lanes: lanes["courier"].level == BackPressure.FULL)
    full = robot.pressure["courier"]
    assert (full.waiting, full.in_flight) == (BOUND, 0)
    assert 1.0 <= full.retry_after_s <= 60.0

    late = new_robot()
    assert late.hears(lambda lanes: len(lanes) == 2)
    assert (late.pressure["courier"].level, late.pressure["heavy"].level) == (BackPressure.FULL, BackPressure.CLEAR)

    cancel_all_couriers(etcd)

    assert robot.hears(lambda lanes: lanes["courier"].level == BackPressure.CLEAR)
    assert robot.hears(lambda lanes: lanes["courier"].waiting == 0)
    assert robot.pressure["courier"].retry_after_s == 0.0
    assert robot.submit("courier").result == R.ACCEPTED
