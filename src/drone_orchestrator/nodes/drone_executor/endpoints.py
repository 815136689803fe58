"""The ROS publishers, services and action server of one drone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drone_interfaces.action import ExecuteDelivery
from drone_interfaces.msg import DroneState, DroneTelemetry
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node

from ...ros import names, qos
from ...ros.goal_server import CancelUnknown, GoalServer
from ...ros.qos_watch import QosWatch
from .parameters import Settings
from .pose import DronePose
from .standard_messages import StandardMessages

#: A result is kept for a slow client this long (s). Outcomes stay in the drone's state until they are acknowledged.
RESULT_TIMEOUT_S = 60


class DroneEndpoints:
    """Publishers and action server of a drone, created at its first configuration and kept until the process ends.

    They survive a clean-up. The events executor queues events by entity but does not own the entities, so destroying
    one while the process spins can crash it. An unconfigured drone publishes nothing and rejects every goal.
    """

    def __init__(
        self,
        node: Node,
        drone_id: str,
        settings: Settings,
        watch: QosWatch,
        *,
        on_goal: Callable[[Any], GoalResponse],
        on_begun: Callable[[ServerGoalHandle], None],
        on_cancel: Callable[[ServerGoalHandle], CancelResponse],
        on_cancel_unknown: CancelUnknown,
        ignores: Callable[[Any], bool],
    ) -> None:
        self._node = node
        profile, topic = qos.state(), names.DRONE_STATES
        self.state = node.create_publisher(DroneState, topic, profile, **watch.publishing(topic, profile))
        profile, topic = qos.telemetry(), names.drone_telemetry(drone_id)
        self.telemetry = node.create_publisher(DroneTelemetry, topic, profile, **watch.publishing(topic, profile))
        self.pose = DronePose(
            node, drone_id, settings.depot, watch, frame_id=settings.frame_id, publish_tf=settings.publish_tf
        )
        wanted = settings.standard_messages_hz > 0.0
        self.standard = StandardMessages(node, drone_id, settings.frame_id, watch) if wanted else None
        self.action = GoalServer(
            node,
            ExecuteDelivery,
            names.drone_action(drone_id),
            on_begun,
            on_cancel_unknown,
            ignores,
            goal_callback=on_goal,
            cancel_callback=on_cancel,
            result_timeout=RESULT_TIMEOUT_S,
        )

    def destroy(self) -> None:
        """Destroy the entities. Call it only after spinning has ended."""
        self.action.destroy()
        self.pose.close()
        if self.standard is not None:
            self.standard.close()
        self._node.destroy_publisher(self.telemetry)
        self._node.destroy_publisher(self.state)
