"""``fleetctl bench throughput``: orders from intake to a reserved drone, durable in an etcd that syncs to disk.

The leader is the production driver on a real etcd, in this process; the shop is another process. The drones are
instant, and there are as many as a round has orders, so that no order waits for a flight. While a round is timed they
start nothing, because their reports would cause commits that are not counted; between rounds they deliver everything.
The last round is not interrupted: it shows how many orders a second pass all of their steps.

The baseline in the same run uses one transaction per transition and one per submitted order.

With ``--http`` the shop is many clients of a gateway in a separate process, for the baseline, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import multiprocessing.connection
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...bringup import fleet_config, leftovers, town
from ...bringup.etcd_process import EtcdNotStarted, EtcdProcess, read_metrics
from ...bringup.plan import FleetOptions
from ...core.admission import parse_order
from ...core.changes import Change, Fate, Transition
from ...core.leader.events import CommitDone
from ...core.leader.orchestrator import Orchestrator
from ...core.saga import apply
from ...core.types import DroneReport, FleetSpec, LeaderRecord, Phase, SagaStatus
from ...planning.planner import AssignmentPlanner
from ...ports import Clock, CommitResult, StoreError
from ...runtime import gc_tuning
from ...runtime.driver import Driver
from ...runtime.signals import interrupts_held_back
from ...runtime.workers import Pool, ThreadWorkers
from ...store import EtcdStore
from ...store.transactions import SUBMITTED_TOGETHER
from ..fleet_run import running
from ..output import Failure, Output
from . import charts
from .instant_fleet import InstantFleet

log = logging.getLogger(__name__)
ROUND_WITHIN_S = 60.0
WEIGHT_KG = 1.0
_FSYNCS = re.compile(r"^etcd_disk_wal_fsync_duration_seconds_count (\d+)", re.MULTILINE)


def throughput(
    out: Output, drones: int, rounds: int, baseline_rounds: int, http: bool, clients: int, picture_path: Path | None
) -> None:
    """Run ``fleetctl bench throughput``."""
    try:
        fleet = _unbounded(fleet_config.load(), drones)
        # The baseline runs first, so that it does not profit from what the other has warmed up.
        clients = clients if http else 0
        with _ThroughputBench(fleet, drones, out, grouped=False, clients=clients) as bench:
            baseline = bench.measure(baseline_rounds, out, "one transaction per transition")
        with _ThroughputBench(fleet, drones, out, grouped=True, clients=clients) as bench:
            measured = bench.measure(rounds, out, "group commit")
            delivered_per_s = bench.whole_lives()
            fsyncs = bench.fsyncs()
    except (EtcdNotStarted, StoreError, OSError) as error:
        raise Failure(str(error)) from error
    orders = drones * rounds
    document = {
        "orders": orders,
        "orders_per_s": round(measured, 1),
        "baseline_orders_per_s": round(baseline, 1),
        "ratio": round(measured / baseline, 2),
        "fsync": fsyncs > 0,
        "delivered_per_s": round(delivered_per_s, 1),
        "drones": drones,
        "http_clients": clients,
        "wal_fsyncs": fsyncs,
    }
    out.say(
        f"{orders} orders: {measured:.0f} a second assigned, {measured / baseline:.1f} × one transaction per "
        f"transition ({baseline:.0f}); {delivered_per_s:.0f} a second through all steps; "
        f"etcd synced its log {fsyncs} times"
    )
    if picture_path is not None:
        charts.save(picture_path, picture(document))
    out.result(document)
    if not fsyncs:
        raise Failure("etcd did not sync its log to disk: the figures say nothing")


def picture(document: dict[str, Any]) -> str:
    """Return the rates as bars, as SVG."""
    rates = {
        "assigned": document["orders_per_s"],
        "all steps to delivered": document["delivered_per_s"],
        "one transaction per transition": document["baseline_orders_per_s"],
    }
    bars = charts.Bars("orders per second", tuple(rates), {"orders/s": list(rates.values())})
    way = f"by {document['http_clients']} HTTP clients" if document["http_clients"] else "at the store"
    return charts.draw(f"Throughput, orders submitted {way}", bars)


def _unbounded(fleet: FleetSpec, drones: int) -> FleetSpec:
    """Return a fleet of one class whose lane has no effective bound: the store and the leader are measured."""
    first = fleet.classes[0]
    room = 10 * drones
    return replace(
        fleet,
        classes=(
            replace(
                first,
                max_waiting=room,
                max_in_flight=room,
                intake_rate_per_s=float(max(room, 100_000)),
                intake_burst=room,
            ),
        ),
    )


class _OneByOne(EtcdStore):
    """Store without group commit: each transition is a transaction and waits for the previous one."""

    def commit(self, epoch: int, changes: Sequence[Change]) -> list[CommitResult]:
        return [self._commit_alone(epoch, change) for change in changes]

    def _commit_alone(self, epoch: int, change: Change) -> CommitResult:
        if not isinstance(change, Transition) or len(change.events) < 2 or change.expected_revision:
            return super().commit(epoch, [change])[0]
        first, *others = change.events
        begun = replace(change, saga=apply(None, first), events=(first,), reservation=None, breaker=None)
        result = super().commit(epoch, [begun])[0]
        if result.fate is not Fate.SUCCEEDED:
            return result
        rest = replace(change, events=tuple(others), expected_revision=result.revision, consume=())
        return super().commit(epoch, [rest])[0]


class _ThroughputBench:
    """An etcd, a leader with instant drones, and a shop. With ``clients`` 0 the shop writes to the store itself."""

    def __init__(self, fleet: FleetSpec, drones: int, out: Output, *, grouped: bool, clients: int) -> None:
        self._fleet, self._drones, self._out = fleet, drones, out
        self._grouped, self._clients = grouped, clients
        self._changed = threading.Condition()
        self._counts: dict[SagaStatus, int] = {}
        self._last_s: dict[SagaStatus, float] = {}
        self._handed_in = 0

    def __enter__(self) -> _ThroughputBench:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        url = ""
        if self._clients:
            folder = stack.enter_context(leftovers.temporary_folder())
            config = str(fleet_config.save(folder / "fleet.yaml", self._fleet))
            options = FleetOptions(
                drones=0,
                replicas=0,
                region=self._fleet.region,
                http_port=0,
                rate_limit_per_s=0.0,
                fleet_config=config,
                monitor=False,
            )
            local = stack.enter_context(running(options, self._out, visible=False))
            self._endpoints, url = local.etcd.endpoints, local.url
        else:
            self._endpoints = stack.enter_context(EtcdProcess()).endpoints
        store = (EtcdStore if self._grouped else _OneByOne)(self._endpoints, self._fleet.region)
        stack.callback(store.close)
        c = self._fleet.classes[0]
        reports = [
            DroneReport(f"drone_{i}", c.name, f"journal_{i}", 0, Phase.IDLE, self._fleet.depot, c.battery_wh)
            for i in range(self._drones)
        ]
        self._instant = InstantFleet(reports)
        core = Orchestrator(LeaderRecord("bench", uuid.uuid4().hex, 0.0), self._fleet, AssignmentPlanner())
        workers = None
        if not self._grouped:
            workers = ThreadWorkers(Clock().now, dict.fromkeys(Pool, 1))
        self._driver = Driver(core, store, self._instant, log, on_commit=self._committed, workers=workers)
        self._driver.start()
        self._instant.start(self._driver.post)
        stack.callback(self._instant.stop)
        stack.callback(self._driver.stop)
        if url:
            self._shop = _Submitter(_sell_over_http, url, self._clients)
        else:
            together = SUBMITTED_TOGETHER if self._grouped else 1
            self._shop = _Submitter(_sell, self._endpoints, self._fleet.region, together)
        stack.callback(self._shop.close)

    def measure(self, rounds: int, out: Output, what: str) -> float:
        """Return the orders assigned per second in ``rounds``, after a warm-up round (connections, drones' leases)."""
        took_s = 0.0
        for number in range(rounds + 1):
            self._instant.hold()
            if not number:
                gc_tuning.calm()  # like the process of an orchestrator
            began_s = self._hand_in()
            self._wait(SagaStatus.ASSIGNED)
            round_s = self._last_s[SagaStatus.ASSIGNED] - began_s
            if number:
                took_s += round_s
                out.say(f"{what}, round {number} of {rounds}: {self._drones / round_s:.0f} orders/s")
            self._instant.go_on()
            self._wait(SagaStatus.DELIVERED)
        return rounds * self._drones / took_s

    def whole_lives(self) -> float:
        """Return the orders per second from intake to delivered, with every step committed."""
        began_s = self._hand_in()
        self._wait(SagaStatus.DELIVERED)
        return self._drones / (self._last_s[SagaStatus.DELIVERED] - began_s)

    def fsyncs(self) -> int:
        """Return how often etcd has synced its log so far, from its metrics."""
        found = _FSYNCS.search(read_metrics(self._endpoints[0]))
        return int(found[1]) if found else 0

    def _hand_in(self) -> float:
        """Let the shop submit a round of orders. Return the monotonic time of the first."""
        self._handed_in += self._drones
        return self._shop.hand_in(self._drones)

    def _wait(self, status: SagaStatus) -> None:
        deadline = time.monotonic() + ROUND_WITHIN_S
        with self._changed:
            while self._counts.get(status, 0) < self._handed_in:
                self._changed.wait(1.0)
                self._shop.check()
                if self._driver.crash is not None:
                    raise Failure(f"the leader died: {self._driver.crash!r}")
                if time.monotonic() >= deadline:
                    have = self._counts.get(status, 0)
                    raise Failure(f"only {have} of {self._handed_in} orders became {status.value} in time")

    def _committed(self, done: CommitDone, took_s: float) -> None:
        change = done.commit.change
        if done.fate is not Fate.SUCCEEDED or not isinstance(change, Transition):
            return
        status = change.saga.status
        with self._changed:
            self._counts[status] = self._counts.get(status, 0) + 1
            self._last_s[status] = time.monotonic()
            if self._counts[status] == self._handed_in:
                self._changed.notify_all()


class _Submitter:
    """Process that submits orders on command: ``sell(pipe, *arguments)``. Raises the errors of that process."""

    def __init__(self, sell: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=sell, args=(theirs, *arguments), daemon=True)
        with interrupts_held_back():
            self._process.start()
        theirs.close()
        self._answer()  # it is ready

    def hand_in(self, orders: int) -> float:
        """Start submitting. Return the start time by the monotonic clock, which all processes of the machine share."""
        self._pipe.send(orders)
        return float(self._answer())

    def check(self) -> None:
        """Raise the error that has occurred since it started submitting, if any."""
        if self._pipe.poll():
            self._answer()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()

    def _answer(self) -> Any:
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _new_id() -> str:
    return str(uuid.uuid4())


def _documents(count: int) -> list[dict[str, Any]]:
    return [{**d, "order_id": _new_id(), "package_weight_kg": WEIGHT_KG} for d in town.orders(count, 1)]


def _sell(pipe: multiprocessing.connection.Connection, endpoints: Sequence[str], region: str, handful: int) -> None:
    """Run the shop's process that writes to the store itself."""
    store = EtcdStore(endpoints, region)
    try:
        store.status()
        pipe.send(0.0)
        while True:
            count = pipe.recv()
            now_s = time.time()
            orders = [parse_order(document, now_s=now_s, new_id=_new_id) for document in _documents(count)]
            pipe.send(time.monotonic())
            for start in range(0, count, handful):
                for answer in store.submit_all(orders[start : start + handful]):
                    if isinstance(answer, StoreError):
                        pipe.send(answer)
                        return
    except (EOFError, KeyboardInterrupt):
        return
    finally:
        store.close()


def _sell_over_http(pipe: multiprocessing.connection.Connection, url: str, clients: int) -> None:
    """Run the shop's process of ``clients`` clients of the gateway, each with a persistent connection."""
    try:
        pipe.send(0.0)
        while True:
            bodies = [json.dumps(document).encode() for document in _documents(pipe.recv())]
            pipe.send(time.monotonic())
            asyncio.run(_post_all(url, bodies, clients))
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        pipe.send(OSError(f"a client failed: {error}"))
    except (EOFError, KeyboardInterrupt):
        return


async def _post_all(url: str, bodies: Sequence[bytes], clients: int) -> None:
    left = iter(bodies)
    await asyncio.gather(*(_post_some(url, left) for _ in range(clients)))


async def _post_some(url: str, bodies: Iterator[bytes]) -> None:
    """Run one client. It writes the little HTTP that it needs itself, because a client library would take the gateway's
    share of the machine. Raises ``ValueError`` for any answer but 202."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for body in bodies:
        head = f"POST /orders HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202"):
            raise ValueError(answer.split(b"\r\n", 1)[0].decode())
        length = re.search(rb"(?i)content-length: (\d+)", answer)
        await reader.readexactly(int(length[1]) if length else 0)
    writer.close()
    await writer.wait_closed()
