"""Topics for rviz over DDS: the fleet's markers while subscribed to, and each drone's standard messages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import rclpy
from drone_interfaces.msg import DroneState, LeaderState
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import BatteryState, NavSatFix
from visualization_msgs.msg import Marker, MarkerArray

from drone_orchestrator.bringup import dds, fleet_config
from drone_orchestrator.core.drone.state import Goal
from drone_orchestrator.core.types import DroneReport, GeoPoint, Order, Phase
from drone_orchestrator.flight.controller import FlightState
from drone_orchestrator.nodes.drone_executor import pose, standard_messages
from drone_orchestrator.nodes.saga_monitor.fleet_markers import FORGOTTEN_S, FleetMarkers, to_msg
from drone_orchestrator.ros import messages, names, qos
from drone_orchestrator.ros.qos_watch import QosWatch
from drone_orchestrator.runtime.projection import Projection
from drone_orchestrator.store import MemoryBackend, MemoryStore
from drone_orchestrator.telemetry.findings import LeaderClock
from drone_orchestrator.telemetry.markers import Form, Mark
from drone_orchestrator.telemetry.metrics import Metrics
from drone_orchestrator.telemetry.strangers import Strangers

pytestmark = pytest.mark.ros
FLEET = fleet_config.load()
ORDER = Order("0f9d2b1e-6f0a-4a7c-9c1d-3f5b7a9d1e21", "ORD-1", GeoPoint(37.7749, -122.4194), 2.3, 1000.0)
SENSED = FlightState(
    position=FLEET.depot,
    local_position_m=(10.0, 20.0, 60.0),
    local_velocity_mps=(0.0, 20.0, 0.0),
    heading_rad=math.pi / 2,
    energy_wh=400.0,
    payload_on_board=True,
    at_target=False,
    landed=False,
    fault="",
)


class Stage:
    """Two nodes in one process: one that publishes, and one that subscribes."""

    def __init__(self, context: rclpy.Context) -> None:
        self.shown = Node("shows", context=context, namespace="/town")
        self.looking = Node("looks", context=context, namespace="/town")
        self.executor = SingleThreadedExecutor(context=context)
        for node in (self.shown, self.looking):
            self.executor.add_node(node)

    def hear(self, type_: type, topic: str, profile: Any) -> list[Any]:
        heard: list[Any] = []
        self.looking.create_subscription(type_, topic, heard.append, profile)
        return heard

    def until(self, condition: Callable[[], object], often: Callable[[], None] = lambda: None) -> None:
        deadline = time.monotonic() + 90.0
        while not condition():
            assert time.monotonic() < deadline
            often()
            self.executor.spin_once(timeout_sec=0.05)


@pytest.fixture
def stage(domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name, value in dds.loopback().items():
        monkeypatch.setenv(name, value)
    context = rclpy.Context()
    context.init(domain_id=domain)
    stage = Stage(context)
    yield stage
    stage.executor.shutdown()
    for node in (stage.shown, stage.looking):
        node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def projection() -> Iterator[Projection]:
    store = MemoryStore(MemoryBackend(), FLEET.region, "intake")
    store.submit(ORDER)
    projection = Projection(store)
    projection.start()
    assert projection.wait_loaded(90.0)
    yield projection
    projection.close()


def hear(markers: FleetMarkers, message: DroneState) -> None:
    markers.hear_drone(messages.report_from_msg(message), message.position.altitude_m)


def texts(array: MarkerArray, namespace: str) -> list[str]:
    return [marker.text for marker in array.markers if marker.ns == namespace and marker.text]


def test_the_fleet_is_drawn_for_a_subscriber(stage: Stage, projection: Projection) -> None:
    watch = QosWatch(stage.shown)
    markers = FleetMarkers(
        stage.shown,
        FLEET,
        projection,
        watch,
        is_away=lambda freshness: False,
        rate_hz=5.0,
        clock=LeaderClock(),
        strangers=Strangers(Metrics("saga_monitor", FLEET.region)),
    )
    states = stage.looking.create_publisher(DroneState, names.DRONE_STATES, qos.state())
    leader = stage.looking.create_publisher(LeaderState, names.LEADER, qos.state())
    report = DroneReport("drone_7", "courier", "j", 3, Phase.RETURNING, ORDER.destination, 275.0)
    states.publish(messages.report_to_msg(report, 0.0, 60.0))
    leader.publish(LeaderState(instance_id="i", epoch=3, region=FLEET.region))
    stage.shown.create_subscription(DroneState, names.DRONE_STATES, lambda msg: hear(markers, msg), qos.state())
    seen: list[MarkerArray] = []
    stage.looking.create_subscription(MarkerArray, names.FLEET_MARKERS, seen.append, qos.state())
    stage.until(lambda: seen and "drone_7 50 %" in texts(seen[-1], "drone_names"))

    assert [marker.action for marker in seen[-1].markers] == [Marker.ADD] * len(seen[-1].markers)
    assert {marker.header.frame_id for marker in seen[-1].markers} == {names.MAP_FRAME}
    assert texts(seen[-1], "order_names") == ["ORD-1"]
    assert texts(seen[-1], "zone_names") == ["no-fly zone\nyerba_buena_island"]
    assert texts(seen[-1], "banner")[0].startswith("NO LEADER")  # the store has no leader, although one publishes

    # A silent drone is removed.
    report, altitude_m, at_s = markers._drones["drone_7"]
    markers._drones["drone_7"] = (report, altitude_m, at_s - FORGOTTEN_S)
    last = len(seen)
    stage.until(lambda: len(seen) > last and not texts(seen[-1], "drone_names"))
    gone = [m.ns for array in seen[last:] for m in array.markers if m.action == Marker.DELETE]
    assert gone == ["batteries", "drone_names", "drones", "routes"]


def test_a_drone_shows_pose_and_path(stage: Stage) -> None:
    drone_pose = pose.DronePose(stage.shown, "drone_1", FLEET.depot, QosWatch(stage.shown))
    poses = stage.hear(PoseStamped, names.drone_pose("drone_1"), qos.telemetry())
    paths = stage.hear(Path, names.drone_path("drone_1"), qos.state())
    goal = Goal(ORDER, 1)

    stage.until(lambda: poses and paths, lambda: drone_pose.publish(1.5, SENSED, Phase.TO_DESTINATION, goal))

    assert poses[-1].header.frame_id == "map" and poses[-1].header.stamp.nanosec == 500_000_000
    position, orientation = poses[-1].pose.position, poses[-1].pose.orientation
    assert (position.x, position.y, position.z) == (10.0, 20.0, 60.0)
    assert 2.0 * math.atan2(orientation.z, orientation.w) == pytest.approx(math.pi / 2)
    assert len(paths) == 1  # published once, when it changed
    stops = [stop.pose.position for stop in paths[0].poses]
    assert (stops[0].x, stops[0].y) == (10.0, 20.0)
    assert math.hypot(stops[1].x, stops[1].y) == pytest.approx(3385.0, abs=30.0)  # City Hall
    assert (stops[2].x, stops[2].y, stops[2].z) == (0.0, 0.0, 60.0)

    stage.until(lambda: len(paths) == 2, lambda: drone_pose.publish(2.0, SENSED, Phase.IDLE, None))
    assert paths[1].poses == []
    drone_pose.close()


@pytest.mark.parametrize(
    ("namespace", "frame"), [("/", "drone_1/base_link"), ("/fleets/town", "fleets/town/drone_1/base_link")]
)
def test_the_transform_equals_the_pose(namespace: str, frame: str) -> None:
    stamped = pose.pose_of(1.5, replace(SENSED, heading_rad=-1.0), "map")

    transform = pose.transform_of(stamped, pose.child_frame(namespace, "drone_1"))

    assert (transform.header, transform.child_frame_id) == (stamped.header, frame)
    translation = transform.transform.translation
    assert (translation.x, translation.y, translation.z) == (10.0, 20.0, 60.0)
    assert transform.transform.rotation == stamped.pose.orientation


def test_a_mark_becomes_the_marker_it_describes() -> None:
    red = (1.0, 0.0, 0.0, 0.5)
    mark = Mark("routes", 4, Form.LINE_LIST, red, (1.0, 2.0, 3.0), 0.5, (6.0, 0.0, 0.0), ((0.0, 1.0, 2.0),), (red,))

    added, deleted = to_msg([mark], [("orders", 9)], messages.time_to_msg(5.0), 3.0).markers

    assert (added.ns, added.id, added.type, added.action) == ("routes", 4, Marker.LINE_LIST, Marker.ADD)
    assert (added.pose.position.z, added.scale.x, added.points[0].y, added.colors[0].a) == (3.0, 6.0, 1.0, 0.5)
    assert 2.0 * math.atan2(added.pose.orientation.z, added.pose.orientation.w) == pytest.approx(0.5)
    assert added.lifetime.sec == 3
    assert (deleted.ns, deleted.id, deleted.action) == ("orders", 9, Marker.DELETE)
    assert {form.name: int(form) for form in Form} == {
        "SPHERE": Marker.SPHERE,
        "CYLINDER": Marker.CYLINDER,
        "LINE_STRIP": Marker.LINE_STRIP,
        "LINE_LIST": Marker.LINE_LIST,
        "TEXT": Marker.TEXT_VIEW_FACING,
        "TRIANGLES": Marker.TRIANGLE_LIST,
    }


def test_standard_messages_say_what_is_known_and_no_more() -> None:
    battery = standard_messages.battery_of(1.5, SENSED, 500.0, "drone_1/base_link")
    assert battery.percentage == pytest.approx(0.8) and math.isnan(battery.voltage)
    fix = standard_messages.fix_of(1.5, SENSED, "drone_1/base_link")
    assert (fix.latitude, fix.longitude) == (FLEET.depot.lat_deg, FLEET.depot.lon_deg) and math.isnan(fix.altitude)
    odometry = standard_messages.odometry_of(1.5, SENSED, "site", "drone_1/base_link")
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("site", "drone_1/base_link")
    moves = odometry.twist.twist.linear  # it flies and looks north at 20 m/s
    assert (moves.x, moves.y, moves.z) == pytest.approx((20.0, 0.0, 0.0))


def test_standard_messages_are_published_to_subscribers(stage: Stage) -> None:
    messages_of = standard_messages.StandardMessages(stage.shown, "drone_1", "site", QosWatch(stage.shown))
    kinds = {"battery": BatteryState, "fix": NavSatFix, "odom": Odometry}
    heard = [stage.hear(kind, f"drones/drone_1/{topic}", qos_profile_sensor_data) for topic, kind in kinds.items()]
    stage.until(lambda: all(heard), lambda: messages_of.publish(1.5, SENSED, 500.0))
    frames = [each[0].header.frame_id for each in heard]
    assert frames == ["town/drone_1/base_link", "town/drone_1/base_link", "site"]


def test_a_drone_takes_another_frame_and_leaves_transforms_to_others(stage: Stage) -> None:
    watch = QosWatch(stage.shown)
    drone_pose = pose.DronePose(stage.shown, "drone_1", FLEET.depot, watch, frame_id="site", publish_tf=False)
    assert stage.shown.count_publishers("/tf") == 0
    poses = stage.hear(PoseStamped, names.drone_pose("drone_1"), qos.telemetry())
    stage.until(lambda: poses, lambda: drone_pose.publish(1.5, SENSED, Phase.IDLE, None))
    assert poses[0].header.frame_id == "site"
