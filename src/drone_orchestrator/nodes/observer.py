"""A short look at a running fleet over DDS, for programs that are no ROS nodes themselves."""

from __future__ import annotations

import time

import rclpy
from drone_interfaces.msg import DroneState
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from ..core.types import DroneReport
from . import convert, names, qos

FLEET_DEPTH = 1000


class Unreachable(RuntimeError):
    """The node that was asked for did not answer in time."""


def installation() -> str:
    """Which ROS 2 this program runs on, for people."""
    return f"rclpy of {rclpy.__path__[0]}, {rclpy.get_rmw_implementation_identifier()}"


class _Session:
    """An rclpy context of its own with one anonymous node."""

    def __init__(self, namespace: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = Node("fleetctl", context=self._context, namespace=namespace, enable_rosout=False)
        self.executor = SingleThreadedExecutor(context=self._context)
        self.executor.add_node(self.node)

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


def drones(*, namespace: str = "/", timeout_s: float = 2.0, expected: int | None = None) -> list[DroneReport]:
    """What the drones say of themselves, heard within ``timeout_s``; returns early once ``expected`` have spoken."""
    heard: dict[str, DroneReport] = {}

    def on_state(msg: DroneState) -> None:
        try:
            heard[msg.drone_id] = convert.report_from_msg(msg)
        except ValueError:
            return  # the drone cannot be shown; the orchestrator's log says why

    with _Session(namespace) as session:
        session.node.create_subscription(DroneState, names.DRONE_STATES, on_state, qos.state(FLEET_DEPTH))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and (expected is None or len(heard) < expected):
            session.executor.spin_once(timeout_sec=0.05)
    return [heard[drone_id] for drone_id in sorted(heard)]


def deactivate(node_name: str, *, namespace: str = "/", timeout_s: float = 5.0) -> bool:
    """``ros2 lifecycle set <node> deactivate``; whether the node did it. Raises :class:`Unreachable`."""
    with _Session(namespace) as session:
        client = session.node.create_client(ChangeState, f"{node_name}/change_state")
        deadline = time.monotonic() + timeout_s
        if not client.wait_for_service(timeout_sec=timeout_s):
            raise Unreachable(f"{node_name} offers no lifecycle service in this DDS domain")
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
        future = client.call_async(request)
        session.executor.spin_until_future_complete(future, timeout_sec=max(0.1, deadline - time.monotonic()))
        if not future.done():
            raise Unreachable(f"{node_name} did not answer")
        return bool(future.result().success)
