"""``fleetctl doctor``: what is installed, reachable and healthy, and what to do about what is not."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass

import click
from rich.table import Table

from ..bringup import fleet_config, registry
from ..core.types import LeaderRecord
from ..core.view import FleetView
from ..ports import StoreError
from ..store import EtcdStore
from ..store.process import EtcdNotStarted, find_etcd
from .context import Target, json_option, target_options
from .output import Output

MIN_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``level`` is ``ok``, ``warning`` (works, but) or ``error``; ``hint`` says what to do."""

    name: str
    level: str
    detail: str
    hint: str = ""


def _python() -> Finding:
    version = platform.python_version()
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "error", version, "use Python 3.10 to 3.13: make setup PYTHON=python3.12")
    return Finding("python", "ok", f"{version} at {sys.executable}")


def _ros() -> Finding:
    try:
        from ..nodes import observer
    except ImportError as error:
        hint = "make setup, or source your ROS 2 installation and the workspace (colcon build)"
        return Finding("ros", "error", str(error), hint)
    return Finding("ros", "ok", observer.installation())


def _etcd_binary() -> Finding:
    try:
        return Finding("etcd binary", "ok", find_etcd())
    except EtcdNotStarted as error:
        return Finding("etcd binary", "error", str(error), "apt install etcd-server, or set ETCD_BIN")


def _config() -> Finding:
    try:
        spec = fleet_config.load()
    except (fleet_config.FleetConfigError, FileNotFoundError) as error:
        return Finding("fleet config", "error", str(error), "mend config/fleet.yaml")
    return Finding("fleet config", "ok", f"{spec.region}: {', '.join(c.name for c in spec.classes)}")


def _loopback() -> Finding:
    """DDS on one machine needs UDP over loopback, and multicast to find peers."""
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(1.0)
            sender.sendto(b"ping", receiver.getsockname())
            receiver.recv(16)
    except OSError as error:
        return Finding("loopback", "error", str(error), "ip link set lo up; check the firewall")
    return Finding("loopback", "ok", "UDP on 127.0.0.1 arrives")


def _disk() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        return Finding("disk", "warning", f"{free >> 20} MiB free in {folder}", "free some space, or set TMPDIR")
    return Finding("disk", "ok", f"{free >> 30} GiB free in {folder}")


def _supervision() -> Finding:
    if shutil.which("setpriv") is None:
        hint = "apt install util-linux; without it a killed runner leaves its processes behind"
        return Finding("setpriv", "warning", "not found", hint)
    return Finding("setpriv", "ok", "processes end with their runner")


def _local_fleets() -> Finding:
    fleets = registry.running()
    if not fleets:
        return Finding("local fleet", "ok", "none is running")
    return Finding("local fleet", "ok", ", ".join(f"pid {f.pid} at {f.url}" for f in fleets))


def _store(target: Target) -> list[Finding]:
    """The store and the leader; without a fleet on this machine and without a word from the user they are optional."""
    asked_for = bool(registry.running()) or "ETCD_ENDPOINTS" in os.environ or target.endpoints != "127.0.0.1:2379"
    level = "error" if asked_for else "warning"
    try:
        store = EtcdStore(target.endpoints.split(","), target.region)
        try:
            view = FleetView()
            view.load(store.snapshot())
        finally:
            store.close()
    except (StoreError, ValueError) as error:
        hint = "start a fleet (fleetctl up) or give --etcd HOST:PORT"
        return [Finding("etcd", level, str(error), hint)]
    found = [Finding("etcd", "ok", f"{target.endpoints}, region {target.region}, revision {view.revision}")]
    record = view.leader.value if view.leader is not None else None
    if isinstance(record, LeaderRecord):
        found.append(Finding("leader", "ok", record.holder))
    else:
        hint = "start orchestrators; `ros2 lifecycle set <orchestrator> activate` ends a retirement"
        found.append(Finding("leader", level, "none", hint))
    if view.corrupt:
        hint = "compare with `fleetctl events ID`, then mend or remove the keys"
        found.append(Finding("records", "error", f"unreadable: {', '.join(sorted(view.corrupt))}", hint))
    return found


_CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _ros,
    _etcd_binary,
    _config,
    _loopback,
    _disk,
    _supervision,
    _local_fleets,
)


@click.command()
@target_options
@json_option
def doctor(out: Output, target: Target) -> None:
    """Check this machine and, if there is one, the running fleet; exit code 1 where something is wrong."""
    findings = [check() for check in _CHECKS] + _store(target)
    table = Table(box=None, show_header=False)
    marks = {"ok": "[green]✓", "warning": "[yellow]!", "error": "[red]✗"}
    for finding in findings:
        table.add_row(marks[finding.level], f"[bold]{finding.name}", finding.detail)
        if finding.hint:
            table.add_row("", "", f"→ {finding.hint}")
    out.console.print(table)
    healthy = all(finding.level != "error" for finding in findings)
    out.result({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    raise SystemExit(0 if healthy else 1)
