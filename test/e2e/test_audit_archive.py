"""``fleetctl audit --archive`` on a real etcd: archived orders are still checked, whether etcd is compacted or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from etcd3 import etcdrpc

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.cli.audit import audit_store
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Consume, Fate, Retirement, Transition
from drone_orchestrator.core.leader.effects import Archive, Ended
from drone_orchestrator.core.types import GeoPoint, Kind, LeaderRecord, Order, Saga, SagaStatus
from drone_orchestrator.runtime import archive as archives
from drone_orchestrator.runtime.framing import parse_line, record_line
from drone_orchestrator.store import EtcdStore
from drone_orchestrator.store.archive import ArchiveFile, ArchiveWriter, find_archives
from drone_orchestrator.verification.archives import ArchiveRecord

pytestmark = pytest.mark.etcd

REGION = "san_francisco"


class Town:
    """A store with a leader's epoch, and an archive."""

    def __init__(self, etcd: EtcdProcess, folder: Path) -> None:
        self.etcd = etcd
        self.folder = folder
        self.store = EtcdStore(etcd.endpoints, REGION)
        self.epoch = self.store.campaign(LeaderRecord("orchestrator_a", uuid.uuid4().hex, time.time()), 60.0)
        self.archive = ArchiveWriter(folder, REGION, "orchestrator_a")

    def end(self, number: int) -> Ended:
        """Accept and cancel an order."""
        order = Order(f"m{number}", f"ORD-{number}", GeoPoint(37.77, -122.42), 1.0, time.time())
        self.store.submit(order)
        view = self.store.find(order.message_id)
        assert view is not None
        begun = sagas.begin(order, now_s=time.time(), epoch=self.epoch)
        saga = sagas.apply(None, begun)
        used = (Consume(Kind.INBOX_ORDER, order.message_id, view.revision),)
        revision = self._commit(Transition(saga, (begun,), 0, consume=used))
        ended = sagas.next_event(saga, sagas.CANCELLED, SagaStatus.CANCELLED, now_s=time.time(), epoch=self.epoch)
        saga = sagas.apply(saga, ended)
        return Ended(saga, self._commit(Transition(saga, (ended,), revision)))

    def put_away(self, *orders: Ended) -> None:
        """Archive the orders without deleting them."""
        assert archives.carry_out(Archive(1, self.epoch, orders), self.store, self.archive).error == ""

    def delete(self, *orders: Ended) -> None:
        for ended in orders:
            self._commit(Retirement(ended.saga.message_id, ended.saga.order_id, ended.revision))

    def compact(self) -> None:
        member = self.store._driver._connection.current()
        revision = self.store.status()["revision"]
        member.kv.Compact(etcdrpc.CompactionRequest(revision=revision, physical=True), timeout=5.0)

    def audit(self, *args: str | Path, archive: bool = True) -> tuple[int, dict[str, object], str]:
        """Return exit code, JSON document and text output."""
        command = [sys.executable, "-m", "drone_orchestrator.cli.main", "audit", "--json", *map(str, args)]
        command += ["--archive", str(self.folder)] if archive else []
        if "--offline" not in args:
            command += ["--etcd", self.etcd.endpoints[0]]
        environment = {k: v for k, v in os.environ.items() if k not in ("ETCD_ENDPOINTS", "DRONE_ORCHESTRATOR_REGION")}
        environment["COLUMNS"] = "300"
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        document = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
        return done.returncode, document, done.stderr

    def _commit(self, change: Transition | Retirement) -> int:
        [result] = self.store.commit(self.epoch, [change])
        assert result.fate is Fate.SUCCEEDED
        return result.revision


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with EtcdProcess(tmp_path / "etcd") as etcd:
        town = Town(etcd, tmp_path / "archive")
        yield town
        town.archive.close()
        town.store.close()


def broken(document: dict[str, object]) -> dict[str, int]:
    invariants = document["invariants"]
    assert isinstance(invariants, dict)
    return {name: count for name, count in invariants.items() if count}


def test_retired_orders_are_checked_in_the_archive_when_etcd_has_forgotten_them(town: Town) -> None:
    first, second, third = (town.end(number) for number in range(3))
    town.put_away(first, second)
    town.delete(first)
    town.compact()
    assert isinstance(third.saga, Saga)
    code, document, _ = town.audit("--complete")
    assert (code, broken(document)) == (0, {})
    assert (document["archived"], document["archive_files"], document["orders"]) == (2, 1, 2)
    # Without the store, the archive still replays.
    code, document, _ = town.audit("--offline")
    assert (code, broken(document), document["archived"]) == (0, {}, 2)


def test_a_retired_order_that_is_in_none_of_the_given_archives_is_lost(town: Town, tmp_path: Path) -> None:
    first, second = town.end(1), town.end(2)
    town.put_away(first)
    town.delete(first, second)
    code, document, said = town.audit()
    assert (code, broken(document)) == (1, {"I3": 1})
    assert "order m2 (CANCELLED) left the store and is in no archive" in said
    # The other replica had archived it in its own folder.
    town.archive.close()
    elsewhere = Town(town.etcd, tmp_path / "elsewhere")
    elsewhere.epoch = town.epoch
    third = town.end(3)
    elsewhere.put_away(third)
    town.delete(third)
    elsewhere.archive.close()
    elsewhere.store.close()
    _, document, said = town.audit("--archive", tmp_path / "elsewhere")
    assert (broken(document), document["archive_files"]) == ({"I3": 1}, 2)
    assert "m3" not in said


def test_an_order_that_leaves_while_the_audit_reads_is_no_violation(town: Town) -> None:
    first, second = town.end(1), town.end(2)
    town.put_away(first)
    town.delete(first)

    def read_just_before_another_one_leaves() -> Iterator[ArchiveRecord]:
        records = [record for path in find_archives(town.folder) for record in ArchiveFile.open(path).records()]
        town.put_away(second)
        town.delete(second)
        yield from records

    report = audit_store(town.store, [], complete=False, archive=read_just_before_another_one_leaves())
    assert (report.violations, report.archived, report.orders) == ((), 1, 2)


def edited(line: bytes, *, honest: bool) -> bytes:
    """Return the line with another reason in its saga; if ``honest``, the checksum does not match it."""
    if honest:
        return line.replace(b'"status":"CANCELLED"', b'"status":"DELIVERED"', 1)
    record = parse_line(line)
    assert record is not None
    record["saga"]["status"] = "DELIVERED"
    return record_line(record).rstrip(b"\n")


@pytest.mark.parametrize(("honest", "says"), [(True, "checksum"), (False, "another state than its events lead to")])
def test_an_edited_archive_is_reported(town: Town, honest: bool, says: str) -> None:
    town.put_away(town.end(1), town.end(2))
    town.archive.close()
    [path] = find_archives(town.folder)
    lines = path.read_bytes().splitlines()
    lines[1] = edited(lines[1], honest=honest)
    path.write_bytes(b"\n".join(lines) + b"\n")
    code, document, said = town.audit()
    assert code == 1
    assert "I6" in broken(document)
    assert f"{path}:2" in said and says in said


def test_archives_of_another_region_are_skipped_and_named(town: Town) -> None:
    town.put_away(town.end(1))
    other = ArchiveWriter(town.folder, "oakland", "orchestrator_a")
    archives.carry_out(Archive(1, town.epoch, (town.end(2),)), town.store, other)
    other.close()
    code, document, said = town.audit()
    assert (code, document["archive_files"], document["archived"]) == (0, 1, 1)
    assert "oakland" in said


def test_a_torn_tail_is_reported_and_no_violation(town: Town) -> None:
    town.put_away(town.end(1), town.end(2))
    town.archive.close()
    [path] = find_archives(town.folder)
    path.write_bytes(path.read_bytes()[:-50])
    code, document, said = town.audit()
    assert (code, document["archived"]) == (0, 1)
    assert "never finished" in said


@pytest.mark.parametrize(
    ("args", "says"), [(("--archive", "/nowhere"), "/nowhere"), (("--offline",), "--offline")], ids=["path", "offline"]
)
def test_a_mistake_is_one_line(town: Town, args: tuple[str, ...], says: str) -> None:
    code, document, said = town.audit(*args, archive=False)
    assert (code, document) == (2, {})
    assert len(said.strip().splitlines()) == 1 and says in said
