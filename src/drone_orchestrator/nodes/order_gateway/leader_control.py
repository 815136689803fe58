"""Changes the orchestrators' lifecycle for the gateway, from threads other than the executor's."""

from __future__ import annotations

import threading
import time

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from ...gateway.handover import LeaderUnreachable
from ...ros.lifecycle_client import LifecycleClient, Unreachable


class LifecycleControl:
    """See :class:`~drone_orchestrator.gateway.handover.LeaderControl`. Another thread spins ``node``."""

    def __init__(self, node: Node) -> None:
        self._closing = threading.Event()
        self._client = LifecycleClient(node, self._wait, ReentrantCallbackGroup())

    def close(self) -> None:
        """Stop waiting for answers, because the node no longer spins. Requests are still sent."""
        self._closing.set()

    def deactivate(self, holder: str) -> bool:
        try:
            return self._client.deactivate(holder)
        except Unreachable as error:
            raise LeaderUnreachable(str(error)) from error

    def activate(self, holder: str) -> None:
        try:
            self._client.activate(holder)
        except Unreachable as error:
            raise LeaderUnreachable(str(error)) from error

    def _wait(self, future: Future, timeout_s: float) -> None:
        answered = threading.Event()
        future.add_done_callback(lambda _: answered.set())
        until_s = time.monotonic() + timeout_s
        while not answered.wait(0.05) and time.monotonic() < until_s:
            if self._closing.is_set():
                raise Unreachable("the gateway stopped and cannot receive the answer")
