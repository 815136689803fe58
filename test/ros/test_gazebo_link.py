"""A drone that is flown over topics keeps them through a clean-up, and names peers with incompatible QoS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticStatus
from drone_interfaces.msg import DroneState
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Odometry
from node_process import NodeProcess, Operator
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool

from drone_orchestrator.ros import names

pytestmark = pytest.mark.ros

DRONE = "drone_1"
RATE_HZ = 30.0


class Bridge:
    """Stand-in for Gazebo's bridge: says that the drone is ``east_m`` east of its depot, and keeps its states."""

    def __init__(self, operator: Operator) -> None:
        self.east_m = 0.0
        self.states: list[DroneState] = []
        self._operator = operator
        self._publisher = operator.node.create_publisher(Odometry, names.drone_odometry(DRONE), 10)
        operator.node.create_timer(1.0 / RATE_HZ, self._tell)
        operator.node.create_subscription(DroneState, names.DRONE_STATES, self.states.append, 10)

    def _tell(self) -> None:
        message = Odometry()
        message.header.stamp = self._operator.node.get_clock().now().to_msg()
        message.pose.pose.position.x = self.east_m
        message.pose.pose.orientation.w = 1.0
        self._publisher.publish(message)

    def wait_seen_at(self, east_m: float) -> None:
        """Wait until the drone reports the position that odometry has."""
        self.east_m = east_m
        self.states.clear()
        self._operator.wait(f"the drone knows that it is {east_m} m east", self._is_seen)

    def _is_seen(self) -> bool:
        east_m = [(state.position.longitude_deg + 122.3876) * 111_320.0 * 0.7905 for state in self.states]
        return any(abs(each - self.east_m) < 0.5 for each in east_m)


@pytest.fixture(scope="module")
def drone(domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder: Path = tmp_path_factory.mktemp("drones")
    with NodeProcess(domain, "drone_executor", drone_ids=f"[{DRONE}]", data_dir=folder, flight="gazebo") as process:
        yield process


@pytest.fixture(scope="module")
def bridge(operator: Operator, drone: NodeProcess) -> Bridge:
    return Bridge(operator)


def test_a_drone_that_is_configured_again_hears_odometry_over_the_topics_it_had(
    operator: Operator, drone: NodeProcess, bridge: Bridge
) -> None:
    bridge.wait_seen_at(3.0)
    for round_ in range(1, 4):
        for transition in ("DEACTIVATE", "CLEANUP", "CONFIGURE", "ACTIVATE"):
            assert operator.change_state(f"/{DRONE}", getattr(Transition, f"TRANSITION_{transition}")), transition
        bridge.wait_seen_at(3.0 + 3.0 * round_)
    for kind, topic in ((Twist, names.drone_set_point(DRONE)), (Bool, names.drone_motors(DRONE))):
        assert len(operator.node.get_publishers_info_by_topic(topic)) == 1, kind
    assert len(operator.node.get_subscriptions_info_by_topic(names.drone_odometry(DRONE))) == 1


def test_a_bridge_that_asks_for_too_much_is_named(
    domain: int, operator: Operator, drone: NodeProcess, bridge: Bridge
) -> None:
    topic = names.drone_set_point(DRONE)
    with Operator(domain, "wants_too_much") as peer:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        peer.node.create_subscription(Twist, topic, lambda message: None, latched)
        status = operator.wait_status("drone_executor: qos", lambda status: "/wants_too_much" in status.message)
    assert status.level == DiagnosticStatus.ERROR
    assert f"/{topic}: subscriber /wants_too_much (durability)" in status.message


def test_it_ends_in_order(drone: NodeProcess, bridge: Bridge) -> None:
    assert drone.stop() == 0, "".join(drone.lines)
