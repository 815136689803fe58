"""A real orchestrator process retires orders that ended before its start, into the folder of its parameter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import DomainReservation, dies_with_parent
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Fate, Transition
from drone_orchestrator.core.types import GeoPoint, LeaderRecord, Order, SagaStatus
from drone_orchestrator.store import EtcdStore
from drone_orchestrator.store.archive import ArchiveFile, find_archives

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

REGION = "sf"


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    reservation = DomainReservation()
    yield {
        **os.environ,
        "ROS_DOMAIN_ID": str(reservation.domain),
        "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
        "PYTHONUNBUFFERED": "1",
    }
    reservation.release()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EtcdStore]:
    with EtcdProcess(tmp_path / "etcd") as etcd:
        store = EtcdStore(etcd.endpoints, REGION)
        yield store
        store.close()


def end_an_order(store: EtcdStore) -> str:
    """End an order under an earlier leader, and return its message id."""
    epoch = store.campaign(LeaderRecord("earlier", uuid.uuid4().hex, time.time()), 60.0)
    order = Order(str(uuid.uuid4()), "ORD-1", GeoPoint(37.77, -122.42), 1.0, time.time())
    first = sagas.begin(order, now_s=time.time(), epoch=epoch)
    pending = sagas.apply(None, first)
    last = sagas.next_event(pending, sagas.CANCELLED, SagaStatus.CANCELLED, now_s=time.time(), epoch=epoch)
    [result] = store.commit(epoch, [Transition(sagas.apply(pending, last), (first, last), 0)])
    assert result.fate is Fate.SUCCEEDED
    store.resign(epoch)
    return order.message_id


def eventually(condition: Callable[[], object], what: str, deadline_s: float = 90.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)


def test_an_orchestrator_retires_orders_that_ended_before_its_start(
    environment: dict[str, str], store: EtcdStore, tmp_path: Path
) -> None:
    message_id = end_an_order(store)
    [endpoint] = store.status()["endpoints"]  # type: ignore[misc]
    folder = tmp_path / "archive"
    parameters = (f"region:={REGION}", f"etcd_endpoints:={endpoint}", "retention_s:=1.0", f"archive_dir:={folder}")
    command = [*dies_with_parent(), sys.executable, "-m", "drone_orchestrator.nodes.orchestrator", "--ros-args"]
    command += [word for parameter in parameters for word in ("-p", parameter)]
    with subprocess.Popen(command, env=environment) as process:
        try:
            eventually(lambda: store.find(message_id) is None, "the order leaves the store")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
    assert store.events(message_id) == []
    [path] = find_archives(folder)
    [record] = ArchiveFile.open(path).records()
    assert record.order is not None and record.order.saga.message_id == message_id
