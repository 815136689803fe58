"""``fleetctl bench lanes``: the cost of a flood in one lane to the others, on a real etcd and the production driver.

The flood comes from a separate process with its own intake, like another gateway. The benchmark thus measures what the
lanes share, not one interpreter.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ...bringup import fleet_config, town
from ...bringup.etcd_process import EtcdNotStarted, EtcdProcess
from ...core.changes import Fate, Transition
from ...core.leader.events import CommitDone
from ...core.leader.orchestrator import Orchestrator
from ...core.types import DroneReport, FleetSpec, LeaderRecord, Phase, SagaStatus
from ...intake.answers import Result
from ...intake.bulkheads import Bulkheads
from ...intake.intake import Intake
from ...planning.planner import AssignmentPlanner
from ...runtime.breaker import StoreBreaker
from ...runtime.driver import Driver
from ...runtime.projection import Projection
from ...runtime.signals import interrupts_held_back
from ...store import EtcdStore
from ...telemetry.metrics import Metrics
from ..output import Failure, Output
from .instant_fleet import InstantFleet

log = logging.getLogger(__name__)
#: Orders of the measured lane per second, and the time that a drone takes for one (s).
PROBE_RATE_PER_S = 20.0
BUSY_S = 0.2
DRONES_PER_LANE = 12
ASSIGNED_WITHIN_S = 20.0


def lanes(out: Output, seconds: float, flood_rate: float, waiting: int) -> None:
    """Run ``fleetctl bench lanes``."""
    try:
        fleet = fleet_config.load()
        if len(fleet.classes) < 2:
            raise Failure("the fleet description has one class: there is no other lane to flood")
        with _LanesBench(_bounded(fleet, waiting)) as bench:
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
    """Return a fleet whose first class is flooded and whose last one is measured."""
    first, *others = fleet.classes
    return replace(fleet, classes=(replace(first, max_waiting=waiting), *others))


class _LaneShop:
    """Intake with its own store and view that submits orders for one class."""

    def __init__(self, endpoints: Sequence[str], fleet: FleetSpec, drone_class: str, prefix: str) -> None:
        self._drone_class = drone_class
        self._prefix = prefix
        self._number = 0
        self._store = EtcdStore(endpoints, fleet.region)
        capable = AssignmentPlanner().capable
        bulkheads = Bulkheads(fleet, capable)
        self._projection = Projection(self._store, folds=(bulkheads,))
        metrics = Metrics("bench", fleet.region)
        self._intake = Intake(self._store, fleet, capable, metrics, StoreBreaker(), bulkheads)
        self._projection.start()

    def order(self) -> tuple[Result, str]:
        """Submit the next order. Return the answer and its message id."""
        self._number += 1
        document = town.orders(1, self._number)[0]
        answer = self._intake.accept(
            {**document, "order_id": f"{self._prefix}-{self._number}", "drone_class": self._drone_class}, self._prefix
        )
        return answer.result, answer.message_id

    def close(self) -> None:
        self._projection.close()
        self._store.close()


def _flood(pipe: Connection, endpoints: Sequence[str], fleet: FleetSpec, rate_per_s: float) -> None:
    """Run the flooder's process: report readiness, flood until told to stop, then report the answers."""
    shop = _LaneShop(endpoints, fleet, fleet.classes[0].name, "flood")
    results: Counter[Result] = Counter()
    pipe.send(None)
    began_s, number = time.monotonic(), 0
    while not pipe.poll(max(0.0, began_s + number / rate_per_s - time.monotonic())):
        results[shop.order()[0]] += 1
        number += 1
    shop.close()
    pipe.send(results)


class _LanesBench:
    """An etcd, one orchestrator's driver, drones that take :data:`BUSY_S` per order, and two shops."""

    def __init__(self, fleet: FleetSpec) -> None:
        self.results: Counter[Result] = Counter()
        self._fleet = fleet
        self._assigned: dict[str, float] = {}
        self._changed = threading.Condition()

    def __enter__(self) -> _LanesBench:
        self._etcd = EtcdProcess()
        self._store = EtcdStore(self._etcd.endpoints, self._fleet.region)
        self._shop = _LaneShop(self._etcd.endpoints, self._fleet, self._fleet.classes[-1].name, "probe")
        reports = [
            DroneReport(
                f"{c.name}_{i}", c.name, f"journal_{c.name}_{i}", 0, Phase.IDLE, self._fleet.depot, c.battery_wh
            )
            for c in self._fleet.classes
            for i in range(DRONES_PER_LANE)
        ]
        self._drones = InstantFleet(reports, busy_s=BUSY_S)
        core = Orchestrator(LeaderRecord("bench", uuid.uuid4().hex, 0.0), self._fleet, AssignmentPlanner())
        self._driver = Driver(core, self._store, self._drones, log, on_commit=self._committed)
        self._driver.start()
        self._drones.start(self._driver.post)
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.stop()
        self._drones.stop()
        self._shop.close()
        self._store.close()
        self._etcd.stop()

    def phase(self, seconds: float, flood_rate: float) -> dict[str, float]:
        """Return the latencies of the measured lane (ms)."""
        with self._flooded(flood_rate):
            sent = self._probe(seconds)
        deadline = time.monotonic() + ASSIGNED_WITHIN_S
        with self._changed:
            while not sent.keys() <= self._assigned.keys() and self._changed.wait(deadline - time.monotonic()):
                pass
            took_ms = [(self._assigned[m] - at) * 1e3 for m, at in sent.items() if m in self._assigned]
        if len(took_ms) < len(sent) or self._driver.crash is not None:
            raise Failure(f"{len(sent) - len(took_ms)} of {len(sent)} orders were not assigned in time")
        p50, p99 = np.percentile(took_ms, [50, 99])
        return {"n": len(sent), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}

    def _probe(self, seconds: float) -> dict[str, float]:
        sent: dict[str, float] = {}
        began = time.monotonic()
        for index in range(round(seconds * PROBE_RATE_PER_S)):
            time.sleep(max(0.0, began + index / PROBE_RATE_PER_S - time.monotonic()))
            at = time.monotonic()
            sent[self._shop.order()[1]] = at
        return sent

    @contextmanager
    def _flooded(self, rate_per_s: float) -> Iterator[None]:
        if not rate_per_s:
            yield
            return
        spawned = multiprocessing.get_context("spawn")
        ours, theirs = spawned.Pipe()
        arguments = (theirs, tuple(self._etcd.endpoints), self._fleet, rate_per_s)
        flooder = spawned.Process(target=_flood, args=arguments, name="flood", daemon=True)
        with interrupts_held_back():
            flooder.start()
        try:
            self._hear(ours)
            yield
            ours.send(None)
            self.results += self._hear(ours)
        finally:
            flooder.kill()
            flooder.join()

    @staticmethod
    def _hear(pipe: Connection) -> Any:
        if not pipe.poll(ASSIGNED_WITHIN_S):
            raise Failure(f"the flood's process did not answer within {ASSIGNED_WITHIN_S:g} s")
        return pipe.recv()

    def _committed(self, done: CommitDone, took_s: float) -> None:
        change = done.commit.change
        if done.fate is Fate.SUCCEEDED and isinstance(change, Transition) and change.saga.status is SagaStatus.ASSIGNED:
            with self._changed:
                self._assigned.setdefault(change.message_id, time.monotonic())
                self._changed.notify_all()
