"""Names of nodes, topics, services and actions, relative to the fleet's namespace, and the rule for drone ids."""

from __future__ import annotations

import re

LEADER_HEARTBEAT = "leader_heartbeat"
LEADER = "leader"
DRONE_STATES = "drone_states"
REQUEST_CLEARANCE = "request_clearance"
SUBMIT_ORDER = "submit_order"
CANCEL_ORDER = "cancel_order"
ORDERS = "orders"
SAGA_EVENTS = "saga_events"
SAGA_TABLE = "saga_table"
BACK_PRESSURE = "back_pressure"
FLEET_MARKERS = "fleet_markers"
#: Default frame of all markers and poses: metres east, north and up of the depot (REP 103, 105).
MAP_FRAME = "map"
DIAGNOSTICS = "/diagnostics"  # absolute by ROS convention (REP 107)

#: The id is a node name and part of topic names, so it must be one token of a ROS name.
DRONE_ID_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,62}")


class InvalidDroneId(ValueError):
    """A drone id that cannot be part of a ROS name."""


def check_drone_id(drone_id: str) -> str:
    """Return ``drone_id``. Raises :class:`InvalidDroneId` if it cannot be part of a ROS name."""
    if not DRONE_ID_PATTERN.fullmatch(drone_id) or drone_id.endswith("_") or "__" in drone_id:
        raise InvalidDroneId(
            "drone id must be lower-case letters, digits and single underscores, starting with a letter, "
            f"got {drone_id!r}"
        )
    return drone_id


def drone_action(drone_id: str) -> str:
    """Return the action on which ``drone_id`` accepts goals."""
    return f"drones/{check_drone_id(drone_id)}/execute_delivery"


def drone_telemetry(drone_id: str) -> str:
    """Return the topic with the pose and energy of ``drone_id``."""
    return f"drones/{check_drone_id(drone_id)}/telemetry"


def drone_pose(drone_id: str) -> str:
    """Return the topic of the pose of ``drone_id`` (``geometry_msgs/PoseStamped``)."""
    return f"drones/{check_drone_id(drone_id)}/pose"


def drone_path(drone_id: str) -> str:
    """Return the topic of the path ahead of ``drone_id`` (``nav_msgs/Path``)."""
    return f"drones/{check_drone_id(drone_id)}/path"


def drone_battery(drone_id: str) -> str:
    """Return the topic of the charge of ``drone_id`` (``sensor_msgs/BatteryState``)."""
    return f"drones/{check_drone_id(drone_id)}/battery"


def drone_fix(drone_id: str) -> str:
    """Return the topic of the position of ``drone_id`` on earth (``sensor_msgs/NavSatFix``)."""
    return f"drones/{check_drone_id(drone_id)}/fix"


def drone_odom(drone_id: str) -> str:
    """Return the topic of pose and velocity that the executor of ``drone_id`` publishes (``nav_msgs/Odometry``)."""
    return f"drones/{check_drone_id(drone_id)}/odom"


def drone_set_point(drone_id: str) -> str:
    """Return the topic of velocity commands to ``drone_id``, if its executor flies it (``geometry_msgs/Twist``)."""
    return f"drones/{check_drone_id(drone_id)}/cmd_vel"


def drone_motors(drone_id: str) -> str:
    """Return the topic that switches the motors of ``drone_id`` (``std_msgs/Bool``)."""
    return f"drones/{check_drone_id(drone_id)}/motors"


def drone_odometry(drone_id: str) -> str:
    """Return the topic of the odometry of ``drone_id`` (``nav_msgs/Odometry``)."""
    return f"drones/{check_drone_id(drone_id)}/odometry"
