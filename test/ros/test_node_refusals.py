"""Node processes with unusable settings, or without a store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import DomainReservation, dies_with_parent, free_port
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.store import EtcdStore

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    reservation = DomainReservation()
    yield {
        **os.environ,
        "ROS_DOMAIN_ID": str(reservation.domain),
        "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
        "PYTHONUNBUFFERED": "1",
    }
    reservation.release()


def command(executable: str, *parameters: str) -> list[str]:
    arguments = [word for parameter in parameters for word in ("-p", parameter)]
    return [
        *dies_with_parent(),
        sys.executable,
        "-m",
        f"drone_orchestrator.nodes.{executable}",
        "--ros-args",
        *arguments,
    ]


@pytest.mark.parametrize("executable", ["orchestrator", "drone_executor", "saga_monitor", "order_gateway"])
def test_an_unknown_parameter_is_refused_and_the_nearest_known_named(
    environment: dict[str, str], executable: str
) -> None:
    done = subprocess.run(
        command(executable, "regoin:=sf"), env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 2
    assert "regoin" in done.stderr and "region" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("executable", "parameter", "says"),
    [
        ("orchestrator", "lease_ttl_s:=0.5", "lease_ttl_s"),
        ("orchestrator", "lease_ttl_s:=soon", "lease_ttl_s"),
        ("orchestrator", "etcd_endpoints:=no-port", "no-port"),
        ("orchestrator", "fleet_config:=/nowhere.yaml", "/nowhere.yaml"),
        ("orchestrator", "planner:=crystal_ball", "crystal_ball"),
        ("orchestrator", 'region:="a/b"', "a/b"),
        ("saga_monitor", "etcd_endpoints:=no-port", "no-port"),
        ("order_gateway", "etcd_endpoints:=no-port", "no-port"),
        ("drone_executor", "drone_ids:=[Drone-1]", "Drone-1"),
        ("drone_executor", "time_scale:=-1.0", "time_scale"),
        ("drone_executor", "flight:=broomstick", "parameter flight: 'broomstick' is not registered; known: "),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_ends_the_process(
    environment: dict[str, str], executable: str, parameter: str, says: str
) -> None:
    done = subprocess.run(
        command(executable, parameter), env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("executable", "arguments", "says"),
    [
        ("orchestrator", ["-r", "__node:=orchestrator-a"], "__node:=orchestrator-a"),
        ("drone_executor", ["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        ("saga_monitor", ["--params-file", "{file}"], "{file}"),
        ("order_gateway", ["-r", "just_a_name"], "just_a_name"),
        ("orchestrator", ["-r", "__ns:=/2024"], "__ns:=/2024"),
        ("drone_executor", ["--enclave", "not absolute"], "Enclave name is not valid"),
    ],
)
def test_what_ros_refuses_of_the_command_line_is_named_in_the_last_line(
    environment: dict[str, str], executable: str, arguments: list[str], says: str, tmp_path: Path
) -> None:
    """Exit code 2, so that no supervisor tries it again and again."""
    file = tmp_path / "mine.yaml"
    file.write_text("orchestrator:\n  ros__parameters:\n    - a list\n", encoding="utf-8")
    wanted = [*command(executable), *(each.format(file=file) for each in arguments)]
    done = subprocess.run(wanted, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 2, done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith(f"{executable}: ROS does not start: ") and says.format(file=file) in last
    assert "Traceback" not in done.stderr


class Running:
    """A node process whose output can be waited for."""

    def __init__(self, environment: dict[str, str], *args: str) -> None:
        self.process = subprocess.Popen(
            command(*args), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._heard = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line)
                self._heard.notify_all()

    def wait_line(self, text: str, timeout_s: float = 90.0) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: any(text in x for x in self.lines), timeout_s), "".join(self.lines)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(90)


@pytest.mark.etcd
def test_an_orchestrator_waits_for_its_store_and_leads_when_it_is_there(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with EtcdProcess(data_dir=tmp_path) as etcd:
        endpoint = etcd.endpoints[0]
        etcd.kill_member(0)
        node = Running(environment, "orchestrator", f'etcd_endpoints:="{endpoint}"')
        try:
            node.wait_line("could not follow the store")
            etcd.start_member(0)
            node.wait_line("leading with epoch")
        finally:
            code = node.stop()
        assert code == 0, "".join(node.lines)
        store = EtcdStore([endpoint], "san_francisco")
        try:
            view = FleetView.of(store.snapshot())
        finally:
            store.close()
        assert view.leader_key is None  # it resigned


def test_a_clean_end_does_not_need_the_store(environment: dict[str, str]) -> None:
    node = Running(environment, "orchestrator", f"etcd_endpoints:=127.0.0.1:{free_port()}")
    node.wait_line("could not follow the store")
    assert node.stop() == 0
