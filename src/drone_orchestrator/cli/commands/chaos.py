"""``fleetctl chaos``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..context import UserPath, json_option, positive
from ..trial.fault_kinds import KINDS
from .deferred import runs


class _Kinds(click.ParamType):
    """A list of kinds of faults, separated by commas."""

    name = "kind,kind,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        chosen = tuple(dict.fromkeys(word.strip() for word in str(value).split(",") if word.strip()))
        for kind in chosen:
            if kind not in KINDS:
                self.fail(f"{kind!r} is none of {', '.join(KINDS)}", param, ctx)
        if not chosen:
            self.fail(f"at least one of {', '.join(KINDS)} is wanted", param, ctx)
        return chosen


_KINDS_HELP = "\n\n\b\nKinds of faults:\n" + "\n".join(f"  {kind:<11} {text}" for kind, text in KINDS.items())


@click.command(
    help="Run a fleet, inject faults on its processes while orders come in, let it heal, and check that nothing was "
    "lost or doubled and that every order was delivered." + _KINDS_HELP
)
@click.option("--seconds", default=60.0, show_default=True, type=positive(5.0, 86_400.0), help="Of faults.")
@click.option("--seed", default=1, show_default=True, help="Of the faults, the orders and the shop's habits.")
@click.option("--drones", default=6, show_default=True, type=click.IntRange(1, 100))
@click.option("--etcd-members", default="1", show_default=True, type=click.Choice(["1", "3"]))
@click.option("--faults", "kinds", type=_Kinds(), help="Which kinds; all by default.")
@click.option("--cancels", is_flag=True, help="Some orders are cancelled on their way.")
@click.option(
    "--time-scale",
    default=50.0,
    show_default=True,
    type=positive(0.001, 1000),
    help="Flight so many times faster than life.",
)
@click.option(
    "--settle",
    "settle_s",
    default=180.0,
    show_default=True,
    type=positive(),
    help="Seconds for it all to come right, after.",
)
@click.option(
    "--report",
    "folder",
    default=Path("reports/chaos"),
    show_default=True,
    type=UserPath(path_type=Path, file_okay=False),
    help="Folder of the report.",
)
@json_option
@runs("trial.chaos")
def chaos() -> None:
    ...
