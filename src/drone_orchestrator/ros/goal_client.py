"""Minimal action client of a leader: send and cancel goals."""

from __future__ import annotations

import time
from typing import Any

from action_msgs.srv import CancelGoal
from drone_interfaces.action import ExecuteDelivery
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

#: Timeout (s) of a drone's answer.
ANSWER_WITHIN_S = 5.0


class GoalClient:
    """Sends and recalls the goals of one action. Used on the executor's thread.

    It calls the services that make up a ROS 2 action (https://design.ros2.org/articles/actions.html). rclpy's action
    client has three services and two topics per drone, and the classic executor checks each of them on every wake.
    This client uses one service, and a second one after the first recall. It needs no feedback, status or result,
    because the drone's published state includes them.
    """

    def __init__(self, node: Node, action: str) -> None:
        self._node = node
        self._action = action
        self._goals: Client = node.create_client(ExecuteDelivery.Impl.SendGoalService, f"{action}/_action/send_goal")
        self._cancels: Client | None = None
        self._sent: tuple[Future, float] | None = None
        self._answers = False
        self._recalled: Future | None = None

    @property
    def is_ready(self) -> bool:
        """True if the drone was discovered. The check is expensive, so it is skipped while the drone answers."""
        return self._answers or bool(self._goals.service_is_ready())

    @property
    def is_waiting(self) -> bool:
        """True while a goal that was sent may still be answered."""
        return self._sent is not None and not self._sent[0].done() and time.monotonic() < self._sent[1]

    def send(self, goal: ExecuteDelivery.Goal, uuid: UUID) -> Future:
        """Ask the drone to accept ``goal``. The future's result has the field ``accepted``.

        Only one goal is pending at a time: the answer to an earlier one is discarded.
        """
        if self._sent is not None:
            self._goals.remove_pending_request(self._sent[0])
        future = self._goals.call_async(ExecuteDelivery.Impl.SendGoalService.Request(goal_id=uuid, goal=goal))
        self._sent = (future, time.monotonic() + ANSWER_WITHIN_S)
        self._answers = False
        future.add_done_callback(self._answered)
        return future

    def _answered(self, future: Future) -> None:
        self._answers = not future.cancelled() and future.exception() is None

    def recall(self, uuid: UUID) -> bool:
        """Ask the drone to cancel a goal of any sender. Return ``False`` if the drone is not discovered yet."""
        if self._cancels is None:
            self._cancels = self._node.create_client(CancelGoal, f"{self._action}/_action/cancel_goal")
        if not self._cancels.service_is_ready():
            return False
        request: Any = CancelGoal.Request()
        request.goal_info.goal_id = uuid
        if self._recalled is not None:
            self._cancels.remove_pending_request(self._recalled)  # else a drone that never answers would leak memory
        self._recalled = self._cancels.call_async(request)  # the drone's state shows the result
        return True

    def destroy(self) -> None:
        for client in (self._goals, self._cancels):
            if client is not None:
                self._node.destroy_client(client)
