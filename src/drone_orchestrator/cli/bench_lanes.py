"""``fleetctl bench lanes``: what a flood in one lane costs the others, on a real etcd and the driver of production."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import click
import numpy as np

from ..bringup import fleet_config, town
from ..core.effects import Transition
from ..core.events import CommitDone, Fate
from ..core.orchestrator import Orchestrator
from ..core.types import DroneReport, FleetSpec, LeaderRecord, Phase, SagaStatus
from ..gateway.bulkheads import Bulkheads
from ..gateway.intake import Intake, Result
from ..planning.planner import AssignmentPlanner
from ..runtime.breaker import StoreBreaker
from ..runtime.driver import Driver
from ..runtime.projection import Projection
from ..simulation.instant import InstantFleet
from ..store import EtcdStore
from ..store.process import EtcdNotStarted, EtcdProcess
from ..telemetry.metrics import Metrics
from .context import json_option, positive
from .output import Failure, Output

log = logging.getLogger(__name__)
#: Orders of the measured lane per second, and how long a drone is busy with one.
PROBE_RATE_PER_S = 20.0
BUSY_S = 0.2
DRONES_PER_LANE = 12
ASSIGNED_WITHIN_S = 20.0


@click.command()
@click.option("--seconds", default=10.0, show_default=True, type=positive(1.0, 600.0), help="Of each phase.")
@click.option("--flood-rate", default=1000.0, show_default=True, type=positive(1.0, 100_000.0), help="Orders/s.")
@click.option(
    "--waiting", default=200, show_default=True, type=click.IntRange(1, 100_000), help="Bound of the flooded lane."
)
@json_option
def lanes(out: Output, seconds: float, flood_rate: float, waiting: int) -> None:
    """Time from submission to assignment in one lane, while another is quiet and while it is flooded."""
    try:
        fleet = fleet_config.load()
        if len(fleet.classes) < 2:
            raise Failure("the fleet description has one class: there is no other lane to flood")
        with _Bench(_bounded(fleet, waiting)) as bench:
            quiet = bench.phase(seconds, 0.0)
            out.say(f"quiet: p50 {quiet['p50_ms']:.1f} ms, p99 {quiet['p99_ms']:.1f} ms of {quiet['n']:.0f}")
            flooded = bench.phase(seconds, flood_rate)
            counts = bench.results
    except EtcdNotStarted as error:
        raise Failure(str(error)) from error
    refused = counts[Result.LANE_FULL]
    out.say(f"flooded: p50 {flooded['p50_ms']:.1f} ms, p99 {flooded['p99_ms']:.1f} ms of {flooded['n']:.0f}")
    out.say(f"of the flood {counts[Result.ACCEPTED]} orders were taken in and {refused} refused")
    ratio = flooded["p50_ms"] / quiet["p50_ms"]
    out.result(
        {
            "quiet": quiet,
            "flooded": flooded,
            "ratio_p50": round(ratio, 3),
            "flood_accepted": counts[Result.ACCEPTED],
            "flood_refused": refused,
        }
    )


def _bounded(fleet: FleetSpec, waiting: int) -> FleetSpec:
    """The first class is flooded, the last one measured."""
    first, *others = fleet.classes
    return replace(fleet, classes=(replace(first, max_waiting=waiting), *others))


class _Bench:
    """An etcd, one orchestrator's driver, drones that need :data:`BUSY_S` an order, and two shops."""

    def __init__(self, fleet: FleetSpec) -> None:
        self.results: Counter[Result] = Counter()
        self._fleet = fleet
        self._assigned: dict[str, float] = {}
        self._changed = threading.Condition()
        self._number = 0

    def __enter__(self) -> _Bench:
        self._etcd = EtcdProcess()
        self._stores = [EtcdStore(self._etcd.endpoints, self._fleet.region) for _ in range(2)]
        planner = AssignmentPlanner()
        bulkheads = Bulkheads(self._fleet, planner.capable)
        self._projection = Projection(self._stores[1], folds=(bulkheads,))
        metrics = Metrics("bench", self._fleet.region)
        self._intake = Intake(self._stores[1], self._fleet, planner.capable, metrics, StoreBreaker(), bulkheads)
        reports = [
            DroneReport(
                f"{c.name}_{i}", c.name, f"journal_{c.name}_{i}", 0, Phase.IDLE, self._fleet.depot, c.battery_wh
            )
            for c in self._fleet.classes
            for i in range(DRONES_PER_LANE)
        ]
        self._drones = InstantFleet(reports, busy_s=BUSY_S)
        core = Orchestrator(LeaderRecord("bench", uuid.uuid4().hex, 0.0), self._fleet, planner)
        self._driver = Driver(core, self._stores[0], self._drones, log, on_commit=self._committed)
        self._driver.start()
        self._drones.start(self._driver.post)
        self._projection.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.stop()
        self._drones.stop()
        self._projection.close()
        for store in self._stores:
            store.close()
        self._etcd.stop()

    def phase(self, seconds: float, flood_rate: float) -> dict[str, float]:
        """Latencies of the measured lane, in ms."""
        with self._flood(flood_rate):
            sent = self._probe(self._fleet.classes[-1].name, seconds)
        deadline = time.monotonic() + ASSIGNED_WITHIN_S
        with self._changed:
            while not sent.keys() <= self._assigned.keys() and self._changed.wait(deadline - time.monotonic()):
                pass
            took_ms = [(self._assigned[m] - at) * 1e3 for m, at in sent.items() if m in self._assigned]
        if len(took_ms) < len(sent) or self._driver.crash is not None:
            raise Failure(f"{len(sent) - len(took_ms)} of {len(sent)} orders were not assigned in time")
        p50, p99 = np.percentile(took_ms, [50, 99])
        return {"n": len(sent), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}

    def _probe(self, lane: str, seconds: float) -> dict[str, float]:
        sent: dict[str, float] = {}
        began = time.monotonic()
        for index in range(round(seconds * PROBE_RATE_PER_S)):
            time.sleep(max(0.0, began + index / PROBE_RATE_PER_S - time.monotonic()))
            at = time.monotonic()
            sent[self._submit(lane, "probe")[1]] = at
        return sent

    @contextmanager
    def _flood(self, rate: float) -> Iterator[None]:
        stopped = threading.Event()

        def pour() -> None:
            while not stopped.wait(1.0 / rate):
                self.results[self._submit(self._fleet.classes[0].name, "flood")[0]] += 1

        thread = threading.Thread(target=pour, name="flood", daemon=True)
        if rate:
            thread.start()
        yield
        stopped.set()
        if rate:
            thread.join()

    def _submit(self, lane: str, source: str) -> tuple[Result, str]:
        with self._changed:
            self._number += 1
            number = self._number
        document = {**town.orders(1, number)[0], "order_id": f"B-{number}", "drone_class": lane}
        answer = self._intake.accept(document, source)
        return answer.result, answer.message_id

    def _committed(self, done: CommitDone, took_s: float) -> None:
        change = done.commit.transition
        if done.fate is Fate.SUCCEEDED and isinstance(change, Transition) and change.saga.status is SagaStatus.ASSIGNED:
            with self._changed:
                self._assigned.setdefault(change.message_id, time.monotonic())
                self._changed.notify_all()
