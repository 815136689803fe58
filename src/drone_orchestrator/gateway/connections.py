"""Accepts connections so that a flood of them leaves room for others.

A connection from an address that is shut out is dropped before anything is allocated for it, which costs a twentieth of
an answer. The event loop accepts a few connections at a time and serves those it has in between; the others wait in the
kernel.

httptools parses HTTP if it is installed, which takes less time than h11 in Python. httptools itself puts no limit on
the length of a head or a trailer, so the limits are enforced here.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .rate_limit import Clients

#: Connections accepted at a time, and connections that wait in the kernel.
ACCEPT_AT_A_TIME = 16
BACKLOG = 1024
#: Limits on request line and headers (h11 has the same), and on the whole request (the body of an order: 64 KiB).
MAX_HEAD_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 1024 * 1024


def guarded(clients: Clients) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP/1.1 protocol, which drops the connections that ``clients`` shuts out."""
    base = _protocol()

    class Guarded(base):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            peer = transport.get_extra_info("peername")
            if peer and clients.shut_out(str(peer[0])):
                self.transport = transport
                transport.abort()
            else:
                super().connection_made(transport)

    return Guarded


def _protocol() -> Any:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return H11Protocol
    return _bounded(HttpToolsProtocol)


def _bounded(base: Any) -> Any:
    """Return uvicorn's httptools protocol with limits on the size of a request."""

    class Bounded(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._in_head = True
            self._request_bytes = 0  # of the request being read, without those that arrived with its end

        def data_received(self, data: bytes) -> None:
            # One piece over the limit has been received already; refuse the next one.
            if self._request_bytes > (MAX_HEAD_BYTES if self._in_head else MAX_REQUEST_BYTES):
                self.send_400_response("The request is too large.")
                return
            self._request_bytes += len(data)
            super().data_received(data)

        def on_headers_complete(self) -> None:
            self._in_head = False
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_head = True
            self._request_bytes = 0
            super().on_message_complete()

    return Bounded


class Server(uvicorn.Server):
    """uvicorn's server, with a backlog that differs from the number of connections accepted at a time.

    asyncio uses ``backlog`` for both, so ``Config`` must be given :data:`ACCEPT_AT_A_TIME`.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)
