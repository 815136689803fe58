"""``fleetctl leader``."""

from __future__ import annotations

import click

from ..completion.ids import leader_ids
from ..context import json_option, namespace_option, target_options
from .deferred import runs


@click.command()
@click.option("--handover", is_flag=True, help="Hand leadership over, and wait for the new leader.")
@click.option(
    "--bring-back",
    metavar="NAME",
    shell_complete=leader_ids,
    help="Let an orchestrator that handed over campaign again.",
)
@click.option("--watch", "live", is_flag=True, help="Keep showing the leader until Ctrl-C.")
@namespace_option
@target_options
@json_option
@runs("leader")
def leader() -> None:
    """Show the leader, since when it leads and its epoch, or hand leadership over."""
