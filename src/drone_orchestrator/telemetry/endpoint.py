"""Serves the metrics of a process over HTTP, on threads of its own: whoever decides never waits for a scrape."""

from __future__ import annotations

import socket
import threading
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, MetricsHandler


class EndpointTaken(OSError):
    """The address cannot be listened on; the text is one line that names it."""


class MetricsEndpoint:
    """``http://host:port/metrics`` for everything in ``registry``. Raises :class:`EndpointTaken`."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """``port`` 0: any free one, see :attr:`port`."""
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
        """Give the port back."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Lets a restarted process have its port at once; another one that listens there still keeps it.
    allow_reuse_address = True
