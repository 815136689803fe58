"""Taking in connections so that a flood of them leaves room for others.

Two measures. A connection from an address that is shut out is dropped before anything is made for it: that costs a
twentieth of an answer. And only so many are taken in at a time, between which the event loop serves what it has; the
others wait in the kernel.
"""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .rate_limit import Clients

#: Connections that are taken in at a time, and that wait in the kernel.
ACCEPT_AT_A_TIME = 16
BACKLOG = 1024


def guarded(clients: Clients) -> type[H11Protocol]:
    """uvicorn's protocol of HTTP/1.1 for everybody but those whom ``clients`` shuts out."""

    class Guarded(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            peer = transport.get_extra_info("peername")
            if peer and clients.shut_out(str(peer[0])):
                self.transport = transport
                transport.abort()
            else:
                super().connection_made(transport)

    return Guarded


class Server(uvicorn.Server):
    """uvicorn's server; give its ``Config`` :data:`ACCEPT_AT_A_TIME` as ``backlog``, which asyncio takes for both."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)
