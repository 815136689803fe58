"""The archive of a real leader on a full disk: every place where people look shows it, and clears when it is over."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticStatus
from node_process import NodeProcess, Operator

from drone_orchestrator.bringup import dds
from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import free_port
from drone_orchestrator.core.types import CancelRequest, GeoPoint, Order
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

REGION = "san_francisco"
DEADLINE_S = 90.0
NAME = "archive_unwritable"


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    with EtcdProcess(tmp_path / "etcd") as process:
        yield process


def end_an_order(store: EtcdStore) -> str:
    """Submit an order and cancel it; return its message id."""
    order = Order(str(uuid.uuid4()), "ORD-1", GeoPoint(37.77, -122.42), 1.0, time.time())
    store.submit(order)
    store.request_cancel(CancelRequest(order.message_id, time.time(), "customer_request"))
    return order.message_id


def get(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=DEADLINE_S) as answer:
        return str(answer.read().decode())


def eventually(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.1)


def doctor(domain: int, endpoint: str) -> list[dict[str, Any]]:
    """Return what `fleetctl doctor` says about findings."""
    command = [sys.executable, "-m", "drone_orchestrator.cli.main", "doctor", "--json"]
    command += ["--etcd", endpoint, "--region", REGION]
    environment = {**os.environ, **dds.loopback(), "ROS_DOMAIN_ID": str(domain)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    found = json.loads(done.stdout)["findings"]
    return [each for each in found if each["name"] == "findings"]


def test_an_archive_on_a_full_disk_is_shown_everywhere(
    domain: int, operator: Operator, etcd: EtcdProcess, tmp_path: Path
) -> None:
    store = EtcdStore(etcd.endpoints, REGION)
    endpoint = etcd.endpoints[0].removeprefix("http://")
    metrics, http = free_port(), free_port()
    quoted = f'"{endpoint}"'
    with (
        NodeProcess(
            domain,
            "orchestrator",
            etcd_endpoints=quoted,
            retention_s=1.0,
            archive_dir=tmp_path / "archive",
            metrics_port=metrics,
        ) as orchestrator,
        NodeProcess(domain, "order_gateway", etcd_endpoints=quoted, http_port=http) as gateway,
    ):
        gateway.wait_line("accepting orders")
        orchestrator.wait_line("leading with epoch")
        process = psutil.Process(orchestrator.process.pid)
        process = next(iter(process.children(recursive=True)), process)  # below its wrapper, if there is one
        _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (0, hard))  # every write to a file fails now, as on a full disk

        def alerts() -> list[str]:
            return [each["code"] for each in json.loads(get(f"http://127.0.0.1:{http}/fleet"))["alerts"]]

        def active() -> float:
            lines = get(f"http://127.0.0.1:{metrics}/metrics").splitlines()
            [line] = [each for each in lines if each.startswith("finding_active{") and f'"{NAME}"' in each]
            return float(line.split()[-1])

        assert active() == 0.0
        message_id = end_an_order(store)
        orchestrator.wait_line("history cannot be archived")
        status = operator.wait_status(f"orchestrator: finding {NAME} orchestrator")
        assert status.level == DiagnosticStatus.ERROR and "File too large" in status.message
        eventually(lambda: NAME in alerts(), "GET /fleet shows it")
        assert active() == 1.0
        [said] = doctor(domain, endpoint)
        assert said["level"] == "error" and said["detail"].startswith(f"{NAME}: orchestrator: "), said
        assert store.find(message_id) is not None, "it stays in the store"

        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        orchestrator.wait_line("history is archived again")
        eventually(lambda: NAME not in alerts(), "GET /fleet is clear")
        assert active() == 0.0
        [said] = doctor(domain, endpoint)
        assert said["level"] == "ok", said
        assert store.find(message_id) is None
    store.close()
