"""The command line as users see it: a mistake is one line, JSON is JSON, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from drone_orchestrator.bringup.local_fleet import dies_with_parent

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.timeout(600)]

FLEETCTL = [sys.executable, "-m", "drone_orchestrator.cli.main"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return an environment with private temporary and runtime folders, which must be empty afterwards."""
    folders = {name: tmp_path / name for name in ("TMPDIR", "XDG_RUNTIME_DIR")}
    for folder in folders.values():
        folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("ETCD_ENDPOINTS", "DRONE_ORCHESTRATOR_REGION")}
    yield {**environment, **{name: str(folder) for name, folder in folders.items()}, "COLUMNS": "120"}
    for folder in folders.values():
        assert list(folder.iterdir()) == [], "something was left behind"


def run(home: dict[str, str], *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLEETCTL, *args], env=home, cwd=cwd, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["bogus"], "bogus"),
        (["order", "show"], "ORDER_ID"),
        (["demo", "--drones", "0"], "--drones"),
        (["demo", "--orders", "many"], "--orders"),
        (["demo", "--time-scale", "-1"], "--time-scale"),
        (["up", "--time-scale", "nan"], "--time-scale"),
        (["drones", "--wait", "inf"], "--wait"),
        (["drones", "--take-out"], "name the drones"),
        (["order", "watch", "--timeout", "-3"], "--timeout"),
        (["order", "list", "--watch", "--json", "--etcd", "127.0.0.1:1"], "127.0.0.1:1"),
        (["order", "list", "--region", "a/b", "--etcd", "127.0.0.1:1"], "a/b"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "/etc"], "/etc"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "/dev/zero"], "/dev/zero"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "/bin/true"], "/bin/true"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "x.json", "--weight", "1"], "not both"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "--to", "37.77,-122.41", "--weight", "nan"], "package_weight_kg"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "--to", "north", "--weight", "1"], "LAT,LON"),
        (["top", "--etcd", "127.0.0.1:1"], "127.0.0.1:1"),
        (["completion", "tcsh"], "tcsh"),
        (["up", "--config", "/nowhere.yaml"], "/nowhere.yaml"),
        (["order", "list", "--etcd", "127.0.0.1:1"], "127.0.0.1:1"),
        (["order", "list", "--etcd", "no port"], "no port"),
        (["order", "submit", "--etcd", "127.0.0.1:1"], "--to"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "--to", "nan,0", "--weight", "1"], "destination.lat"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "--to", "37.77,-122.41", "--weight", "-1"], "package_weight_kg"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "--to", "37.77,-122.41", "--weight", "99"], "package_weight_kg"),
        (["order", "submit", "--etcd", "127.0.0.1:1", "/nowhere.json"], "/nowhere.json"),
        (["audit", "--journals", "/nowhere"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(home: dict[str, str], args: list[str], says: str) -> None:
    done = run(home, *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert says in done.stderr


def test_a_port_in_use_is_named(home: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(home, "up", "--http-port", str(port))
    assert done.returncode == 2
    assert str(port) in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_doctor_reports_what_it_finds(home: dict[str, str]) -> None:
    done = run(home, "doctor", "--json")
    document = json.loads(done.stdout.splitlines()[-1])
    levels = {finding["name"]: finding["level"] for finding in document["findings"]}
    assert done.returncode == 0 and document["healthy"]
    assert levels["ros"] == levels["etcd binary"] == levels["loopback"] == "ok"
    assert levels["etcd"] == "warning"  # no fleet is running, and none was requested


def test_doctor_reports_a_store_that_does_not_answer(home: dict[str, str]) -> None:
    done = run(home, "doctor", "--json", "--etcd", "127.0.0.1:1")
    document = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1 and not document["healthy"]
    assert next(f for f in document["findings"] if f["name"] == "etcd")["hint"]


@pytest.fixture(autouse=True)
def nothing_outlives_its_test() -> Iterator[None]:
    """Stop the fleets that a failed test has left running."""
    yield
    while Interrupted.started:
        running = Interrupted.started.pop()
        if running.process.poll() is None:
            running.stop(signal.SIGTERM)


class Interrupted:
    """A long command in its own process group, as a terminal starts it; Ctrl-C goes to the whole group."""

    started: ClassVar[list[Interrupted]] = []

    def __init__(self, home: dict[str, str], *args: str, cwd: Path) -> None:
        self.process = subprocess.Popen(
            [*dies_with_parent(), *FLEETCTL, *args],
            env={**home, "PYTHONUNBUFFERED": "1"},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(self)
        self.lines: list[str] = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line)
                self._heard.notify_all()

    def wait_line(self, text: str, timeout_s: float = 180.0) -> None:
        with self._heard:
            found = self._heard.wait_for(lambda: any(text in line for line in self.lines), timeout_s)
        assert found, "".join(self.lines)

    def wait_children(self, count: int, timeout_s: float = 180.0) -> None:
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while len(self.family()) < count:
            assert time.monotonic() < deadline and self.process.poll() is None, "".join(self.lines)
            pause.wait(0.02)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: int) -> int:
        """Send the signal, and check that all its processes end with the command."""
        family = self.family()
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        code = self.process.wait(90)
        _, alive = psutil.wait_procs(family, timeout=90)
        assert alive == []
        return code


#: Commands that start processes, each with the line after which it is interrupted.
LONG = {
    "simulate": (["simulate", "--seeds", "100000", "--jobs", "2"], ""),
    "up": (["up", "--drones", "1", "--replicas", "1", "--http-port", "0"], "ready"),
    "demo": (["demo", "--drones", "2"], "DELIVERED"),
    "chaos": (["chaos", "--drones", "2", "--faults", "hang,etcd_pause"], "hang"),
    "bench": (["bench", "steadiness", "--drones", "1", "--busy", "2", "--minutes", "5"], "takeovers"),
    "bench lanes": (["bench", "lanes", "--seconds", "60"], ""),
}


@pytest.mark.parametrize("command", list(LONG))
def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing(home: dict[str, str], tmp_path: Path, command: str) -> None:
    args, line = LONG[command]
    running = Interrupted(home, *args, cwd=tmp_path)
    if line:
        running.wait_line(line)
    running.wait_children(2)
    family = running.family()
    os.killpg(running.process.pid, signal.SIGINT)
    running.wait_line("once more ends at once")
    assert running.stop(signal.SIGINT) == 130  # whether or not it had ended by then
    _, alive = psutil.wait_procs(family, timeout=90)
    assert alive == []
    assert "Traceback" not in "".join(running.lines)


@pytest.mark.parametrize("command", ["demo", "up"])
@pytest.mark.parametrize("children", [0, 1, 4])
def test_ctrl_c_while_it_starts_leaves_nothing(
    home: dict[str, str], tmp_path: Path, command: str, children: int
) -> None:
    args = ["up", "--http-port", "0"] if command == "up" else ["demo"]
    running = Interrupted(home, *args, cwd=tmp_path)
    running.wait_children(children)
    # Python itself ends with 1 if the signal arrives before the program's first line.
    assert running.stop(signal.SIGINT) in ((1, 130, -signal.SIGINT) if children == 0 else (130,))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_a_fleet_that_is_up_leaves_nothing(home: dict[str, str], tmp_path: Path, number: int) -> None:
    running = Interrupted(home, "up", "--drones", "2", "--http-port", "0", cwd=tmp_path)
    running.wait_line("ready")
    found = run(home, "leader", "--json")
    assert found.returncode == 0, found.stderr  # it finds the running fleet by itself
    if number == signal.SIGINT:
        take_out_and_bring_back(home)
    [etcd] = [child for child in running.family() if child.name() == "etcd"]
    assert "--auto-compaction-retention=1h" in etcd.cmdline()
    assert running.stop(number) == 130


def take_out_and_bring_back(home: dict[str, str]) -> None:
    """Take a drone out of service, see that an order passes it by, and bring it back."""
    taken = run(home, "drones", "drone_1", "--take-out", "--json")
    assert (taken.returncode, json.loads(taken.stdout)) == (0, {"drones": ["drone_1"], "taken_out": True}), taken.stderr
    again = run(home, "drones", "drone_1", "--take-out")
    assert again.returncode == 2 and "taken out already" in again.stderr
    assert run(home, "order", "submit", "--to", "37.7614,-122.3900", "--weight", "1", "--id", "PAST").returncode == 0
    assert run(home, "order", "watch", "PAST", "--timeout", "0.1").returncode == 1  # it is under way
    # The leader may have chosen drone_1 before it heard that it is out of service; the drone then refuses the goal.
    deadline = time.monotonic() + 90.0
    while carriers(home) != {"drone_2"}:
        assert time.monotonic() < deadline
    assert run(home, "drones", "drone_1", "--bring-back").returncode == 0


def carriers(home: dict[str, str]) -> set[str]:
    found = json.loads(run(home, "drones", "--json").stdout)["drones"]
    return {drone["drone_id"] for drone in found if drone["message_id"] is not None}


def test_ctrl_c_in_the_middle_of_a_demo_leaves_nothing(home: dict[str, str], tmp_path: Path) -> None:
    running = Interrupted(home, "demo", "--drones", "2", cwd=tmp_path)
    running.wait_line("DELIVERED")
    assert running.stop(signal.SIGINT) == 130
    assert "Traceback" not in "".join(running.lines)


def test_ctrl_c_while_processes_hang_and_networks_are_cut_leaves_nothing(home: dict[str, str], tmp_path: Path) -> None:
    kinds = ("hang", "dds_cut", "etcd_cut", "etcd_pause")
    running = Interrupted(home, "chaos", "--drones", "2", "--faults", ",".join(kinds), cwd=tmp_path)
    running.wait_line("hang")
    running.wait_line("etcd_pause")
    assert running.stop(signal.SIGINT) == 130
    assert "Traceback" not in "".join(running.lines)


def test_a_fleet_does_not_outlive_a_runner_that_is_killed(home: dict[str, str], tmp_path: Path) -> None:
    running = Interrupted(home, "up", "--drones", "1", "--http-port", "0", cwd=tmp_path)
    running.wait_line("ready")
    running.stop(signal.SIGKILL)
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):  # SIGKILL allows no cleanup; the next command ignores the rest
        subprocess.run(["rm", "-rf", *map(str, Path(home[name]).iterdir())], check=True)


def test_a_small_demo_ends_well_and_its_last_line_is_its_report(home: dict[str, str], tmp_path: Path) -> None:
    done = run_long(home, tmp_path, "demo", "--drones", "3", "--orders", "6", "--json")
    document = json.loads(done.stdout.splitlines()[-1])
    assert len(done.stdout.splitlines()) == 1
    assert done.returncode == 0, done.stderr
    assert (document["orders_submitted"], document["delivered"]) == (6, 6)
    assert (document["lost"], document["duplicates"]) == (0, 0)
    assert len(document["failovers"]) == 1 and document["failovers"][0]["to_new_leader_s"] > 0
    assert set(document["invariants"].values()) == {0}
    assert json.loads(Path(document["report"]).read_text())["delivered"] == 6
    assert (Path(document["report"]).parent / "timeline.png").stat().st_size > 10_000


def run_long(home: dict[str, str], cwd: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLEETCTL, *args], env=home, cwd=cwd, capture_output=True, text=True, timeout=540, check=False
    )
