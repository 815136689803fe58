"""``fleetctl doctor``: checks what is installed, reachable and healthy, with a hint for each problem."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rich.table import Table

from ...bringup import fleet_config, running_fleets
from ...bringup.operator_files import FileRefused
from ...core.types import FleetSpec
from ...core.view import FleetView
from ..context import DEFAULT_ENDPOINTS, Target
from ..output import Failure, Output, shown
from ..ros_session import hearing
from . import machine
from .dds import Heard, check_dds
from .finding import ERROR, OK, WARNING, Finding, warning
from .store import check_store, read_view

_NAME_WIDTH = 14
_MARKS = {OK: "[green]✓", WARNING: "[yellow]!", ERROR: "[red]✗"}


def doctor(out: Output, target: Target, listen_s: float, http_port: int, namespace: str) -> None:
    """Run ``fleetctl doctor``."""
    fleets = running_fleets.running()
    report = _Report(out)
    # Print each finding at once: the next check may end the process.
    for check in machine_checks(fleets, http_port, target.fleet_config):
        report.add(check())
    asked_for = bool(fleets) or "ETCD_ENDPOINTS" in os.environ or target.endpoints != DEFAULT_ENDPOINTS
    with out.console.status("asking etcd …"):
        found, view = check_store(target, asked_for=asked_for)
    report.add(*found)
    if view is not None:
        with out.console.status("listening to DDS …"):
            found = _listen(target, view, namespace, listen_s)
        report.add(*found)
    raise SystemExit(0 if report.close() else 1)


def machine_checks(
    fleets: list[running_fleets.RunningFleet], http_port: int, config: str = ""
) -> list[Callable[[], Finding]]:
    """Return the checks that need no fleet. The last one imports ROS, which can end the process.

    ``config`` is the path of the fleet's description, empty for the packaged one.
    """
    share, sources = interface_folders()
    return [
        machine.python_version,
        partial(machine.interfaces, share, sources),
        machine.etcd_binary,
        partial(machine.fleet_description, config),
        machine.loopback,
        partial(machine.ros_domain, os.environ, fleets),
        partial(machine.ros_logs, os.environ),
        machine.shared_memory,
        partial(machine.temporary_folder, Path(tempfile.gettempdir())),
        machine.data_folder,
        machine.open_files,
        partial(machine.http_port, http_port, fleets),
        machine.supervision,
        partial(machine.local_fleets, fleets),
        partial(machine.ros_installation, os.environ),
    ]


def interface_folders() -> tuple[Path | None, Path | None]:
    """Return the folders of drone_interfaces: where it is installed, and its sources if this is a checkout."""
    sources = Path(__file__).resolve().parents[2] / "drone_interfaces"
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    tried = [Path(prefix) / "share" / "drone_interfaces" for prefix in prefixes if prefix]
    share = next((folder for folder in tried if folder.is_dir()), None)
    return share, sources if (sources / "msg").is_dir() else None


def _listen(target: Target, view: FleetView, namespace: str, listen_s: float) -> list[Finding]:
    try:
        with hearing(target, namespace) as ear:
            ear.wait_quiet(listen_s)
            drones, said = ear.drones(view.fleet), ear.leader(view.fleet)
            strangers = ear.strangers(view.fleet)
            processes, findings = ear.processes(), ear.findings()
    except Failure as problem:
        return [warning("dds", problem.format_message(), "see the check `ros`")]
    heard = Heard(drones, processes=processes, findings=findings, strangers=strangers)
    if said is not None:
        heard = replace(
            heard, leader_instance=said[0].instance_id, leader_region=said[0].region, leader_skew_s=said[0].skew_s
        )
    # Leadership may have changed meanwhile: compare what was heard with what is stored now.
    view = read_view(target) or view
    domain = target.environment.get("ROS_DOMAIN_ID") or os.environ.get("ROS_DOMAIN_ID", "0")
    return check_dds(view, heard, domain=domain, region=target.region, fleet=_described(target))


def _described(target: Target) -> FleetSpec | None:
    """Return the description of the fleet, if it can be read and is of the region; other checks say what is wrong."""
    try:
        fleet = fleet_config.load(target.fleet_config)
    except (FileRefused, FileNotFoundError):
        return None
    return fleet if fleet.region == target.region else None


class _Report:
    """Prints findings as they come, and sums them up."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._findings: list[Finding] = []

    def add(self, *findings: Finding) -> None:
        """Print ``findings`` below the earlier ones."""
        for finding in findings:
            table = Table(box=None, show_header=False)
            table.add_column(width=1)
            table.add_column(width=_NAME_WIDTH)
            table.add_column()
            table.add_row(_MARKS[finding.level], f"[bold]{finding.name}", shown(finding.detail))
            if finding.hint:
                table.add_row("", "", f"→ {shown(finding.hint)}")
            self._out.console.print(table)
        self._findings += findings

    def close(self) -> bool:
        """Print the summary and the result. Returns true if nothing is wrong."""
        wrong = sum(finding.level == ERROR for finding in self._findings)
        odd = sum(finding.level == WARNING for finding in self._findings)
        if wrong or odd:
            self._out.say(f"[bold]{wrong} wrong, {odd} to consider[/bold], {len(self._findings)} checks")
        else:
            self._out.say(f"[green]all {len(self._findings)} checks are well[/green]")
        self._out.result({"healthy": not wrong, "findings": [asdict(finding) for finding in self._findings]})
        return not wrong
