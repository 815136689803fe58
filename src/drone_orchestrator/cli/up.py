"""``fleetctl up``: a local fleet in the foreground, until Ctrl-C."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.table import Table

from ..bringup import running_fleets
from ..bringup.fleet_config import FleetConfigError, load
from ..bringup.local_fleet import FleetError, LocalFleet, Wiring
from ..bringup.plan import FleetOptions
from ..ports import StoreError
from .output import Failure, Output

READY_TIMEOUT_S = 60.0
#: A fleet that runs for days must not fill the disk with history; whoever audits it does so within this.
ETCD_HISTORY = "1h"


def up(out: Output, drones: int, replicas: int, time_scale: float, http_port: int, config: str) -> None:
    """Carry out ``fleetctl up``."""
    try:
        region = load(config).region
        options = FleetOptions(
            drones=drones,
            replicas=replicas,
            region=region,
            time_scale=time_scale,
            http_port=http_port,
            etcd_compaction=ETCD_HISTORY,
            fleet_config=config,
        )
    except (FleetConfigError, ValueError) as error:
        raise Failure(str(error)) from error
    require_free_port(options.http_host, http_port)
    with running(options, out) as fleet:
        domain = int(fleet.environment["ROS_DOMAIN_ID"])
        _say_ready(out, fleet, domain)
        out.result(
            {
                "url": fleet.url,
                "etcd": fleet.options.etcd_endpoints,
                "ros_domain_id": domain,
                "prometheus_targets": str(fleet.targets_file),
                "logs": str(fleet.log_dir),
            }
        )
        while True:
            fleet.check()
            time.sleep(0.5)


def _say_ready(out: Output, fleet: LocalFleet, domain: int) -> None:
    """What one needs next, in the words in which this command was called."""
    called = Path(sys.argv[0])
    me = (
        os.path.relpath(called)
        if called.name == "fleetctl" and called.is_file() and called.is_absolute()
        else "fleetctl"
    )
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


def require_free_port(host: str, port: int) -> None:
    """Raise a one-line :class:`Failure` where somebody else listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failure(f"port {port} on {host} cannot be used: {error.strerror}; try --http-port 0") from error


@contextmanager
def running(
    options: FleetOptions,
    out: Output,
    *,
    wiring: Wiring | None = None,
    on_exit: Callable[[str, int], None] | None = None,
    visible: bool = True,
) -> Iterator[LocalFleet]:
    """A local fleet that is up, and gone afterwards; ``visible``: known to other ``fleetctl`` calls while it runs."""

    def exited(name: str, code: int) -> None:
        out.say(f"[yellow]{name} ended ({cause(code)}); starting it again[/yellow]")

    path = None
    try:
        with LocalFleet(options, wiring=wiring, on_exit=on_exit or exited) as fleet:
            path = _register(fleet) if visible else None
            with out.console.status("starting the fleet …"):
                _wait_ready(fleet)
            try:
                yield fleet
            finally:
                out.say("stopping …")
    except (FleetError, StoreError) as error:
        raise Failure(str(error)) from error
    finally:
        if path is not None:
            running_fleets.unregister(path)


def _register(fleet: LocalFleet) -> Path:
    options = fleet.options
    return running_fleets.register(
        running_fleets.RunningFleet(
            os.getpid(),
            options.region,
            options.etcd_endpoints,
            fleet.url,
            options.data_dir,
            fleet.environment,
            time.time(),
        )
    )


def cause(code: int) -> str:
    """An exit code in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _wait_ready(fleet: LocalFleet) -> None:
    """Until the gateway is ready, or something refuses to start."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while fleet.options.gateway:
        fleet.check()
        try:
            if httpx.get(f"{fleet.url}/readyz", timeout=2.0).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # not listening yet
        if time.monotonic() > deadline:
            said = fleet.last_line("order_gateway")
            raise FleetError(f"the gateway was not ready within {READY_TIMEOUT_S:.0f} s; its last word: {said}")
        time.sleep(0.1)
