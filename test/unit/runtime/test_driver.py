"""The driver on real threads: crashes stop it, a stopping leader resigns, outages do not flood the log."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from world import DEPOT, FLEET, make_order, make_report

from drone_orchestrator.core.changes import Fate, Reserve, Transition
from drone_orchestrator.core.leader.effects import Campaign, Commit, Effect, KeepReservation, Resign, SetAside
from drone_orchestrator.core.leader.events import CampaignDone, CommitDone, DroneHeard, Event, StoreChanged, ViewLoaded
from drone_orchestrator.core.leader.orchestrator import Orchestrator
from drone_orchestrator.core.saga import apply, begin
from drone_orchestrator.core.types import Instant, Kind, LeaderRecord, StoreChange
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.ports import Clock, CommitResult, StoreUnavailable
from drone_orchestrator.runtime.driver import FRESHEN_AFTER_S, Driver
from drone_orchestrator.runtime.workers import Call, Pool, ThreadWorkers
from drone_orchestrator.store import MemoryBackend, MemoryStore

DEADLINE_S = 60.0
RECORD = LeaderRecord("orchestrator_a", "instance", 0.0)


class Ground:
    """Fleet that records the effects it gets."""

    def __init__(self) -> None:
        self.office = threading.Event()

    def send_goal(self, effect: Any) -> None: ...

    def recall(self, effect: Any) -> None: ...

    def answer_clearance(self, effect: Any) -> None: ...

    def acknowledge(self, effect: Any) -> None: ...

    def start_leading(self, epoch: int) -> None:
        self.office.set()

    def stop_leading(self, epoch: int, reason: str) -> None: ...

    def heartbeat(self, effect: object) -> None: ...


class Script:
    """Stands in for the core: returns prepared effects for each event, and records the events."""

    def __init__(self, answer: Callable[[Event], list[Effect]] = lambda event: []) -> None:
        self.epoch = 0
        self.heard: queue.Queue[Event] = queue.Queue()
        self.election = self
        self.record = RECORD
        self._answer = answer

    def next_deadline(self) -> float | None:
        return None

    def step(self, events: Sequence[Event], now: Instant) -> list[Effect]:
        effects = [effect for event in events for effect in self._answer(event)]
        for event in events:
            self.heard.put(event)
        return effects

    def wait_for(self, kind: type) -> Any:
        while not isinstance(event := self.heard.get(timeout=DEADLINE_S), kind):
            pass
        return event


class Held(MemoryStore):
    """Store whose calls the test can hold up."""

    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__(backend, "sf", "orchestrator_a")
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.freed = threading.Event()
        self.resigned: list[int] = []
        self.groups: list[int] = []
        self.begun: queue.Queue[int] = queue.Queue()
        self.kept: queue.Queue[list[str]] = queue.Queue()
        self.freshened: queue.Queue[None] = queue.Queue()
        self.away = False

    def wait(self) -> None:
        self.entered.set()
        assert self.gate.wait(DEADLINE_S)

    def campaign(self, record: LeaderRecord, ttl_s: float, over_epoch: int = 0, *fleet: Any) -> int:
        self.wait()
        return super().campaign(record, ttl_s, over_epoch, *fleet)

    def resign(self, epoch: int) -> None:
        super().resign(epoch)
        self.resigned.append(epoch)
        self.freed.set()

    def commit(self, epoch: int, changes: Any) -> list[CommitResult]:
        self.groups.append(len(changes))
        self.begun.put(len(changes))
        self.wait()
        return [CommitResult(Fate.SUCCEEDED, 7)] * len(changes)

    def freshen_leases(self) -> None:
        self.freshened.put(None)
        if self.away:
            raise StoreUnavailable("switched off")

    def keep_reservations(self, drone_ids: Sequence[str]) -> frozenset[str]:
        self.kept.put(list(drone_ids))
        if self.away:
            raise StoreUnavailable("switched off")
        return frozenset(drone_ids)


@pytest.fixture
def store():
    held = Held(MemoryBackend())
    yield held
    held.gate.set()
    held.close()


def driver_of(core: Any, store: MemoryStore, **options: Any) -> Driver:
    return Driver(core, store, Ground(), logging.getLogger("test.driver"), **options)


def commit(number: int) -> Commit:
    event = begin(make_order(number), now_s=0.0, epoch=5)
    return Commit(number, 5, Transition(apply(None, event), (event,), 0))


def test_a_replica_wins_the_election_leads_and_frees_the_office_when_it_stops():
    backend = MemoryBackend()
    ground, store = Ground(), MemoryStore(backend, "sf", "a")
    core = Orchestrator(RECORD, FLEET, AssignmentPlanner())
    driver = Driver(core, store, ground, logging.getLogger("test.driver"))
    driver.start()
    assert ground.office.wait(DEADLINE_S)
    driver.stop()
    driver.stop()
    assert backend.read([store.keys.leader]).found == {}
    store.close()


def test_a_defect_in_a_callback_of_the_watch_stops_the_replica_loudly(store):
    crashes: queue.Queue[BaseException] = queue.Queue()
    core = Script()
    driver = driver_of(core, store, on_crash=crashes.put)
    post = driver.post

    def fail(event: Event) -> None:
        if isinstance(event, StoreChanged):
            raise RuntimeError("a hole in the view")
        post(event)

    driver.post = fail  # type: ignore[method-assign]
    driver.start()
    core.wait_for(ViewLoaded)
    store.submit(make_order(1))
    assert "a hole in the view" in str(crashes.get(timeout=DEADLINE_S))
    assert driver.crash is not None
    driver.stop()


def test_a_defect_in_the_core_stops_the_replica_loudly(store):
    crashes: queue.Queue[BaseException] = queue.Queue()

    def die(event: Event) -> list[Effect]:
        raise AssertionError("illegal change")

    driver = driver_of(Script(die), store, on_crash=crashes.put)
    driver.start()
    driver.post(DroneHeard(make_report()))
    assert "illegal change" in str(crashes.get(timeout=DEADLINE_S))
    driver.stop()


def test_a_resignation_that_waits_for_a_slow_election_is_carried_out_before_the_end(store):
    store.gate.set()
    epoch = store.campaign(RECORD, 5.0)
    store.gate.clear()
    store.entered.clear()
    core = Script(lambda event: [Campaign(RECORD, 5.0), Resign(epoch)] if isinstance(event, DroneHeard) else [])
    driver = driver_of(core, store)
    driver.start()
    driver.post(DroneHeard(make_report()))
    core.wait_for(DroneHeard)
    assert store.entered.wait(DEADLINE_S)
    stopping = threading.Thread(target=driver.stop)
    stopping.start()
    store.gate.set()
    stopping.join(DEADLINE_S)
    assert epoch in store.resigned


def test_the_office_is_handed_back_while_a_commit_still_waits_for_the_store(store):
    store.gate.set()
    epoch = store.campaign(RECORD, 5.0)
    store.gate.clear()
    store.entered.clear()
    core = Script(lambda event: [commit(1)] if isinstance(event, DroneHeard) else [])
    core.epoch = epoch
    driver = driver_of(core, store)
    driver.start()
    driver.post(DroneHeard(make_report()))
    assert store.entered.wait(DEADLINE_S)
    stopping = threading.Thread(target=driver.stop)
    stopping.start()
    assert store.freed.wait(DEADLINE_S), "standbys wait for what hangs"
    assert stopping.is_alive()
    store.gate.set()
    stopping.join(DEADLINE_S)
    assert store.resigned == [epoch]


def test_a_campaign_that_is_won_while_the_replica_stops_is_given_back(store):
    core = Script(lambda event: [Campaign(RECORD, 5.0)] if isinstance(event, DroneHeard) else [])
    driver = driver_of(core, store)
    driver.start()
    driver.post(DroneHeard(make_report()))
    assert store.entered.wait(DEADLINE_S)
    stopping = threading.Thread(target=driver.stop)
    stopping.start()
    driver._workers._halted.wait(DEADLINE_S)  # type: ignore[attr-defined]
    store.gate.set()
    stopping.join(DEADLINE_S)
    assert len(store.resigned) == 1
    assert not [event for event in list(core.heard.queue) if isinstance(event, CampaignDone)]
    assert store._driver.read([store.keys.leader]).found == {}


def test_commits_that_come_while_one_is_under_way_share_the_next_transaction(store):
    wanted = iter([[commit(1)], [commit(2), commit(3), commit(4)]])
    core = Script(lambda event: list(next(wanted)) if isinstance(event, DroneHeard) else [])
    driver = driver_of(core, store)
    driver.start()
    driver.post(DroneHeard(make_report()))
    assert store.entered.wait(DEADLINE_S)
    driver.post(DroneHeard(make_report()))
    core.wait_for(DroneHeard)
    core.wait_for(DroneHeard)
    store.gate.set()
    assert [core.wait_for(CommitDone).commit.commit_id for _ in range(4)] == [1, 2, 3, 4]
    assert store.groups == [1, 3]
    driver.stop()


def test_a_full_group_does_not_wait_for_the_one_that_is_under_way(store):
    wanted = iter([[commit(1)], [commit(2), commit(3)], [commit(4)], []])
    core = Script(lambda event: list(next(wanted)) if isinstance(event, DroneHeard) else [])
    driver = driver_of(core, store, full_group=2)
    driver.start()
    for groups in (1, 2):
        driver.post(DroneHeard(make_report()))
        assert store.begun.get(timeout=DEADLINE_S) == groups
    for _ in range(2):  # once the second is recorded, the effects of the first are in progress
        driver.post(DroneHeard(make_report()))
    for _ in range(4):
        core.wait_for(DroneHeard)
    assert store.groups == [1, 2], "the single one waits"
    store.gate.set()
    assert {core.wait_for(CommitDone).commit.commit_id for _ in range(4)} == {1, 2, 3, 4}
    assert store.groups == [1, 2, 1]
    driver.stop()


def test_an_outage_of_the_store_is_told_once_and_so_is_its_end(store, caplog):
    core = Script(lambda event: [KeepReservation("drone_1")] if isinstance(event, DroneHeard) else [])
    driver = driver_of(core, store)
    store.away = True
    with caplog.at_level(logging.INFO, "test.driver"):
        driver.start()
        for _ in range(3):
            driver.post(DroneHeard(make_report(position=DEPOT)))
            store.kept.get(timeout=DEADLINE_S)
        store.away = False
        for _ in range(3):
            driver.post(DroneHeard(make_report()))
            store.kept.get(timeout=DEADLINE_S)
        driver.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_reservations_that_are_to_be_kept_within_a_while_share_a_call(store):
    core = Script(lambda event: [KeepReservation(event.report.drone_id)] if isinstance(event, DroneHeard) else [])
    driver = driver_of(core, store)
    driver.start()
    for drone_id in ("drone_1", "drone_2", "drone_1"):
        driver.post(DroneHeard(make_report(drone_id)))
    assert store.kept.get(timeout=DEADLINE_S) == ["drone_1", "drone_2"]
    driver.post(DroneHeard(make_report("drone_3")))
    assert store.kept.get(timeout=DEADLINE_S) == ["drone_3"], "nobody is kept twice"
    driver.stop()


class LeasesLater(ThreadWorkers):
    """Workers that keep calls about leases for the test, with their delays (s)."""

    def __init__(self) -> None:
        super().__init__(Clock().now)
        self.kept: list[tuple[float, Call]] = []

    def run(self, pool: Pool, call: Call, after_s: float = 0.0) -> None:
        if pool is Pool.LEASE:
            self.kept.append((after_s, call))
        else:
            super().run(pool, call, after_s)


@pytest.mark.parametrize("away", [False, True])
def test_leases_are_renewed_together_some_time_after_reservations_and_not_after_other_steps(store, away):
    def reserving(number: int, drone_id: str) -> Commit:
        plain = commit(number)
        return replace(plain, change=replace(plain.change, reservation=Reserve(drone_id)))

    wanted = iter([[commit(1)], [reserving(2, "drone_2"), reserving(3, "drone_3")], [reserving(4, "drone_4")]])
    core = Script(lambda event: next(wanted) if isinstance(event, DroneHeard) else [])
    workers = LeasesLater()
    driver = driver_of(core, store, workers=workers)
    store.gate.set()
    store.away = away
    driver.start()
    driver.post(DroneHeard(make_report()))
    core.wait_for(CommitDone)
    assert workers.kept == []
    for commits in (2, 1):
        driver.post(DroneHeard(make_report()))
        for _ in range(commits):
            core.wait_for(CommitDone)
        [(after_s, renew)] = workers.kept
        assert after_s == FRESHEN_AFTER_S > 0.0
        workers.kept.clear()
        assert (store.freshened.qsize(), renew()) == (0, ())
        store.freshened.get_nowait()
    driver.stop()
    assert driver.crash is None


def test_the_watch_delivers_to_the_core_what_others_write(store):
    core = Script()
    driver = driver_of(core, store)
    driver.start()
    core.wait_for(ViewLoaded)
    store.submit(make_order(1))
    change = core.wait_for(StoreChanged).change
    assert isinstance(change, StoreChange)
    assert [entry.kind for entry in change.entries] == [Kind.INBOX_ORDER]
    driver.stop()


def test_what_the_core_sets_aside_is_logged_with_its_traceback_and_reported(store, caplog):
    def fail():
        raise ZeroDivisionError("a defect")

    try:
        fail()
    except ZeroDivisionError as error:
        effect = SetAside("order m1", error)
    told: queue.Queue[SetAside] = queue.Queue()
    core = Script(lambda event: [effect] if isinstance(event, DroneHeard) else [])
    driver = Driver(core, store, Ground(), logging.getLogger("test.driver"), on_set_aside=told.put)
    with caplog.at_level(logging.INFO, "test.driver"):
        driver.start()
        driver.post(DroneHeard(make_report()))
        assert told.get(timeout=DEADLINE_S) is effect
        driver.stop()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "order m1" in caplog.text and "in fail" in caplog.text
