"""``fleetctl audit``."""

from __future__ import annotations

from pathlib import Path

import click

from ..context import UserPath, json_option, target_options
from .deferred import runs


@click.command()
@click.option(
    "--journals", "folder", type=UserPath(path_type=Path, file_okay=False), help="Folder of the drones' journals."
)
@click.option("--complete", is_flag=True, help="Require that every order has ended.")
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=UserPath(path_type=Path),
    help="Archive file, or folder of archives. Repeatable.",
)
@click.option("--offline", is_flag=True, help="Check archive and journals only, without a store.")
@target_options
@json_option
@runs("audit")
def audit() -> None:
    """Check that no order was lost, duplicated or left unfinished. Exit code 1 if one was."""
