"""Publishes what ROS 2's own tools read of a vehicle: ``BatteryState``, ``NavSatFix`` and ``Odometry``."""

from __future__ import annotations

import math

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import BatteryState, NavSatFix, NavSatStatus

from ...flight.controller import FlightState
from ...ros import messages, names, qos
from ...ros.qos_watch import QosWatch
from .pose import child_frame, pose_of

UNKNOWN = math.nan


class StandardMessages:
    """Publishers of ``drones/<id>/battery``, ``…/fix`` and ``…/odom``, each while it has subscribers."""

    def __init__(self, node: Node, drone_id: str, frame_id: str, watch: QosWatch) -> None:
        self._node = node
        self._frame_id = frame_id
        self._child = child_frame(node.get_namespace(), drone_id)

        def publisher(kind: type, topic: str) -> Publisher:
            profile = qos.sensor_data()
            return node.create_publisher(kind, topic, profile, **watch.publishing(topic, profile))

        self._battery = publisher(BatteryState, names.drone_battery(drone_id))
        self._fix = publisher(NavSatFix, names.drone_fix(drone_id))
        self._odom = publisher(Odometry, names.drone_odom(drone_id))

    def close(self) -> None:
        for publisher in (self._battery, self._fix, self._odom):
            self._node.destroy_publisher(publisher)

    def publish(self, stamp_s: float, sensed: FlightState, battery_wh: float) -> None:
        if self._battery.get_subscription_count():
            self._battery.publish(battery_of(stamp_s, sensed, battery_wh, self._child))
        if self._fix.get_subscription_count():
            self._fix.publish(fix_of(stamp_s, sensed, self._child))
        if self._odom.get_subscription_count():
            self._odom.publish(odometry_of(stamp_s, sensed, self._frame_id, self._child))


def battery_of(stamp_s: float, sensed: FlightState, battery_wh: float, frame_id: str) -> BatteryState:
    """Return the charge as a fraction. The fleet counts energy in Wh, so voltage and charge in Ah are unknown."""
    message = BatteryState(present=True, percentage=sensed.energy_wh / battery_wh)
    message.header.frame_id, message.header.stamp = frame_id, messages.time_to_msg(stamp_s)
    message.voltage = message.temperature = message.current = UNKNOWN
    message.charge = message.capacity = message.design_capacity = UNKNOWN
    if not sensed.landed:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    return message


def fix_of(stamp_s: float, sensed: FlightState, frame_id: str) -> NavSatFix:
    """Return the position. The altitude above the ellipsoid is unknown: the fleet measures from the depot's ground."""
    message = NavSatFix(latitude=sensed.position.lat_deg, longitude=sensed.position.lon_deg, altitude=UNKNOWN)
    message.header.frame_id, message.header.stamp = frame_id, messages.time_to_msg(stamp_s)
    message.status.status, message.status.service = NavSatStatus.STATUS_FIX, NavSatStatus.SERVICE_GPS
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN
    return message


def odometry_of(stamp_s: float, sensed: FlightState, frame_id: str, child: str) -> Odometry:
    """Return the pose in ``frame_id`` and the velocity in the drone's own frame. Covariances are 0: unknown."""
    pose = pose_of(stamp_s, sensed, frame_id)
    message = Odometry(header=pose.header, child_frame_id=child)
    message.pose.pose = pose.pose
    east, north, up = sensed.local_velocity_mps
    cos, sin = math.cos(sensed.heading_rad), math.sin(sensed.heading_rad)
    ahead = message.twist.twist.linear
    ahead.x, ahead.y, ahead.z = cos * east + sin * north, cos * north - sin * east, float(up)
    return message
