"""``fleetctl chaos``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..context import UserPath, json_option, positive
from .deferred import runs
from .fault_kinds import KINDS


class _Kinds(click.ParamType):
    """A list of kinds of faults, separated by commas."""

    name = "kind,kind,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        chosen = tuple(dict.fromkeys(word.strip() for word in str(value).split(",") if word.strip()))
        for kind in chosen:
            if kind not in KINDS:
                self.fail(f"must be some of {', '.join(KINDS)}, got {kind!r}", param, ctx)
        if not chosen:
            self.fail(f"must be at least one of {', '.join(KINDS)}", param, ctx)
        return chosen


_KINDS_HELP = "\n\n\b\nKinds of faults:\n" + "\n".join(f"  {kind:<11} {text}" for kind, text in KINDS.items())


@click.command(
    help="Run a fleet, inject faults into its processes while orders arrive, let it recover, and check that nothing "
    "was lost or duplicated and that every order was delivered." + _KINDS_HELP
)
@click.option(
    "--seconds", default=60.0, show_default=True, type=positive(5.0, 86_400.0), help="Duration of the faults."
)
@click.option("--seed", default=1, show_default=True, help="Seed of the faults, the orders and the client's behaviour.")
@click.option("--drones", default=6, show_default=True, type=click.IntRange(1, 100))
@click.option("--etcd-members", default="1", show_default=True, type=click.Choice(["1", "3"]))
@click.option("--faults", "kinds", type=_Kinds(), help="Kinds of faults.  [default: all]")
@click.option("--cancels", is_flag=True, help="Cancel some orders while they are under way.")
@click.option(
    "--time-scale",
    default=50.0,
    show_default=True,
    type=positive(0.001, 1000),
    help="Speed-up factor of simulated flight.",
)
@click.option(
    "--settle",
    "settle_s",
    default=180.0,
    show_default=True,
    type=positive(),
    help="Seconds allowed for recovery after the last fault.",
)
@click.option(
    "--report",
    "folder",
    default=Path("reports/chaos"),
    show_default=True,
    type=UserPath(path_type=Path, file_okay=False),
    help="Folder for the report.",
)
@json_option
@runs("trial.chaos")
def chaos() -> None: ...
