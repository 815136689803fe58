"""fleetctl in hostile environments: proxies, no home, no user, values on which ROS would end the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from office import Office

from drone_orchestrator.bringup.etcd_process import EtcdProcess
from drone_orchestrator.bringup.local_fleet import dies_with_parent

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.timeout(600)]

FLEETCTL = [sys.executable, "-m", "drone_orchestrator.cli.main"]
NOWHERE = "127.0.0.1:9"
#: Upper and lower case, as different libraries read them; SOCKS is what httpx refuses without an extra package.
PROXIES = {
    name: value
    for upper, value in {
        "HTTP_PROXY": f"http://{NOWHERE}",
        "HTTPS_PROXY": f"http://{NOWHERE}",
        "ALL_PROXY": f"socks5://{NOWHERE}",
        "GRPC_PROXY": f"http://{NOWHERE}",
        "NO_PROXY": "example.com",
    }.items()
    for name in (upper, upper.lower())
}


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, str]:
    """Return an environment with private folders."""
    environment = {k: v for k, v in os.environ.items() if k not in ("ETCD_ENDPOINTS", "DRONE_ORCHESTRATOR_REGION")}
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        (tmp_path / name).mkdir()
        environment[name] = str(tmp_path / name)
    return environment


def run(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FLEETCTL, *args], env=environment, capture_output=True, text=True, timeout=240, check=False)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line on stderr with which a command was refused."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    [line] = done.stderr.strip().splitlines()
    return line


@pytest.fixture
def fleet(plain: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a fleet with ``fleetctl up`` although every proxy variable names a proxy that does not exist."""
    environment = {**plain, **PROXIES}
    command = [*dies_with_parent(), *FLEETCTL, "up", "--drones", "1", "--replicas", "1", "--http-port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None and up.stderr is not None
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(up.stderr or ()), daemon=True)
        reader.start()
        line = up.stdout.readline()
        assert line, "".join(said)
        assert json.loads(line)["url"].startswith("http://127.0.0.1:")
        yield environment
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 130
        reader.join(60)
    assert "Traceback" not in "".join(said)
    assert list((tmp_path / "TMPDIR").iterdir()) == [] == list((tmp_path / "XDG_RUNTIME_DIR").iterdir())


def test_fleetctl_reaches_a_local_fleet_without_a_proxy(fleet: dict[str, str]) -> None:
    assert json.loads(run(fleet, "leader", "--json").stdout)["holder"] == "orchestrator_a"
    doctor = run(fleet, "doctor", "--json")
    levels = {finding["name"]: finding["level"] for finding in json.loads(doctor.stdout)["findings"]}
    assert levels["etcd"] == levels["dds"] == "ok", doctor.stderr


def test_a_demo_runs_although_its_proxy_does_not_exist(plain: dict[str, str], tmp_path: Path) -> None:
    arguments = ["demo", "--orders", "3", "--drones", "2", "--report", str(tmp_path / "report"), "--json"]
    done = run({**plain, **PROXIES}, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["delivered"] == 3


@pytest.mark.parametrize("command", [["drones"], ["leader", "--handover"], ["top"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ROS_DOMAIN_ID", "abc", "ROS_DOMAIN_ID must be a number from 0 to 232, got 'abc'"),
        ("ROS_DOMAIN_ID", "300", "ROS_DOMAIN_ID must be a number from 0 to 232, got '300'"),
        ("RMW_IMPLEMENTATION", "rmw_foo", "RMW_IMPLEMENTATION=rmw_foo is not installed"),
    ],
)
def test_a_value_on_which_ros_would_end_the_process_is_one_line(
    office_environment: dict[str, str], command: list[str], variable: str, value: str, says: str
) -> None:
    assert says in refused(run({**office_environment, variable: value}, *command))


@pytest.fixture(scope="module")
def office_environment() -> Iterator[dict[str, str]]:
    """Return an environment with an etcd that records a leader."""
    with EtcdProcess() as etcd:
        office = Office(etcd)
        office.lead()
        yield office.environment()
        office.store.close()


@pytest.mark.parametrize("command", [["up", "--http-port", "0"], ["demo"], ["bench", "steadiness"]], ids=" ".join)
def test_no_fleet_is_started_for_a_missing_rmw(plain: dict[str, str], command: list[str]) -> None:
    said = refused(run({**plain, "RMW_IMPLEMENTATION": "rmw_foo"}, *command))
    assert "RMW_IMPLEMENTATION=rmw_foo is not installed" in said


@pytest.mark.parametrize(
    ("changed", "name", "says"),
    [
        ({"ROS_DOMAIN_ID": "abc"}, "dds domain", "abc"),
        ({"RMW_IMPLEMENTATION": "rmw_foo"}, "ros", "rmw_foo"),
        ({"ROS_LOG_DIR": "/proc/nowhere"}, "ros logs", "/proc/nowhere"),
        ({"HOME": "", "ROS_HOME": ""}, "ros logs", "set HOME"),
    ],
)
def test_doctor_shows_all_other_findings_too(
    plain: dict[str, str], changed: dict[str, str], name: str, says: str
) -> None:
    done = run({**plain, **changed}, "doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert findings[name]["level"] == "error" and says in findings[name]["detail"]
    assert {"python", "etcd binary", "loopback", "disk", "etcd"} <= {n for n, f in findings.items() if n != name}
    assert "Traceback" not in done.stderr


def test_doctor_has_shown_its_findings_when_the_next_step_kills_the_process(plain: dict[str, str]) -> None:
    program = (
        "import os\n"
        "from drone_orchestrator.cli.doctor import machine\n"
        "machine.ros_installation = lambda environment: os._exit(102)\n"
        "from drone_orchestrator.cli.main import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, "doctor"]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 102
    assert "etcd binary" in done.stdout and "local fleet" in done.stdout


def test_a_user_without_a_home_or_passwd_entry_gets_every_finding(plain: dict[str, str]) -> None:
    environment = {k: v for k, v in plain.items() if k not in ("HOME", "USER", "LOGNAME", "ROS_HOME", "ROS_LOG_DIR")}
    program = (
        "import pwd\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from drone_orchestrator.cli.main import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert "home folder" in findings["data folder"]["detail"]
    assert findings["python"]["level"] == "ok"


def test_a_tilde_in_a_path_is_the_home_folder(plain: dict[str, str], tmp_path: Path) -> None:
    environment = {**plain, "HOME": str(tmp_path)}
    said = refused(run(environment, "order", "submit", "--etcd", "127.0.0.1:1", "~/orders.json"))
    assert str(tmp_path / "orders.json") in said
    said = refused(run(environment, "audit", "--journals=~nobody_of_this_name/journals"))
    assert "no such home folder" in said


def test_a_defect_is_one_line_and_keeps_its_traceback(plain: dict[str, str], tmp_path: Path) -> None:
    program = (
        "from drone_orchestrator.cli import main\n"
        "from drone_orchestrator.cli.doctor import command\n"
        "command.machine_checks = lambda *args: 1 // 0\n"
        "main.main()\n"
    )
    command = [sys.executable, "-c", program, "doctor"]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=120, check=False)
    assert "unexpected ZeroDivisionError" in refused(done)
    [log] = (tmp_path / "TMPDIR").iterdir()
    assert str(log) in done.stderr and "Traceback" in log.read_text()


def test_an_encoding_that_lacks_a_character_ends_nothing(plain: dict[str, str]) -> None:
    done = run({**plain, "PYTHONIOENCODING": "ascii"}, "doctor", "--etcd", "127.0.0.1:1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
