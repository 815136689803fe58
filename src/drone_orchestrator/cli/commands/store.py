"""``fleetctl store``."""

from __future__ import annotations

from pathlib import Path

import click

from ..context import UserPath, json_option, namespace_option, positive, target_options
from .command_group import CommandGroup
from .deferred import runs


@click.group(cls=CommandGroup)
def store() -> None:
    """Look after the store of a fleet."""


@store.command()
@click.option("--yes", is_flag=True, help="Close the orders that have ended, and let the fleet go on.")
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=UserPath(path_type=Path),
    help="Archive file, or folder of archives. Repeatable.",
)
@click.option(
    "--journals", "folder", type=UserPath(path_type=Path, file_okay=False), help="Folder of the drones' journals."
)
@click.option("--without-drones", is_flag=True, help="Do not listen to the drones.")
@click.option("--wait", "wait_s", default=3.0, show_default=True, type=positive(), help="Seconds to listen for drones.")
@namespace_option
@target_options
@json_option
@runs("doctor.restored")
def restored() -> None:
    """Let a held fleet go on, after its etcd was restored, rebuilt or emptied.

    Lists the orders that the store has as open, although a drone or the archive knows that they have ended. With --yes
    it cancels them in the store, raises the fleet's generation and lifts the hold.
    """
