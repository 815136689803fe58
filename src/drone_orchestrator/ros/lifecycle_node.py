"""Makes lifecycle nodes refuse invalid transitions instead of crashing."""

from __future__ import annotations

from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode


def refuse_unfit_transitions(node: LifecycleNode) -> None:
    """Make ``node`` reject a request whose transition id is invalid in its current state.

    By default rclpy raises in the service's callback, which would end the process and every other node in it.
    """
    service = node._service_change_state
    change = service.callback

    def change_or_refuse(request: Any, response: Any) -> Any:
        try:
            return change(request, response)
        except rclpy_implementation.RCLError as error:
            node.get_logger().warning(f"transition {request.transition.id} refused: {error}")
            response.success = False
            return response

    service.callback = change_or_refuse
