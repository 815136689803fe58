"""Every program in every odd environment: it works, or it says one line and ends with exit code 2.

A process that ends in any other way, with a traceback, an abort or a hang, is restarted forever by its supervisor, and
tells its user nothing.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drone_orchestrator.bringup.local_fleet import DomainReservation, dies_with_parent

pytestmark = pytest.mark.ros

NODES = ("orchestrator", "drone_executor", "saga_monitor", "order_gateway")
#: Commands that need no fleet. Those that ask a store, or DDS, find none.
DOCTOR = ("doctor", "--etcd", "127.0.0.1:9")
OTHERS = (
    ("--help",),
    ("order", "show", "NONE", "--etcd", "127.0.0.1:9"),
    ("drones", "--etcd", "127.0.0.1:9"),
    ("simulate", "--seeds", "1"),
)
NOWHERE = "http://127.0.0.1:9"
PROXIES = {
    spelt: NOWHERE
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY")
    for spelt in (name, name.lower())
}
#: Deadline (s) of a process that has nothing to wait for.
DEADLINE_S = 120.0
#: A user without an entry in the user database, as in many containers.
_NO_USER = "import pwd\ndef unknown(*_): raise KeyError('no such user')\npwd.getpwuid = pwd.getpwnam = unknown\n"


@dataclass(frozen=True)
class Odd:
    """One odd environment. ``None`` unsets a variable; ``{tmp}`` stands for a private folder.

    ``nodes`` is the refusal by nodes, empty if they work; ``refused`` limits it to some of them.
    """

    name: str
    changes: dict[str, str | None] = field(default_factory=dict)
    nodes: str = ""
    refused: tuple[str, ...] = NODES
    program: str = ""
    shell: str = ""

    def __str__(self) -> str:
        return self.name


ODD = [
    Odd("proxies", {**PROXIES, "NO_PROXY": "example.com", "no_proxy": "example.com"}),
    Odd("domain abc", {"ROS_DOMAIN_ID": "abc"}, "ROS_DOMAIN_ID must be a number from 0 to 232, got 'abc'"),
    Odd("domain 250", {"ROS_DOMAIN_ID": "250"}, "ROS_DOMAIN_ID must be a number from 0 to 232, got '250'"),
    Odd("domain -1", {"ROS_DOMAIN_ID": "-1"}, "ROS_DOMAIN_ID must be a number from 0 to 232, got '-1'"),
    Odd("missing RMW", {"RMW_IMPLEMENTATION": "rmw_foo"}, "RMW_IMPLEMENTATION=rmw_foo is not installed"),
    Odd("no DDS profile", {"FASTRTPS_DEFAULT_PROFILES_FILE": "/nowhere.xml"}, "/nowhere.xml cannot be read"),
    Odd("logs nowhere", {"ROS_LOG_DIR": "/proc/nowhere"}, "ROS cannot write its logs to /proc/nowhere"),
    Odd("no home", {"HOME": None, "ROS_HOME": None, "ROS_LOG_DIR": None}, "set HOME, ROS_HOME or ROS_LOG_DIR"),
    Odd(
        "no user and no home",
        {"HOME": None, "ROS_HOME": None, "USER": None, "LOGNAME": None, "ROS_LOG_DIR": "{tmp}/log"},
        "there is no such home folder",
        refused=("orchestrator", "drone_executor"),
        program=_NO_USER,
    ),
    Odd("no user", {"USER": None, "LOGNAME": None}, program=_NO_USER),
    Odd("runtime folder of another user", {"XDG_RUNTIME_DIR": "/proc/1"}),
    Odd("no temporary folder", {"TMPDIR": "/proc/nowhere"}),
    Odd("full disk", shell='ulimit -f 0; exec "$@"'),
    Odd("few open files", {}, "at most 40 files may be open", shell='ulimit -n 40; exec "$@"'),
    Odd("LANG=C", {"LANG": "C", "LC_ALL": "C"}),
    Odd("ASCII only", {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Odd("German", {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"}),
    Odd("Turkish", {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}),
    Odd("no locale", {"LANG": None, "LC_ALL": None}),
    Odd("closed stdout", shell='exec "$@" >&-'),
    Odd("closed stdin and stdout", shell='exec "$@" <&- >&-'),
    Odd("dumb terminal", {"TERM": "dumb"}),
    Odd("40 columns", {"COLUMNS": "40"}),
]


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    reservation = DomainReservation()
    yield reservation.domain
    reservation.release()


def environment(odd: Odd, domain: int, tmp_path: Path) -> dict[str, str]:
    """Return this process's environment with private folders, and with what is odd."""
    plain = {k: v for k, v in os.environ.items() if k not in ("ETCD_ENDPOINTS", "DRONE_ORCHESTRATOR_REGION")}
    for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR"):
        (tmp_path / name).mkdir(exist_ok=True)
        plain[name] = str(tmp_path / name)
    plain |= {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "PYTHONUNBUFFERED": "1"}
    for name, value in odd.changes.items():
        plain.pop(name, None)
        if value is not None:
            plain[name] = value.format(tmp=tmp_path)
    return plain


def command(odd: Odd, module: str, function: str, *arguments: str) -> list[str]:
    """Return the command line that calls ``function`` of ``module`` in an odd environment."""
    name = f"import sys\nsys.argv[0] = {function!r}\n"
    program = f"{name}{odd.program}from drone_orchestrator.{module} import {function} as run\nrun()\n"
    plain = [*dies_with_parent(), sys.executable, "-c", program, *arguments]
    return ["sh", "-c", odd.shell, "sh", *plain] if odd.shell else plain


def one_line(said: str, program: str) -> str:
    """Return the last line of a refusal, which names the program."""
    assert "Traceback" not in said, said
    *_, line = said.strip().splitlines()
    assert line.startswith(f"{program}: "), said
    return line


@pytest.mark.parametrize(
    ("odd", "other"), [(odd, OTHERS[index % len(OTHERS)]) for index, odd in enumerate(ODD)], ids=str
)
def test_fleetctl_works_or_says_one_line(odd: Odd, other: tuple[str, ...], domain: int, tmp_path: Path) -> None:
    """Run the doctor, which looks at everything, and one of the other commands, in turn."""
    for arguments in (DOCTOR, other):
        done = subprocess.run(
            command(odd, "cli.main", "main", *arguments),
            env=environment(odd, domain, tmp_path),
            capture_output=True,
            text=True,
            errors="strict",
            timeout=DEADLINE_S,
            check=False,
        )
        told = f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode in (0, 1, 2), told
        assert "Traceback" not in done.stdout + done.stderr and "unexpected" not in done.stderr, told
        if done.returncode == 2:
            assert len(done.stderr.strip().splitlines()) == 1, told


@pytest.mark.parametrize("odd", [each for each in ODD if each.nodes], ids=str)
def test_a_node_refuses_in_one_line(odd: Odd, domain: int, tmp_path: Path) -> None:
    for node in odd.refused:
        arguments = ["--ros-args", "-p", "drone_ids:=[drone_1]"] if node == "drone_executor" else []
        done = subprocess.run(
            command(odd, "nodes.programs", node, *arguments),
            env=environment(odd, domain, tmp_path),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 2, (node, done.returncode, done.stderr)
        assert odd.nodes in one_line(done.stderr, node), done.stderr


WELL = [each for each in ODD if not each.nodes]


@pytest.mark.parametrize(("odd", "node"), [(odd, NODES[index % len(NODES)]) for index, odd in enumerate(WELL)], ids=str)
def test_a_node_works(odd: Odd, node: str, domain: int, tmp_path: Path) -> None:
    """Start the node, wait for its first line, interrupt it. Each environment tries one of the nodes, in turn."""
    parameters = {"order_gateway": "http_port:=0", "drone_executor": "drone_ids:=[drone_1]"}
    arguments = ["--ros-args", "-p", parameters.get(node, "etcd_endpoints:=127.0.0.1:9")]
    process = subprocess.Popen(
        command(odd, "nodes.programs", node, *arguments),
        env=environment(odd, domain, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        said = _first_output(process)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    told = (said + rest + errors).decode(errors="replace")
    assert process.returncode == 0, told
    assert "Traceback" not in told


def _first_output(process: subprocess.Popen[bytes]) -> bytes:
    """Return the first output of a node, which it writes when it is up."""
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if selector.select(1.0):
                said = os.read(process.stderr.fileno(), 65536)
                assert said, "it ended"
                return said
    raise AssertionError("no output")
