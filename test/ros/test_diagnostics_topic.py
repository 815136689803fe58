"""`/diagnostics` as it comes from real nodes: of the fleet, of each node, and of topics whose QoS does not fit."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from drone_interfaces.msg import DroneTelemetry, LeaderHeartbeat, LeaderState
from node_process import NodeProcess, Operator
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import free_port
from drone_orchestrator.ros import sim_clock

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@pytest.fixture(scope="module")
def nodes(domain: int, etcd: EtcdProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, NodeProcess]]:
    endpoint = '"' + etcd.endpoints[0].removeprefix("http://") + '"'
    folder: Path = tmp_path_factory.mktemp("drones")
    with (
        NodeProcess(domain, "orchestrator", etcd_endpoints=endpoint, archive_dir=folder) as orchestrator,
        NodeProcess(domain, "drone_executor", drone_ids="[drone_1]", data_dir=folder) as drones,
        NodeProcess(domain, "saga_monitor", etcd_endpoints=endpoint) as monitor,
        NodeProcess(domain, "order_gateway", etcd_endpoints=endpoint, http_port=0) as gateway,
    ):
        orchestrator.wait_line("leading with epoch")
        yield {"orchestrator": orchestrator, "drones": drones, "monitor": monitor, "gateway": gateway}


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def test_the_fleet_and_each_node_publish_their_status(operator: Operator, nodes: dict[str, NodeProcess]) -> None:
    def well(name: str) -> dict[str, str]:
        status = operator.wait_status(name, lambda status: status.level == OK)
        assert status.hardware_id == ("drone_1" if name.startswith("drone_1:") else socket.gethostname())
        return values(status)

    assert well("saga_monitor: leader")["epoch"] == well("orchestrator: replica")["epoch"] != "0"
    etcd = well("saga_monitor: etcd")
    assert float(etcd["db_size_mib"]) >= 0.0 and etcd["version"]
    assert well("saga_monitor: drone drone_1")["phase"] == "IDLE"
    assert well("drone_1: executor")["phase"] == "IDLE"
    for name in ("sagas", "records", "breakers", "lane courier"):
        well(f"saga_monitor: {name}")
    well("order_gateway: intake")
    for node in ("orchestrator", "drone_executor", "saga_monitor", "order_gateway"):
        well(f"{node}: qos")


def test_a_subscriber_that_asks_for_too_much_is_named(
    domain: int, operator: Operator, nodes: dict[str, NodeProcess]
) -> None:
    with Operator(domain, "wants_too_much") as peer:
        reliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        peer.node.create_subscription(DroneTelemetry, "drones/drone_1/telemetry", lambda message: None, reliable)
        # DDS may report the incompatible peer before it knows its name.
        status = operator.wait_status("drone_executor: qos", lambda status: "/wants_too_much" in status.message)
        assert status.level == ERROR
        assert "/drones/drone_1/telemetry: subscriber /wants_too_much (reliability)" in status.message
        assert "docs/qos.md" in values(status)["hint"]
    # The status recovers once that subscriber is gone; the count stays.
    status = operator.wait_status("drone_executor: qos", lambda status: status.level == OK)
    assert any("RELIABILITY" in value for value in values(status).values())


def test_a_publisher_that_offers_too_little_is_named(
    domain: int, operator: Operator, nodes: dict[str, NodeProcess]
) -> None:
    with Operator(domain, "offers_too_little") as peer:
        volatile = QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE)
        peer.node.create_publisher(LeaderState, "leader", volatile)
        status = operator.wait_status("drone_executor: qos", lambda status: "/offers_too_little" in status.message)
        assert status.level == ERROR
        assert "/leader: publisher /offers_too_little (durability, liveliness)" in status.message
    operator.wait_status("drone_executor: qos", lambda status: status.level == OK)


def test_a_missed_deadline_is_reported_and_cleared(
    domain: int, operator: Operator, nodes: dict[str, NodeProcess]
) -> None:
    """Publish a single heartbeat, so that the next one misses its deadline."""
    from drone_orchestrator.ros import qos

    with Operator(domain, "hangs") as peer:
        publisher = peer.node.create_publisher(LeaderHeartbeat, "leader_heartbeat", qos.heartbeat())
        peer.wait("matched", lambda: publisher.get_subscription_count() >= 1)
        publisher.publish(LeaderHeartbeat())  # unset, so ignored by the election
        status = operator.wait_status("orchestrator: qos", lambda status: status.level == WARN)
        assert "/leader_heartbeat" in status.message
    operator.wait_status("orchestrator: qos", lambda status: status.level == OK)


def test_an_unreachable_store_shows_in_every_status(
    operator: Operator, etcd: EtcdProcess, nodes: dict[str, NodeProcess]
) -> None:
    etcd.kill_member(0)
    try:
        status = operator.wait_status("saga_monitor: etcd", lambda status: status.level == ERROR)
        assert "bring back" in values(status)["hint"]
        operator.wait_status("orchestrator: replica", lambda status: status.level == ERROR)
    finally:
        etcd.start_member(0)
    for name in ("saga_monitor: etcd", "orchestrator: replica", "saga_monitor: leader"):
        operator.wait_status(name, lambda status: status.level == OK)


def test_qos_overrides_reach_the_topics(domain: int) -> None:
    """Override the QoS of a node that needs no other process."""
    endpoint = f"127.0.0.1:{free_port()}"
    override = "qos_overrides./saga_events.publisher.depth:=7"
    with (
        NodeProcess(domain, "saga_monitor", "-r", "__node:=deep", "-p", override, etcd_endpoints=endpoint) as node,
        Operator(domain, "looks") as looks,
    ):
        found = looks.wait("it publishes", lambda: looks.node.get_publishers_info_by_topic("/saga_events"))
        assert found[0].topic_type == "drone_interfaces/msg/SagaEvent"
        assert looks.get_parameter("/deep", "qos_overrides./saga_events.publisher.depth") == 7
        assert node.stop() == 0


def test_simulated_time_without_a_clock_is_reported_until_it_comes(
    domain: int, operator: Operator, tmp_path: Path
) -> None:
    with NodeProcess(domain, "drone_executor", drone_ids="[drone_5]", data_dir=tmp_path, use_sim_time=True) as node:
        operator.wait_status("drone_executor: clock", lambda status: status.level == WARN)
        node.wait_line(sim_clock.SILENT)
        clock = operator.node.create_publisher(Clock, "/clock", 1)
        sent = operator.node.create_timer(0.1, lambda: clock.publish(Clock(clock=Time(sec=7))))
        operator.wait_status("drone_executor: clock", lambda status: status.level == OK)
        node.wait_line(sim_clock.HEARD)
        operator.node.destroy_timer(sent)
        operator.node.destroy_publisher(clock)
        assert node.stop() == 0
        assert sum(sim_clock.SILENT in line for line in node.lines) == 1
