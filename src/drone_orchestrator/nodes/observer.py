"""A short look at a running fleet over DDS, for programs that are no ROS nodes themselves."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import rclpy
from drone_interfaces.msg import DroneState, LeaderHeartbeat
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
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


class Operator:
    """Changes nodes' lifecycle as ``ros2 lifecycle set`` does. A context manager.

    Finding a node takes DDS a while: :meth:`find` it before it matters how long a change takes.
    """

    def __init__(self, namespace: str = "/") -> None:
        self._namespace = namespace.rstrip("/")
        self._clients: dict[str, Client] = {}

    def __enter__(self) -> Operator:
        self._session = _Session(self._namespace or "/")
        return self

    def __exit__(self, *_: object) -> None:
        self._session.__exit__()

    def find(self, node_name: str, timeout_s: float = 5.0) -> None:
        """Return when the node can be asked. Raises :class:`Unreachable`."""
        if not self._client(node_name).wait_for_service(timeout_sec=timeout_s):
            raise Unreachable(f"{node_name} offers no lifecycle service in this DDS domain")

    def deactivate(self, node_name: str) -> bool:
        """Whether the node did it. Raises :class:`Unreachable`."""
        return self._change(node_name, Transition.TRANSITION_DEACTIVATE)

    def activate(self, node_name: str) -> bool:
        """Whether the node did it: an orchestrator is told to campaign, and refuses to be active by that alone."""
        return self._change(node_name, Transition.TRANSITION_ACTIVATE)

    def _change(self, node_name: str, transition: int, timeout_s: float = 5.0) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self._client(node_name).call_async(request)
        self._session.executor.spin_until_future_complete(future, timeout_sec=timeout_s)
        if not future.done():
            raise Unreachable(f"{node_name} did not answer")
        return bool(future.result().success)

    def _client(self, node_name: str) -> Client:
        if node_name not in self._clients:
            name = f"{self._namespace}/{node_name}/change_state"
            self._clients[node_name] = self._session.node.create_client(ChangeState, name)
        return self._clients[node_name]


class HeartbeatEar:
    """Hears the leader's heartbeats on a thread of its own. A context manager."""

    def __init__(self, namespace: str = "/") -> None:
        self._namespace = namespace
        self._heard_at_s: list[float] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="ear", daemon=True)

    def __enter__(self) -> HeartbeatEar:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def gaps_s(self) -> list[float]:
        """From each heartbeat to the next one, as they arrived here, whoever sent them."""
        return [later - earlier for earlier, later in pairwise(list(self._heard_at_s))]

    def _listen(self) -> None:
        def hear(message: LeaderHeartbeat) -> None:
            self._heard_at_s.append(time.monotonic())

        with _Session(self._namespace) as session:
            session.node.create_subscription(LeaderHeartbeat, names.LEADER_HEARTBEAT, hear, 10)
            while not self._closing.is_set():
                session.executor.spin_once(timeout_sec=0.1)
