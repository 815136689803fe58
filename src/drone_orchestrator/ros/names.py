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
#: Frame of everything that is drawn: metres east, north and up of the depot (REP 103, 105).
MAP_FRAME = "map"
DIAGNOSTICS = "/diagnostics"  # absolute by ROS convention (REP 107)

#: ROS names allow no more than this in one token; the id is a node name and part of topic names.
DRONE_ID_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,62}")


class InvalidDroneId(ValueError):
    """The id cannot be a ROS name."""


def check_drone_id(drone_id: str) -> str:
    """``drone_id`` itself. Raises :class:`InvalidDroneId` where it cannot be part of a ROS name."""
    if not DRONE_ID_PATTERN.fullmatch(drone_id) or drone_id.endswith("_") or "__" in drone_id:
        raise InvalidDroneId(
            f"drone id {drone_id!r}: use lower-case letters, digits and single underscores, beginning with a letter"
        )
    return drone_id


def drone_action(drone_id: str) -> str:
    """The action by which ``drone_id`` takes orders."""
    return f"drones/{check_drone_id(drone_id)}/execute_delivery"


def drone_telemetry(drone_id: str) -> str:
    """The topic on which ``drone_id`` shows pose and energy."""
    return f"drones/{check_drone_id(drone_id)}/telemetry"


def drone_pose(drone_id: str) -> str:
    """The topic on which ``drone_id`` shows its pose (``geometry_msgs/PoseStamped``)."""
    return f"drones/{check_drone_id(drone_id)}/pose"


def drone_path(drone_id: str) -> str:
    """The topic on which ``drone_id`` shows where it still has to go (``nav_msgs/Path``)."""
    return f"drones/{check_drone_id(drone_id)}/path"


def drone_set_point(drone_id: str) -> str:
    """The topic on which ``drone_id`` is told how to move, where its executor flies it (``geometry_msgs/Twist``)."""
    return f"drones/{check_drone_id(drone_id)}/cmd_vel"


def drone_motors(drone_id: str) -> str:
    """The topic that lets the rotors of ``drone_id`` turn (``std_msgs/Bool``)."""
    return f"drones/{check_drone_id(drone_id)}/motors"


def drone_odometry(drone_id: str) -> str:
    """The topic on which ``drone_id`` tells pose and velocity (``nav_msgs/Odometry``)."""
    return f"drones/{check_drone_id(drone_id)}/odometry"
