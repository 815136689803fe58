"""``fleetctl doctor``."""

from __future__ import annotations

import click

from ..context import json_option, namespace_option, positive, target_options
from .deferred import runs


@click.command()
@click.option("--listen", "listen_s", default=3.0, show_default=True, type=positive(), help="Seconds to listen to DDS.")
@click.option(
    "--http-port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port of the gateway."
)
@namespace_option
@target_options
@json_option
@runs("doctor.command")
def doctor() -> None:
    """Check this machine and, if there is one, the running fleet. Exit code 1 if something is wrong.

    With --json: healthy, and findings, each with name, level (ok, warning, error), detail and hint, which says what to
    do. What each check means is in docs/howto/find_trouble.md.
    """
