"""``fleetctl top``."""

from __future__ import annotations

import click

from ..context import json_option, namespace_option, target_options
from .deferred import runs


@click.command()
@namespace_option
@target_options
@json_option
@runs("top")
def top() -> None:
    """Show the whole fleet live: leader, orders and drones. Ctrl-C ends it.

    If the output is not a terminal, a line is printed whenever the counts change.
    """
