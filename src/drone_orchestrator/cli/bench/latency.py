"""``fleetctl bench latency``: from ``POST /orders`` to the commit of ``ASSIGNED``.

An order passes a gateway, a leader (the production driver) and etcd, each a separate process. The drones are instant,
and there are so many that no order waits for one. With ``--fleet`` a whole fleet runs on this machine: the leader is a
node, another one is a standby, and the drones fly and talk over DDS. The drones, which have their own computers in a
real fleet, then use a third of the processors, and the machine is nearly saturated.

The baseline has no gateway, no leader and no guarantees: the same clients write to the same etcd at the same rate, as a
naive pipeline would, one transaction after the other: the order, its saga, the drone's reservation, the assignment.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from ...bringup.fleet_config import load
from ...bringup.local_fleet import LocalFleet
from ...bringup.plan import FleetOptions
from ...core.leader.orchestrator import Orchestrator
from ...core.types import DroneReport, FleetSpec, GeoPoint, LeaderRecord, Phase
from ...planning.planner import AssignmentPlanner
from ...ports import StoreError
from ...runtime import gc_tuning
from ...runtime.driver import Driver
from ...runtime.signals import interrupts_held_back
from ...store import EtcdStore
from ..output import Failure, Output
from . import charts
from .instant_fleet import InstantFleet
from .order_probe import CLIENTS, OrderProbe, benched, percentile_ms
from .scale import ASSIGNED_WITHIN_S, HEARD_WITHIN_S, WARM_UP_S, machine

log = logging.getLogger(__name__)
#: Time scale of drones that fly: so fast that the protocol takes most of an order's time.
TIME_SCALE = 1000.0
#: About the time that a drone takes for a nearby order (s).
ORDER_TAKES_S = 1.2
DRONES_PER_PROCESS = 50
LEADS_WITHIN_S = 20.0
STEPS = ("order", "saga", "reservation", "assignment")


def latency(out: Output, rate: float, seconds: float, drones: int, whole: bool, picture_path: Path | None) -> None:
    """Run ``fleetctl bench latency``."""
    try:
        fleet_spec = load()
        options = FleetOptions(
            drones=drones or min(200, max(12, round(rate * ORDER_TAKES_S * 1.5))),
            replicas=2,
            region=fleet_spec.region,
            http_port=0,
            rate_limit_per_s=0.0,
            time_scale=TIME_SCALE,
            drones_per_process=DRONES_PER_PROCESS,
            monitor=False,
        )
    except ValueError as error:
        raise Failure(str(error)) from error
    with (_whole if whole else _pipeline)(options, fleet_spec, out) as local:
        document = _measure(out, local, rate, seconds, fleet_spec.depot)
    document |= {"drones": options.drones, "whole_fleet": whole, "machine": machine()}
    out.say(
        f"{document['n']} orders at {rate:g}/s: p50 {document['p50_ms']} ms, p99 {document['p99_ms']} ms, "
        f"max {document['max_ms']} ms; answered after p50 {document['answer_p50_ms']} ms; naive pipeline: p50 "
        f"{document['baseline']['p50_ms']} ms, p99 {document['baseline']['p99_ms']} ms"
    )
    if picture_path is not None:
        charts.save(picture_path, picture(document))
    out.result(document)


@contextmanager
def _whole(options: FleetOptions, fleet: FleetSpec, out: Output) -> Iterator[LocalFleet]:
    """Start a whole fleet and wait until all of its drones are heard."""
    from ...ros import fleet_client  # rclpy is slow to import, and only this needs it

    with benched(options, out) as local:
        heard = len(fleet_client.drones(timeout_s=HEARD_WITHIN_S, expected=options.drones))
        if heard < options.drones:
            raise Failure(f"only {heard} of {options.drones} drones were heard within {HEARD_WITHIN_S:.0f} s")
        yield local


@contextmanager
def _pipeline(options: FleetOptions, fleet: FleetSpec, out: Output) -> Iterator[LocalFleet]:
    """Start etcd, a gateway, and a process that leads instant drones."""
    with benched(replace(options, drones=0, replicas=0), out) as local:
        spawned = multiprocessing.get_context("spawn")
        ours, theirs = spawned.Pipe()
        one_class = replace(fleet, classes=fleet.classes[:1])
        arguments = (theirs, local.etcd.endpoints, one_class, options.drones)
        leader = spawned.Process(target=_lead, args=arguments, name="leader", daemon=True)
        with interrupts_held_back():
            leader.start()
        theirs.close()
        try:
            if not ours.poll(LEADS_WITHIN_S):
                raise Failure(f"no replica led within {LEADS_WITHIN_S:g} s")
            ours.recv()
            yield local
        except EOFError:
            raise Failure("the leader's process ended") from None
        finally:
            ours.close()
            leader.join()


def _lead(pipe: Pipe, endpoints: Sequence[str], fleet: FleetSpec, drones: int) -> None:
    """Run the leader's process: report that it leads, and lead until told to stop or until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole process group
    c = fleet.classes[0]
    instant = InstantFleet(
        (
            DroneReport(f"drone_{i}", c.name, f"journal_{i}", 0, Phase.IDLE, fleet.depot, c.battery_wh)
            for i in range(drones)
        ),
        busy_s=ORDER_TAKES_S / 2.0,
    )
    store = EtcdStore(endpoints, fleet.region)
    core = Orchestrator(LeaderRecord("bench", uuid.uuid4().hex, time.time()), fleet, AssignmentPlanner())
    driver = Driver(core, store, instant, log, on_crash=lambda error: pipe.close())
    driver.start()
    instant.start(driver.post)
    gc_tuning.calm()  # like the process of an orchestrator
    try:
        while not core.epoch:
            time.sleep(0.01)
        pipe.send(None)
        pipe.recv()
    except (EOFError, OSError):
        pass
    driver.stop()
    instant.stop()
    store.close()


def _measure(out: Output, local: LocalFleet, rate: float, seconds: float, depot: GeoPoint) -> dict[str, Any]:
    near = {"lat": depot.lat_deg + 0.0005, "lon": depot.lon_deg}
    out.say("the naive pipeline …")
    naive_s = _naive(local.options.etcd_endpoints, rate, min(seconds, 10.0))
    with OrderProbe(local, near, "latency") as probe:
        out.say(f"warming up, then {rate:g} orders/s for {seconds:g} s …")
        probe.latencies_s(probe.send(rate, WARM_UP_S), ASSIGNED_WITHIN_S)
        probe.answered_s.clear()
        ids = probe.send(rate, seconds)
        times_s = probe.latencies_s(ids, ASSIGNED_WITHIN_S)
        answered_s = list(probe.answered_s)
    if len(times_s) < len(ids):
        raise Failure(f"{len(ids) - len(times_s)} of {len(ids)} orders were not assigned in time")
    return {
        "rate": rate,
        **_figures(times_s),
        "answer_p50_ms": percentile_ms(answered_s, 50),
        "answer_p99_ms": percentile_ms(answered_s, 99),
        "baseline": _figures(naive_s),
        "samples_ms": [round(each * 1e3, 2) for each in times_s],
        "baseline_samples_ms": [round(each * 1e3, 2) for each in naive_s],
    }


def _figures(times_s: list[float]) -> dict[str, float]:
    return {
        "n": len(times_s),
        "p50_ms": percentile_ms(times_s, 50),
        "p99_ms": percentile_ms(times_s, 99),
        "max_ms": percentile_ms(times_s, 100),
    }


def _naive(endpoints: str, rate: float, seconds: float) -> list[float]:
    """Return the times (s) of orders that :data:`CLIENTS` clients take through the steps, one transaction per step."""
    from ...store.connection import Connection
    from ...store.etcd import EtcdDriver
    from ...store.kv import Put

    driver = EtcdDriver(Connection(endpoints.split(",")))
    times_s: list[float] = []
    failed: list[StoreError] = []
    began_s = time.monotonic()
    numbers = iter(range(max(1, round(rate * seconds))))
    lock = threading.Lock()

    def client() -> None:
        while not failed:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            time.sleep(max(0.0, began_s + number / rate - time.monotonic()))
            at_s = time.monotonic()
            try:
                for step in STEPS:
                    driver.txn([], [Put(f"/bench_latency/{step}/{number}", b"x" * 200)])
            except StoreError as error:
                failed.append(error)
                return
            times_s.append(time.monotonic() - at_s)

    clients = [threading.Thread(target=client, name=f"naive-{i}", daemon=True) for i in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    driver.close()
    if failed:
        raise Failure(str(failed[0]))
    return times_s


def picture(document: Mapping[str, Any]) -> str:
    """Return one dot per order, as SVG."""
    rows = {"POST to ASSIGNED": document["samples_ms"], "naive pipeline": document["baseline_samples_ms"]}
    note = (
        f"{document['rate']:g} orders/s, {document['n']} orders: p50 {document['p50_ms']:g} ms, p99 "
        f"{document['p99_ms']:g} ms; naive pipeline: four transactions from the client, without HTTP or leader"
    )
    title = "From POST to ASSIGNED" + (" in a whole fleet" if document["whole_fleet"] else "")
    return charts.draw(title, charts.Dots("ms (each dot an order)", rows, log=True), note=note)
