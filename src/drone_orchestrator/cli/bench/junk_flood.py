"""``fleetctl bench junk-flood``: does a flood of junk hold up good orders?

A gateway and an etcd of their own. One client submits orders at a steady rate from 127.0.0.1 all the time; for half of
it another process sends junk from 127.0.0.2: bodies that are not JSON, orders that break rules, unknown paths, requests
that are not HTTP. Quiet and flooded periods alternate, so that other load on the machine falls on both.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import time
import uuid
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from ...bringup import fleet_config
from ...bringup.plan import FleetOptions
from ...runtime.signals import interrupts_held_back
from ..fleet_run import cause, running
from ..output import Failure, Output

JUNK_ADDRESS = "127.0.0.2"
ORDERS_PER_S = 20.0
#: A quarter of the connections carry many requests, a quarter a few each, and half close without awaiting an answer.
CONNECTIONS = 64
#: Requests sent at once on a connection, so that the flood costs the flooder less than the gateway.
PIPELINE = 4


def _request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


JUNK = (
    _request("POST", "/orders", b'{"order_id": '),
    _request("POST", "/orders", b"\xff\xfe\x00" * 300),
    _request("POST", "/orders", json.dumps({"order_id": "x" * 5000, "surprise": [[[]]] * 50}).encode()),
    _request("POST", "/orders", b"<xml/>", "text/xml"),
    _request("GET", "/wp-login.php?" + "a=1&" * 100),
    _request("DELETE", "/orders/" + "%00" * 50),
    _request("TRACE", "/"),
    _request("POST", "/leader/handover"),
    _request("GET", "/orders?limit=-1&cursor=" + "A" * 400),
)
NOT_HTTP = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"junk" * 50 + b"\r\n\r\n"


def flood(pipe: Connection, host: str, port: int, per_s: float) -> None:
    """Run the flooder's process: flood between ``True`` and ``False`` from ``pipe``, then report what was answered."""
    asyncio.run(_flood(pipe, host, port, per_s))


async def _flood(pipe: Connection, host: str, port: int, per_s: float) -> None:
    statuses: dict[str, int] = {}
    while await asyncio.to_thread(pipe.recv):
        stop = asyncio.Event()
        began_s = time.monotonic()
        tasks = [
            asyncio.create_task(work(host, port, per_s / CONNECTIONS, stop, statuses))
            for _ in range(CONNECTIONS // 4)
            for work in (partial(_worker, rounds=50), partial(_worker, rounds=1), _hit_and_run, _hit_and_run)
        ]
        await asyncio.to_thread(pipe.recv)
        stop.set()
        took_s = time.monotonic() - began_s
        _, late = await asyncio.wait(tasks, timeout=3.0)
        for task in late:
            task.cancel()
        pipe.send((took_s, dict(statuses)))
        statuses.clear()


async def _worker(
    host: str, port: int, per_s: float, stop: asyncio.Event, statuses: dict[str, int], rounds: int
) -> None:
    """Open one connection after another, each for ``rounds`` of pipelined requests and then something that is not HTTP.

    Aims at ``per_s`` requests a second; the gateway may allow fewer.
    """
    number, began_s = 0, time.monotonic()
    while not stop.is_set():
        writer = None
        try:
            reader, writer = await asyncio.open_connection(host, port, local_addr=(JUNK_ADDRESS, 0))
            for _ in range(rounds):
                writer.write(b"".join(JUNK[(number + i) % len(JUNK)] for i in range(PIPELINE)))
                for _ in range(PIPELINE):
                    await _answer(reader, statuses)
                number += PIPELINE
                if stop.is_set():
                    return
                await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
            writer.write(NOT_HTTP)
            await _answer(reader, statuses)
            number += 1
        except (OSError, asyncio.IncompleteReadError, ValueError):
            statuses["cut off"] = statuses.get("cut off", 0) + 1
        finally:
            if writer is not None:
                writer.close()


async def _hit_and_run(host: str, port: int, per_s: float, stop: asyncio.Event, statuses: dict[str, int]) -> None:
    number, began_s = 0, time.monotonic()
    while not stop.is_set():
        try:
            _, writer = await asyncio.open_connection(host, port, local_addr=(JUNK_ADDRESS, 0))
            writer.write((*JUNK, NOT_HTTP)[number % (len(JUNK) + 1)])
            writer.close()
            statuses["not awaited"] = statuses.get("not awaited", 0) + 1
        except OSError:
            statuses["cut off"] = statuses.get("cut off", 0) + 1
        number += 1
        await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))


async def _answer(reader: asyncio.StreamReader, statuses: dict[str, int]) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    status = head[9:12].decode()
    statuses[status] = statuses.get(status, 0) + 1
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))


class GoodClient:
    """Submits orders at a steady rate on one connection, and measures how long each takes."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        depot = fleet_config.load().depot
        self._destination = {"lat": depot.lat_deg + 0.004, "lon": depot.lon_deg + 0.003}
        self.refused: list[str] = []

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def order_for(self, seconds: float) -> list[float]:
        """Submit orders for ``seconds`` and return their latencies (s)."""
        latencies: list[float] = []
        began_s = time.monotonic()
        while time.monotonic() < began_s + seconds:
            latencies.append(await self._order())
            await asyncio.sleep(max(0.0, began_s + len(latencies) / ORDERS_PER_S - time.monotonic()))
        return latencies

    async def _order(self) -> float:
        document = {"order_id": uuid.uuid4().hex, "destination": self._destination, "package_weight_kg": 0.5}
        statuses: dict[str, int] = {}
        sent_s = time.monotonic()
        self._writer.write(_request("POST", "/orders", json.dumps(document).encode()))
        await _answer(self._reader, statuses)
        self.refused += [status for status in statuses if status != "202"]
        return time.monotonic() - sent_s


async def take_turns(
    host: str, port: int, seconds: float, turns: int, pipe: Connection
) -> tuple[list[float], list[float], list[Any], list[str]]:
    client = GoodClient(host, port)
    await client.open()
    await client.order_for(1.0)  # warm
    quiet: list[float] = []
    flooded: list[float] = []
    told = []
    for _ in range(turns):
        quiet += await client.order_for(seconds / turns / 2.0)
        pipe.send(True)
        await asyncio.sleep(0.5)  # the flood is under way
        flooded += await client.order_for(seconds / turns / 2.0)
        pipe.send(False)
        told.append(await asyncio.to_thread(pipe.recv))
    return quiet, flooded, told, client.refused


def _measure(out: Output, seconds: float, turns: int, per_s: float) -> dict[str, Any]:
    options = FleetOptions(drones=0, replicas=0, region=fleet_config.load().region, http_port=0, monitor=False)
    died: list[str] = []

    def on_exit(name: str, code: int) -> None:
        died.append(f"{name}: {cause(code)}")

    with running(options, out, on_exit=on_exit, visible=False) as fleet:
        host, port = fleet.url.removeprefix("http://").split(":")
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        flooder = multiprocessing.get_context("spawn").Process(
            target=flood, args=(theirs, host, int(port), per_s), daemon=True
        )
        with interrupts_held_back():
            flooder.start()
        try:
            quiet, flooded, told, refused = asyncio.run(take_turns(host, int(port), seconds, turns, ours))
            ours.send(None)
            flooder.join(10.0)
        finally:
            flooder.kill()
    if died or refused:
        raise Failure(f"died: {died or 'none'}; good orders refused: {refused or 'none'}")
    statuses: dict[str, int] = {}
    for _, each in told:
        for status, count in each.items():
            statuses[status] = statuses.get(status, 0) + count
    took_s = sum(took for took, _ in told)
    return {
        "junk_per_s": round(sum(statuses.values()) / took_s, 1),
        "junk_answers": dict(sorted(statuses.items())),
        "orders": {"quiet": len(quiet), "flood": len(flooded)},
        "p50_ms": {"quiet": _ms(quiet, 50), "flood": _ms(flooded, 50)},
        "p90_ms": {"quiet": _ms(quiet, 90), "flood": _ms(flooded, 90)},
        "ratio_p50": round(statistics.median(flooded) / statistics.median(quiet), 2),
    }


def _ms(latencies: list[float], percent: int) -> float:
    return round(1000.0 * statistics.quantiles(latencies, n=100, method="inclusive")[percent - 1], 2)


def junk_flood(out: Output, seconds: float, turns: int, per_s: float, bound: float) -> None:
    """Run ``fleetctl bench junk-flood``."""
    figures = _measure(out, seconds, turns, per_s)
    p50, p90 = figures["p50_ms"], figures["p90_ms"]
    out.say(f"{figures['junk_per_s']:.0f} junk requests a second, answered {figures['junk_answers']}")
    out.say(f"good orders: p50 {p50['quiet']} ms quiet, {p50['flood']} ms flooded; p90 {p90['quiet']}, {p90['flood']}")
    out.say(f"slow-down of the median: {figures['ratio_p50']} (bound {bound:g})")
    out.result(figures)
    raise SystemExit(int(figures["ratio_p50"] > bound))
