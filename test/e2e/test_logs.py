"""Logs as JSON: the same objects on the console and on ``/rosout``, with the ids of order, drone, epoch and trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_process import eventually

rclpy = pytest.importorskip("rclpy")

from rcl_interfaces.msg import Log  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, find_etcd  # noqa: E402
from drone_orchestrator.bringup.fleet_config import load  # noqa: E402
from drone_orchestrator.bringup.local_fleet import LocalFleet  # noqa: E402
from drone_orchestrator.bringup.plan import FleetOptions  # noqa: E402

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalFleet]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    monkeypatch.setenv("DRONE_ORCHESTRATOR_LOG_FORMAT", "json")
    # No collector listens there; contexts are passed on anyway.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    options = FleetOptions(drones=2, replicas=1, time_scale=20.0, http_port=0, monitor=False, drones_per_process=2)
    with LocalFleet(options) as running:
        yield running


class Console:
    """Listener to ``/rosout``, like rqt_console."""

    def __init__(self, fleet: LocalFleet, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in fleet.environment.items():
            monkeypatch.setenv(name, value)
        self._context = rclpy.Context()
        self._context.init(domain_id=int(fleet.environment["ROS_DOMAIN_ID"]))
        self._node = rclpy.create_node("console", context=self._context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.heard: list[tuple[str, str]] = []
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(Log, "/rosout", lambda log: self.heard.append((log.name, log.msg)), latched)

    def hears(self, wanted: str, deadline_s: float = 90.0) -> dict[str, Any]:
        """Return the first record whose message has ``wanted``, as JSON, and the name of its ROS logger."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            for name, text in self.heard:
                if wanted in text:
                    return {**json.loads(text), "ros_name": name}
            self._executor.spin_once(timeout_sec=0.1)
        raise AssertionError(f"{wanted!r} was not heard; heard: {self.heard[-20:]}")

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.mark.ros
@pytest.mark.etcd
@pytest.mark.slow
def test_a_drones_records_name_order_drone_epoch_and_trace_on_rosout_and_console(
    fleet: LocalFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(fleet, monkeypatch)
    depot = load().depot
    destination = {"lat": depot.lat_deg + 0.002, "lon": depot.lon_deg}
    document = {"order_id": "logged", "destination": destination, "package_weight_kg": 0.5}
    headers = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}

    def handed_in() -> Any:
        try:
            answer = httpx.post(f"{fleet.url}/orders", json=document, headers=headers, timeout=5.0)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None

    try:
        order = eventually(handed_in, lambda: fleet.last_line("order_gateway"))
        said = console.hears("LOADING -> TO_DESTINATION")
        leader = console.hears("leading with epoch")
    finally:
        console.close()

    assert (said["order_id"], said["message_id"]) == ("logged", order["message_id"])
    assert (said["trace_id"], said["attempt"], said["level"]) == (TRACE_ID, 1, "info")
    assert said["ros_name"] == said["drone"] in ("drone_1", "drone_2")
    assert said["epoch"] == leader["epoch"] > 0
    wanted = {k: v for k, v in said.items() if k != "ros_name"}
    log = fleet.log_dir / f"{fleet.names('drones')[0]}.log"

    def printed() -> list[Any]:
        *lines, _unfinished = log.read_text().split("\n")
        return [json.loads(line) for line in lines if line.startswith("{")]

    eventually(lambda: wanted in printed(), printed)


def test_an_unknown_format_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drone_orchestrator.nodes.saga_monitor"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "DRONE_ORCHESTRATOR_LOG_FORMAT": "xml"},
    )
    assert done.returncode == 2
    assert done.stderr == "saga_monitor: DRONE_ORCHESTRATOR_LOG_FORMAT must be text or json, got 'xml'\n"
