"""``fleetctl bench``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..context import UserPath, json_option, positive
from .command_group import CommandGroup
from .deferred import runs


class _Sizes(click.ParamType):
    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(each) for each in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r}: whole numbers with commas between them are wanted", param, ctx)
        if not all(1 <= size <= 1000 for size in sizes):
            self.fail(f"{value}: each must be 1 to 1000", param, ctx)
        return sizes


def picture_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--picture FILE``, handed to the command as ``picture_path``, ``None`` where it is not wanted."""
    return click.option(
        "--picture",
        "picture_path",
        type=UserPath(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Draw the result as SVG.",
    )(command)


@click.group(cls=CommandGroup)
def bench() -> None:
    """Measure the fleet's parts."""


@bench.command()
@click.option("--drones", default=256, show_default=True, type=click.IntRange(1, 5000))
@click.option("--orders", default=256, show_default=True, type=click.IntRange(1, 5000))
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seed", default=1, show_default=True)
@json_option
@runs("bench.plan")
def plan() -> None:
    """Time one round of planning, and compare its plans with the greedy planner's."""


@bench.command()
@click.option("--kills", default=10, show_default=True, type=click.IntRange(1, 1000), help="Rounds of each kind.")
@click.option("--drones", default=9, show_default=True, type=click.IntRange(3, 100))
@click.option("--seed", default=1, show_default=True, help="Of the orders.")
@picture_option
@json_option
@runs("bench.failover")
def failover() -> None:
    """Time from a leader's end to the next one's first assignment: killed, hung, handed over; and by lease alone."""


@bench.command()
@click.option("--seconds", default=20.0, show_default=True, type=positive(1.0, 3600.0), help="Half of it flooded.")
@click.option("--turns", default=4, show_default=True, type=click.IntRange(1, 100), help="Floods in that time.")
@click.option("--per-s", default=2000.0, show_default=True, type=positive(1.0, 1e6), help="Junk requests to try per s.")
@click.option("--bound", default=2.0, show_default=True, type=positive(1.0, 1e6), help="Fail above this slow-down.")
@json_option
@runs("bench.junk_flood")
def junk_flood() -> None:
    """Flood a gateway with junk, and compare the latency of good orders with that of quiet times."""


@bench.command()
@click.option("--seconds", default=10.0, show_default=True, type=positive(1.0, 600.0), help="Of each phase.")
@click.option("--flood-rate", default=1000.0, show_default=True, type=positive(1.0, 100_000.0), help="Orders/s.")
@click.option(
    "--waiting", default=200, show_default=True, type=click.IntRange(1, 100_000), help="Bound of the flooded lane."
)
@json_option
@runs("bench.lanes")
def lanes() -> None:
    """Time from submission to assignment in one lane, while another is quiet and while it is flooded."""


@bench.command()
@click.option("--drones", default=1000, show_default=True, type=click.IntRange(1, 5000), help="And orders in a round.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--baseline-rounds", default=1, show_default=True, type=click.IntRange(1, 1000))
@click.option("--http", is_flag=True, help="Hand the orders in by POST /orders, at a gateway.")
@click.option("--clients", default=32, show_default=True, type=click.IntRange(1, 256), help="Connections with --http.")
@picture_option
@json_option
@runs("bench.throughput")
def throughput() -> None:
    """Orders a second from intake to assignment, durable, with drones that need no time."""


@bench.command()
@click.option("--minutes", default=10.0, show_default=True, type=positive(0.05, 1440.0))
@click.option("--drones", default=6, show_default=True, type=click.IntRange(1, 100))
@click.option("--busy", "hogs", type=click.IntRange(0, 1024), help="Busy processes; one per core by default.")
@json_option
@runs("bench.steadiness")
def steadiness() -> None:
    """Keep every core busy, and count how often a living leader is replaced: it must not happen."""


@bench.command()
@click.option("--rate", default=50.0, show_default=True, type=positive(0.1, 200.0), help="Orders per second.")
@click.option("--seconds", default=20.0, show_default=True, type=positive(1.0, 600.0))
@click.option("--drones", default=0, type=click.IntRange(0, 200), help="Default: as many as the rate needs.")
@click.option("--fleet", "whole", is_flag=True, help="With a standby, and drones that fly and talk over DDS.")
@picture_option
@json_option
@runs("bench.latency")
def latency() -> None:
    """Time from an order's POST to its assignment at a steady rate of orders."""


@bench.command()
@click.option("--drones", "sizes", default="10,50,100,200", show_default=True, type=_Sizes(), help="Fleet sizes.")
@click.option("--seconds", default=12.0, show_default=True, type=positive(1.0, 600.0), help="Of each point.")
@picture_option
@json_option
@runs("bench.scale")
def scale() -> None:
    """CPU, memory, heartbeat jitter and time to assignment of the leader over the number of drones."""


@bench.command()
@click.option("--orders", default=100_000, show_default=True, type=click.IntRange(100, 10_000_000))
@click.option("--baseline-orders", default=2_000, show_default=True, type=click.IntRange(100, 100_000))
@click.option("--retention", default=10.0, show_default=True, type=positive(0.1, 86_400.0), help="Seconds.")
@click.option("--drones", default=100, show_default=True, type=click.IntRange(1, 5000))
@click.option("--outstanding", default=400, show_default=True, type=click.IntRange(1, 10_000), help="Orders at a time.")
@click.option("--compaction", default=10, show_default=True, type=click.IntRange(1, 86_400), help="Seconds of history.")
@picture_option
@json_option
@runs("bench.soak")
def soak() -> None:
    """Run very many orders through one region: memory and etcd must not grow with them."""
