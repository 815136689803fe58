"""The command line of the four node programs: answered before ROS is initialised."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from drone_orchestrator import __version__
from drone_orchestrator.ros import command_line, process
from drone_orchestrator.ros.params import Param

PROGRAMS = {"orchestrator": "node", "drone_executor": "host", "saga_monitor": "node", "order_gateway": "node"}


def module_of(program: str) -> ModuleType:
    return importlib.import_module(f"drone_orchestrator.nodes.{program}.{PROGRAMS[program]}")


def run(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> int:
    """Run a program's entry point without ROS. Return its exit code."""

    def too_far(*_: object, **__: object) -> None:
        raise AssertionError("ROS was initialised")

    monkeypatch.setattr(process.rclpy, "init", too_far)
    monkeypatch.setattr(sys, "argv", [f"/somewhere/{program}", *arguments])
    with pytest.raises(SystemExit) as ended:
        module_of(program).main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_parameter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str, option: str
) -> None:
    assert run(monkeypatch, program, option) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"Usage: {program} [")
    assert said.err == ""
    assert max(map(len, said.out.splitlines())) <= command_line.MAX_WIDTH
    flat = " ".join(said.out.split())
    for param in module_of(program).PARAMETERS:
        kind = param.ros_type.name.lower().replace("_", " ")
        assert f" {param.name}{'' if param.read_only else ' *'}: {kind}, default " in flat
        assert " ".join(param.text.split()) in flat


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    assert run(monkeypatch, program, "--version") == 0
    assert capsys.readouterr().out == f"{program}, version {__version__}\n"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (("--halp",), "--halp"),
        (("region:=x",), "region:=x"),
        (("--ros-args", "-p", "region:=x", "--", "--port", "1"), "--port"),
    ],
)
def test_an_unknown_argument_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    arguments: tuple[str, ...],
    refused: str,
) -> None:
    assert run(monkeypatch, program, *arguments) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"{program}: unknown argument '{refused}' (see {program} --help)\n")


@pytest.mark.parametrize(
    "arguments", [(), ("--ros-args", "-p", "--help:=1", "--log-level", "warn"), ("--ros-args", "-r", "a:=b", "--")]
)
def test_ros_arguments_are_passed_to_the_node(arguments: tuple[str, ...]) -> None:
    command_line.answer("node", "", (), arguments)


@pytest.mark.parametrize(
    ("param", "line"),
    [
        (Param("a", 0.5, "d", unit="s", lo=0.1, hi=30.0), "a: double, default 0.5 s; 0.1 to 30 s"),
        (Param("a", 0.5, "d", unit="s", lo=1.0), "a: double, default 0.5 s; at least 1 s"),
        (Param("a", 5, "d", hi=9, read_only=False), "a *: integer, default 5; at most 9"),
        (Param("a", True, "d"), "a: bool, default true"),
        (Param("a", "x", "d", choices=("x", "y")), "a: string, default 'x'; one of x, y"),
        (Param("a", ("x", "y"), "d"), "a: string array, default [x, y]"),
    ],
)
def test_a_parameter_is_shown_with_type_default_unit_and_range(param: Param, line: str) -> None:
    assert f"\n  {line}\n      d" in command_line.usage("node", "about", [param], 80)
