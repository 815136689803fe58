"""The entry points of the four programs: what can fail before a program runs is one line, or silence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from drone_orchestrator.nodes import programs
from drone_orchestrator.ros import environment

ENTRIES = (programs.orchestrator, programs.drone_executor, programs.saga_monitor, programs.order_gateway)


@pytest.fixture(autouse=True)
def usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "check", lambda *_, **__: None)


def code_of(entry: Callable[[], object]) -> object:
    with pytest.raises(SystemExit) as ended:
        entry()
    return ended.value.code


def found(monkeypatch: pytest.MonkeyPatch, import_module: Callable[[str], object]) -> None:
    monkeypatch.setattr(programs, "importlib", SimpleNamespace(import_module=import_module))


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_program_ends_with_the_code_of_its_main(monkeypatch: pytest.MonkeyPatch, entry: Callable[[], object]) -> None:
    names: list[str] = []

    def import_module(name: str) -> object:
        names.append(name)
        return SimpleNamespace(main=lambda: 7)

    found(monkeypatch, import_module)
    assert code_of(entry) == 7
    assert names[0].startswith(f"drone_orchestrator.nodes.{entry.__name__}.")


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], entry: Callable[[], object]
) -> None:
    def import_module(name: str) -> object:
        raise ModuleNotFoundError("No module named 'rclpy'")

    found(monkeypatch, import_module)
    assert code_of(entry) == programs.REFUSED
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{entry.__name__}: No module named 'rclpy': source ROS 2")


def test_an_interrupt_during_the_imports_ends_the_program_cleanly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_module(name: str) -> object:
        raise KeyboardInterrupt

    found(monkeypatch, import_module)
    assert code_of(programs.orchestrator) == 0
    assert capsys.readouterr().err == ""


def test_an_unusable_environment_is_refused_before_anything_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise environment.UnusableEnvironment("ROS_DOMAIN_ID must be a number")

    monkeypatch.setattr(environment, "check", refuse)
    found(monkeypatch, lambda name: pytest.fail(f"{name} was imported"))
    assert code_of(programs.saga_monitor) == programs.REFUSED
    assert capsys.readouterr().err == "saga_monitor: ROS_DOMAIN_ID must be a number\n"


def test_the_entry_points_do_not_import_rclpy() -> None:
    program = "import sys, drone_orchestrator.nodes.programs; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
