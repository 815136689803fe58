"""``fleetctl up`` and ``fleet.launch.py`` describe the same fleet, with the same etcd, by default."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from drone_orchestrator.bringup import launch_arguments, local_fleet
from drone_orchestrator.bringup.launch_arguments import fleet_options
from drone_orchestrator.bringup.plan import FleetOptions, etcd_settings, processes
from drone_orchestrator.cli import up as up_module
from drone_orchestrator.cli.commands.up import up

#: Settings that only one of the two has: a launch may start several fleets, and finds its etcd beforehand.
DIFFERENT = {"etcd_endpoints"}


def by_fleetctl() -> FleetOptions:
    defaults = {each.name: each.default for each in up.params if each.name not in ("as_json", "help")}
    return up_module.fleet(**{name: value for name, value in defaults.items() if name is not None})


def by_launch(file: str) -> FleetOptions:
    return fleet_options({each.name: each.value or "" for each in launch_arguments.of(file)})


@pytest.mark.parametrize("file", ["fleet", "simulation"])
def test_the_defaults_are_the_same(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    for variable in ("ETCD_ENDPOINTS", "DRONE_ORCHESTRATOR_REGION"):
        monkeypatch.delenv(variable, raising=False)
    there, here = dataclasses.asdict(by_launch(file)), dataclasses.asdict(by_fleetctl())
    assert {name for name in there if there[name] != here[name]} <= DIFFERENT
    same = dataclasses.replace(by_launch(file), etcd_endpoints=by_fleetctl().etcd_endpoints)
    assert processes(same) == processes(by_fleetctl())


def test_the_history_of_etcd_is_bounded_by_default() -> None:
    assert etcd_settings(by_launch("fleet")) == etcd_settings(by_fleetctl()) == etcd_settings(FleetOptions())
    assert etcd_settings(FleetOptions())["auto_compaction"] == "1h"


@pytest.mark.parametrize("module", ["launching", "local_fleet"])
def test_both_start_etcd_with_these_settings_alone(module: str) -> None:
    """Read the source instead of importing it, because launch is not installed everywhere."""
    tree = ast.parse((Path(local_fleet.__file__).with_name(f"{module}.py")).read_text(encoding="utf-8"))
    calls = [call for call in ast.walk(tree) if isinstance(call, ast.Call)]
    [started] = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "EtcdProcess"]
    assert ast.unparse(started).startswith("EtcdProcess(**etcd_settings(")
    assert not started.args and len(started.keywords) == 1


class EtcdRequested(Exception):
    """Raised instead of starting etcd."""


def request_etcd(**settings: Any) -> Any:
    raise EtcdRequested(settings)


def test_fleetctl_starts_etcd_with_these_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_fleet, "EtcdProcess", request_etcd)
    with pytest.raises(EtcdRequested) as caught, local_fleet.LocalFleet(by_fleetctl()):
        raise AssertionError("etcd was not started")
    assert caught.value.args == (etcd_settings(by_fleetctl()),)


def test_an_invalid_fleet_description_starts_no_etcd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("region: a\nregion: b\n", encoding="utf-8")
    monkeypatch.setattr(local_fleet, "EtcdProcess", request_etcd)
    options = dataclasses.replace(by_fleetctl(), fleet_config=str(path))
    with pytest.raises(local_fleet.FleetError, match=r"fleet.yaml:2: region"), local_fleet.LocalFleet(options):
        raise AssertionError("the fleet was started")
