"""Endless load on a real etcd, in short: does its size stay bounded while orders go on, and is none of them lost?

    .venv/bin/python benchmarks/retention_soak.py --seconds 600

One replica (core, driver, etcd and archive are the real ones) serves simulated drones that deliver at once. Orders keep
coming, a bounded number at a time, and are retired ``--retention`` seconds after their end; etcd compacts itself. Once
a second a line tells how large etcd is. At the end no more orders come, everything has to leave the store, and the
audit must find each order that was accepted, in the archive. Exit code 1 where it does not.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drone_orchestrator.bringup import fleet_config
from drone_orchestrator.core.effects import AcknowledgeOutcome, AnswerClearance, RecallGoal, SendGoal, Transition
from drone_orchestrator.core.events import ClearanceRequested, CommitDone, DroneHeard, Event, Fate, GoalAnswered
from drone_orchestrator.core.orchestrator import Orchestrator
from drone_orchestrator.core.retention import RetentionPolicy
from drone_orchestrator.core.types import (
    DeliveryOutcome,
    DroneReport,
    FleetSpec,
    LeaderRecord,
    Order,
    Outcome,
    Phase,
    Verdict,
)
from drone_orchestrator.planning.planner import GreedyPlanner
from drone_orchestrator.runtime.driver import Driver
from drone_orchestrator.store import EtcdProcess, EtcdStore
from drone_orchestrator.store.archive import ArchiveFile, ArchiveWriter, find_archives
from drone_orchestrator.verification.archives import ArchiveRecord
from drone_orchestrator.verification.checker import check
from drone_orchestrator.verification.records import Report

HEARTBEAT_S = 0.5
_KEYS = "etcd_debugging_mvcc_keys_total"
_IN_USE = "etcd_mvcc_db_total_size_in_use_in_bytes"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names


class InstantDrones:
    """A fleet whose drones are where they are wanted, and deliver the moment they have clearance."""

    def __init__(self, fleet: FleetSpec, count: int) -> None:
        names = {f"drone_{number}": fleet.classes[number % len(fleet.classes)] for number in range(count)}
        self._reports = {
            drone_id: DroneReport(drone_id, c.name, f"journal-{drone_id}", 0, Phase.IDLE, fleet.depot, c.battery_wh)
            for drone_id, c in names.items()
        }
        self._goals: dict[str, SendGoal] = {}
        self._outcomes: dict[str, DeliveryOutcome] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="drones", daemon=True)
        self.post: Callable[[Event], None] = lambda event: None

    def start(self, post: Callable[[Event], None]) -> None:
        self.post = post
        self._heart.start()

    def stop(self) -> None:
        self._stopped.set()
        self._heart.join()

    def send_goal(self, effect: SendGoal) -> None:
        with self._lock:
            self._goals[effect.drone_id] = effect
        self.post(GoalAnswered(effect.drone_id, effect.order.message_id, effect.attempt, True))
        self._ask(effect)

    def recall(self, effect: RecallGoal) -> None: ...

    def answer_clearance(self, effect: AnswerClearance) -> None:
        if effect.verdict is not Verdict.GRANTED:
            return  # the next heartbeat asks again
        with self._lock:
            goal = next((g for g in self._goals.values() if g.order.message_id == effect.message_id), None)
            if goal is None:
                return
            del self._goals[goal.drone_id]
            ended = DeliveryOutcome(effect.message_id, effect.attempt, Outcome.DELIVERED, time.time())
            self._outcomes[goal.drone_id] = ended
        self.post(self._heard(goal.drone_id))

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        with self._lock:
            self._outcomes.pop(effect.drone_id, None)
        self.post(self._heard(effect.drone_id))

    def heartbeat(self, effect: object) -> None: ...

    def office_taken(self, epoch: int) -> None: ...

    def office_left(self, epoch: int, reason: str) -> None: ...

    def _ask(self, goal: SendGoal) -> None:
        journal_id = self._reports[goal.drone_id].journal_id
        self.post(ClearanceRequested(0, goal.drone_id, goal.order.message_id, goal.attempt, journal_id, goal.epoch))

    def _heard(self, drone_id: str) -> DroneHeard:
        with self._lock:
            goal, outcome = self._goals.get(drone_id), self._outcomes.get(drone_id)
        base = self._reports[drone_id]
        report = DroneReport(
            drone_id,
            base.drone_class,
            base.journal_id,
            goal.epoch if goal else 0,
            Phase.AWAITING_CLEARANCE if goal else Phase.IDLE,
            base.position,
            base.energy_wh,
            message_id=goal.order.message_id if goal else None,
            attempt=goal.attempt if goal else 0,
            outcomes=(outcome,) if outcome else (),
        )
        return DroneHeard(report)

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_S):
            for drone_id in self._reports:
                self.post(self._heard(drone_id))
            for goal in list(self._goals.values()):
                self._ask(goal)


@dataclass
class Sample:
    """etcd at one moment: ``keys`` are its living keys, ``in_use_bytes`` its data without free pages."""

    at_s: float
    orders: int
    keys: int
    in_use_bytes: int

    def __str__(self) -> str:
        size_mb = self.in_use_bytes / 1e6
        return f"{self.at_s:6.0f} s {self.orders:8d} delivered {self.keys:7d} keys {size_mb:7.1f} MB in use"


@dataclass
class Result:
    """What a run showed. ``left``: etcd when everything had time to leave and to be compacted."""

    accepted: int
    samples: list[Sample]
    left: Sample
    report: Report | None = None
    missing: int = 0

    @property
    def ok(self) -> bool:
        return self.report is not None and self.report.ok and not self.missing and self.left.keys <= 1

    @property
    def peak_bytes(self) -> int:
        return max(sample.in_use_bytes for sample in self.samples)


class Soak:
    """One run. ``outstanding``: so many orders are accepted and not yet retired or delivered, at most."""

    def __init__(
        self, folder: Path, *, seconds: float, retention_s: float, drones: int, outstanding: int, compaction: str
    ) -> None:
        self._folder = folder
        self._seconds = seconds
        self._retention_s = retention_s
        self._drones = drones
        self._outstanding = outstanding
        self._compaction = compaction
        self._delivered = 0
        self._message_ids: list[str] = []

    def run(self, say: Callable[[str], None] = lambda line: None) -> Result:
        fleet = fleet_config.load()
        with EtcdProcess(self._folder / "etcd", auto_compaction=self._compaction) as etcd:
            store, intake = (EtcdStore(etcd.endpoints, "soak") for _ in range(2))
            archive = ArchiveWriter(self._folder / "archive", "soak", "orchestrator_a")
            drones = InstantDrones(fleet, self._drones)
            core = Orchestrator(
                LeaderRecord("orchestrator_a", uuid.uuid4().hex, time.time()),
                fleet,
                GreedyPlanner(),
                retention=RetentionPolicy(self._retention_s),
            )
            driver = Driver(core, store, drones, logging.getLogger("soak"), archive=archive, on_commit=self._count)
            driver.start()
            drones.start(driver.post)
            try:
                samples = self._load(intake, fleet, etcd.endpoints[0], say)
                left = self._drain(etcd.endpoints[0], driver, samples)
            finally:
                drones.stop()
                driver.stop()
                archive.close()
            if driver.crash is not None:
                raise RuntimeError("the replica died of a defect") from driver.crash
            result = Result(len(self._message_ids), samples, left)
            records = self._read_archive()
            result.report = check(intake.history(), complete=True, archive=records)
            living = {entry.id for entry in intake.snapshot().entries}
            archived = {record.order.saga.message_id for record in records if record.order is not None}
            result.missing = len(set(self._message_ids) - archived - living)
            store.close()
            intake.close()
            return result

    def _count(self, done: CommitDone, took_s: float) -> None:
        change = done.commit.transition
        if done.fate is Fate.SUCCEEDED and isinstance(change, Transition) and change.saga.status.is_terminal:
            self._delivered += 1

    def _load(self, intake: EtcdStore, fleet: FleetSpec, endpoint: str, say: Callable[[str], None]) -> list[Sample]:
        """Submit for ``seconds``, whenever fewer than ``outstanding`` orders wait or fly."""
        began, samples = time.monotonic(), []
        next_sample_s = 1.0
        for number in itertools.count(1):
            now_s = time.monotonic() - began
            if now_s >= next_sample_s:
                samples.append(Sample(now_s, self._delivered, *measure(endpoint)))
                next_sample_s += 1.0
                say(str(samples[-1]))
            if now_s >= self._seconds:
                return samples
            if len(self._message_ids) - self._delivered >= self._outstanding:
                time.sleep(0.005)
                continue
            order = Order(str(uuid.uuid4()), f"ORD-{number}", fleet.depot, 1.0, time.time())
            intake.submit(order)
            self._message_ids.append(order.message_id)
        raise AssertionError("not reached")

    def _drain(self, endpoint: str, driver: Driver, samples: list[Sample], deadline_s: float = 30.0) -> Sample:
        """No more orders: wait until only the leader's key is left and etcd has given most of its space back."""
        peak = max(sample.in_use_bytes for sample in samples)
        end = time.monotonic() + deadline_s
        while True:
            left = Sample(time.monotonic() - end + deadline_s, self._delivered, *measure(endpoint))
            done = left.keys <= 1 and left.in_use_bytes <= peak / 3
            if done or time.monotonic() >= end or driver.crash is not None:
                return left
            time.sleep(0.1)

    def _read_archive(self) -> list[ArchiveRecord]:
        files = find_archives(self._folder / "archive")
        return [record for path in files for record in ArchiveFile.open(path).records()]


def measure(endpoint: str) -> tuple[int, int]:
    """Living keys and bytes in use of the etcd at ``endpoint``."""
    with _DIRECT.open(f"{endpoint}/metrics", timeout=5.0) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    return int(float(values[_KEYS])), int(float(values[_IN_USE]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--retention", type=float, default=2.0, help="s")
    parser.add_argument("--drones", type=int, default=40)
    parser.add_argument("--outstanding", type=int, default=100)
    parser.add_argument("--compaction", default="2s", help="history that etcd keeps, as etcd writes it")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="drone-soak-") as folder:
        result = Soak(
            Path(folder),
            seconds=args.seconds,
            retention_s=args.retention,
            drones=args.drones,
            outstanding=args.outstanding,
            compaction=args.compaction,
        ).run(lambda line: print(line, flush=True))
    assert result.report is not None
    print(f"{result.accepted} orders accepted, {result.report.archived} archived ({result.report.repeats} twice)")
    print(f"after {result.left}")
    print(f"{result.missing} missing, violations {result.report.invariants}")
    for violation in result.report.violations[:10]:
        print(violation.invariant, violation.text)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
