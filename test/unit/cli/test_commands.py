"""Declarations of commands: bodies take the declared parameters, and help imports nothing slow."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from drone_orchestrator.cli.commands.deferred import body_of
from drone_orchestrator.cli.main import fleetctl

#: Must not be imported for help: most of them take longer to import than everything that help needs.
SLOW = {
    *("drone_interfaces", "etcd3", "fastapi", "google", "grpc", "httpx", "matplotlib", "numpy", "opentelemetry"),
    *("orjson", "prometheus_client", "psutil", "pybreaker", "pydantic", "rclpy", "rich", "scipy", "starlette"),
    *("tenacity", "uvicorn", "yaml"),
    *("asyncio", "concurrent.futures", "multiprocessing", "ssl", "urllib.request", "xml.etree"),
}
#: Our own modules that help may import: the declarations, and plain data that they name.
OURS = (
    "drone_orchestrator.bringup.leftovers",
    "drone_orchestrator.cli.commands",
    "drone_orchestrator.cli.completion",
    "drone_orchestrator.cli.context",
    "drone_orchestrator.cli.interrupts",
    "drone_orchestrator.cli.main",
    "drone_orchestrator.cli.output",
    "drone_orchestrator.core",  # pure, and quick to import
    "drone_orchestrator.runtime.streams",
    "drone_orchestrator.simulation.chance",
    "drone_orchestrator.simulation.profile",
)
#: Runs in its own process: prints, after each command line, the modules imported so far.
PROGRAM = """
import json, sys
from click.testing import CliRunner
before = set(sys.modules)
from drone_orchestrator.cli.main import fleetctl
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(fleetctl, words, prog_name="fleetctl")
    print(json.dumps([done.exit_code, done.output, sorted(set(sys.modules) - before)]))
"""


def commands(group: click.Group = fleetctl, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command and group of ``fleetctl`` with its names."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)


COMMANDS = dict(commands())
LEAVES = {names: each for names, each in COMMANDS.items() if not isinstance(each, click.Group)}


@pytest.fixture(scope="module")
def helped() -> dict[tuple[str, ...], tuple[int, str, set[str]]]:
    """Return exit code, output and imports of ``fleetctl``, its ``--help`` and ``--version``, and every help."""
    lines = [[], ["--help"], ["--version"], *([*names, "--help"] for names in COMMANDS)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)], capture_output=True, text=True, timeout=60, check=True
    )
    answers = map(json.loads, done.stdout.splitlines())
    return {
        tuple(words): (code, said, set(modules)) for words, (code, said, modules) in zip(lines, answers, strict=True)
    }


def test_help_is_shown_and_imports_nothing_slow(helped: dict[tuple[str, ...], tuple[int, str, set[str]]]) -> None:
    for words, (code, said, modules) in helped.items():
        assert (code, "Traceback" in said) == (0 if words else 2, False), (words, said)
        found = {slow for slow in SLOW for module in modules if f"{module}.".startswith(f"{slow}.")}
        assert not found, f"fleetctl {' '.join(words)} imports {', '.join(sorted(found))}"


def test_help_imports_declarations_only(helped: dict[tuple[str, ...], tuple[int, str, set[str]]]) -> None:
    for words, (_, _, modules) in helped.items():
        packages = {each.rpartition(".")[0] for each in OURS}
        packages |= {parent.rpartition(".")[0] for parent in packages}
        ours = {module for module in modules if module.startswith("drone_orchestrator") and module not in packages}
        assert not {module for module in ours if not f"{module}.".startswith(tuple(f"{each}." for each in OURS))}, words


@pytest.mark.parametrize("names", [names for names in LEAVES if names != ("completion",)], ids=" ".join)
def test_the_body_of_a_command_takes_the_declared_parameters(names: tuple[str, ...]) -> None:
    command = LEAVES[names]
    assert command.callback is not None
    declared = {param.name for param in command.params}
    if {"endpoints", "region"} <= declared:
        declared = declared - {"endpoints", "region"} | {"target"}
    declared = declared - {"as_json"} | {"out"}
    parameters = inspect.signature(body_of(command.callback)).parameters
    takes_more = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    named = {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    assert named == declared or (takes_more and named < declared)


def fleetctl_process(*words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "drone_orchestrator.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [(), ("order",), ("bench",)], ids=lambda words: " ".join(["fleetctl", *words]))
def test_without_a_command_the_same_help_is_shown(words: tuple[str, ...]) -> None:
    code, said, _ = fleetctl_process(*words, "--help")
    assert code == 0 and said.count("\n") > 5
    assert fleetctl_process(*words) == (2, "", said)
