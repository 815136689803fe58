"""The HTTP server inside the node's process: uvicorn on a thread of its own."""

from __future__ import annotations

import socket
import threading

import uvicorn
from fastapi import FastAPI

from ...gateway.connections import ACCEPT_AT_A_TIME, BACKLOG, Server, guarded
from ...ros.process import ConfigurationError
from ...runtime.loops import vital

#: Longer than the usual 60 s of a load balancer: the client must close first, or its next request can get lost.
KEEP_ALIVE_S = 75


class HttpServer:
    """Serves ``app`` until :meth:`close`. The main thread stays free to spin ROS and to receive signals.

    If the server ends by itself, so does the process: a gateway without HTTP must not look alive.
    """

    def __init__(self, app: FastAPI, listener: socket.socket, grace_s: float) -> None:
        """``grace_s`` is the time allowed for requests in flight on shutdown."""
        self._app = app
        self._listener = listener
        self._closing = threading.Event()
        config = uvicorn.Config(
            app,
            http=guarded(app.state.clients),
            backlog=ACCEPT_AT_A_TIME,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(grace_s),
        )
        self._server = Server(config)
        self._thread = vital("http", self._run, may_end=self._closing.is_set)
        self._thread.start()

    def close(self) -> None:
        """Accept no more connections, end the streams, finish the requests in flight, and end the thread."""
        self._closing.set()
        self._app.state.close()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])


def listen(host: str, port: int, client_timeout_s: float) -> socket.socket:
    """Return a listening socket. Raises :class:`ConfigurationError` if the address cannot be used.

    The kernel disconnects a client that accepts no data for ``client_timeout_s``, so no buffer is held for it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        # Lets a restarted gateway bind its port at once. A port that another process listens on stays taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(client_timeout_s * 1000))
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on http_host {host}, http_port {port}: {error.strerror}") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return ``host:port`` of ``listener``, in URL syntax."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
