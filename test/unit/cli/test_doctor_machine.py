"""Each check of the machine finds the problem that it is for."""

from __future__ import annotations

import os
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from drone_orchestrator import __version__
from drone_orchestrator.bringup.fleet_config import load, save
from drone_orchestrator.bringup.running_fleets import RunningFleet
from drone_orchestrator.cli.doctor import machine
from drone_orchestrator.cli.doctor.finding import ERROR, OK, WARNING, Finding
from drone_orchestrator.core.types import NoFlyZone

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "src" / "drone_interfaces"


def fleet(domain: str = "42", url: str = "http://127.0.0.1:8080") -> RunningFleet:
    return RunningFleet(os.getpid(), "r", "e", url, "", {"ROS_DOMAIN_ID": domain}, time.time())


def bad(finding: Finding, level: str, *says: str) -> None:
    assert finding.level == level, finding
    assert finding.hint, "it does not say what to do"
    for text in says:
        assert text in finding.detail, finding


def test_a_python_without_wheels_is_reported() -> None:
    bad(machine.python_version((3, 14)), ERROR, "3.14")
    assert machine.python_version((3, 12)).level == OK


def built(tmp_path: Path, version: str = __version__) -> Path:
    share = tmp_path / "share"
    for kind in ("msg", "srv", "action"):
        shutil.copytree(SOURCES / kind, share / kind)
    (share / "package.xml").write_text(f"<package><version>{version}</version></package>")
    return share


def test_missing_outdated_or_foreign_interfaces_are_reported(tmp_path: Path) -> None:
    bad(machine.interfaces(None, SOURCES), ERROR, "not built")
    share = built(tmp_path)
    assert machine.interfaces(share, SOURCES).level == OK
    bad(machine.interfaces(share, SOURCES, version="9.9.9"), ERROR, "9.9.9")
    (share / "msg" / "DroneState.msg").write_text("string drone_id\n")
    (share / "srv" / "SubmitOrder.srv").unlink()
    bad(machine.interfaces(share, SOURCES), ERROR, "msg/DroneState.msg", "srv/SubmitOrder.srv")
    assert machine.interfaces(share, None).level == OK  # installed without sources: the version decides
    (share / "package.xml").write_text("<package>")
    bad(machine.interfaces(share, None), ERROR)


def test_the_package_of_messages_has_the_version_of_the_program() -> None:
    assert f"<version>{__version__}</version>" in (SOURCES / "package.xml").read_text()


def test_a_missing_etcd_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_BIN", "/nowhere/etcd")
    bad(machine.etcd_binary(), ERROR, "/nowhere/etcd")


def test_an_invalid_fleet_description_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("region: [")
    bad(machine.fleet_description(str(path)), ERROR, "fleet.yaml:1: while parsing")
    path.write_bytes(b"x" * (2 << 20))
    bad(machine.fleet_description(str(path)), ERROR, "must have at most 1024 KiB")
    assert machine.fleet_description().level == OK
    packaged = load()
    far = NoFlyZone("parade", tuple(replace(c, lat_deg=c.lat_deg + 1.0) for c in packaged.no_fly_zones[0].corners))
    save(path, replace(packaged, no_fly_zones=(far,)))
    bad(machine.fleet_description(str(path)), WARNING, "no_fly_zones.parade: lies 1")


@pytest.mark.parametrize(
    ("environment", "level", "says"),
    [
        ({"ROS_DOMAIN_ID": "300"}, ERROR, "300"),
        ({"ROS_DOMAIN_ID": "one"}, ERROR, "one"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "off"}, ERROR, "cannot discover each other"),
        ({"ROS_LOCALHOST_ONLY": "1"}, WARNING, "other machines"),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/nowhere.xml"}, ERROR, "/nowhere.xml cannot be read"),
    ],
)
def test_an_environment_without_discovery_is_reported(environment: dict[str, str], level: str, says: str) -> None:
    bad(machine.ros_domain(environment), level, says)


def test_a_domain_other_than_the_local_fleets_is_pointed_out() -> None:
    assert machine.ros_domain({}).level == OK
    found = machine.ros_domain({"ROS_DOMAIN_ID": "1"}, [fleet("42")])
    assert (found.level, "42" in found.detail, "ROS_DOMAIN_ID=42" in found.hint) == (OK, True, True)


def test_an_unusable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.data_folder(tmp_path / "not" / "there" / "yet").level == OK
    (tmp_path / "file").write_text("")
    bad(machine.data_folder(tmp_path / "file" / "below"), ERROR, "not a folder")
    if os.getuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        bad(machine.data_folder(tmp_path / "locked"), ERROR, "not writable")
    else:  # root may write anywhere, except where the kernel refuses
        bad(machine.data_folder(Path("/proc/1/fd")), ERROR)
    usage = shutil.disk_usage(tmp_path)
    for free, level in ((1 << 20, ERROR), (500 << 20, WARNING)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        bad(machine.temporary_folder(tmp_path), level, "MiB free")


def test_unused_segments_of_shared_memory_are_reported(tmp_path: Path) -> None:
    assert machine.shared_memory(tmp_path).level == OK
    for name in ("fastrtps_port7410", "sem.fastrtps_port7410_mutex", "somebody_elses"):
        (tmp_path / name).write_bytes(b"x")
    bad(machine.shared_memory(tmp_path), WARNING, "2 files", "fastrtps_port7410")
    with (tmp_path / "fastrtps_port7410").open("rb"):
        assert machine.left_in_shared_memory(tmp_path) == []
    bad(machine.shared_memory(tmp_path / "away"), WARNING)


def test_a_low_limit_of_open_files_is_reported() -> None:
    bad(machine.open_files(128), ERROR, "128")
    bad(machine.open_files(512), WARNING, "512")
    assert machine.open_files(1024).level == OK


def test_a_port_in_use_is_reported() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = machine.http_port(port, [])
        bad(found, WARNING, str(port), f"pid {os.getpid()}")
        assert machine.http_port(port, [fleet(url=f"http://127.0.0.1:{port}")]).level == OK  # used by our own gateway
    assert machine.http_port(port, []).level == OK


def test_a_missing_setpriv_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    bad(machine.supervision(), WARNING, "not found")


def test_loopback_and_local_fleets_are_described() -> None:
    assert machine.loopback().level == OK
    assert machine.local_fleets([fleet()]).detail == f"pid {os.getpid()} at http://127.0.0.1:8080"
