"""``fleetctl drones``."""

from __future__ import annotations

import click

from ..completion.ids import drone_ids
from ..context import json_option, namespace_option, positive, target_options
from .deferred import runs


@click.command()
@click.argument("names", metavar="[DRONE]...", nargs=-1, shell_complete=drone_ids)
@click.option(
    "--take-out", is_flag=True, help="Take the named drones out of service. They finish the orders that they carry."
)
@click.option("--bring-back", is_flag=True, help="Bring the named drones back into service. Lifts a grounding.")
@click.option("--watch", "live", is_flag=True, help="Keep the list up to date until Ctrl-C.")
@click.option("--wait", "wait_s", default=3.0, show_default=True, type=positive(), help="Seconds to listen for drones.")
@namespace_option
@target_options
@json_option
@runs("drones")
def drones() -> None:
    """Show all drones, or the named ones: their reported state and their reservations."""
