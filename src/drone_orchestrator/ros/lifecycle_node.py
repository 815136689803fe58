"""Makes lifecycle nodes refuse invalid transitions instead of crashing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

#: Names of the transitions that a request may give by number only.
_LABELS = {
    Transition.TRANSITION_CLEANUP: "cleanup",
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: "shutdown",
    Transition.TRANSITION_INACTIVE_SHUTDOWN: "shutdown",
    Transition.TRANSITION_ACTIVE_SHUTDOWN: "shutdown",
}


def refuse_unfit_transitions(node: LifecycleNode, objection: Callable[[str], str] = lambda transition: "") -> None:
    """Make ``node`` reject a request whose transition is invalid in its current state, or to which it has an objection.

    By default rclpy raises in the service's callback, which would end the process and every other node in it.
    ``objection`` gets the name of a transition that a client requests, and returns the reason against it. A callback
    ``on_shutdown`` cannot object: the state machine ends whatever it returns.
    """
    service = node._service_change_state
    change = service.callback

    def change_or_refuse(request: Any, response: Any) -> Any:
        name = request.transition.label or _LABELS.get(request.transition.id, "")
        reason = objection(name.rpartition("_")[2])  # rcl also knows the label "active_shutdown" and the like
        if reason:
            node.get_logger().error(f"{name} refused: {reason}")
            response.success = False
            return response
        try:
            return change(request, response)
        except rclpy_implementation.RCLError as error:
            node.get_logger().warning(f"transition {request.transition.id} refused: {error}")
            response.success = False
            return response

    service.callback = change_or_refuse
