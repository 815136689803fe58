"""``fleetctl leader``."""

from __future__ import annotations

import click

from ..completion.ids import leader_ids
from ..context import json_option, namespace_option, target_options
from .deferred import runs


@click.command()
@click.option("--handover", is_flag=True, help="Make the leader hand over, and wait for its successor.")
@click.option(
    "--bring-back", metavar="NAME", shell_complete=leader_ids, help="Let one campaign again that handed over."
)
@click.option("--watch", "live", is_flag=True, help="Go on showing who leads until Ctrl-C.")
@namespace_option
@target_options
@json_option
@runs("leader")
def leader() -> None:
    """Show who leads, since when and with which epoch; hand leadership over."""
