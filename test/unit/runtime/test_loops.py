"""No background thread dies silently: it recovers and logs that, or its death is reported and ends the process."""

from __future__ import annotations

import ast
import logging
import socketserver
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from world import FLEET, make_order

from drone_orchestrator.bringup.local_fleet import FleetError, LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions
from drone_orchestrator.core.leader.orchestrator import Orchestrator
from drone_orchestrator.core.types import Entry, LeaderRecord
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.gateway.handover import Handover
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.ports import StoreDenied, StoreUnavailable
from drone_orchestrator.runtime import loops
from drone_orchestrator.runtime.driver import Driver
from drone_orchestrator.runtime.loops import Loop, ThreadDied, deaths_reported, vital
from drone_orchestrator.runtime.probe import Probe, StoreProbe, look
from drone_orchestrator.runtime.projection import PROOF_WITHIN_S, Projection
from drone_orchestrator.store import MemoryBackend, MemoryStore
from drone_orchestrator.store import watch as etcd_watch
from drone_orchestrator.store.kv import KeyValue, Landmark, RawChange, WatchSink
from drone_orchestrator.telemetry.endpoint import MetricsEndpoint

DEADLINE_S = 60.0
SRC = Path(loops.__file__).parents[1]
#: Modules that may start a thread by themselves, and why. Everything else uses runtime/loops.py.
OWN_THREADS = {
    "runtime/loops.py": "the helper",
    "ros/process.py": "waits for signals; an exception of it ends the process",
    "ros/fleet_client.py": "fleetctl listens; an exception makes its exit code 2",
    "telemetry/otel.py": "closes the exporter at the end of the process, within a time limit",
    "cli/completion/ids.py": "asks for ids within a time limit; no answer is an answer",
    "cli/trial/tcp_proxy.py": "fleetctl; an exception makes its exit code 2",
    "cli/trial/shop.py": "fleetctl; an exception is part of the verdict",
    "cli/bench/latency.py": "fleetctl; an exception makes its exit code 2",
    "cli/bench/soak.py": "fleetctl; an exception makes its exit code 2",
    "cli/bench/order_probe.py": "fleetctl; an exception makes its exit code 2",
    "cli/bench/instant_fleet.py": "fleetctl; an exception makes its exit code 2",
    "runtime/signals.py": "ends a worker of a simulation with its parent; it has nothing else to do",
}


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


class Faulty:
    """Callable that raises each of ``errors`` in turn, then returns what ``then`` returns."""

    def __init__(self, *errors: Exception, then: Callable[..., Any] = lambda *_: None) -> None:
        self._errors = list(errors)
        self._then = then
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return self._then(*args)


@pytest.fixture
def deaths() -> Iterator[list[str]]:
    """Yield the names of threads that died during the test, which are recorded here instead of by pytest."""
    names: list[str] = []
    with deaths_reported(lambda: names.append(threading.current_thread().name)):
        yield names


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


# --- the helper ---------------------------------------------------------------------------------------------------


def test_a_loop_recovers_and_logs_a_series_of_failures_once(caplog: pytest.LogCaptureFixture) -> None:
    step = Faulty(ZeroDivisionError("a defect"), ZeroDivisionError("again"))
    loop = Loop("worker", step, period_s=0.01)
    seen = []
    caplog.set_level(logging.INFO)
    loop.start()
    wait_until(lambda: seen.append(loop.trouble) or step.calls >= 4)
    loop.close()
    assert "ZeroDivisionError: a defect" in seen
    assert not loop.trouble
    assert failures(caplog) == ["worker fails, and is retried: ZeroDivisionError: a defect"]
    assert "worker works again" in [each.message for each in caplog.records]


def test_an_expected_failure_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    step = Faulty(StoreUnavailable("no quorum"))
    loop = Loop("worker", step, period_s=0.01, expected=(StoreUnavailable,))
    loop.start()
    wait_until(lambda: step.calls >= 2)
    loop.close()
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.message == "worker fails, and is retried: no quorum"
    assert record.exc_info is None


def test_a_loop_can_be_closed_during_its_pause() -> None:
    loop = Loop("worker", lambda: None, period_s=1e6)
    loop.start()
    loop.close()  # returns


def dies(*_: object) -> None:
    raise ZeroDivisionError("a defect")


def leaves(*_: object) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("target", [dies, leaves, lambda: None])
def test_the_death_of_a_vital_thread_is_reported_in_one_record(
    target: Callable[[], None], deaths: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    thread = vital("heart", target)
    thread.start()
    thread.join()
    assert deaths == ["heart"]
    (line,) = failures(caplog)
    assert line.startswith("thread 'heart' died, so this process ends: ")


def test_a_vital_thread_may_end_when_it_was_asked_to(deaths: list[str]) -> None:
    asked = threading.Event()
    thread = vital("heart", asked.wait, may_end=asked.is_set)
    thread.start()
    asked.set()
    thread.join()
    assert deaths == []


def test_a_loop_that_raises_system_exit_is_reported(deaths: list[str]) -> None:
    loop = Loop("worker", leaves)
    loop.start()
    wait_until(lambda: deaths)
    loop.close()
    assert deaths == ["worker"]


def test_nothing_else_starts_threads() -> None:
    found = set()
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("Thread", "Timer", "ThreadPoolExecutor", "ThreadPool"):
                found.add(path.relative_to(SRC).as_posix())
    assert found == OWN_THREADS.keys(), "use runtime/loops.py, or say here why not"


# --- the loops ------------------------------------------------------------------------------------------------------


class FaultyFold:
    """Fold that raises at its ``bad``-th change, and counts the orders that it has seen."""

    def __init__(self, bad: int = 2) -> None:
        self.bad = bad
        self.changes = 0
        self.orders = 0
        self.halt = threading.Event()
        self.go_on = threading.Event()

    def load(self, view: FleetView) -> None:
        self.orders = len(view.inbox)

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        self.changes += 1
        if self.halt.is_set():
            self.go_on.wait(DEADLINE_S)
        if self.changes == self.bad:
            raise ZeroDivisionError("a planner plug-in, a rounding, anything")
        self.orders = len(view.inbox)


@pytest.fixture
def backend() -> Iterator[MemoryBackend]:
    yield MemoryBackend()


def test_a_projection_recovers_from_an_exception_in_a_fold(
    backend: MemoryBackend, deaths: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    store, fold = MemoryStore(backend, "sf", "gateway"), FaultyFold()
    projection = Projection(store, folds=(fold,))
    projection.start()
    assert projection.wait_loaded(DEADLINE_S)
    for number in range(5):
        store.submit(make_order(number))
    wait_until(lambda: fold.orders == 5 and projection.freshness().stale_s == 0.0)
    assert projection.freshness().revision == backend.revision
    projection.close()
    assert deaths == []
    assert [each for each in failures(caplog) if "ZeroDivisionError" in each] == [
        "memory-watch-gateway fails, and is retried: ZeroDivisionError: a planner plug-in, a rounding, anything"
    ]


def test_a_projection_is_stale_and_says_why_while_it_cannot_load(backend: MemoryBackend) -> None:
    store, fold = MemoryStore(backend, "sf", "gateway"), FaultyFold(bad=1)
    projection = Projection(store, folds=(fold,))
    projection.start()
    assert projection.wait_loaded(DEADLINE_S)
    fold.load = dies  # type: ignore[method-assign]
    store.submit(make_order(1))
    wait_until(lambda: (projection.freshness().stale_s or 0.0) > 0.3)
    assert projection.freshness().trouble == "ZeroDivisionError: a defect"
    del fold.load  # type: ignore[method-assign]
    wait_until(lambda: projection.freshness().stale_s == 0.0)
    assert fold.orders == 1
    projection.close()


@pytest.mark.parametrize("error", [StoreDenied("permission denied"), ZeroDivisionError("a defect")])
def test_a_projection_starts_after_any_failure_of_its_first_snapshot(backend: MemoryBackend, error: Exception) -> None:
    store = MemoryStore(backend, "sf", "gateway")
    store.snapshot = Faulty(error, then=store.snapshot)  # type: ignore[method-assign]
    projection = Projection(store)
    projection.start()
    assert projection.wait_loaded(DEADLINE_S)
    projection.close()


def test_a_projection_is_stale_if_its_watch_shows_no_sign_of_life(
    backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(backend, "sf", "gateway")
    projection = Projection(store)
    projection.start()
    assert projection.wait_loaded(DEADLINE_S)
    wait_until(lambda: projection._watch)
    monkeypatch.setattr(projection._watch, "silent_s", lambda: PROOF_WITHIN_S + 1.0)
    assert projection.freshness().stale_s == PROOF_WITHIN_S + 1.0
    assert projection.freshness().trouble == "the watch shows no sign of life"
    projection.close()


def test_a_watch_with_a_hanging_callback_shows_no_sign_of_life(backend: MemoryBackend) -> None:
    store = MemoryStore(backend, "sf", "gateway")
    reached, go_on = threading.Event(), threading.Event()

    def hang(change: object) -> None:
        reached.set()
        go_on.wait(DEADLINE_S)

    handle = store.watch(store.snapshot().revision, hang, lambda snapshot: None)
    store.submit(make_order(1))
    assert reached.wait(DEADLINE_S)
    wait_until(lambda: handle.silent_s() > 0.05)
    go_on.set()
    wait_until(lambda: handle.silent_s() == 0.0)
    handle.close()


class Stream:
    """Stand-in for a stream of etcd: delivers revisions 1, 2, 3 and then only answers to progress requests."""

    member = None

    def __init__(self, connection: object, span: object, after: int, without: object = ()) -> None:
        self._after = after
        self._over = threading.Event()

    def __iter__(self) -> Iterator[RawChange | None]:
        for revision in (1, 2, 3):
            if revision > self._after:
                yield RawChange(revision, (("key", KeyValue("key", b"", revision)),))
        while not self._over.wait(0.01):
            yield None
        raise etcd_watch.StreamBroken("closed")

    def close(self) -> None:
        self._over.set()


class Connection:
    def failed(self, member: object) -> None: ...


def test_an_etcd_watch_restarts_after_an_exception_in_its_callback(
    monkeypatch: pytest.MonkeyPatch, deaths: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(etcd_watch, "WatchStream", Stream)
    taken: list[object] = []
    health: list[bool] = []
    on_change = Faulty(ZeroDivisionError("a defect"), then=lambda change: taken.append(change.revision))

    def start_over(breach: str) -> Landmark:
        taken.append("snapshot at 2")
        return Landmark(2)

    sink = WatchSink(on_change, start_over, health.append)
    watch = etcd_watch.WatchLoop(Connection(), ("a", "b"), Landmark(0), sink, lambda place: None)  # type: ignore[arg-type]
    wait_until(lambda: taken == ["snapshot at 2", 3])
    wait_until(lambda: health == [True, False, True])
    wait_until(lambda: watch.silent_s() < 0.5)
    watch.close()
    assert deaths == []
    assert failures(caplog) == ["etcd-watch fails, and is retried: ZeroDivisionError: a defect"]


@pytest.mark.parametrize("error", [StoreDenied("permission denied"), ZeroDivisionError("a defect")])
def test_a_probe_continues_after_an_exception_and_shows_it(error: Exception, deaths: list[str]) -> None:
    ask = Faulty(error, then=lambda: Probe(True))
    probe = StoreProbe(ask, period_s=0.01)
    seen: list[Probe | None] = []
    probe.start()
    wait_until(lambda: seen.append(probe.latest) or (seen[-1] is not None and seen[-1].reachable))
    probe.close()
    assert any(each is not None and not each.reachable and str(error) in each.reason for each in seen)
    assert deaths == []


def test_a_probe_on_demand_reports_an_exception_as_unreachable() -> None:
    assert not StoreProbe(Faulty(ZeroDivisionError("a defect"))).recent().reachable


def test_an_old_answer_of_a_probe_is_not_shown_as_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = StoreProbe(lambda: Probe(True), period_s=5.0)
    assert probe.recent().reachable
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 100.0)
    latest = probe.latest
    assert latest is not None and not latest.reachable and latest.reason.startswith("no answer for")


def test_probing_a_store_that_denies_its_status_gives_the_reason(backend: MemoryBackend) -> None:
    store = MemoryStore(backend, "sf", "monitor")
    store.status = Faulty(StoreDenied("permission denied"))  # type: ignore[method-assign]
    probe = StoreProbe(lambda: look(store))
    assert "permission denied" in probe.recent().reason


def test_metrics_are_served_again_after_an_exception(monkeypatch: pytest.MonkeyPatch, deaths: list[str]) -> None:
    serve = Faulty(OSError("too many open files"), then=socketserver.BaseServer.serve_forever)

    def once(server: socketserver.BaseServer) -> None:
        serve(server)

    monkeypatch.setattr(socketserver.BaseServer, "serve_forever", once)
    endpoint = MetricsEndpoint(CollectorRegistry(), "127.0.0.1", 0)
    wait_until(lambda: endpoint.trouble)
    with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=DEADLINE_S) as answer:
        assert answer.status == 200
    wait_until(lambda: not endpoint.trouble)
    endpoint.close()
    assert deaths == []


def test_the_deciding_thread_dies_loudly_if_the_core_cannot_name_its_deadline(deaths: list[str]) -> None:
    backend = MemoryBackend()
    core = Orchestrator(LeaderRecord("a", "instance", 0.0), FLEET, AssignmentPlanner())
    core.next_deadline = dies  # type: ignore[method-assign,assignment]
    crashed = threading.Event()
    driver = Driver(
        core,
        MemoryStore(backend, "sf", "a"),
        object(),  # type: ignore[arg-type]
        logging.getLogger("driver"),
        on_crash=lambda error: crashed.set(),
    )
    driver.start()
    assert crashed.wait(DEADLINE_S)
    assert isinstance(driver.crash, ZeroDivisionError)
    driver.stop()
    assert deaths == []


class Unlucky:
    """Lifecycle control whose first two activations fail."""

    def __init__(self, *errors: Exception) -> None:
        self.activate = Faulty(*errors)

    def deactivate(self, holder: str) -> bool:
        return True


def test_activating_the_old_leader_after_a_handover_is_retried(backend: MemoryBackend, deaths: list[str]) -> None:
    store = MemoryStore(backend, "sf", "gateway")
    store.campaign(LeaderRecord("a", "instance", 0.0), 5.0)
    projection = Projection(store)
    projection.start()
    assert projection.wait_loaded(DEADLINE_S)
    control = Unlucky(ZeroDivisionError("a defect"), ZeroDivisionError("again"))
    handover = Handover(projection, control, within_s=0.0)
    handover.begin()
    wait_until(lambda: control.activate.calls == 3)
    handover.close()
    projection.close()
    assert deaths == []
    assert not handover._lock.locked()


def test_a_local_fleet_reports_the_death_of_its_supervisor(deaths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = LocalFleet(FleetOptions(), etcd=object())  # type: ignore[arg-type]
    fleet._children = {"a": object()}  # type: ignore[dict-item]
    monkeypatch.setattr(LocalFleet, "_look_after", dies)
    monkeypatch.setattr(LocalFleet, "_shut_down", lambda self: None)
    thread = vital("supervisor", fleet._supervise, may_end=lambda: True)
    thread.start()
    thread.join()
    fleet._children = {}
    with pytest.raises(FleetError, match="the supervisor failed: ZeroDivisionError: a defect"):
        fleet.check()
    fleet.stop()
    assert deaths == ["supervisor"]


def test_the_description_of_a_death_names_its_cause() -> None:
    assert loops.describe(ZeroDivisionError("two\nlines")) == "ZeroDivisionError: two lines"
    assert loops.describe(ThreadDied()) == "ThreadDied"
