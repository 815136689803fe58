"""``fleetctl simulate``: runs whole regions in virtual time, with faults, and checks the outcome."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from .. import __version__
from ..simulation.profile import PROFILES, Profile
from ..simulation.seeds import Summary, run_seeds
from ..simulation.world import SeedResult, World
from ..verification.records import INVARIANTS, JUDGES
from .interrupts import waiting_for
from .output import Output

#: Maximum problems shown per failing seed.
SHOWN_PROBLEMS = 3
#: Maximum failing seeds shown in full.
SHOWN_SEEDS = 10


def simulate(
    out: Output,
    seeds: int | None,
    start: int | None,
    seed: int | None,
    trace: bool,
    profile_name: str,
    jobs: int | None,
) -> None:
    """Run ``fleetctl simulate``."""
    if seed is not None and (seeds is not None or start is not None):
        raise click.UsageError("--seed cannot be combined with --seeds or --start")
    if trace and seed is None:
        raise click.UsageError("--trace needs --seed")
    began_s, profile = time.monotonic(), PROFILES[profile_name]
    if seed is not None:
        summary, more = _run_one(out, seed, profile, trace)
    else:
        summary, more = _run_many(start or 0, seeds or 100, profile, jobs or os.cpu_count() or 1), {}
    wall_s = time.monotonic() - began_s
    _show(out, summary, wall_s)
    out.result(
        {
            "seeds": summary.seeds,
            "failing_seeds": [failed.seed for failed in summary.failing],
            "simulated_s": round(summary.simulated_s, 3),
            "wall_s": round(wall_s, 3),
            "orders": summary.orders,
            "ended": dict(sorted(summary.ended.items())),
            "faults": dict(sorted(summary.faults.items())),
            "met": {kind: dict(phases) for kind, phases in sorted(summary.met.items())},
            "invariants": dict(summary.invariants),
            "judges": dict(summary.judges),
            "commit": commit(),
            **more,
        }
    )
    raise SystemExit(1 if summary.failing else 0)


def replay_command(result: SeedResult) -> str:
    """Return the command that replays this run step by step."""
    profile = "" if result.profile == "standard" else f" --profile {result.profile}"
    return f"fleetctl simulate --seed {result.seed}{profile} --trace"


def commit() -> str:
    """Return the commit of this code, with ``+changes`` if it has local changes; else the version."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10.0,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return __version__
    return found.stdout.strip() or __version__


def _run_one(out: Output, seed: int, profile: Profile, trace: bool) -> tuple[Summary, dict[str, object]]:
    world = World(seed, profile, trace=trace)
    result = world.run()
    for line in world.environment.lines:
        click.echo(line, err=out.as_json)
    summary = Summary()
    summary.add(result)
    out.say(f"trace hash {result.trace_hash}")
    return summary, {"trace_hash": result.trace_hash}


def _run_many(start: int, count: int, profile: Profile, jobs: int) -> Summary:
    summary = Summary()
    with (
        waiting_for("the seeds under way to end"),
        click.progressbar(length=count, label="simulating", file=sys.stderr) as bar,
    ):
        for result in run_seeds(range(start, start + count), profile, min(jobs, count)):
            summary.add(result)
            bar.update(1)
    return summary


def _show(out: Output, summary: Summary, wall_s: float) -> None:
    ended = ", ".join(f"{count} {status}" for status, count in sorted(summary.ended.items()))
    out.say(
        f"{summary.seeds} seeds, {summary.simulated_s / 3600.0:.1f} h simulated in {wall_s:.1f} s; "
        f"{summary.orders} orders: {ended or 'none'}"
    )
    table = Table("", "invariant or judge", "violations", box=None)
    for key, count in (*summary.invariants.items(), *summary.judges.items()):
        name = INVARIANTS.get(key) or JUDGES[key]
        table.add_row("[green]✓" if count == 0 else "[red]✗", f"{key} {name}", str(count))
    out.console.print(table)
    out.say("faults: " + (", ".join(f"{kind} {count}" for kind, count in sorted(summary.faults.items())) or "none"))
    for failed in summary.failing[:SHOWN_SEEDS]:
        out.say(f"[red]seed {failed.seed} fails[/red] (commit {commit()}): {replay_command(failed)}")
        for problem in failed.problems[:SHOWN_PROBLEMS]:
            out.say(f"  {escape(problem)}")
    if len(summary.failing) > SHOWN_SEEDS:
        out.say(f"and {len(summary.failing) - SHOWN_SEEDS} more failing seeds")
