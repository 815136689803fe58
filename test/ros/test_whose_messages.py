"""Real fleets in one DDS domain and namespace: each obeys its own, and a drone id that is used twice is noticed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
from node_process import NodeProcess

from drone_orchestrator.bringup import dds
from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import free_port
from drone_orchestrator.core.drone.state import DurableState, fold
from drone_orchestrator.core.types import GeoPoint, Order, SagaStatus
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.runtime.drone_journal import read_entries
from drone_orchestrator.runtime.journal import JournalError
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

DEADLINE_S = 90.0
NEAR = GeoPoint(37.7595, -122.3876)


def eventually(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.1)
    return found


class Lab:
    """Processes of several regions on one etcd, one domain and one namespace. Each region is a fleet of its own."""

    def __init__(self, domain: int, etcd: EtcdProcess, folder: Path) -> None:
        self.domain = domain
        self.endpoint = etcd.endpoints[0].removeprefix("http://")
        self.folder = folder
        self.http_port = free_port()
        self._etcd = etcd
        self._stack = ExitStack()

    def close(self) -> None:
        self._stack.close()

    def node(self, executable: str, name: str, **parameters: Any) -> NodeProcess:
        process = NodeProcess(self.domain, executable, "-r", f"__node:={name}", **parameters)
        return self._stack.enter_context(process)

    def orchestrator(self, region: str) -> NodeProcess:
        archive = self.folder / f"archive_{region}"
        quoted = f'"{self.endpoint}"'
        process = self.node(
            "orchestrator", f"leader_{region}", etcd_endpoints=quoted, region=region, archive_dir=archive
        )
        process.wait_line("leading with epoch")
        return process

    def drone(self, host: str, **parameters: Any) -> NodeProcess:
        """Start ``drone_1`` with the journal of ``host``."""
        folder = self.folder / host
        return self.node(
            "drone_executor",
            host,
            drone_ids="[drone_1]",
            data_dir=folder,
            drone_class="courier",
            time_scale=40.0,
            **parameters,
        )

    def gateway(self, region: str) -> NodeProcess:
        quoted = f'"{self.endpoint}"'
        process = self.node("order_gateway", "gateway", etcd_endpoints=quoted, region=region, http_port=self.http_port)
        process.wait_line("accepting orders")
        return process

    def store(self, region: str) -> EtcdStore:
        store = EtcdStore(self._etcd.endpoints, region)
        self._stack.callback(store.close)
        return store

    def view(self, region: str) -> FleetView:
        return FleetView.of(self.store(region).snapshot())

    def journal(self, host: str) -> DurableState:
        _, entries = read_entries(self.folder / host / "drones" / "drone_1.journal")
        return fold(entries)

    def joined(self, host: str) -> str:
        """Return the fleet that the drone has joined; empty if it has joined none yet."""
        try:
            return self.journal(host).fleet_id
        except JournalError:
            return ""  # not begun yet

    def fleet(self) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.http_port}/fleet", timeout=DEADLINE_S) as answer:
            document: dict[str, Any] = json.loads(answer.read())
        return document

    def alerts(self) -> dict[str, str]:
        return {each["code"]: f"{each['subject']} {each['summary']}" for each in self.fleet()["alerts"]}

    def doctor(self, region: str) -> list[str]:
        """Return what `fleetctl doctor` finds wrong."""
        command = [sys.executable, "-m", "drone_orchestrator.cli.main", "doctor", "--json"]
        command += ["--etcd", self.endpoint, "--region", region]
        environment = {**os.environ, **dds.loopback(), "ROS_DOMAIN_ID": str(self.domain)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        return [each["detail"] for each in json.loads(done.stdout)["findings"] if each["level"] != "ok"]

    def submit(self, region: str) -> Callable[[], SagaStatus | None]:
        """Submit an order; return a function that returns its status."""
        store = self.store(region)
        order = Order(str(uuid.uuid4()), "ORD-1", NEAR, 1.0, time.time())
        store.submit(order)

        def status() -> SagaStatus | None:
            found = store.find(order.message_id)
            return found.status if found is not None else None

        return status


@pytest.fixture
def lab(domain: int, tmp_path: Path) -> Iterator[Lab]:
    with EtcdProcess(tmp_path / "etcd") as etcd:
        lab = Lab(domain, etcd, tmp_path)
        yield lab
        lab.close()


def test_two_fleets_with_the_same_drone_id_do_not_hear_each_other(lab: Lab) -> None:
    """The other fleet is the younger one in the same store, so all its epochs are higher."""
    lab.orchestrator("ours")
    ours = lab.drone("our_host")
    lab.gateway("ours")
    our_id = eventually(lambda: lab.joined("our_host"), "our drone joins our fleet")
    assert our_id == lab.view("ours").fleet.fleet_id  # type: ignore[union-attr]

    lab.orchestrator("theirs")
    their_id = lab.view("theirs").fleet.fleet_id  # type: ignore[union-attr]
    theirs = lab.drone("their_host", fleet_id=their_id)
    line = ours.wait_line(f"foreign_fleet: {their_id}: ")
    assert our_id in line and "leader_theirs of region theirs" in line
    assert our_id in theirs.wait_line(f"foreign_fleet: {our_id}: ")
    eventually(lambda: "foreign_fleet" in lab.alerts(), "GET /fleet shows it")
    [drone] = lab.fleet()["drones"]
    assert drone["drone_id"] == "drone_1"

    statuses = {region: lab.submit(region) for region in ("ours", "theirs")}
    for region, status in statuses.items():
        eventually(lambda status=status: status() is SagaStatus.DELIVERED, f"the order of {region} is delivered")
    for region, host in (("ours", "our_host"), ("theirs", "their_host")):
        state = lab.journal(host)
        assert state.fleet_id == lab.view(region).fleet.fleet_id  # type: ignore[union-attr]
        assert state.highest_epoch == lab.view(region).leader_epoch
        assert len(state.closed) == 1
    assert any(their_id in text for text in lab.doctor("ours"))


def test_a_cloned_drone_gets_no_order_until_one_of_the_two_has_gone(lab: Lab) -> None:
    lab.orchestrator("ours")
    lab.gateway("ours")
    first = lab.drone("our_host")
    eventually(lambda: lab.joined("our_host"), "our drone joins our fleet")
    first.stop()
    shutil.copytree(lab.folder / "our_host", lab.folder / "clone")
    lab.drone("our_host")
    clone = lab.drone("clone")
    assert "drone_1" in eventually(lambda: lab.alerts().get("drone_heard_twice"), "GET /fleet shows it")
    status = lab.submit("ours")
    assert any(text.startswith("drone_heard_twice: ") and "drone_1" in text for text in lab.doctor("ours"))
    assert status() is SagaStatus.PENDING
    for host in ("our_host", "clone"):
        assert lab.journal(host).goal is None and not lab.journal(host).closed

    assert clone.stop() == 0
    eventually(lambda: status() is SagaStatus.DELIVERED, "the order is delivered by the drone that is left")
    eventually(lambda: "drone_heard_twice" not in lab.alerts(), "GET /fleet is clear")
