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
            self.fail(f"must be whole numbers separated by commas, got {value!r}", param, ctx)
        if not all(1 <= size <= 1000 for size in sizes):
            self.fail(f"each must be 1 to 1000, got {value}", param, ctx)
        return sizes


def picture_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--picture FILE`` to a command, which gets it as ``picture_path``, by default ``None``."""
    return click.option(
        "--picture",
        "picture_path",
        type=UserPath(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Draw the result as SVG.",
    )(command)


@click.group(cls=CommandGroup)
def bench() -> None:
    """Measure the parts of a fleet."""


@bench.command()
@click.option("--drones", default=256, show_default=True, type=click.IntRange(1, 5000))
@click.option("--orders", default=256, show_default=True, type=click.IntRange(1, 5000))
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seed", default=1, show_default=True)
@json_option
@runs("bench.plan")
def plan() -> None:
    """Time one planning round, and compare its plans with those of the greedy planner."""


@bench.command()
@click.option(
    "--kills", default=10, show_default=True, type=click.IntRange(1, 1000), help="Rounds per kind of failover."
)
@click.option("--drones", default=9, show_default=True, type=click.IntRange(3, 100))
@click.option("--seed", default=1, show_default=True, help="Seed of the orders.")
@picture_option
@json_option
@runs("bench.failover")
def failover() -> None:
    """Time from the end of one leader to the first assignment of the next.

    The leader is killed, hung or hands over; with heartbeats and, for comparison, by lease expiry alone.
    """


@bench.command()
@click.option(
    "--seconds", default=20.0, show_default=True, type=positive(1.0, 3600.0), help="Duration; half of it is flooded."
)
@click.option("--turns", default=4, show_default=True, type=click.IntRange(1, 100), help="Number of floods.")
@click.option("--per-s", default=2000.0, show_default=True, type=positive(1.0, 1e6), help="Junk requests per second.")
@click.option(
    "--bound", default=2.0, show_default=True, type=positive(1.0, 1e6), help="Fail above this slow-down of the median."
)
@json_option
@runs("bench.junk_flood")
def junk_flood() -> None:
    """Flood a gateway with junk, and compare the latency of good orders with that of quiet times."""


@bench.command()
@click.option("--seconds", default=10.0, show_default=True, type=positive(1.0, 600.0), help="Duration of each phase.")
@click.option(
    "--flood-rate",
    default=1000.0,
    show_default=True,
    type=positive(1.0, 100_000.0),
    help="Orders per second of the flood.",
)
@click.option(
    "--waiting", default=200, show_default=True, type=click.IntRange(1, 100_000), help="Bound of the flooded lane."
)
@json_option
@runs("bench.lanes")
def lanes() -> None:
    """Time orders of one drone class to their assignment, while another class is quiet and while it is flooded."""


@bench.command()
@click.option(
    "--drones", default=1000, show_default=True, type=click.IntRange(1, 5000), help="Drones, and orders per round."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--baseline-rounds", default=1, show_default=True, type=click.IntRange(1, 1000))
@click.option("--http", is_flag=True, help="Submit the orders over HTTP to a gateway.")
@click.option("--clients", default=32, show_default=True, type=click.IntRange(1, 256), help="HTTP connections.")
@picture_option
@json_option
@runs("bench.throughput")
def throughput() -> None:
    """Measure orders per second from intake to assignment, durable, with drones that take no time."""


@bench.command()
@click.option("--minutes", default=10.0, show_default=True, type=positive(0.05, 1440.0))
@click.option("--drones", default=6, show_default=True, type=click.IntRange(1, 100))
@click.option("--busy", "hogs", type=click.IntRange(0, 1024), help="Busy processes.  [default: one per core]")
@json_option
@runs("bench.steadiness")
def steadiness() -> None:
    """Keep every core busy, and count how often a live leader is replaced. It must not happen."""


@bench.command()
@click.option("--rate", default=50.0, show_default=True, type=positive(0.1, 200.0), help="Orders per second.")
@click.option("--seconds", default=20.0, show_default=True, type=positive(1.0, 600.0))
@click.option("--drones", default=0, type=click.IntRange(0, 200), help="Drones.  [default: as many as the rate needs]")
@click.option(
    "--fleet", "whole", is_flag=True, help="Run a whole fleet: a standby, and drones that fly and communicate over DDS."
)
@picture_option
@json_option
@runs("bench.latency")
def latency() -> None:
    """Time orders from POST to assignment at a steady rate."""


@bench.command()
@click.option("--drones", "sizes", default="10,50,100,200", show_default=True, type=_Sizes(), help="Fleet sizes.")
@click.option(
    "--seconds", default=12.0, show_default=True, type=positive(1.0, 600.0), help="Duration of each measurement."
)
@picture_option
@json_option
@runs("bench.scale")
def scale() -> None:
    """Measure the leader's CPU, memory, heartbeat jitter and time to assignment by fleet size."""


@bench.command()
@click.option("--orders", default=100_000, show_default=True, type=click.IntRange(100, 10_000_000))
@click.option("--baseline-orders", default=2_000, show_default=True, type=click.IntRange(100, 100_000))
@click.option(
    "--retention",
    default=10.0,
    show_default=True,
    type=positive(0.1, 86_400.0),
    help="Seconds that finished orders stay in etcd.",
)
@click.option("--drones", default=100, show_default=True, type=click.IntRange(1, 5000))
@click.option(
    "--outstanding",
    default=400,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Orders in progress at a time.",
)
@click.option(
    "--compaction",
    default=10,
    show_default=True,
    type=click.IntRange(1, 86_400),
    help="Seconds of history that etcd keeps.",
)
@picture_option
@json_option
@runs("bench.soak")
def soak() -> None:
    """Run many orders through one region. Memory and etcd must not grow with them."""
