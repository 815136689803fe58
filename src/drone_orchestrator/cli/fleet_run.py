"""A local fleet for the duration of a command, used by ``up``, the demo, chaos and the benchmarks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ..bringup import dds, running_fleets
from ..bringup.local_fleet import FleetError, LocalFleet, Wiring
from ..bringup.plan import FleetOptions
from ..ports import StoreError
from .output import Failure, Output
from .ros_session import require_ros_environment

READY_TIMEOUT_S = 60.0


def require_free_port(host: str, port: int) -> None:
    """Raise :class:`Failure` if another program listens on the port."""
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
    """Run a local fleet in the block. ``visible``: other ``fleetctl`` commands find it while it runs."""

    def exited(name: str, code: int) -> None:
        out.say(f"[yellow]{name} ended ({cause(code)}); starting it again[/yellow]")

    require_ros_environment({**os.environ, **dds.loopback(), "ROS_DOMAIN_ID": ""})  # the fleet has its own
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
            options.fleet_config,
        )
    )


def cause(code: int) -> str:
    """Return an exit code in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _wait_ready(fleet: LocalFleet) -> None:
    """Wait until the gateway is ready. Raises :class:`FleetError` if a process refuses to start."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while fleet.options.gateway:
        fleet.check()
        try:
            if httpx.get(f"{fleet.url}/readyz", timeout=2.0, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass  # not listening yet
        if time.monotonic() > deadline:
            said = fleet.last_line("order_gateway")
            raise FleetError(f"the gateway was not ready within {READY_TIMEOUT_S:.0f} s; its last log line: {said}")
        time.sleep(0.1)
