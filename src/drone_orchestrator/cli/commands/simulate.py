"""``fleetctl simulate``."""

from __future__ import annotations

import click

from ...simulation.profile import PROFILES
from ..context import json_option
from .deferred import runs


@click.command()
@click.option("--seeds", type=click.IntRange(1, 1_000_000), help="Number of seeds to run.  [default: 100]")
@click.option("--start", type=click.IntRange(0), help="First seed.  [default: 0]")
@click.option("--seed", type=click.IntRange(0), help="Run this seed only.")
@click.option("--trace", is_flag=True, help="With --seed: print everything that happens.")
@click.option("--profile", "profile_name", type=click.Choice(list(PROFILES)), default="standard", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes.  [default: one per core]")
@json_option
@runs("simulate")
def simulate() -> None:
    """Run fleets in virtual time under seeded faults. Exit code 1 if an invariant broke or a judge objects."""
