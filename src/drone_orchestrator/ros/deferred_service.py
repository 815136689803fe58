"""A ROS service that answers its requests later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node


class Reply:
    """Handle for answering one request. Used on the executor's thread."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self._send: Callable[[Any], None] | None = None

    def send(self, response: Any) -> None:
        """Send the answer. Only the first call has an effect."""
        send, self._send = self._send, None
        if send is not None:
            send(response)

    def goes_by(self, send: Callable[[Any], None]) -> None:
        """Set the function that :meth:`send` uses."""
        self._send = send


class DeferredService:
    """Service on ``node`` that calls ``on_request(reply)``; the answer is sent later with ``reply.send(response)``.

    In rclpy, the way to answer later is a coroutine as callback. The events executor never awaits one, and any executor
    keeps a callback group busy and a task alive for each. Both executors pass the callback's return value and the
    request's header to ``send_response``. Here that value is a :class:`Reply`, and nothing is sent yet. A request that
    is never answered costs nothing. The service lives as long as ``node``.
    """

    def __init__(self, node: Node, srv_type: Any, name: str, on_request: Callable[[Reply], None]) -> None:
        self._on_request = on_request
        service = node.create_service(srv_type, name, lambda request, response: Reply(request))
        self._send_response = service.send_response
        service.send_response = self._taken

    def _taken(self, reply: Reply, header: Any) -> None:
        reply.goes_by(lambda response: self._send_response(response, header))
        self._on_request(reply)
