"""Hunts the mutants of :mod:`mutants`: counts the seeds that each survives, and names the invariant that it breaks.

``make mutants`` runs this file; the test suite calls :func:`hunt_all`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context

import click
import goodput_mutants  # noqa: F401  - adds to MUTANTS
import rule_mutants  # noqa: F401  - adds to MUTANTS
import shell_mutants  # noqa: F401  - adds to MUTANTS
from mutants import MUTANTS
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from drone_orchestrator.cli.simulate import replay_command
from drone_orchestrator.simulation.profile import INTENSE, PROFILES
from drone_orchestrator.simulation.seeds import run_seed
from drone_orchestrator.simulation.world import SeedResult

#: The most seeds that a mutant may survive.
BOUND = 300
#: The most seeds that a gross mutant may survive.
GROSS_BOUND = 10
#: Seeds without a mutant that form one task of the pool.
CONTROL_SEEDS = 10
#: The first seeds of this profile that the suite plays without a mutant anyway (:mod:`test_simulation`).
SUITE_SEEDS = range(80)


@dataclass(frozen=True)
class Catch:
    """The hunt of one mutant, up to and including the first seed that breaks what it attacks.

    ``broken`` are all invariants and judges that this seed breaks. Without a catch ``text`` says why, and
    ``broken`` is empty.
    """

    mutant: str
    attacks: str
    seeds: int
    broken: tuple[str, ...]
    text: str

    @property
    def caught(self) -> bool:
        return self.attacks in self.broken


def hunt(name: str, bound: int = BOUND) -> Catch:
    """Play seeds with the mutant alive, from 0 on, until the invariant that it attacks is broken.

    An exception in the core is no catch: it shows that the mutant crashes, not that an invariant would notice it.
    """
    mutant = MUTANTS[name]
    bound = min(bound, GROSS_BOUND) if mutant.gross else bound
    for seed in range(bound):
        with mutant.alive():
            result = run_seed(seed, mutant.profile)
        died = next((problem for problem in result.problems if " defect: " in problem), None)
        if died is not None:
            return Catch(name, mutant.invariant, seed + 1, (), f"an exception, not a broken invariant: {died}")
        broken = tuple(invariant for invariant, count in (result.invariants | result.judges).items() if count)
        if mutant.invariant in broken:
            text = next((p for p in result.problems if p.startswith(mutant.invariant)), result.problems[0])
            return Catch(name, mutant.invariant, seed + 1, broken, text)
    return Catch(name, mutant.invariant, bound, (), "survived")


def control(seeds: Sequence[int], profile: str) -> list[SeedResult]:
    """Return the results of those ``seeds`` that fail without a mutant."""
    return [result for result in (run_seed(seed, PROFILES[profile]) for seed in seeds) if not result.ok]


def hunt_all(
    names: Sequence[str],
    jobs: int,
    bound: int = BOUND,
    done: Callable[[Catch], None] = lambda catch: None,
    known: Sequence[int] = (),
) -> tuple[list[Catch], list[SeedResult]]:
    """Hunt mutants in ``jobs`` processes, then play the same seeds without any. Return catches and failing seeds.

    The intense seeds ``known`` are left out of the second part, because the suite plays them anyway.
    """
    # Spawned, not forked: a fork would copy locks that other threads hold.
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        catches = []
        for future in [pool.submit(hunt, name, bound) for name in names]:
            catches.append(future.result())
            done(catches[-1])
        controls = []
        for profile in {MUTANTS[catch.mutant].profile.name: None for catch in catches}:
            most = max(catch.seeds for catch in catches if MUTANTS[catch.mutant].profile.name == profile)
            seeds = [seed for seed in range(most) if profile != INTENSE.name or seed not in known]
            chunks = [seeds[first : first + CONTROL_SEEDS] for first in range(0, len(seeds), CONTROL_SEEDS)]
            controls += [pool.submit(control, chunk, profile) for chunk in chunks]
        return catches, [failed for each in controls for failed in each.result()]


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MUTANTS)), metavar="[MUTANT]...")
@click.option("--seeds", type=click.IntRange(1), default=BOUND, show_default=True, help="Seeds that one may survive.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes.  [default: all cores]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def main(names: tuple[str, ...], seeds: int, jobs: int, as_json: bool) -> None:
    """Break the core on purpose, one mutant at a time. Exit code 1 if one survives, or a seed fails without any."""
    began_s = time.monotonic()

    def tell(catch: Catch) -> None:
        click.echo(f"{catch.mutant}: {catch.seeds} seeds", err=True)

    catches, failing = hunt_all(names or list(MUTANTS), jobs, seeds, tell)
    survived = [catch for catch in catches if not catch.caught]
    wall_s = time.monotonic() - began_s
    if as_json:
        document = {
            "mutants": [
                {**asdict(catch), "caught": catch.caught, "rule": MUTANTS[catch.mutant].rule} for catch in catches
            ],
            "survived": [catch.mutant for catch in survived],
            "seeds_without_mutant": max(catch.seeds for catch in catches),
            "failing_without_mutant": [failed.seed for failed in failing],
            "wall_s": round(wall_s, 1),
        }
        click.echo(json.dumps(document))
    else:
        _show(catches, failing, wall_s)
    sys.exit(1 if survived or failing else 0)


def _show(catches: Sequence[Catch], failing: Sequence[SeedResult], wall_s: float) -> None:
    console = Console()
    table = Table("", "mutant", "attacks", "seeds", "breaks", "violation", box=None)
    for catch in catches:
        mark = "[green]✓" if catch.caught else "[red]✗"
        table.add_row(mark, catch.mutant, catch.attacks, str(catch.seeds), " ".join(catch.broken), escape(catch.text))
    console.print(table)
    most, caught = max(catch.seeds for catch in catches), sum(catch.caught for catch in catches)
    console.print(f"{caught} of {len(catches)} mutants caught in {wall_s:.0f} s")
    console.print(f"{most - len(failing)} of the same {most} seeds pass without a mutant")
    for failed in failing:
        console.print(f"seed {failed.seed} fails without a mutant: {replay_command(failed)}")


if __name__ == "__main__":
    main()
