"""``fleetctl bench soak``: an endless load in short. Memory and etcd must stay bounded, and every order accounted for.

One replica (with the production core, driver, etcd and archive) leads instant drones. Orders keep coming, a bounded
number at a time, and are retired ``--retention`` seconds after their end; etcd compacts itself. The store never holds
more than half of all orders: a run that is faster than that waits until an order leaves before it submits another. At
the end no more arrive, everything must leave the store, and the audit must find each accepted order in the archive.

The baseline runs first in the same run: fewer orders, none of them retired, to measure what each leaves in etcd.
"""

from __future__ import annotations

import logging
import re
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ...bringup import fleet_config, leftovers
from ...bringup.etcd_process import EtcdNotStarted, EtcdProcess, read_metrics
from ...bringup.operator_files import FileRefused
from ...core.changes import Fate, Retirement, Transition
from ...core.leader.events import CommitDone
from ...core.leader.orchestrator import Orchestrator
from ...core.policies import RetentionPolicy
from ...core.types import DroneReport, FleetSpec, LeaderRecord, Order, Phase
from ...planning.planner import AssignmentPlanner
from ...ports import StoreError
from ...runtime import gc_tuning
from ...runtime.driver import Driver
from ...store import EtcdStore
from ...store.archive import ArchiveFile, ArchiveWriter, find_archives
from ...store.transactions import SUBMITTED_TOGETHER
from ...verification.archives import ArchiveRecord
from ...verification.checker import check
from ..output import Failure, Output
from . import charts
from .instant_fleet import InstantFleet
from .scale import machine

log = logging.getLogger(__name__)
SAMPLE_S = 1.0
SAID_S = 5.0
STALLED_S = 60.0
DRAINED_WITHIN_S = 60.0
#: A payload that every class carries (kg).
WEIGHT_KG = 1.0
#: Limit of the last quarter of the steady part over its first; above the noise of the allocator and of etcd's pages.
GROWTH_LIMIT = 1.25
#: Keys of a region without orders: leader, fleet, and the leaders' two notes (time led, configuration).
OWN_KEYS = 4
FEWEST_SAMPLES = 8
_KEYS = "etcd_debugging_mvcc_keys_total"
_IN_USE = "etcd_mvcc_db_total_size_in_use_in_bytes"
_GAUGE = re.compile(rf"^({_KEYS}|{_IN_USE}) (\S+)$", re.MULTILINE)


def soak(
    out: Output,
    orders: int,
    baseline_orders: int,
    retention: float,
    drones: int,
    outstanding: int,
    compaction: int,
    picture_path: Path | None,
) -> None:
    """Run ``fleetctl bench soak``."""
    try:
        with leftovers.temporary_folder() as folder:
            kept = Soak(folder / "kept", drones=drones, outstanding=outstanding, compaction=compaction).run(
                baseline_orders
            )
            per_order = kept.samples[-1].in_use_bytes / baseline_orders
            out.say(f"nothing retired: {baseline_orders} orders leave {per_order / 1e3:.1f} kB each in etcd")
            run = Soak(
                folder / "retired",
                drones=drones,
                outstanding=outstanding,
                compaction=compaction,
                retention_s=retention,
            )
            result = run.run(orders, _Teller(out))
    except (FileRefused, EtcdNotStarted, StoreError, OSError) as error:
        raise Failure(str(error)) from error
    document = {
        **result.document(),
        "retention_s": retention,
        "baseline_bytes_per_order": round(per_order),
        "baseline_bytes": round(per_order * orders),
        "ratio": round(per_order * orders / result.peak_bytes, 1),
        "machine": machine(),
    }
    out.say(
        f"{result.accepted} orders at {result.orders_per_s:.0f}/s: {_growth_text(result)}; etcd held at most "
        f"{result.peak_bytes / 1e6:.1f} MB, {document['ratio']} times less than without retirement"
    )
    if picture_path is not None:
        charts.save(picture_path, picture(document))
    out.result(document)
    if not result.ok:
        raise Failure("; ".join(result.complaints))


def _growth_text(result: SoakResult) -> str:
    memory, etcd = result.memory_growth, result.etcd_growth
    if memory is None or etcd is None:
        return "too short to tell whether anything grows"
    return f"memory grew {memory:.2f} and etcd {etcd:.2f} times since the first quarter of its steady part"


def picture(document: Mapping[str, Any]) -> str:
    """Return memory and etcd's size over the delivered orders, as SVG."""
    samples = document["samples"]
    step = max(1, len(samples) // 60)
    shown = samples[::step]
    note = f"{document['orders']:,} orders, each retired {document['retention_s']:g} s after its end"
    return charts.draw(
        "Very many orders through one region",
        charts.Lines(
            "orders delivered",
            "MB",
            {
                "leader, resident": [(s["orders"], s["rss_bytes"] / 1e6) for s in shown],
                "etcd, data in use": [(s["orders"], s["in_use_bytes"] / 1e6) for s in shown],
            },
        ),
        charts.Lines("orders delivered", "keys in etcd", {"keys": [(s["orders"], s["keys"]) for s in shown]}),
        note=note,
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: ``keys`` is the number of etcd's live keys, ``in_use_bytes`` its data without free pages,
    ``rss_bytes`` the resident memory of the leader's process."""

    at_s: float
    orders: int
    keys: int
    in_use_bytes: int
    rss_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.at_s:5.0f} s {self.orders:8d} delivered {self.keys:7d} keys {self.in_use_bytes / 1e6:7.1f} MB in "
            f"etcd {self.rss_bytes / 1e6:7.1f} MB resident"
        )


@dataclass(frozen=True, slots=True)
class SoakResult:
    """Result of a run.

    ``steady_s``: when the first orders had left etcd with their history; ``left``: after everything had time to leave;
    ``missing``: orders found neither in the store nor in the archive.
    """

    accepted: int
    took_s: float
    samples: Sequence[Sample]
    left: Sample
    steady_s: float = 0.0
    archived: int = 0
    repeats: int = 0
    missing: int = 0
    violations: tuple[str, ...] = ()

    @property
    def orders_per_s(self) -> float:
        return self.accepted / self.took_s

    @property
    def peak_bytes(self) -> int:
        return max(sample.in_use_bytes for sample in self.samples)

    @property
    def memory_growth(self) -> float | None:
        return self._growth(lambda sample: sample.rss_bytes)

    @property
    def etcd_growth(self) -> float | None:
        return self._growth(lambda sample: sample.in_use_bytes)

    @property
    def complaints(self) -> tuple[str, ...]:
        """Return the problems found, a sentence each."""
        found = list(self.violations[:3])
        if self.missing:
            found.append(f"{self.missing} orders are neither in the store nor in the archive")
        if self.left.keys > OWN_KEYS:
            found.append(f"{self.left.keys} keys stayed in etcd after everything had ended")
        for what, growth in (("memory", self.memory_growth), ("etcd", self.etcd_growth)):
            if growth is not None and growth > GROWTH_LIMIT:
                found.append(f"{what} grew {growth:.2f} times")
        return tuple(found)

    @property
    def ok(self) -> bool:
        return not self.complaints

    def document(self) -> dict[str, Any]:
        """Return the result for ``--json``."""
        return {
            "orders": self.accepted,
            "orders_per_s": round(self.orders_per_s, 1),
            "memory_growth": self.memory_growth,
            "etcd_growth": self.etcd_growth,
            "peak_rss_bytes": max(sample.rss_bytes for sample in self.samples),
            "peak_bytes": self.peak_bytes,
            "left_keys": self.left.keys,
            "left_bytes": self.left.in_use_bytes,
            "archived": self.archived,
            "archived_twice": self.repeats,
            "missing": self.missing,
            "violations": len(self.violations),
            "samples": [
                {
                    "at_s": round(s.at_s, 1),
                    "orders": s.orders,
                    "keys": s.keys,
                    "in_use_bytes": s.in_use_bytes,
                    "rss_bytes": s.rss_bytes,
                }
                for s in self.samples
            ],
        }

    def _growth(self, what: Callable[[Sample], int]) -> float | None:
        """Return the median of the steady part's last quarter over that of its first; ``None`` if it is too short."""
        steady = [what(sample) for sample in self.samples if sample.at_s >= self.steady_s]
        quarter = len(steady) // 4
        if len(steady) < FEWEST_SAMPLES:
            return None
        return round(statistics.median(steady[-quarter:]) / statistics.median(steady[:quarter]), 3)


class Soak:
    """One run in ``folder``. At most ``outstanding`` orders wait or fly at a time; without ``retention_s`` all stay."""

    def __init__(
        self, folder: Path, *, drones: int, outstanding: int, compaction: int, retention_s: float | None = None
    ) -> None:
        self._folder = folder
        self._drones = drones
        self._outstanding = outstanding
        self._compaction = compaction
        self._retention_s = retention_s
        self._changed = threading.Condition()
        self._delivered = 0
        self._retired = 0

    def run(self, orders: int, say: Callable[[Sample], None] = lambda sample: None) -> SoakResult:
        """Run ``orders`` orders. Raises :class:`.Failure` if they stop making progress."""
        fleet = fleet_config.load()
        with EtcdProcess(self._folder / "etcd", auto_compaction=f"{self._compaction}s") as etcd:
            endpoint = etcd.endpoints[0]
            with ExitStack() as stack:
                intake = EtcdStore(etcd.endpoints, fleet.region)
                stack.callback(intake.close)
                driver = stack.enter_context(self._leader(etcd.endpoints, fleet))
                began_s = time.monotonic()
                samples = [self._sample(endpoint, began_s)]
                with self._sampling(endpoint, began_s, samples, say):
                    self._hand_in(orders, intake, fleet, driver)
                    self._wait(driver, delivered=orders)
                    took_s = time.monotonic() - began_s
                samples.append(self._sample(endpoint, began_s))
                if self._retention_s is None:
                    return SoakResult(orders, took_s, samples, samples[-1])
                left = self._drain(endpoint, began_s, driver)
                driver.stop()  # so that the archive is complete
                # etcd compacts history older than a period once per period.
                steady_s = self._retention_s + 2 * self._compaction
                return self._account(SoakResult(orders, took_s, samples, left, steady_s), intake)

    @contextmanager
    def _leader(self, endpoints: Sequence[str], fleet: FleetSpec) -> Iterator[Driver]:
        classes = [fleet.classes[number % len(fleet.classes)] for number in range(self._drones)]
        drones = InstantFleet(
            DroneReport(f"drone_{i}", c.name, f"journal_{i}", 0, Phase.IDLE, fleet.depot, c.battery_wh)
            for i, c in enumerate(classes)
        )
        policy = None if self._retention_s is None else RetentionPolicy(self._retention_s)
        core = Orchestrator(LeaderRecord("soak", uuid.uuid4().hex, 0.0), fleet, AssignmentPlanner(), retention=policy)
        with ExitStack() as stack:
            store = EtcdStore(endpoints, fleet.region)
            stack.callback(store.close)
            archive = ArchiveWriter(self._folder / "archive", fleet.region, "soak")
            stack.callback(archive.close)
            driver = Driver(core, store, drones, log, archive=archive, on_commit=self._committed)
            driver.start()
            drones.start(driver.post)
            stack.callback(driver.stop)
            stack.callback(drones.stop)
            gc_tuning.calm()  # like the process of an orchestrator
            yield driver

    def _committed(self, done: CommitDone, took_s: float) -> None:
        if done.fate is not Fate.SUCCEEDED:
            return
        change = done.commit.change
        with self._changed:
            if isinstance(change, Transition) and change.saga.status.is_terminal:
                self._delivered += 1
            elif isinstance(change, Retirement):
                self._retired += 1
            else:
                return
            self._changed.notify_all()

    def _hand_in(self, orders: int, intake: EtcdStore, fleet: FleetSpec, driver: Driver) -> None:
        for first in range(0, orders, SUBMITTED_TOGETHER):
            numbers = range(first, min(orders, first + SUBMITTED_TOGETHER))
            self._wait(driver, delivered=numbers.stop - self._outstanding)
            if self._retention_s is not None:
                self._wait(driver, retired=numbers.stop - orders // 2)
            now_s = time.time()
            batch = [Order(_message_id(n), f"ORD-{n}", fleet.depot, WEIGHT_KG, now_s) for n in numbers]
            for answer in intake.submit_all(batch):
                if isinstance(answer, StoreError):
                    raise answer

    def _wait(self, driver: Driver, *, delivered: int = 0, retired: int = 0) -> None:
        """Wait until this many orders have been delivered, and this many have left the store. Raises :class:`.Failure`
        if nothing moves any more."""
        stalled_s = STALLED_S + (self._retention_s or 0.0)
        with self._changed:
            while self._delivered < delivered or self._retired < retired:
                moved = self._changed.wait(stalled_s)
                if driver.crash is not None:
                    raise Failure(f"the leader died: {driver.crash!r}")
                if not moved:
                    done = f"after {self._delivered} were delivered and {self._retired} retired"
                    raise Failure(f"no order moved for {stalled_s:g} s, {done}")

    @contextmanager
    def _sampling(
        self, endpoint: str, began_s: float, samples: list[Sample], say: Callable[[Sample], None]
    ) -> Iterator[None]:
        """Sample and print once a second on a separate thread. Its errors are raised at the end."""
        over = threading.Event()
        failed: list[OSError] = []

        def sample() -> None:
            while not over.wait(SAMPLE_S):
                try:
                    samples.append(self._sample(endpoint, began_s))
                except OSError as error:
                    failed.append(error)
                    return
                say(samples[-1])

        thread = threading.Thread(target=sample, name="sampler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]

    def _sample(self, endpoint: str, began_s: float) -> Sample:
        keys, in_use_bytes = measure(endpoint)
        rss_bytes = psutil.Process().memory_info().rss
        return Sample(time.monotonic() - began_s, self._delivered, keys, in_use_bytes, rss_bytes)

    def _drain(self, endpoint: str, began_s: float, driver: Driver) -> Sample:
        """Wait until only the region's own keys are left; no more orders are submitted."""
        end_s = time.monotonic() + DRAINED_WITHIN_S + (self._retention_s or 0.0)
        while True:
            left = self._sample(endpoint, began_s)
            if left.keys <= OWN_KEYS or time.monotonic() >= end_s or driver.crash is not None:
                return left
            time.sleep(0.1)

    def _account(self, result: SoakResult, intake: EtcdStore) -> SoakResult:
        """Look for every order in the archive and the remaining history of the store."""
        known: set[str] = set()

        def records() -> Iterator[ArchiveRecord]:
            for path in find_archives(self._folder / "archive"):
                for record in ArchiveFile.open(path).records():
                    if record.order is not None:
                        known.add(record.order.saga.message_id)
                    yield record

        report = check(intake.history(), complete=True, archive=records())
        known.update(entry.id for entry in intake.snapshot().entries)
        missing = sum(1 for number in range(result.accepted) if _message_id(number) not in known)
        violations = tuple(f"{violation.invariant}: {violation.text}" for violation in report.violations)
        return replace(result, archived=report.archived, repeats=report.repeats, missing=missing, violations=violations)


class _Teller:
    """Printer of a sample now and then."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._said_s = 0.0

    def __call__(self, sample: Sample) -> None:
        if sample.at_s - self._said_s >= SAID_S:
            self._said_s = sample.at_s
            self._out.say(str(sample))


def _message_id(number: int) -> str:
    """Return the id of an order by its number, so that a run need not remember its submissions."""
    return str(uuid.UUID(int=number, version=4))


def measure(endpoint: str) -> tuple[int, int]:
    """Return live keys and bytes in use of the etcd at ``endpoint`` (URL), from its metrics. Raises ``OSError``."""
    values = {name: float(value) for name, value in _GAUGE.findall(read_metrics(endpoint))}
    return int(values[_KEYS]), int(values[_IN_USE])
