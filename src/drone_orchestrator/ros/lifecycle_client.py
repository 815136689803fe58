"""Changes the lifecycle of other nodes, as ``ros2 lifecycle set`` does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.callback_groups import CallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

#: Timeouts (s): discovering a node's services, and its answers.
FIND_WITHIN_S = 5.0
ANSWER_WITHIN_S = 5.0
#: Time (s) after which an unanswered request is sent again.
AGAIN_S = 1.0

#: Returns when the future is done, or after the timeout (s). Raises :class:`Unreachable` if no answer can come.
Wait = Callable[[Future, float], None]


class Unreachable(RuntimeError):
    """The node offers no lifecycle service, or did not answer in time."""


class _Services(NamedTuple):
    """Clients of one node's lifecycle services."""

    change: Client
    state: Client


class LifecycleClient:
    """Lifecycle services of other nodes, named relative to the namespace of ``node``. Thread-safe if ``wait`` is.

    ``wait`` decides which thread spins ``node`` while an answer is pending. Discovery takes a while: call :meth:`find`
    first if the duration of the change itself matters.

    A server drops its answer to a client that it has not discovered yet, and the client cannot see that. Unanswered
    requests are therefore sent again.
    """

    def __init__(self, node: Node, wait: Wait, group: CallbackGroup | None = None) -> None:
        self._node = node
        self._wait = wait
        self._group = group
        self._lock = threading.Lock()
        self._services: dict[str, _Services] = {}

    def find(self, name: str, timeout_s: float = FIND_WITHIN_S) -> None:
        """Wait until the services of node ``name`` are discovered. Raises :class:`Unreachable`."""
        if not self._services_of(name).change.wait_for_service(timeout_sec=timeout_s):
            raise Unreachable(f"{name} offers no lifecycle service in this DDS domain")

    def deactivate(self, name: str) -> bool:
        """Deactivate node ``name``; return whether the transition succeeded. Raises :class:`Unreachable`."""
        return self._change(name, "deactivate", "inactive")

    def activate(self, name: str) -> bool:
        """Activate node ``name``; return whether the transition succeeded. Raises :class:`Unreachable`."""
        return self._change(name, "activate", "active")

    def _change(self, name: str, transition: str, target: str) -> bool:
        """Return whether ``name`` made the transition, which leads to the state ``target``."""
        self.find(name)
        services = self._services_of(name)
        until_s = time.monotonic() + ANSWER_WITHIN_S
        # By label, like ros2's own tool. rclpy rejects a label that is invalid in the node's state, but an invalid id
        # raises an exception in the node.
        request = ChangeState.Request(transition=Transition(label=transition))
        answer, requests = self._ask(name, services.change, request, until_s)
        if answer.success or requests == 1:
            return bool(answer.success)
        # The answer to an earlier request may have been lost: the transition was made, so the repeat is invalid.
        answer, _ = self._ask(name, services.state, GetState.Request(), until_s)
        return bool(answer.current_state.label == target)

    def _ask(self, name: str, client: Client, request: Any, until_s: float) -> tuple[Any, int]:
        """Return the first answer of node ``name``, and the number of requests sent. Raises :class:`Unreachable`."""
        asked: list[Future] = []
        try:
            while not asked or time.monotonic() < until_s:
                asked.append(client.call_async(request))
                self._wait(asked[-1], min(AGAIN_S, max(0.0, until_s - time.monotonic())))
                for future in asked:
                    if future.done():
                        return future.result(), len(asked)
        finally:
            for future in asked:
                client.remove_pending_request(future)
        raise Unreachable(f"{name} did not answer within {ANSWER_WITHIN_S:g} s")

    def _services_of(self, name: str) -> _Services:
        with self._lock:
            if name not in self._services:
                self._services[name] = _Services(
                    self._node.create_client(ChangeState, f"{name}/change_state", callback_group=self._group),
                    self._node.create_client(GetState, f"{name}/get_state", callback_group=self._group),
                )
            return self._services[name]
