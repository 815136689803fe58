"""A real etcd beyond its quota: what still works, and what brings it back."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from drone_orchestrator.bringup.etcd_process import EtcdProcess, find_etcd
from drone_orchestrator.core.changes import Fate, Retirement
from drone_orchestrator.core.types import GeoPoint, Kind, LeaderRecord, Order
from drone_orchestrator.ports import StoreError, StoreUnavailable
from drone_orchestrator.runtime.probe import check_quorum, look
from drone_orchestrator.runtime.space import FULL, measure
from drone_orchestrator.store import EtcdStore

pytestmark = pytest.mark.etcd

QUOTA_BYTES = 2 * 1024**2
DEADLINE_S = 60.0
#: Bytes of a package of ballast.
BALLAST = 100_000


@pytest.fixture
def small_etcd(etcd_binary: str) -> Iterator[EtcdProcess]:
    with EtcdProcess(extra_args=(f"--quota-backend-bytes={QUOTA_BYTES}",)) as process:
        yield process


@pytest.fixture
def store(small_etcd: EtcdProcess) -> Iterator[EtcdStore]:
    made = EtcdStore(small_etcd.endpoints, f"test-{uuid.uuid4().hex[:12]}")
    yield made
    made.close()


def order(number: int, trace: str = "") -> Order:
    return Order(f"m{number}", f"o{number}", GeoPoint(47.4, 8.5), 1.0, 100.0, trace_context=trace)


def fill(store: EtcdStore) -> int:
    """Submit large orders until etcd takes no more. Return how many are stored.

    The alarm may be raised between the moment that etcd applies a transaction and its answer: it stores that one, too.
    """
    for number in range(1, 200):
        try:
            store.submit(order(number, "x" * BALLAST))
        except StoreUnavailable as error:
            assert "database space exceeded" in str(error)
            stored = {entry.id for entry in store.snapshot().entries if entry.kind is Kind.INBOX_ORDER}
            assert stored - {f"m{number}"} == {f"m{taken}" for taken in range(1, number)}
            return len(stored)
    raise AssertionError("etcd never ran out of space")


def etcdctl(etcd: EtcdProcess, *arguments: str) -> None:
    binary = Path(find_etcd()).with_name("etcdctl")
    subprocess.run([binary, f"--endpoints={etcd.endpoints[0]}", *arguments], check=True, capture_output=True)


def test_the_space_in_use_is_measured_and_shows_the_alarm(store: EtcdStore) -> None:
    before = measure(store, QUOTA_BYTES)
    assert 0 < before.used_bytes < QUOTA_BYTES // 2 and not before.refusal and not before.filling
    for number in range(6):
        store.submit(order(number, "x" * BALLAST))
    deadline_s = time.monotonic() + DEADLINE_S  # etcd writes to its database a few times a second
    while (after := measure(store, QUOTA_BYTES)).used_bytes < before.used_bytes + 6 * BALLAST:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    full = measure(store, after.used_bytes)
    assert full.share >= FULL and "nearly full" in full.refusal and full.filling


def test_a_full_etcd_answers_readers_and_recovers(small_etcd: EtcdProcess, store: EtcdStore) -> None:
    epoch = store.campaign(LeaderRecord("a", "a-1", 0.0), 60.0)
    taken = fill(store)
    found = measure(store, QUOTA_BYTES)
    assert found.alarms == ("NOSPACE",) and found.share == 1.0
    assert "takes no writes" in found.refusal
    # Everything that reads still works, and so does a leader's lease.
    check_quorum(store)
    assert look(store).reachable
    assert len([e for e in store.snapshot().entries if e.kind.value == "inbox/orders"]) == taken
    assert store.find("m1") is not None and list(store.history())
    assert store.refresh_lease(epoch)
    with pytest.raises(StoreError):
        store.commit_time_s()
    # A leader in office can still retire orders and compact the history.
    view = store.find("m1")
    assert view is not None
    revision = int(str(store.status()["revision"]))
    store.compact(revision)
    store.compact(revision)  # it may be repeated
    retired = store.commit(epoch, [Retirement("m1", "o1", 0)])[0]
    assert retired.fate in (Fate.SUCCEEDED, Fate.UNAVAILABLE)
    # What an operator does.
    for number in range(2, taken):
        etcdctl(small_etcd, "del", store.keys.inbox_order(f"m{number}"))
    store.compact(int(str(store.status()["revision"])))
    etcdctl(small_etcd, "defrag")
    etcdctl(small_etcd, "alarm", "disarm")
    assert not measure(store, QUOTA_BYTES).alarms
    assert store.submit(order(1000)).created
