"""The commands of docs/howto/etcd_backup.md, run as they are written there, on a real etcd."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, EtcdProcess
from drone_orchestrator.core.types import (
    ArchivedOrder,
    FleetIdentity,
    GeoPoint,
    LeaderRecord,
    Order,
    Saga,
    SagaEvent,
    SagaStatus,
)
from drone_orchestrator.core.view import FleetView, split_epoch
from drone_orchestrator.store import EtcdStore
from drone_orchestrator.store.archive import ArchiveWriter
from drone_orchestrator.store.reader import RESTORED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "etcd_backup.md"
FLEET = FleetIdentity("7e4c8f5e-0d7e-4b38-9c44-2a7f3de1b605")


def commands_of_page(heading: str) -> list[str]:
    """Return the commands in the code blocks below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def order(number: int) -> Order:
    return Order(f"00000000-0000-4000-8000-{number:012d}", f"O{number}", GeoPoint(37.77, -122.41), 1.0, 1000.0)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    if shutil.which("etcdctl") is None:
        pytest.skip("etcdctl is not installed")
    try:
        process = EtcdProcess(tmp_path)
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    with process:
        yield process


def archive(folder: Path, ended: Order) -> None:
    saga = Saga(ended.message_id, ended, SagaStatus.DELIVERED, 1000.0, 1100.0, attempt=1, event_count=1)
    event = SagaEvent(ended.message_id, 1, "accepted", 1000.0, 1, SagaStatus.PENDING, order=ended)
    writer = ArchiveWriter(folder, "sf", "a")
    writer.append([ArchivedOrder(saga, (event,), 9)])
    writer.close()


def test_the_commands_of_the_page_bring_a_restored_fleet_back(etcd: EtcdProcess, tmp_path: Path) -> None:
    member, (endpoint,) = etcd._members[0], etcd.endpoints
    peer = f"http://127.0.0.1:{member.peer_port}"

    def run(command: str) -> str:
        command = command.replace("--name default", f"--name {member.name}")
        command = command.replace("default=http://127.0.0.1:2380", f"{member.name}={peer}")
        command = command.replace("http://127.0.0.1:2380", peer)
        command = command.replace("fleetctl", f"{sys.executable} -m drone_orchestrator.cli.main")
        if "store restored" in command:
            command += f" --without-drones --json --etcd {endpoint} --region sf"
        environment = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": endpoint}
        options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        done = subprocess.run(["bash", "-c", command], check=False, **options)  # type: ignore[call-overload]
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    store = EtcdStore([endpoint], "sf")
    epoch = store.campaign(LeaderRecord("a", "a-1", 0.0), 60.0, 0, FLEET)
    for number in range(20):
        store.submit(order(number))
    for command in [each for each in commands_of_page("Back up") if each.startswith("etcdctl")]:
        run(command)
    archive(tmp_path / "archive", order(3))
    (tmp_path / "journals").mkdir()

    restore, listing, go_on = commands_of_page("Restore")
    etcd.kill_member(0)
    data = member.directory / "data"
    shutil.rmtree(data)
    run(restore)
    (tmp_path / "restored").rename(data)
    etcd.start_member(0)
    etcd._wait_healthy([member], float("inf"))

    fresh = EtcdStore([endpoint], "sf")
    view = FleetView.of(fresh.snapshot())
    assert fresh.snapshot().breach == RESTORED and view.fleet_key is not None
    assert fresh.hold(replace(FLEET, held=RESTORED), view.fleet_key.mod_revision)
    listed = json.loads(run(listing).splitlines()[-1])
    assert listed == {"held": RESTORED, "closed": [order(3).message_id], "generation": 0, "lifted": False, "unread": []}
    assert FleetView.of(fresh.snapshot()).fleet == replace(FLEET, held=RESTORED)
    assert json.loads(run(go_on).splitlines()[-1])["lifted"] is True

    after = fresh.snapshot()
    view = FleetView.of(after)
    assert view.fleet is not None and (view.fleet.held, view.fleet.generation, after.breach) == ("", 1, "")
    assert list(view.cancels) == [order(3).message_id] and view.leadership is None
    fleet_revision = view.fleet_key.mod_revision if view.fleet_key is not None else 0
    later = fresh.campaign(LeaderRecord("b", "b-1", 0.0, view.fleet.generation), 60.0, 0, view.fleet, fleet_revision)
    assert later > epoch and split_epoch(later)[0] == 1
    store.close()
    fresh.close()
