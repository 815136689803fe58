"""``fleetctl up``: a local fleet in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rich.table import Table

from ..bringup.fleet_config import cautions, load
from ..bringup.local_fleet import LocalFleet
from ..bringup.plan import FleetOptions
from .fleet_run import require_free_port, running
from .output import Failure, Output, shown


def up(out: Output, drones: int, replicas: int, time_scale: float, http_port: int, config: str) -> None:
    """Run ``fleetctl up``."""
    try:
        options = fleet(drones, replicas, time_scale, http_port, config)
        notes = cautions(load(config))
    except ValueError as error:
        raise Failure(str(error)) from error
    for note in notes:
        out.say(f"[yellow]{shown(config or 'fleet.yaml')}: {shown(note)}[/yellow]")
    require_free_port(options.http_host, http_port)
    with running(options, out) as started:
        domain = int(started.environment["ROS_DOMAIN_ID"])
        _say_ready(out, started, domain)
        out.result(
            {
                "url": started.url,
                "etcd": started.options.etcd_endpoints,
                "ros_domain_id": domain,
                "prometheus_targets": str(started.targets_file),
                "logs": str(started.log_dir),
            }
        )
        while True:
            started.check()
            time.sleep(0.5)


def fleet(drones: int, replicas: int, time_scale: float, http_port: int, config: str) -> FleetOptions:
    """Return the fleet that the options of the command describe. Raises :class:`ValueError`."""
    return FleetOptions(
        drones=drones,
        replicas=replicas,
        region=load(config).region,
        time_scale=time_scale,
        http_port=http_port,
        fleet_config=str(Path(config).absolute()) if config else "",
    )


def _say_ready(out: Output, fleet: LocalFleet, domain: int) -> None:
    """Print addresses, folders and the next commands, spelled as this one was called."""
    called = Path(sys.argv[0])
    me = "fleetctl"
    if called.name == me and called.is_file() and called.is_absolute():
        try:
            me = os.path.relpath(called)
        except OSError:  # the working folder was removed
            me = str(called)
    options = fleet.options
    out.say(
        f"[bold green]ready[/bold green]  {options.drones} drones, {options.replicas} orchestrators, {options.region}"
    )
    table = Table(box=None, show_header=False)
    table.add_row("dashboard", f"{fleet.url}/")
    table.add_row("orders", f"{fleet.url}/orders   with examples: {fleet.url}/docs")
    table.add_row("metrics", f"{fleet.targets_file}   (targets of every process, for Prometheus)")
    table.add_row("runner", f"pid {os.getpid()}")
    table.add_row("etcd", options.etcd_endpoints)
    table.add_row("logs", str(fleet.log_dir))
    table.add_row("ros2", f"export ROS_DOMAIN_ID={domain}")
    out.console.print(table)
    out.say("in another terminal:")
    for line in (
        "order submit --to 37.7749,-122.4194 --weight 2.3",
        "order watch",
        "top",
        "leader --handover",
        "doctor",
    ):
        out.say(f"  {me} {line}")
    out.say("[dim]Ctrl-C stops everything and removes its data[/dim]")
