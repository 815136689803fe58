"""Lifecycle nodes that refuse a transition that does not fit their state."""

from __future__ import annotations

from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode


def refuse_unfit_transitions(node: LifecycleNode) -> None:
    """Let ``node`` answer "no" to a request whose transition id does not fit its state.

    rclpy raises out of the service's callback instead, which would end the process and every other node in it.
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
