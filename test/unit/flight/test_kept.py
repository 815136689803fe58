"""The stored flight state: when a damaged file stops a drone, and what works without a disk."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import pytest

from drone_orchestrator.core.types import DroneClass, GeoPoint
from drone_orchestrator.flight import kept
from drone_orchestrator.flight.controller import FlightError, FlightSetup
from drone_orchestrator.flight.gazebo import GazeboFlight, Odometry
from drone_orchestrator.flight.kinematic import KinematicFlight

DEPOT = GeoPoint(37.7577, -122.3876)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0, load_time_s=10.0, drop_time_s=5.0)
DAMAGED = ["", "{}", "[]", "null", '{"east_m": 1', "\x00\x00", '{"east_m": "far"}']


class Disk:
    """A disk that can be filled, after which writing fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        replace = kept._replace

        def write(path: Path, content: str, *, sync: bool) -> None:
            if self.is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            replace(path, content, sync=sync)

        monkeypatch.setattr(kept, "_replace", write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d1.flight.json"


def loaded(path: Path) -> None:
    """Write the state of a drone with a package to ``path``."""
    flight = KinematicFlight(COURIER, DEPOT, path)
    flight.load(2.0)
    flight.step(COURIER.load_time_s + 1.0)
    assert flight.state.payload_on_board


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_refused_if_the_drone_may_be_loaded(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(FlightError, match="not a flight state"):
        KinematicFlight(COURIER, DEPOT, path)
    assert path.read_text() == content


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_kept_aside_if_nothing_depends_on_it(
    path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(content)
    flight = KinematicFlight(COURIER, DEPOT, path, may_forget=True)
    assert (flight.state.payload_on_board, flight.state.energy_wh) == (False, COURIER.battery_wh)
    assert path.with_name(f"{path.name}.corrupt-1").read_text() == content
    assert "not a flight state" in caplog.text
    assert json.loads(path.read_text())["payload_kg"] is None


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("may_forget", [True, False])
def test_a_damaged_file_never_hides_a_package(path: Path, content: str, may_forget: bool) -> None:
    loaded(path)
    path.write_text(content)
    assert KinematicFlight(COURIER, DEPOT, path, may_forget=may_forget).state.payload_on_board


def test_a_field_of_a_newer_version_is_ignored(path: Path) -> None:
    loaded(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "wind": 3.0}))
    assert KinematicFlight(COURIER, DEPOT, path).state.payload_on_board


def test_a_full_disk_does_not_stop_a_flight(path: Path, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    disk.is_full = True
    flight = KinematicFlight(COURIER, DEPOT, path)
    for _ in range(5):
        flight.step(1.0)
    flight.close()
    assert not path.exists()
    assert caplog.text.count("No space left on device") == 1
    disk.is_full = False
    flight.step(1.0)
    assert path.exists()
    assert "saved again" in caplog.text


def test_a_package_counts_as_loaded_only_once_that_is_on_disk(path: Path, disk: Disk) -> None:
    flight = KinematicFlight(COURIER, DEPOT, path)
    flight.load(2.0)
    disk.is_full = True
    flight.step(COURIER.load_time_s + 10.0)
    assert not flight.state.payload_on_board
    disk.is_full = False
    flight.step(kept.SAVE_PERIOD_S)
    assert flight.state.payload_on_board
    assert KinematicFlight(COURIER, DEPOT, path).state.payload_on_board


def test_a_package_counts_as_dropped_only_once_that_is_on_disk(path: Path, disk: Disk) -> None:
    loaded(path)
    flight = KinematicFlight(COURIER, DEPOT, path)
    flight.drop()
    disk.is_full = True
    flight.step(COURIER.drop_time_s + 10.0)
    assert flight.state.payload_on_board
    disk.is_full = False
    flight.step(kept.SAVE_PERIOD_S)
    assert not flight.state.payload_on_board


def test_a_quadrotor_reports_a_load_only_once_that_is_on_disk(path: Path, disk: Disk) -> None:
    flight = GazeboFlight(FlightSetup("drone_1", COURIER, DEPOT, path), lambda set_point: None)
    flight.sensed(Odometry(1.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0)))
    flight.load(1.0)
    disk.is_full = True
    flight.step(COURIER.load_time_s)
    assert not flight.state.payload_on_board
    disk.is_full = False
    flight.step(kept.SAVE_PERIOD_S)
    assert flight.state.payload_on_board


def test_a_frequent_save_does_not_change_the_durable_state(path: Path) -> None:
    loaded(path)
    durable = path.with_name(f"{path.name}.durable")
    flight = KinematicFlight(COURIER, DEPOT, path)
    before = durable.read_text()
    flight.goto(GeoPoint(37.7595, -122.3876))
    flight.step(10.0)
    assert path.read_text() != before
    assert durable.read_text() == before


# --- a process that died before its sync -----------------------------------------------------------------------------


def test_a_state_that_was_not_synced_is_on_disk_before_it_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(path)
    calls: list[str] = []
    fsync, parse = os.fsync, json.loads

    def record(fd: int) -> None:
        calls.append("folder" if Path(f"/proc/self/fd/{fd}").is_dir() else "file")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(kept.json, "loads", lambda text: calls.append("read") or parse(text))
    KinematicFlight(COURIER, DEPOT, path)
    assert calls[:3] == ["file", "folder", "read"]


@pytest.mark.parametrize("may_forget", [True, False])
def test_a_missing_file_never_hides_a_package(path: Path, may_forget: bool) -> None:
    """A power loss may take the name of a file whose folder was not synced."""
    loaded(path)
    path.unlink()
    assert KinematicFlight(COURIER, DEPOT, path, may_forget=may_forget).state.payload_on_board


def test_a_file_that_cannot_be_synced_is_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(path)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(FlightError, match="Input/output error"):
        KinematicFlight(COURIER, DEPOT, path)
