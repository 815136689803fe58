"""``fleetctl demo``."""

from __future__ import annotations

from pathlib import Path

import click

from ..context import UserPath, json_option, positive
from .deferred import runs


@click.command()
@click.option("--drones", default=6, show_default=True, type=click.IntRange(1, 100), help="Number of drones.")
@click.option("--orders", default=24, show_default=True, type=click.IntRange(1, 10_000), help="Number of orders.")
@click.option("--seed", default=1, show_default=True, help="Seed of the orders and the kills.")
@click.option(
    "--leader-kills", default=1, show_default=True, type=click.IntRange(0, 20), help="Times to kill the leader."
)
@click.option(
    "--drone-kills", default=1, show_default=True, type=click.IntRange(0, 20), help="Times to kill a drone process."
)
@click.option(
    "--time-scale",
    default=50.0,
    show_default=True,
    type=positive(0.001, 1000),
    help="Speed-up factor of simulated flight.",
)
@click.option("--timeout", "timeout_s", default=240.0, show_default=True, type=positive(), help="Timeout in seconds.")
@click.option(
    "--report",
    "folder",
    default=Path("reports/demo"),
    show_default=True,
    type=UserPath(path_type=Path, file_okay=False),
    help="Folder for the report.",
)
@json_option
@runs("trial.demo")
def demo() -> None:
    """Run a fleet, submit orders, kill leader and drones, and check that nothing was lost or duplicated."""
