"""Changes the lifecycle of other nodes, as ``ros2 lifecycle set`` does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import CallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

#: Timeouts (s): discovering a node's service, and its answer.
FIND_WITHIN_S = 5.0
ANSWER_WITHIN_S = 5.0

#: Returns when the future is done, or after the timeout (s).
Wait = Callable[[Future, float], None]


class Unreachable(RuntimeError):
    """The node offers no lifecycle service, or did not answer in time."""


class LifecycleClient:
    """Lifecycle services of other nodes, named relative to the namespace of ``node``. Thread-safe if ``wait`` is.

    ``wait`` decides who spins ``node`` while an answer is awaited. Discovery takes a while: call :meth:`find` before
    the duration of a change matters.
    """

    def __init__(self, node: Node, wait: Wait, group: CallbackGroup | None = None) -> None:
        self._node = node
        self._wait = wait
        self._group = group
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}

    def find(self, name: str, timeout_s: float = FIND_WITHIN_S) -> None:
        """Return when node ``name`` can be asked. Raises :class:`Unreachable`."""
        if not self._client(name).wait_for_service(timeout_sec=timeout_s):
            raise Unreachable(f"{name} offers no lifecycle service in this DDS domain")

    def deactivate(self, name: str) -> bool:
        """Deactivate node ``name``; return whether it agreed. Raises :class:`Unreachable`."""
        return self._change(name, "deactivate")

    def activate(self, name: str) -> bool:
        """Activate node ``name``; return whether it agreed. Raises :class:`Unreachable`.

        An orchestrator never agrees: it campaigns from then on, and becomes active if it is elected.
        """
        return self._change(name, "activate")

    def _change(self, name: str, transition: str) -> bool:
        self.find(name)
        client = self._client(name)
        # By label, as ros2's own tool does. rclpy answers "no" to a label that does not fit the node's state, but an
        # id that does not fit raises an exception in the node.
        future = client.call_async(ChangeState.Request(transition=Transition(label=transition)))
        self._wait(future, ANSWER_WITHIN_S)
        if not future.done():
            client.remove_pending_request(future)
            raise Unreachable(f"{name} did not answer within {ANSWER_WITHIN_S:g} s")
        return bool(future.result().success)

    def _client(self, name: str) -> Client:
        with self._lock:
            if name not in self._clients:
                service = f"{name}/change_state"
                self._clients[name] = self._node.create_client(ChangeState, service, callback_group=self._group)
            return self._clients[name]
