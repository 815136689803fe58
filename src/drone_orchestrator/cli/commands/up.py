"""``fleetctl up``."""

from __future__ import annotations

import click

from ..context import UserPath, json_option, positive
from .deferred import runs


@click.command()
@click.option("--drones", default=6, show_default=True, type=click.IntRange(0, 1000), help="Number of drones.")
@click.option("--replicas", default=3, show_default=True, type=click.IntRange(0, 9), help="Number of orchestrators.")
@click.option(
    "--time-scale",
    default=1.0,
    show_default=True,
    type=positive(0.001, 1000),
    help="Speed-up factor of simulated flight.",
)
@click.option(
    "--http-port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the gateway. 0: any free port.",
)
@click.option(
    "--config", "config", type=UserPath(), default="", help="Fleet description.  [default: config/fleet.yaml]"
)
@json_option
@runs("up")
def up() -> None:
    """Run a local fleet in the foreground until Ctrl-C: etcd, orchestrators, drones, monitor, gateway."""
