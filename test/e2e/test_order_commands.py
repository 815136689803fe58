"""`fleetctl order …`, `events`, `leader` and completion on a real etcd, with a leader that the test plays itself."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_process import eventually
from office import FLEETCTL, Office

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import dies_with_parent
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.types import SagaStatus

pytestmark = pytest.mark.etcd

DEADLINE_S = 90.0
GOOD = {"destination": {"lat": 37.7749, "lon": -122.4194}, "package_weight_kg": 2.3}


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@pytest.fixture
def office(etcd: EtcdProcess) -> Iterator[Office]:
    office = Office(etcd)
    office.lead()
    yield office
    office.close()


class Following:
    """A running command and its output lines."""

    def __init__(self, office: Office, *args: str) -> None:
        self.process = subprocess.Popen(
            [*dies_with_parent(), *FLEETCTL, *args],
            env={**office.environment(), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
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

    def wait_line(self, *texts: str, timeout_s: float = DEADLINE_S) -> None:
        with self._heard:
            found = self._heard.wait_for(lambda: any(all(t in line for t in texts) for line in self.lines), timeout_s)
        assert found, (texts, self.lines)

    def wait(self) -> int:
        """Return the exit code once the command has ended; :attr:`lines` are complete then."""
        self._reader.join(DEADLINE_S)  # ends with the command's standard output
        return self.process.wait(DEADLINE_S)

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal. Returns exit code and stderr."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        return self.wait(), self.process.stderr.read()


def test_an_order_is_followed_to_its_delivery(office: Office) -> None:
    saga = office.accept(office.submit("ORD-1"), "drone_1")
    watch = Following(office, "order", "watch", "ORD-1")
    watch.wait_line("assigned", "drone_1")
    office.deliver(saga)
    assert watch.wait() == 0
    kinds = [line.split()[2] for line in watch.lines]
    assert kinds == ["accepted", "assigned", "goal_accepted", "cleared", "loaded", "delivered"]


def test_an_order_that_fails_or_is_cancelled_ends_the_watch_with_1(office: Office) -> None:
    saga = office.accept(office.submit("ORD-1"))
    watch = Following(office, "order", "watch", "ORD-1", "--json")
    office.step(saga, sagas.FAILED, SagaStatus.FAILED, reason="no_capable_drone")
    assert watch.wait() == 1
    watch.wait_line('"no_capable_drone"')
    assert json.loads(watch.lines[-1])["status"] == "FAILED" and len(watch.lines) == 1
    assert office.fleetctl("order", "watch", "ORD-1").returncode == 1  # and so does an order that has already ended


def test_all_open_orders_are_followed_until_none_is_open(office: Office) -> None:
    first, second = (office.accept(office.submit(f"ORD-{n}"), f"drone_{n}") for n in (1, 2))
    watch = Following(office, "order", "watch")
    watch.wait_line("ORD-1", "assigned")
    office.deliver(first)
    later = office.submit("ORD-3")  # submitted meanwhile
    office.deliver(second)
    watch.wait_line("ORD-2", "delivered")
    office.deliver(office.accept(later, "drone_1"))
    assert watch.wait() == 0
    watch.wait_line("ORD-3", "delivered")
    watch.wait_line("3 orders ended")
    nothing = office.fleetctl("order", "watch")
    assert nothing.returncode == 0 and "no order is open" in nothing.stdout


def test_a_watch_gives_up_at_its_timeout(office: Office) -> None:
    office.submit("ORD-1")
    done = office.fleetctl("order", "watch", "ORD-1", "--timeout", "0.3")
    assert done.returncode == 1 and "not ended within 0.3 s" in done.stdout


@pytest.mark.parametrize("command", [["order", "watch", "ORD-1"], ["order", "list", "--watch"], ["leader", "--watch"]])
def test_ctrl_c_ends_a_watch_with_130_and_a_message(office: Office, command: list[str]) -> None:
    office.accept(office.submit("ORD-1"), "drone_1")
    watch = Following(office, *command)
    watch.wait_line("leads" if command[0] == "leader" else "drone_1")
    code, errors = watch.end(signal.SIGINT)
    assert code == 130 and errors.split() == ["interrupted"]


def test_a_watched_list_prints_changes_as_lines(office: Office) -> None:
    saga = office.accept(office.submit("ORD-1"), "drone_1")
    watch = Following(office, "order", "list", "--watch", "--open")
    watch.wait_line("ORD-1", "ASSIGNED", "drone_1")
    office.step(saga, sagas.GOAL_ACCEPTED, SagaStatus.DISPATCHED)
    watch.wait_line("ORD-1", "DISPATCHED")
    assert "\x1b" not in "".join(watch.lines)
    assert watch.end(signal.SIGTERM)[0] == 130


def test_a_watched_list_is_a_screen_in_a_terminal(office: Office) -> None:
    office.accept(office.submit("ORD-1"), "drone_1")
    main, side = pty.openpty()
    environment = {**office.environment(), "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    command = [*dies_with_parent(), *FLEETCTL, "order", "list", "--watch"]
    process = subprocess.Popen(command, env=environment, stdin=side, stdout=side, stderr=side)
    os.close(side)
    screen, deadline = b"", time.monotonic() + DEADLINE_S
    while b"Ctrl-C ends it" not in screen:
        assert time.monotonic() < deadline
        screen += os.read(main, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130
    os.close(main)
    assert b"\x1b[?1049h" in screen and b"ORD-1" in screen  # the alternate screen, which restores the terminal


def test_events_show_how_long_each_state_lasted(office: Office) -> None:
    began = time.time() - 5000.0
    saga = office.accept(office.submit("ORD-1"), "drone_1", at=began)
    saga = office.step(saga, sagas.GOAL_ACCEPTED, SagaStatus.DISPATCHED, now_s=began + 2.0)
    document = office.document("events", "ORD-1")
    assert [e["type"] for e in document["events"]] == ["accepted", "assigned", "goal_accepted"]
    assert [e["lasted_s"] for e in document["events"]][:2] == [0.0, 2.0]
    lasted_s = document["events"][2]["lasted_s"]
    assert 4998.0 <= lasted_s <= time.time() - began  # and still counting
    people = office.fleetctl("events", saga.message_id).stdout
    assert "DISPATCHED for 1 h " in people


def test_a_closed_pipe_is_no_error(office: Office) -> None:
    for n in range(60):
        office.submit(f"ORD-{n}")
    line = f"{' '.join(FLEETCTL)} order list | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], env=office.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == "" and done.stdout.splitlines()[-1] == "0"


def test_output_that_is_no_terminal_gets_whole_lines_without_colours(office: Office) -> None:
    name = "ORD-" + "x" * 60
    office.submit(name)
    done = office.fleetctl("order", "list", env={"TERM": "xterm-256color"})
    [line] = [line for line in done.stdout.splitlines() if name in line]
    assert "PENDING" in line and "\x1b" not in done.stdout


def test_submitting_a_file_again_creates_no_new_orders(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    file.write_text(json.dumps([{**GOOD, "order_id": f"ORD-{n}"} for n in range(3)]))
    first, again = (office.document("order", "submit", str(file)) for _ in range(2))
    assert [o["message_id"] for o in first["orders"]] == [o["message_id"] for o in again["orders"]]
    assert len(office.document("order", "list")["orders"]) == 3
    other = office.fleetctl("order", "submit", "--id", "ORD-1", "--to", "37.77,-122.42", "--weight", "1")
    assert other.returncode == 2 and "order_id is taken" in other.stderr


def test_orders_can_come_from_standard_input(office: Office) -> None:
    done = office.fleetctl("order", "submit", "-", input=json.dumps({**GOOD, "order_id": "ORD-9"}))
    assert done.returncode == 0, done.stderr
    assert office.document("order", "show", "ORD-9")["status"] == "PENDING"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_this_shell(office: Office, shell: str) -> None:
    done = office.fleetctl("completion", shell)
    assert done.returncode == 0 and f"{shell}_complete" in done.stdout and "_FLEETCTL_COMPLETE" in done.stdout


def complete(office: Office, words: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Return the completions that bash would offer for the last of ``words``."""
    number = str(len(words.split(" ")) - 1)
    variables = {"_FLEETCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": number, **environment}
    done = office.fleetctl(env=variables)
    return done, [line.split(",")[1] for line in done.stdout.splitlines() if line]


def test_ids_are_completed_from_the_store(office: Office) -> None:
    office.deliver(office.accept(office.submit("ORD-done"), "drone_1"))
    office.accept(office.submit("ORD-open"), "drone_2")
    office.submit("OTHER")
    expected = {
        "fleetctl order show ORD": ["ORD-open", "ORD-done"],
        "fleetctl drones drone": ["drone_1", "drone_2"],
        "fleetctl leader --bring-back or": ["orchestrator_a"],
    }
    for words, ids in expected.items():
        # Completion offers nothing if the store is slow.
        assert eventually(f"{words} has completions", lambda words=words: complete(office, words)[1]) == ids
    assert complete(office, "fleetctl order resolve ")[1] == []  # none is parked


def test_completion_never_makes_a_person_wait_or_read_an_error(office: Office) -> None:
    done, offered = complete(office, "fleetctl order show O", ETCD_ENDPOINTS="192.0.2.1:2379")  # never answers
    assert (done.returncode, done.stderr, offered) == (0, "", [])
    done, offered = complete(office, "fleetctl order show O", ETCD_ENDPOINTS="no port")
    assert (done.returncode, done.stderr, offered) == (0, "", [])
