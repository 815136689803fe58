"""An action server for goals that take minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node

Conclude = Callable[[ServerGoalHandle], Any]


class GoalServer(ActionServer):
    """rclpy's action server without a waiting coroutine per goal.

    The events executor would poll each coroutine without end (:mod:`.executors`), and any executor would hold a task
    for each. ``on_begun(handle)`` is called when an accepted goal begins; call :meth:`finish` when it has ended.
    ``options`` are those of ``ActionServer``.
    """

    def __init__(
        self, node: Node, action_type: Any, name: str, on_begun: Callable[[ServerGoalHandle], None], **options: Any
    ) -> None:
        self._on_begun = on_begun
        super().__init__(node, action_type, name, on_begun, **options)

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Conclude | None) -> None:
        """Take the place of rclpy's method that begins the task."""
        self._on_begun(goal_handle)

    def finish(self, goal_handle: ServerGoalHandle, conclude: Conclude) -> None:
        """Let ``conclude`` set the goal's state and return its result; send the result to those who asked for it."""
        super().notify_execute(goal_handle, conclude)
