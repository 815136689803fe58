"""A service whose answers come later than its requests are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node


class Reply:
    """Where the answer to one request goes. Used on the executor's thread."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self._send: Callable[[Any], None] | None = None

    def send(self, response: Any) -> None:
        """Answer; only the first answer counts."""
        send, self._send = self._send, None
        if send is not None:
            send(response)

    def goes_by(self, send: Callable[[Any], None]) -> None:
        """What :meth:`send` sends by."""
        self._send = send


class DeferredService:
    """A service on ``node`` that calls ``on_request(reply)``; whoever has the answer calls ``reply.send(response)``.

    rclpy's own way to answer later is a callback that is a coroutine. The events executor awaits none, and any executor
    keeps a callback group busy and a task alive for each. Both executors hand ``send_response`` what the callback has
    returned together with the request's header: here that is the :class:`Reply`, and nothing is sent yet. A request
    that is never answered costs nothing. The service lives as long as ``node``.
    """

    def __init__(self, node: Node, srv_type: Any, name: str, on_request: Callable[[Reply], None]) -> None:
        self._on_request = on_request
        service = node.create_service(srv_type, name, lambda request, response: Reply(request))
        self._send_response = service.send_response
        service.send_response = self._taken

    def _taken(self, reply: Reply, header: Any) -> None:
        reply.goes_by(lambda response: self._send_response(response, header))
        self._on_request(reply)
