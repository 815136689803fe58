"""History leaves the store after its retention: archived first, deleted afterwards, without delaying decisions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from world import FLEET, ArchiveInMemory, Replica, World, make_order, make_report

from drone_orchestrator.core.changes import Fate, Retirement
from drone_orchestrator.core.leader.effects import Archive, Commit, Effect, Ended, Report
from drone_orchestrator.core.leader.events import Archived, CommitDone, DroneHeard
from drone_orchestrator.core.leader.led_time import LedTime
from drone_orchestrator.core.leader.orchestrator import Orchestrator
from drone_orchestrator.core.leader.retention import Retention
from drone_orchestrator.core.policies import RetentionPolicy
from drone_orchestrator.core.types import (
    ArchivedOrder,
    CancelRequest,
    Entry,
    Instant,
    Kind,
    LeaderRecord,
    Order,
    Saga,
    SagaStatus,
    Snapshot,
)
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.runtime import archive as archives
from drone_orchestrator.runtime.driver import Driver
from drone_orchestrator.store import MemoryBackend, MemoryStore
from drone_orchestrator.store.kv import Put
from drone_orchestrator.store.memory import MemoryDriver
from drone_orchestrator.verification.archives import ArchiveRecord
from drone_orchestrator.verification.checker import check

S = SagaStatus
RETENTION_S = 20.0
DEADLINE_S = 60.0


@pytest.fixture
def world() -> Iterator[World]:
    """Yield a world with one replica that retires; then check that history and archive account for every order."""
    world = World(retention=RetentionPolicy(RETENTION_S, max_under_way=3))
    yield world
    archive = [ArchiveRecord(f"archive:{line}", order) for line, order in enumerate(world.archive.orders)]
    assert check(world.intake.history(), complete=False, archive=archive).violations == ()


def end(world: World, *numbers: int) -> list[Order]:
    """Submit orders that end at once: cancelled before there is any drone."""
    orders = [make_order(number) for number in numbers]
    for order in orders:
        world.intake.submit(order)
    world.run()
    for order in orders:
        world.intake.request_cancel(CancelRequest(order.message_id, 0.0))
    world.run()
    assert all(world.saga(order).status is S.CANCELLED for order in orders)
    return orders


def keys(world: World) -> list[str]:
    """Return every existing key except those of leader and fleet, including events."""
    prefix = world.intake.keys.prefix
    living = world.backend.scan(((prefix, prefix[:-1] + "0"),), 0)[1]
    found = [kv.key.removeprefix(prefix) for kv in living]
    return [key for key in found if key not in ("leader", "fleet") and not key.startswith("notes/")]


def one_ended(policy: RetentionPolicy) -> tuple[Retention, Saga]:
    """Begin a term with one order in view, which ended at 1000 s."""
    saga = Saga("m1", make_order(1), S.CANCELLED, created_at=1000.0, updated_at=1000.0)
    view = FleetView.of(Snapshot(5, (Entry(Kind.SAGA, saga.message_id, saga, 5),)))
    retention = Retention(view, policy)
    retention.begin_term(3, Instant(0.0, 1000.0))
    return retention, saga


def batch(effects: list[Effect]) -> Archive:
    """Return the only batch to archive among ``effects``."""
    [archive] = [effect for effect in effects if isinstance(effect, Archive)]
    return archive


def reports(replica: Replica) -> list[str]:
    return [effect.text for effect in replica.take(Report) if isinstance(effect, Report)]


def wait(world: World, seconds: float) -> None:
    """Advance in steps that keep the leader's lease alive."""
    world.pass_time(seconds, step_s=1.0)


def until_due(world: World) -> None:
    """Advance the clock until the retention is over, without a tick."""
    wait(world, RETENTION_S - 1.0)
    world.mono_s += 1.5


def until_retired(world: World) -> None:
    wait(world, RETENTION_S + 1.0)


# --- what is retired, and when ----------------------------------------------------------------------------------------


def test_an_order_leaves_nothing_behind_when_its_retention_ends(world: World) -> None:
    [order] = end(world, 1)
    wait(world, RETENTION_S - 1.0)
    saga, events = world.saga(order), world.intake.events(order.message_id)
    wait(world, 2.0)
    assert keys(world) == []
    [archived] = world.archive.orders
    assert (archived.saga, list(archived.events)) == (saga, events)


def test_the_next_deadline_is_the_end_of_a_retention() -> None:
    retention, _ = one_ended(RetentionPolicy(3600.0))
    [mark] = retention.tick(Instant(0.0, 1000.0))
    assert isinstance(mark, Commit) and retention.next_deadline() == 3600.0
    retention.commit_done(CommitDone(mark, Fate.UNAVAILABLE), Instant(1.0, 1001.0))
    assert retention.next_deadline() == 61.0


def test_an_open_order_stays_however_old_it_is(world: World) -> None:
    world.intake.submit(make_order(1))
    world.run()
    wait(world, 5 * RETENTION_S)
    assert world.saga(make_order(1)).status is S.PENDING
    assert world.archive.orders == []


def test_without_a_policy_orders_stay_forever() -> None:
    world = World()
    [order] = end(world, 1)
    wait(world, 5 * RETENTION_S)
    assert world.saga(order).status is S.CANCELLED


@pytest.mark.parametrize("wall_s", [-2 * 86_400.0, 2 * 86_400.0])
def test_a_wall_clock_that_is_set_changes_no_retention(world: World, wall_s: float) -> None:
    [order] = end(world, 1)
    world.wall_offset_s = wall_s
    wait(world, RETENTION_S - 1.0)
    assert world.saga(order).status is S.CANCELLED
    assert not world.intake.submit(order).created
    wait(world, 2.0)
    assert keys(world) == []


@pytest.mark.parametrize("wall_s", [-2 * 86_400.0, 2 * 86_400.0])
def test_a_successor_with_another_wall_clock_forgets_no_order_early(wall_s: float) -> None:
    world = World(replicas=2, retention=RetentionPolicy(RETENTION_S))
    world.wall_offset_s = wall_s  # the clock that stamps the end
    [order] = end(world, 1)
    wait(world, 12.0)
    world.wall_offset_s = 0.0
    world.crash(world.leader)
    wait(world, 7.0)
    assert world.saga(order).status is S.CANCELLED
    wait(world, RETENTION_S)
    assert keys(world) == []


def test_the_time_with_a_leader_outlives_every_replica() -> None:
    world = World(retention=RetentionPolicy(RETENTION_S))
    [order] = end(world, 1)
    wait(world, RETENTION_S - 5.0)
    world.crash(world.leader)
    world.pass_time(100.0, step_s=1.0)  # time without a leader does not count
    world.add_replica("later")
    world.run()
    assert world.saga(order).status is S.CANCELLED
    wait(world, 8.0)
    assert keys(world) == []


def test_time_that_no_leader_wrote_down_counts_as_less() -> None:
    note = LedTime(3, ((10, 100.0), (20, 160.0)))
    assert (note.total_s, note.at(5), note.at(10), note.at(11), note.at(21)) == (160.0, 100.0, 100.0, 160.0, None)


def test_marks_are_thinned_out_and_never_make_an_order_older() -> None:
    note = LedTime(1)
    totals: dict[int, float] = {}
    for minute in range(3 * 24 * 60):
        totals[10 * minute] = 60.0 * minute
        note = note.marked(1, 10 * minute, 60.0 * minute, 24 * 3600.0)
    assert len(note.marks) < 200
    for revision, true_s in totals.items():
        then_s = note.at(revision)
        assert then_s is not None and then_s >= true_s
        age_s = note.total_s - true_s
        if age_s < 24 * 3600.0:
            assert then_s - true_s <= 60.0 + age_s / 8.0


def test_inbox_entries_of_an_order_are_removed_with_it(world: World) -> None:
    [order] = end(world, 1)
    until_due(world)
    world.intake.request_cancel(CancelRequest(order.message_id, 1.0))
    world.run()
    wait(world, 10.0)
    assert keys(world) == []


def test_the_ids_of_a_retired_order_can_be_used_again(world: World) -> None:
    end(world, 1)
    until_retired(world)
    again = world.intake.submit(make_order(1, package_weight_kg=1.0))
    assert (again.created, again.conflict) == (True, "")
    world.run()
    assert world.saga(make_order(1)).status is S.PENDING


def test_many_orders_are_retired_in_bounded_batches(world: World) -> None:
    end(world, *range(1, 12))
    until_retired(world)
    assert keys(world) == []
    assert world.archive.batches == [3, 3, 3, 2]


# --- archived first ---------------------------------------------------------------------------------------------------


def test_nothing_is_deleted_while_the_archive_cannot_be_written(world: World) -> None:
    end(world, 1, 2)
    before = keys(world)
    world.archive.failure = "disk full"
    reports(world.leader)
    wait(world, 5 * RETENTION_S)
    assert keys(world) == before
    assert reports(world.leader) == ["history cannot be archived, so it stays in the store: disk full"]
    world.archive.failure = ""
    wait(world, 60.0)
    assert keys(world) == []
    assert reports(world.leader) == ["history is archived again"]


def test_a_failing_archive_is_retried_with_growing_pauses(world: World) -> None:
    end(world, 1)
    until_due(world)
    retention, now = world.leader.core.retention, world.now
    pauses = []
    for _ in range(12):
        archive = batch(retention.tick(now))
        retention.archived(Archived(archive, error="disk full"), now)
        assert retention.tick(now) == []
        deadline = retention.next_deadline()
        assert deadline is not None
        pauses.append(deadline - now.mono_s)
        now = Instant(deadline, now.wall_s + pauses[-1])
    assert pauses[0] <= 1.0
    assert 30.0 <= pauses[-1] <= 60.0


def test_decisions_continue_while_the_archive_hangs(world: World) -> None:
    end(world, 1)
    leader = world.leader
    until_due(world)
    batch(leader.core.retention.tick(world.now))  # dropped: it is never answered
    world.hear(make_report())
    world.intake.submit(make_order(2))
    world.run()
    assert world.saga(make_order(2)).status is S.ASSIGNED


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"at":', b'"at":1', "its 2 events do not lead to its saga"),
        (b'"n":1', b'"n":one', "event 1 cannot be read: JSONDecodeError"),
    ],
)
def test_an_order_with_a_broken_history_is_kept_and_reported_and_blocks_no_other(
    old: bytes, new: bytes, why: str
) -> None:
    world = World(retention=RetentionPolicy(RETENTION_S))
    orders = end(world, 1, 2)
    key = world.intake.keys.event(orders[0].message_id, 1)
    stored = world.backend.read((key,)).found[key].value
    MemoryDriver(world.backend, "tamper").txn((), (Put(key, stored.replace(old, new)),))
    world.run()
    reports(world.leader)
    until_retired(world)
    assert world.saga(orders[0]).status is S.CANCELLED
    assert [o.saga.message_id for o in world.archive.orders] == [orders[1].message_id]
    [said] = reports(world.leader)
    assert said.startswith(f"m1: not archived, it stays in the store: {why}")
    wait(world, 3 * RETENTION_S)
    assert reports(world.leader) == []


# --- dead leaders and lost answers ------------------------------------------------------------------------------------


def test_an_order_archived_by_a_leader_that_dies_is_deleted_by_the_next() -> None:
    world = World(replicas=2, retention=RetentionPolicy(RETENTION_S))
    end(world, 1, 2)
    first = world.leader
    until_due(world)
    while not world.archive.orders:
        world.step_once(first)
    world.crash(first)
    assert keys(world) != []
    wait(world, 30.0)
    assert keys(world) == []
    archive = [ArchiveRecord(f"archive:{line}", order) for line, order in enumerate(world.archive.orders)]
    report = check(world.intake.history(), complete=True, archive=archive)
    assert (report.violations, report.archived, report.repeats) == ((), 2, 2)


def test_a_deposed_leader_deletes_nothing(world: World) -> None:
    [order] = end(world, 1)
    leader, stale = world.leader, world.leader.core.epoch
    until_due(world)
    archive = batch(leader.core.retention.tick(world.now))
    [commit] = leader.core.retention.archived(Archived(archive), world.now)
    assert isinstance(commit, Commit) and isinstance(commit.change, Retirement)
    world.intake.resign(stale)
    world.intake.campaign(leader.core.election.record, 60.0)
    leader.store.commit(stale, [commit.change])
    assert world.saga(order).status is S.CANCELLED


@pytest.mark.parametrize("applied", [True, False])
def test_a_deletion_with_a_lost_answer_is_detected_or_retried(world: World, applied: bool) -> None:
    end(world, 1)
    until_due(world)
    while not world.archive.orders:
        world.step_once(world.leader)
    world.backend.lose_answers(1, applied=applied, client=world.leader.name)
    world.run()
    wait(world, 10.0)
    assert keys(world) == []


def test_an_answer_from_an_earlier_term_is_ignored(world: World) -> None:
    end(world, 1)
    retention = world.leader.core.retention
    until_due(world)
    archive = batch(retention.tick(world.now))
    retention.begin_term(archive.epoch, world.now)
    assert retention.archived(Archived(archive), world.now) == []


def test_an_order_is_retired_once_however_late_the_view_follows() -> None:
    retention, saga = one_ended(RetentionPolicy(RETENTION_S))
    retention.saga_changed(saga.message_id, Instant(0.0, 1000.0))  # both its own commit and the watch's echo report it
    now = Instant(2 * RETENTION_S, 1000.0)
    archive = batch(retention.tick(now))
    assert len(archive.orders) == 1
    [commit] = retention.archived(Archived(archive), now)
    assert isinstance(commit, Commit)
    assert retention.commit_done(CommitDone(commit, Fate.SUCCEEDED, 9), now) == []
    retention.saga_changed(saga.message_id, Instant(0.0, 1000.0))
    assert retention.tick(now) == []
    assert retention.next_deadline() is None


def test_an_order_that_is_already_deleted_is_not_reported(world: World) -> None:
    [order] = end(world, 1)
    entry = world.leader.core.view.sagas[order.message_id]
    assert isinstance(entry.value, Saga)
    until_retired(world)
    gone = Archive(1, world.leader.core.epoch, (Ended(entry.value, entry.mod_revision),))
    assert archives.carry_out(gone, world.intake, world.archive) == Archived(gone)
    assert len(world.archive.orders) == 1


def test_a_new_leader_retires_orders_that_ended_under_others() -> None:
    world = World(replicas=2, retention=RetentionPolicy(RETENTION_S))
    end(world, 1, 2, 3)
    world.crash(world.leader)
    wait(world, 10.0)
    until_retired(world)
    assert keys(world) == []
    kinds = [entry.kind for entry in world.intake.snapshot().entries]
    assert kinds == [Kind.FLEET, Kind.LEADER, Kind.NOTE]


# --- the driver's worker pool -----------------------------------------------------------------------------------------


class Ground:
    """A fleet that only records which epoch leads."""

    def __init__(self) -> None:
        self.term = threading.Event()

    def start_leading(self, epoch: int) -> None:
        self.term.set()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


class SlowDisk(ArchiveInMemory):
    """An archive that takes as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_go_on = threading.Event(), threading.Event()

    def append(self, orders: Sequence[ArchivedOrder]) -> None:
        self.asked.set()
        assert self.may_go_on.wait(DEADLINE_S)
        super().append(orders)


def test_decisions_never_wait_for_a_slow_disk() -> None:
    backend, disk, ground = MemoryBackend(), SlowDisk(), Ground()
    store, intake = MemoryStore(backend, "sf", "orchestrator"), MemoryStore(backend, "sf", "intake")
    record = LeaderRecord("orchestrator", "instance", 0.0)
    core = Orchestrator(record, FLEET, AssignmentPlanner(), retention=RetentionPolicy(0.2))
    driver = Driver(core, store, ground, logging.getLogger("test"), archive=disk)
    driver.start()
    try:
        assert ground.term.wait(DEADLINE_S)
        intake.submit(make_order(1, submitted_at=time.time(), deadline_s=0.1))  # it ends on its own, past its deadline
        driver.post(DroneHeard(make_report()))
        assert disk.asked.wait(DEADLINE_S)
        intake.submit(make_order(2, submitted_at=time.time()))
        driver.post(DroneHeard(make_report()))
        eventually(lambda: has_status(intake, make_order(2), S.ASSIGNED), "the order gets its drone")
        assert has_status(intake, make_order(1), S.FAILED)
        disk.may_go_on.set()
        eventually(lambda: intake.find("m1") is None, "the first order is retired")
    finally:
        disk.may_go_on.set()
        driver.stop()
    assert driver.crash is None
    assert [order.saga.message_id for order in disk.orders] == ["m1"]


def has_status(store: MemoryStore, order: Order, status: SagaStatus) -> bool:
    view = store.find(order.message_id)
    return view is not None and view.saga is not None and view.saga.status is status


def eventually(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.01)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"retention_s": 0.0}, {"max_under_way": 0}, {"retry_base_s": 0.0}, {"retry_base_s": 2.0, "retry_cap_s": 1.0}],
)
def test_a_contradictory_policy_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RetentionPolicy(**wrong)  # type: ignore[arg-type]
