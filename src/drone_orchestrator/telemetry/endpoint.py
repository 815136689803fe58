"""Serves the metrics of a process over HTTP on separate threads, so that a scrape never blocks the process's loop."""

from __future__ import annotations

import socket
import threading
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, MetricsHandler


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
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and release the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A restarted process can bind its port at once. A port with another listener is still refused.
    allow_reuse_address = True
