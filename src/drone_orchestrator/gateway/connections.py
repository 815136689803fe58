"""Taking in connections so that a flood of them leaves room for others.

Two measures. A connection from an address that is shut out is dropped before anything is made for it: that costs a
twentieth of an answer. And only so many are taken in at a time, between which the event loop serves what it has; the
others wait in the kernel.

HTTP is parsed by httptools where it is installed, which takes less time than h11 in Python. It keeps whatever a client
sends as a head or a trailer, without end, so the bounds are kept here.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .rate_limit import Clients

#: Connections that are taken in at a time, and that wait in the kernel.
ACCEPT_AT_A_TIME = 16
BACKLOG = 1024
#: Of a request: its line and headers, which h11 bounds to as much by itself; and all of it (an order: 64 KiB).
MAX_HEAD_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 1024 * 1024


def guarded(clients: Clients) -> type[asyncio.Protocol]:
    """uvicorn's protocol of HTTP/1.1 for everybody but those whom ``clients`` shuts out."""
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
    """uvicorn's protocol by httptools, with an end to what one request may be."""

    class Bounded(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._in_head = True
            self._request_bytes = 0  # of the request that is being read, but for those that came with its end

        def data_received(self, data: bytes) -> None:
            # What came in one piece was paid for already: it is the next piece that must not come.
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
    """uvicorn's server; give its ``Config`` :data:`ACCEPT_AT_A_TIME` as ``backlog``, which asyncio takes for both."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)
