"""``fleetctl drones``."""

from __future__ import annotations

import click

from ..completion.ids import drone_ids
from ..context import json_option, namespace_option, positive, target_options
from .deferred import runs


@click.command()
@click.argument("names", metavar="[DRONE]...", nargs=-1, shell_complete=drone_ids)
@click.option("--take-out", is_flag=True, help="The named drones take no new order; what they carry they finish.")
@click.option("--bring-back", is_flag=True, help="The named drones take orders again; lifts a grounding.")
@click.option("--watch", "live", is_flag=True, help="Go on showing them until Ctrl-C.")
@click.option("--wait", "wait_s", default=3.0, show_default=True, type=positive(), help="Seconds to listen for drones.")
@namespace_option
@target_options
@json_option
@runs("drones")
def drones() -> None:
    """Show every drone, or those named: what it says of itself, and what it is reserved for."""
