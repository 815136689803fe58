"""TCP proxy between processes and etcd that can refuse, swallow and delay traffic, for fault tests.

Every process reaches every etcd member through its own port, so that it can be cut off alone. One asyncio loop on one
thread serves all of them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Sequence
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024
_CALL_TIMEOUT_S = 10.0


class Mode(Enum):
    """Treatment of one client's connections."""

    PASS = "pass"
    REFUSE = "refuse"  # open connections and new ones are reset
    BLACKHOLE = "blackhole"  # connections stay open, new ones are accepted, no data passes; held data passes later


class TcpProxy:
    """Proxy of named clients to named targets. A context manager; thread-safe from outside its own thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._clients: dict[str, _Client] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listen(self, client: str, targets: Sequence[str]) -> list[str]:
        """Return endpoints ``http://127.0.0.1:port`` that lead ``client`` to ``targets`` (``http://host:port``), in
        order."""
        return self._run(self._listen(client, targets))

    @property
    def clients(self) -> list[str]:
        return list(self._clients)

    def set(self, client: str, mode: Mode, *, delay_s: float = 0.0) -> None:
        """Set the mode from now on. ``delay_s`` delays traffic by that time, by up to twice that if there is much."""
        self._run(self._set(client, mode, delay_s))

    def close(self) -> None:
        """Close all connections and ports."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_TIMEOUT_S)

    # --- the loop's thread --------------------------------------------------------------------------------------

    async def _listen(self, name: str, targets: Sequence[str]) -> list[str]:
        client = self._clients.setdefault(name, _Client())
        return [f"http://127.0.0.1:{await client.listen(target)}" for target in targets]

    async def _set(self, name: str, mode: Mode, delay_s: float) -> None:
        self._clients[name].set(mode, delay_s)

    async def _close(self) -> None:
        tasks = [task for client in self._clients.values() for task in client.close()]
        await asyncio.gather(*tasks, return_exceptions=True)


class _Client:
    """All connections of one client; used on the loop's thread only."""

    def __init__(self) -> None:
        self._mode = Mode.PASS
        self._delay_s = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, target: str) -> int:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._connections.add(task)
            try:
                await self._serve(reader, writer, str(host), int(port or 0))
            except asyncio.CancelledError:
                pass  # cut on purpose; asyncio would report a server error
            finally:
                self._connections.discard(task)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def set(self, mode: Mode, delay_s: float) -> None:
        self._mode, self._delay_s = mode, delay_s
        if mode is Mode.BLACKHOLE:
            self._open.clear()
        else:
            self._open.set()
        if mode is Mode.REFUSE:
            self._cut()

    def close(self) -> list[asyncio.Task[None]]:
        for server in self._servers:
            server.close()
        return self._cut()

    def _cut(self) -> list[asyncio.Task[None]]:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        return tasks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        far: asyncio.StreamWriter | None = None
        pumps: list[asyncio.Task[None]] = []
        try:
            await self._open.wait()
            if self._mode is Mode.REFUSE:
                return
            far_reader, far = await asyncio.open_connection(host, port)
            pumps = [asyncio.create_task(self._pump(reader, far)), asyncio.create_task(self._pump(far_reader, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # the target is down: the client sees its connection reset
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in (writer, far):
                if each is not None:
                    _reset(each)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one side is gone, which ends the connection like an orderly close
        await self._open.wait()  # the end of a connection does not pass either


def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection like a crash, without flushing its buffers."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
