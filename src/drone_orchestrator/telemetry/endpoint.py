"""Serves the metrics of a process over HTTP on separate threads, so that a scrape never blocks the process's loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, MetricsHandler

from ..runtime.loops import Loop


class EndpointTaken(OSError):
    """The address is already in use or cannot be bound. The text is one line that names it."""


class MetricsEndpoint:
    """``http://host:port/metrics`` for everything in ``registry``. Raises :class:`EndpointTaken`."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listen on ``port``; 0: any free port, see :attr:`port`."""
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            server = type("_Server", (_Server,), {"address_family": family})
            self._server = server(address[:2], MetricsHandler.factory(registry))
        except OSError as error:
            raise EndpointTaken(
                f"cannot listen on metrics_host {host}, metrics_port {port}: {error.strerror}"
            ) from error
        self.port = int(self._server.server_address[1])
        self._loop = Loop("metrics", self._server.serve_forever)
        self._server.works = self._loop.works
        self._loop.start()

    @property
    def trouble(self) -> str:
        """Return why nothing is served at the moment; empty if it is."""
        return self._loop.trouble

    def close(self) -> None:
        """Stop serving and release the port."""
        self._loop.stop()
        self._server.shutdown()
        self._loop.close()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A restarted process can bind its port at once. A port with another listener is still refused.
    allow_reuse_address = True
    works: Callable[[], None]

    def service_actions(self) -> None:
        """Note that the server runs. ``serve_forever`` calls this twice a second."""
        self.works()
