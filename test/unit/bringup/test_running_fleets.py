"""The registry of local fleets is a folder of the user's own, whatever the environment says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from drone_orchestrator.bringup import running_fleets
from drone_orchestrator.bringup.running_fleets import RunningFleet


@pytest.fixture
def fleet() -> RunningFleet:
    return RunningFleet(os.getpid(), "r", "127.0.0.1:1", "http://127.0.0.1:2", "/data", {"ROS_DOMAIN_ID": "7"}, 1.0)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """Return the user's runtime folder and the folder of temporary files."""
    runtime, temporary = tmp_path / "runtime", tmp_path / "temporary"
    runtime.mkdir(), temporary.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(running_fleets.tempfile, "gettempdir", lambda: str(temporary))
    return runtime, temporary


def owned_by_another(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    mine = running_fleets._is_mine
    monkeypatch.setattr(running_fleets, "_is_mine", lambda path: path != folder and mine(path))


def test_a_fleet_is_found_in_the_users_runtime_folder(fleet: RunningFleet, folders: tuple[Path, Path]) -> None:
    path = running_fleets.register(fleet)
    assert path.is_relative_to(folders[0])
    assert running_fleets.running() == [fleet]
    running_fleets.unregister(path)
    assert running_fleets.running() == []


def test_the_runtime_folder_of_another_user_is_not_used(
    monkeypatch: pytest.MonkeyPatch, fleet: RunningFleet, folders: tuple[Path, Path]
) -> None:
    owned_by_another(monkeypatch, folders[0])
    path = running_fleets.register(fleet)
    assert path.is_relative_to(folders[1])
    assert running_fleets.running() == [fleet]
    running_fleets.unregister(path)


def test_what_another_user_put_into_the_shared_folder_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, fleet: RunningFleet, folders: tuple[Path, Path]
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    planted = folders[1] / f"drone_orchestrator-{os.getuid()}"
    planted.mkdir()
    (planted / f"{os.getpid()}.json").write_text(json.dumps({"environment": {"LD_PRELOAD": "evil"}}))
    owned_by_another(monkeypatch, planted)
    assert running_fleets.running() == []
    with pytest.raises(PermissionError, match="must belong to the user"):
        running_fleets.register(fleet)
