"""``fleetctl order`` and ``fleetctl events``."""

from __future__ import annotations

from pathlib import Path

import click

from ...core.types import CommandAction, SagaStatus
from ..completion.ids import order_ids, parked_ids
from ..context import UserPath, json_option, positive, target_options
from .command_group import CommandGroup
from .deferred import runs


@click.group(cls=CommandGroup)
def order() -> None:
    """Submit, follow and cancel orders."""


@order.command()
@click.argument("file", required=False, type=UserPath(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--to", "destination", metavar="LAT,LON", help="Destination, in degrees.")
@click.option("--weight", "weight_kg", metavar="KG", type=float, help="Weight of the package.")
@click.option("--id", "order_id", help="Your name for the order; made up where it is missing.")
@click.option("--priority", type=click.Choice(["low", "normal", "high", "urgent"]))
@click.option("--class", "drone_class", help="Class of drone that shall fly it.")
@click.option("--deadline", "deadline_s", metavar="S", type=float, help="Seconds after which it is worth nothing.")
@click.option("--message-id", help="UUID that makes a repeat harmless; made from the order's id where it is missing.")
@click.option("--config", "config", type=UserPath(), help="Fleet description to check against.")
@target_options
@json_option
@runs("orders.command")
def submit() -> None:
    """Submit one order, or those of a JSON FILE (an order, or a list of them; - is standard input).

    All of them are checked before the first one is sent. The same order again is the same order: sending a file twice
    does no harm.
    """


@order.command("show")
@click.argument("order_id", shell_complete=order_ids)
@target_options
@json_option
@runs("orders.command")
def show_() -> None:
    """Show one order by order id or message id."""


@order.command("list")
@click.option("--status", "wanted", type=click.Choice([s.value for s in SagaStatus], case_sensitive=False))
@click.option("--open", "is_open", is_flag=True, help="Only those that have not ended.")
@click.option("--parked", is_flag=True, help="Only those that wait for a person's decision.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="The newest so many.")
@click.option("--watch", "live", is_flag=True, help="Go on showing them until Ctrl-C.")
@target_options
@json_option
@runs("orders.command")
def list_() -> None:
    """List orders, the newest last."""


@order.command()
@click.argument("order_id", shell_complete=order_ids)
@target_options
@json_option
@runs("orders.command")
def cancel() -> None:
    """Ask for an order to be cancelled; what comes of it shows in its status."""


@order.command()
@click.argument("order_id", shell_complete=parked_ids)
@target_options
@json_option
@runs("orders.command")
def retry() -> None:
    """Have the compensation of a parked order tried again, say after its drone was mended."""


@order.command()
@click.argument("order_id", shell_complete=parked_ids)
@click.option(
    "--package",
    "where",
    required=True,
    type=click.Choice([a.value for a in CommandAction if a is not CommandAction.RETRY]),
    help="What became of the package: back in its depot, with the customer, or not to be found.",
)
@target_options
@json_option
@runs("orders.command")
def resolve() -> None:
    """Say what became of a parked order's package, having looked.

    `returned` lets the order be flown again (or ends it, if it was cancelled); it is refused while its drone could
    still load the package: ground the drone first.
    """


@click.command()
@click.argument("order_id", shell_complete=order_ids)
@target_options
@json_option
@runs("orders.command")
def events() -> None:
    """Show every event of one order, and how long each state lasted."""


@order.command()
@click.argument("order_id", required=False, shell_complete=order_ids)
@click.option(
    "--timeout", "timeout_s", default=3600.0, show_default=True, type=positive(), help="Give up after so many s."
)
@target_options
@json_option
@runs("orders.watch")
def watch() -> None:
    """Follow an order to its end; without ORDER_ID all that are open, until none is.

    Exit code 0 if all of them were delivered, 1 if one failed, was cancelled, or has not ended when time is up.
    """
