"""``fleetctl doctor``: what is installed, reachable and healthy, and what to do about what is not."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from ...bringup import paths, running_fleets
from ...core.view import FleetView
from ..context import DEFAULT_ENDPOINTS, Target
from ..output import Failure, Output, shown
from ..ros_session import hearing
from . import machine
from .dds import Heard, check_dds
from .finding import ERROR, OK, WARNING, Finding, warning
from .store import check_store, read_view

_MARKS = {OK: "[green]✓", WARNING: "[yellow]!", ERROR: "[red]✗"}


def doctor(out: Output, target: Target, listen_s: float, http_port: int, namespace: str) -> None:
    """Carry out ``fleetctl doctor``."""
    fleets = running_fleets.running()
    with out.console.status("looking at this machine …"):
        findings = check_machine(fleets, http_port)
    asked_for = bool(fleets) or "ETCD_ENDPOINTS" in os.environ or target.endpoints != DEFAULT_ENDPOINTS
    with out.console.status("asking etcd …"):
        found, view = check_store(target, asked_for=asked_for)
    findings += found
    if view is not None:
        with out.console.status("listening to DDS …"):
            findings += _listen(target, view, namespace, listen_s)
    _print(out, findings)
    healthy = all(finding.level != ERROR for finding in findings)
    out.result({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    raise SystemExit(0 if healthy else 1)


def check_machine(fleets: list[running_fleets.RunningFleet], http_port: int) -> list[Finding]:
    """Everything that can be said without a fleet."""
    share, sources = interface_folders()
    return [
        machine.python_version(),
        machine.ros_installation(),
        machine.interfaces(share, sources),
        machine.etcd_binary(),
        machine.fleet_description(),
        machine.loopback(),
        machine.ros_domain(os.environ, fleets),
        machine.shared_memory(),
        machine.temporary_folder(Path(tempfile.gettempdir())),
        machine.data_folder(paths.default_data_dir()),
        machine.open_files(),
        machine.http_port(http_port, fleets),
        machine.supervision(),
        machine.local_fleets(fleets),
    ]


def interface_folders() -> tuple[Path | None, Path | None]:
    """Where drone_interfaces is installed, and where its sources are, if this is a checkout."""
    sources = Path(__file__).resolve().parents[2] / "drone_interfaces"
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    tried = [Path(prefix) / "share" / "drone_interfaces" for prefix in prefixes if prefix]
    share = next((folder for folder in tried if folder.is_dir()), None)
    return share, sources if (sources / "msg").is_dir() else None


def _listen(target: Target, view: FleetView, namespace: str, listen_s: float) -> list[Finding]:
    try:
        with hearing(target, namespace) as ear:
            ear.wait_quiet(listen_s)
            drones, said = ear.drones(), ear.leader()
    except Failure as problem:
        return [warning("dds", problem.format_message(), "see the check `ros`")]
    heard = Heard(drones)
    if said is not None:
        heard = Heard(drones, said[0].instance_id, said[0].region, said[0].skew_s)
    # Leadership may have changed while we listened: what was heard is compared with what is stored by now.
    view = read_view(target) or view
    domain = target.environment.get("ROS_DOMAIN_ID") or os.environ.get("ROS_DOMAIN_ID", "0")
    return check_dds(view, heard, domain=domain, region=target.region)


def _print(out: Output, findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False)
    for finding in findings:
        table.add_row(_MARKS[finding.level], f"[bold]{finding.name}", shown(finding.detail))
        if finding.hint:
            table.add_row("", "", f"→ {shown(finding.hint)}")
    out.console.print(table)
    wrong = sum(finding.level == ERROR for finding in findings)
    odd = sum(finding.level == WARNING for finding in findings)
    if wrong or odd:
        out.say(f"[bold]{wrong} wrong, {odd} worth a look[/bold], {len(findings)} checks")
    else:
        out.say(f"[green]all {len(findings)} checks are well[/green]")
