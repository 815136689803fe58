"""Publishes a drone's pose as ``PoseStamped`` and ``Path``, and as a transform if ``tf2_msgs`` is installed."""

from __future__ import annotations

import math

from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import Path
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from ...core.drone.state import Goal
from ...core.types import GeoPoint, Phase
from ...core.zones import Airspace
from ...flight.controller import FlightState
from ...ros import messages, names, qos
from ...ros.qos_watch import QosWatch
from ...telemetry.scene import way

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not in the ROS wheels
    TFMessage = None

TF = "/tf"  # absolute by ROS convention


class DronePose:
    """Publisher of ``drones/<id>/pose`` and the transform while they have subscribers, and of ``drones/<id>/path``."""

    def __init__(
        self,
        node: Node,
        drone_id: str,
        depot: GeoPoint,
        watch: QosWatch,
        *,
        frame_id: str = names.MAP_FRAME,
        publish_tf: bool = True,
    ) -> None:
        self._node = node
        self._frame_id = frame_id
        self._space = Airspace(depot, ())
        self._frame = child_frame(node.get_namespace(), drone_id)
        self._shown: tuple[Phase, str] | None = None

        def publisher(kind: type, topic: str, profile: QoSProfile) -> Publisher:
            return node.create_publisher(kind, topic, profile, **watch.publishing(topic, profile))

        self._pose = publisher(PoseStamped, names.drone_pose(drone_id), qos.telemetry())
        self._path = publisher(Path, names.drone_path(drone_id), qos.state())
        self._tf = publisher(TFMessage, TF, qos.transforms()) if TFMessage and publish_tf else None

    def close(self) -> None:
        for publisher in (self._pose, self._path, self._tf):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    def publish(self, stamp_s: float, sensed: FlightState, phase: Phase, goal: Goal | None) -> None:
        """Publish the pose and, if it has changed, the path ahead."""
        order = goal.order if goal is not None else None
        shown = (phase, order.message_id if order is not None else "")
        followed = self._pose.get_subscription_count() > 0
        transformed = self._tf is not None and self._tf.get_subscription_count() > 0
        if not followed and not transformed and shown == self._shown:
            return  # building a message costs CPU time, and most drones of a large fleet have no subscriber
        pose = pose_of(stamp_s, sensed, self._frame_id)
        if followed:
            self._pose.publish(pose)
        if self._tf is not None and transformed:
            self._tf.publish(TFMessage(transforms=[transform_of(pose, self._frame)]))
        if shown != self._shown:
            self._shown = shown
            stops = way(phase, order, self._space)
            self._path.publish(path_of(pose, stops))


def child_frame(namespace: str, drone_id: str) -> str:
    """Return ``<namespace>/<drone_id>/base_link``, without the leading slash that tf2 refuses."""
    return "/".join([*filter(None, namespace.split("/")), drone_id, "base_link"])


def pose_of(stamp_s: float, sensed: FlightState, frame_id: str) -> PoseStamped:
    pose = PoseStamped()
    pose.header.frame_id, pose.header.stamp = frame_id, messages.time_to_msg(stamp_s)
    position, orientation = pose.pose.position, pose.pose.orientation
    position.x, position.y, position.z = map(float, sensed.local_position_m)
    orientation.z, orientation.w = math.sin(sensed.heading_rad / 2.0), math.cos(sensed.heading_rad / 2.0)
    return pose


def path_of(pose: PoseStamped, stops: tuple[tuple[float, float], ...]) -> Path:
    """Return the path from ``pose`` through ``stops`` (east, north) at the height of the pose; empty without stops."""
    path = Path(header=pose.header)
    if not stops:
        return path
    path.poses = [pose]
    for x, y in stops:
        stop = PoseStamped(header=pose.header)
        stop.pose.position.x, stop.pose.position.y, stop.pose.position.z = x, y, pose.pose.position.z
        path.poses.append(stop)
    return path


def transform_of(pose: PoseStamped, child: str) -> TransformStamped:
    """Return the transform from the frame of the pose to the drone."""
    transform = TransformStamped(header=pose.header, child_frame_id=child)
    translation, position = transform.transform.translation, pose.pose.position
    translation.x, translation.y, translation.z = position.x, position.y, position.z
    transform.transform.rotation = pose.pose.orientation
    return transform
