"""Threads of the real programs, ended by an exception: each heals, or its process ends and says why in one record."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from node_process import NodeProcess

pytestmark = pytest.mark.ros

#: Runs a program in which the named thread gets an exception wherever it is, or in which a loop's step
#: ("module:Class.method") raises the first time.
SABOTAGE = """
import ctypes, importlib, sys, threading, time
program, name = sys.argv[1:3]
del sys.argv[1:3]

def strike():
    while not (found := [each for each in threading.enumerate() if each.name == name and each.ident]):
        time.sleep(0.05)
    time.sleep(0.5)  # past its first steps
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(found[0].ident), ctypes.py_object(ZeroDivisionError))

def raise_once(place):
    module, _, path = place.partition(":")
    owner, method = path.split(".")
    cls = getattr(importlib.import_module(module), owner)
    step = getattr(cls, method)

    def fail(self):
        setattr(cls, method, step)
        raise ZeroDivisionError

    setattr(cls, method, fail)

if ":" in name:
    raise_once(name)
else:
    threading.Thread(target=strike, daemon=True).start()
getattr(importlib.import_module("drone_orchestrator.nodes.programs"), program)()
"""


@pytest.fixture
def sabotage(tmp_path: Path) -> str:
    path = tmp_path / "sabotage.py"
    path.write_text(SABOTAGE)
    return str(path)


class SabotagedProcess(NodeProcess):
    """``program`` in which the thread ``name`` gets an exception."""

    def command(self, executable: str) -> list[str]:
        return [sys.executable, *executable.split()]


@pytest.mark.parametrize(("program", "name"), [("order_gateway", "http"), ("orchestrator", "decide")])
def test_the_death_of_a_thread_ends_its_process(domain: int, sabotage: str, program: str, name: str) -> None:
    ports: dict[str, Any] = {"http_port": 0} if program == "order_gateway" else {}
    with SabotagedProcess(domain, f"{sabotage} {program} {name}", etcd_endpoints='"127.0.0.1:1"', **ports) as process:
        process.wait_line("died")
        assert process.process.wait(90.0) == 1
        process.finish()
        assert len([line for line in process.lines if "died" in line and "thread" in line]) == 1, process.lines


@pytest.mark.parametrize(
    ("program", "step", "name"),
    [
        ("saga_monitor", "drone_orchestrator.runtime.probe:StoreProbe._look", "store-probe"),
        ("order_gateway", "drone_orchestrator.runtime.projection:Projection._connect", "projection"),
    ],
)
def test_a_loop_heals_and_the_process_goes_on(
    domain: int, sabotage: str, program: str, step: str, name: str
) -> None:
    ports: dict[str, Any] = {"http_port": 0} if program == "order_gateway" else {}
    with SabotagedProcess(domain, f"{sabotage} {program} {step}", etcd_endpoints='"127.0.0.1:1"', **ports) as process:
        process.wait_line(f"{name} fails, and is retried: ZeroDivisionError")
        assert process.process.poll() is None
        assert process.stop(signal.SIGTERM) == 0
