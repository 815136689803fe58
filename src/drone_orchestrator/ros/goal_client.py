"""What a leader needs of a drone's action server, and no more."""

from __future__ import annotations

import time
from typing import Any

from action_msgs.srv import CancelGoal
from drone_interfaces.action import ExecuteDelivery
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

#: A drone that has not answered for so long (s) is not waited for.
ANSWER_WITHIN_S = 5.0


class GoalClient:
    """Sends and recalls goals of one action, by the services that ROS 2 actions consist of
    (https://design.ros2.org/articles/actions.html). Used on the executor's thread.

    rclpy's action client has three services and two topics for each drone, each of which the executor looks at on every
    wake. Feedback, status and result are of no use here: a drone's state says all that counts, to whoever leads. So
    this client has one service, and a second one once something is recalled.
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
        """Whether the drone was found. DDS looks through all that it knows to say so, and is only asked where the
        drone has not answered the last goal."""
        return self._answers or bool(self._goals.service_is_ready())

    @property
    def is_waiting(self) -> bool:
        """Whether a goal that was sent may still be answered."""
        return self._sent is not None and not self._sent[0].done() and time.monotonic() < self._sent[1]

    def send(self, goal: ExecuteDelivery.Goal, uuid: UUID) -> Future:
        """Ask the drone to accept ``goal``; the future's result has ``accepted``. One goal at a time: the answer to an
        earlier one is not waited for any more."""
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
        """Ask the drone to cancel the goal, whoever sent it; ``False`` if it is still to be found."""
        if self._cancels is None:
            self._cancels = self._node.create_client(CancelGoal, f"{self._action}/_action/cancel_goal")
        if not self._cancels.service_is_ready():
            return False
        request: Any = CancelGoal.Request()
        request.goal_info.goal_id = uuid
        if self._recalled is not None:
            self._cancels.remove_pending_request(self._recalled)  # a drone that never answers is not remembered
        self._recalled = self._cancels.call_async(request)  # what becomes of it shows in the drone's state
        return True

    def destroy(self) -> None:
        for client in (self._goals, self._cancels):
            if client is not None:
                self._node.destroy_client(client)
