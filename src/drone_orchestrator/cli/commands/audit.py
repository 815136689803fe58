"""``fleetctl audit``."""

from __future__ import annotations

from pathlib import Path

import click

from ..context import UserPath, json_option, target_options
from .deferred import runs


@click.command()
@click.option("--journals", "folder", type=UserPath(path_type=Path, file_okay=False), help="Drones' journals.")
@click.option("--complete", is_flag=True, help="The run is over: every order must have reached its end.")
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=UserPath(path_type=Path),
    help="Archive of orders that left the store: a file or a folder; repeat it until all are named.",
)
@click.option("--offline", is_flag=True, help="Ask no store: check the archive, and journals against it.")
@target_options
@json_option
@runs("audit")
def audit() -> None:
    """Check that no order was lost, doubled or left hanging; exit code 1 where one was."""
