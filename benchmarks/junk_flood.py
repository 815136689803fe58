"""Does a flood of junk hold up good orders? Their latency while it is quiet and under the flood, in one run.

    .venv/bin/python benchmarks/junk_flood.py --seconds 10

A gateway and an etcd of their own. A careful shop hands in orders at a steady rate from 127.0.0.1, all the time; for
half of it a process sends junk from 127.0.0.2, as fast as it is told to and can: bodies that are no JSON, orders that
break rules, paths that there are none of, requests that are no HTTP. Quiet and flood take turns, so that whatever else
the machine does falls on both. Exit code 1 where the median order is held up by more than ``--bound`` × quiet, a good
order was refused, or the gateway died. The last line of stdout is the figures as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
import uuid
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from drone_orchestrator.bringup import fleet_config
from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions

JUNK_ADDRESS = "127.0.0.2"
ORDERS_PER_S = 20.0
#: A quarter of them are kept for many requests, a quarter is for a few each, and half are left without waiting for an
#: answer, which nothing can hold up.
CONNECTIONS = 64
#: Requests sent at a time on one connection: the flood is to cost the flooder less than the gateway.
PIPELINE = 4


def request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


JUNK = (
    request("POST", "/orders", b'{"order_id": '),
    request("POST", "/orders", b"\xff\xfe\x00" * 300),
    request("POST", "/orders", json.dumps({"order_id": "x" * 5000, "surprise": [[[]]] * 50}).encode()),
    request("POST", "/orders", b"<xml/>", "text/xml"),
    request("GET", "/wp-login.php?" + "a=1&" * 100),
    request("DELETE", "/orders/" + "%00" * 50),
    request("TRACE", "/"),
    request("POST", "/leader/handover"),
    request("GET", "/orders?limit=-1&cursor=" + "A" * 400),
)
NO_HTTP = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"junk" * 50 + b"\r\n\r\n"


def flood(pipe: Connection, host: str, port: int, per_s: float) -> None:
    """The flooder's process: between ``True`` and ``False`` from ``pipe`` it floods, and tells how much got through."""
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
    """Open one connection after another, each for so many ``rounds`` of a few requests at a time and something that is
    no HTTP; ``per_s`` requests a second, or what the gateway lets it."""
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
            writer.write(NO_HTTP)
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
            writer.write((*JUNK, NO_HTTP)[number % (len(JUNK) + 1)])
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


class Shop:
    """A good client with one connection, which hands in an order every so often and measures how long each takes."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        depot = fleet_config.load().depot
        self._destination = {"lat": depot.lat_deg + 0.004, "lon": depot.lon_deg + 0.003}
        self.refused: list[str] = []

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def order_for(self, seconds: float) -> list[float]:
        """The latencies (s) of the orders of the next ``seconds``."""
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
        self._writer.write(request("POST", "/orders", json.dumps(document).encode()))
        await _answer(self._reader, statuses)
        self.refused += [status for status in statuses if status != "202"]
        return time.monotonic() - sent_s


async def take_turns(
    host: str, port: int, seconds: float, turns: int, pipe: Connection
) -> tuple[list[float], list[float], list[Any], list[str]]:
    shop = Shop(host, port)
    await shop.open()
    await shop.order_for(1.0)  # warm
    quiet: list[float] = []
    flooded: list[float] = []
    told = []
    for _ in range(turns):
        quiet += await shop.order_for(seconds / turns / 2.0)
        pipe.send(True)
        await asyncio.sleep(0.5)  # the flood is under way
        flooded += await shop.order_for(seconds / turns / 2.0)
        pipe.send(False)
        told.append(await asyncio.to_thread(pipe.recv))
    return quiet, flooded, told, shop.refused


def measure(seconds: float, turns: int, per_s: float) -> dict[str, Any]:
    """The figures. Raises where the gateway died or a good order was refused."""
    options = FleetOptions(drones=0, replicas=0, region=fleet_config.load().region, http_port=0, monitor=False)
    died: list[str] = []
    with LocalFleet(options, on_exit=lambda name, code: died.append(f"{name}: {code}")) as fleet:
        host, port = fleet.url.removeprefix("http://").split(":")
        _wait_listening(host, int(port))
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        flooder = multiprocessing.get_context("spawn").Process(
            target=flood, args=(theirs, host, int(port), per_s), daemon=True
        )
        flooder.start()
        quiet, flooded, told, refused = asyncio.run(take_turns(host, int(port), seconds, turns, ours))
        ours.send(None)
        flooder.join(10.0)
        flooder.kill()
    if died or refused:
        raise SystemExit(f"died: {died}; good orders refused: {refused}")
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


def _wait_listening(host: str, port: int) -> None:
    import httpx

    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        try:
            if httpx.get(f"http://{host}:{port}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise SystemExit("the gateway was not ready within a minute")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring, half of them under the flood")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--per-s", type=float, default=2000.0, help="junk requests a second that are tried")
    parser.add_argument("--bound", type=float, default=2.0)
    arguments = parser.parse_args()
    figures = measure(arguments.seconds, arguments.turns, arguments.per_s)
    print(json.dumps(figures))
    return int(figures["ratio_p50"] > arguments.bound)


if __name__ == "__main__":
    sys.exit(main())
