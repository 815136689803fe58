"""Action server for goals that take minutes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from action_msgs.srv import CancelGoal
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

Conclude = Callable[[ServerGoalHandle], Any]
#: Answers a request to cancel a goal, by its id, that the server does not know. ``None``: it is unknown altogether.
CancelUnknown = Callable[[bytes], CancelResponse | None]


class GoalServer(ActionServer):
    """rclpy's action server without a waiting coroutine per goal.

    The events executor would poll each coroutine in a busy loop (:mod:`.executors`), and any executor would keep a task
    for each. ``on_begun(handle)`` is called when an accepted goal begins; call :meth:`finish` when it has ended.

    A goal that an earlier process accepted is unknown to the server: rclpy would answer a request to cancel it with
    ``ERROR_UNKNOWN_GOAL_ID`` and call nothing. ``on_cancel_unknown`` gets such a request.

    A goal that ``ignores`` is left unanswered: it is meant for another server of this name.

    ``options`` are those of ``ActionServer``.
    """

    def __init__(
        self,
        node: Node,
        action_type: Any,
        name: str,
        on_begun: Callable[[ServerGoalHandle], None],
        on_cancel_unknown: CancelUnknown,
        ignores: Callable[[Any], bool],
        **options: Any,
    ) -> None:
        self._on_begun = on_begun
        self._on_cancel_unknown = on_cancel_unknown
        self._ignores = ignores
        super().__init__(node, action_type, name, on_begun, **options)

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Conclude | None) -> None:
        """Call ``on_begun`` instead of starting a task. Overrides rclpy's method."""
        self._on_begun(goal_handle)

    async def execute(self, taken_data: dict[str, Any]) -> None:
        """Take goals to ignore, and requests to cancel an unknown goal, out of what rclpy is to answer."""
        goal = taken_data.get("goal")
        if goal is not None and self._ignores(goal[1].goal):
            taken_data = {kind: taken for kind, taken in taken_data.items() if kind != "goal"}
        cancel = taken_data.get("cancel")
        if cancel is not None and self._answer_unknown(*cancel):
            taken_data = {kind: taken for kind, taken in taken_data.items() if kind != "cancel"}
        await super().execute(taken_data)

    def _answer_unknown(self, header: Any, request: CancelGoal.Request) -> bool:
        """Answer a request to cancel one unknown goal. ``False``: rclpy answers it."""
        info = request.goal_info
        goal_id = bytes(info.goal_id.uuid)
        # No id, or a time: several goals are meant.
        if goal_id in self._goal_handles or not any(goal_id) or info.stamp.sec or info.stamp.nanosec:
            return False
        verdict = self._on_cancel_unknown(goal_id)
        if verdict is None:
            return False
        answer = CancelGoal.Response(return_code=CancelGoal.Response.ERROR_REJECTED)
        if verdict == CancelResponse.ACCEPT:
            answer = CancelGoal.Response(return_code=CancelGoal.Response.ERROR_NONE, goals_canceling=[info])
        with suppress(rclpy_implementation.RCLError):  # the client may be gone
            self._handle.send_cancel_response(header, answer)
        return True

    def finish(self, goal_handle: ServerGoalHandle, conclude: Conclude) -> None:
        """Let ``conclude`` set the goal's state and return its result; send that to the clients that requested it."""
        super().notify_execute(goal_handle, conclude)
