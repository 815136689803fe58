"""``fleet_markers``: the whole fleet for rviz, drawn by :mod:`drone_orchestrator.telemetry.markers`.

Nothing is drawn while the topic has no subscribers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from builtin_interfaces.msg import Time
from drone_interfaces.msg import LeaderState
from geometry_msgs.msg import Point, Quaternion, Vector3
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ...core.types import DroneReport, FleetSpec
from ...core.view import FleetView
from ...core.zones import airspace
from ...ros import messages, names, qos
from ...ros.qos_watch import QosWatch
from ...runtime.projection import Freshness, Projection
from ...telemetry.findings import LeaderClock
from ...telemetry.markers import Color, Mark, Stage, draw
from ...telemetry.scene import FleetScene, LeaderWatch, look, seen_drone
from ...telemetry.strangers import Strangers

#: A drone not heard for this long (s) is not drawn.
FORGOTTEN_S = 120.0
#: Lifetime of a marker, in periods: markers disappear if the monitor dies, or if their deletion was lost.
LIFETIME_PERIODS = 6.0


class FleetMarkers:
    """Publisher of ``fleet_markers`` at ``rate_hz``, while the topic has subscribers.

    The node passes drone reports to :meth:`hear_drone`. ``is_away`` returns whether the store is unreachable.
    ``clock`` compares the leader's clock with this one. Leaders that ``strangers`` ignores are not followed.
    """

    def __init__(
        self,
        node: Node,
        fleet: FleetSpec,
        projection: Projection,
        watch: QosWatch,
        *,
        is_away: Callable[[Freshness], bool],
        rate_hz: float,
        clock: LeaderClock,
        strangers: Strangers,
        frame_id: str = names.MAP_FRAME,
    ) -> None:
        self._frame_id = frame_id
        self._clock = clock
        self._strangers = strangers
        self._node = node
        self._fleet = fleet
        self._space = airspace(fleet)
        self._projection = projection
        self._is_away = is_away
        self._stage = Stage()
        self._leader = LeaderWatch()
        self._drones: dict[str, tuple[DroneReport, float, float]] = {}  # report, altitude, when it was heard
        self._lifetime_s = LIFETIME_PERIODS / rate_hz
        profile, topic = qos.state(), names.FLEET_MARKERS
        self._publisher = node.create_publisher(MarkerArray, topic, profile, **watch.publishing(topic, profile))
        profile, topic = qos.state(), names.LEADER
        node.create_subscription(LeaderState, topic, self._hear_leader, profile, **watch.subscribing(topic, profile))
        self._timer = node.create_timer(1.0 / rate_hz, self._tick)

    def hear_drone(self, report: DroneReport, altitude_m: float) -> None:
        """Record the ``report`` of a drone at ``altitude_m`` above the ground."""
        self._drones[report.drone_id] = (report, altitude_m, time.monotonic())

    def _tick(self) -> None:
        if self._publisher.get_subscription_count() == 0:
            self._projection.read(self._follow_leader)
        else:
            self._publish()

    def _follow_leader(self, view: FleetView) -> None:
        """Follow the leader even without subscribers, so that a change of leader is drawn as new only when it is."""
        self._leader.read(view.leadership, time.monotonic())

    def _hear_leader(self, msg: LeaderState) -> None:
        sender = msg.holder or msg.instance_id
        if self._strangers.ignores("leader", sender, msg.fleet_id, topic=names.LEADER):
            return
        if msg.instance_id and msg.region in ("", self._fleet.region):
            self._leader.heard(msg.epoch, time.monotonic())
            # Both sides use ROS's clock: with simulated time there is no skew to find.
            self._clock.heard(messages.time_from_msg(msg.stamp) - self._node.get_clock().now().nanoseconds * 1e-9)

    def _publish(self) -> None:
        now_s = time.monotonic()
        stored, freshness = self._projection.read(lambda view: look(view, self._space))
        self._drones = {name: heard for name, heard in self._drones.items() if now_s - heard[2] < FORGOTTEN_S}
        drones = [
            seen_drone(report, altitude_m, now_s - at_s, stored.by_message, self._space)
            for report, altitude_m, at_s in self._drones.values()
        ]
        scene = FleetScene(
            tuple(drones),
            stored.orders,
            self._leader.read(stored.leader, now_s),
            stored.counts,
            store_away=not freshness.loaded or self._is_away(freshness),
        )
        marks = draw(self._fleet, self._space.shapes, scene)
        stamp = self._node.get_clock().now().to_msg()
        array = to_msg(marks, self._stage.replace(marks), stamp, self._lifetime_s)
        for marker in array.markers:
            marker.header.frame_id = self._frame_id
        self._publisher.publish(array)


def to_msg(marks: Iterable[Mark], gone: Iterable[tuple[str, int]], stamp: Time, lifetime_s: float) -> MarkerArray:
    """Return a message with a marker per mark, each with ``lifetime_s``, and a deletion per entry of ``gone``."""
    lifetime = Duration(seconds=lifetime_s).to_msg()
    markers = [_marker(mark, stamp) for mark in marks]
    for marker in markers:
        marker.lifetime = lifetime
    for namespace, number in gone:
        marker = _bare(stamp, Marker.DELETE)
        marker.ns, marker.id = namespace, number
        markers.append(marker)
    return MarkerArray(markers=markers)


def _bare(stamp: Time, action: int) -> Marker:
    marker = Marker(action=action)
    marker.header.frame_id, marker.header.stamp = names.MAP_FRAME, stamp
    return marker


def _marker(mark: Mark, stamp: Time) -> Marker:
    marker = _bare(stamp, Marker.ADD)
    marker.ns, marker.id, marker.type = mark.namespace, mark.id, int(mark.form)
    marker.pose.position = Point(**dict(zip("xyz", mark.position, strict=True)))
    marker.pose.orientation = Quaternion(z=math.sin(mark.yaw_rad / 2.0), w=math.cos(mark.yaw_rad / 2.0))
    marker.scale = Vector3(**dict(zip("xyz", mark.scale, strict=True)))
    marker.color = _color(mark.color)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in mark.points]
    marker.colors = [_color(color) for color in mark.colors]
    marker.text = mark.text
    return marker


def _color(color: Color) -> ColorRGBA:
    return ColorRGBA(**dict(zip("rgba", color, strict=True)))
