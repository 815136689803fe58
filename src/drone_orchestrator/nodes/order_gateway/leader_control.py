"""Changes the orchestrators' lifecycle for the gateway, from threads that are not the executor's."""

from __future__ import annotations

import threading
import time
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node

from ...gateway.handover import LeaderUnreachable

FIND_WITHIN_S = 5.0
ANSWER_WITHIN_S = 5.0


class LifecycleControl:
    """See :class:`~drone_orchestrator.gateway.handover.LeaderControl`. ``node`` is spun by another thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._group = ReentrantCallbackGroup()
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        self._closing = threading.Event()

    def close(self) -> None:
        """Wait for no answer any more: the node is not spun. What is asked is sent still."""
        self._closing.set()

    def deactivate(self, holder: str) -> bool:
        return self._change(holder, "deactivate")

    def activate(self, holder: str) -> bool:
        return self._change(holder, "activate")

    def _change(self, holder: str, transition: str) -> bool:
        client = self._client(holder)
        if not client.wait_for_service(timeout_sec=FIND_WITHIN_S):
            raise LeaderUnreachable(f"{holder} offers no lifecycle service in this DDS domain")
        answered = threading.Event()
        # By label, see observer.Operator: an id that does not fit the node's state would end the node.
        future = client.call_async(ChangeState.Request(transition=Transition(label=transition)))
        future.add_done_callback(lambda _: answered.set())
        until_s = time.monotonic() + ANSWER_WITHIN_S
        while not answered.wait(0.05) and time.monotonic() < until_s and not self._closing.is_set():
            pass
        if not answered.is_set():
            client.remove_pending_request(future)
            raise LeaderUnreachable(f"{holder} did not answer within {ANSWER_WITHIN_S:g} s")
        answer: Any = future.result()
        return bool(answer.success)

    def _client(self, holder: str) -> Client:
        """The client of one orchestrator, a sibling in this node's namespace."""
        with self._lock:
            if holder not in self._clients:
                self._clients[holder] = self._node.create_client(
                    ChangeState, f"{holder}/change_state", callback_group=self._group
                )
            return self._clients[holder]
