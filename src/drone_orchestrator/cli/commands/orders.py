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
@click.option("--id", "order_id", help="Your name for the order.  [default: generated]")
@click.option("--priority", type=click.Choice(["low", "normal", "high", "urgent"]))
@click.option("--class", "drone_class", help="Required drone class.")
@click.option("--deadline", "deadline_s", metavar="S", type=float, help="Deadline in seconds after submission.")
@click.option("--message-id", help="UUID that makes resubmission safe.  [default: derived from the order id]")
@click.option("--config", "config", type=UserPath(), help="Fleet description to check the order against.")
@target_options
@json_option
@runs("orders.command")
def submit() -> None:
    """Submit one order, or those in a JSON FILE (an order or a list; - for standard input).

    All orders are checked before the first is sent. Submitting a file twice is safe.
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
@click.option("--open", "is_open", is_flag=True, help="Only orders that have not ended.")
@click.option("--parked", is_flag=True, help="Only parked orders, which wait for an operator.")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Show at most this many, the newest.",
)
@click.option("--watch", "live", is_flag=True, help="Keep the list up to date until Ctrl-C.")
@target_options
@json_option
@runs("orders.command")
def list_() -> None:
    """List orders, newest last."""


@order.command()
@click.argument("order_id", shell_complete=order_ids)
@target_options
@json_option
@runs("orders.command")
def cancel() -> None:
    """Request the cancellation of an order. Its status shows the outcome."""


@order.command()
@click.argument("order_id", shell_complete=parked_ids)
@target_options
@json_option
@runs("orders.command")
def retry() -> None:
    """Retry the compensation of a parked order, for example after repairing its drone."""


@order.command()
@click.argument("order_id", shell_complete=parked_ids)
@click.option(
    "--package",
    "where",
    required=True,
    type=click.Choice([a.value for a in CommandAction if a is not CommandAction.RETRY]),
    help="Where the package was found: back in its depot, with the customer, or nowhere.",
)
@target_options
@json_option
@runs("orders.command")
def resolve() -> None:
    """Resolve a parked order after checking where its package is.

    `returned` lets the order fly again, or ends it if it was cancelled. It is refused while the drone could still load
    the package: ground the drone first.
    """


@click.command()
@click.argument("order_id", shell_complete=order_ids)
@target_options
@json_option
@runs("orders.command")
def events() -> None:
    """Show all events of one order, and the duration of each state."""


@order.command()
@click.argument("order_id", required=False, shell_complete=order_ids)
@click.option("--timeout", "timeout_s", default=3600.0, show_default=True, type=positive(), help="Timeout in seconds.")
@target_options
@json_option
@runs("orders.watch")
def watch() -> None:
    """Follow an order to its end, or without ORDER_ID all open orders.

    Exit code 0 if all were delivered, 1 if one failed, was cancelled, or had not ended at the timeout.
    """
