"""Measure what faults cost: deliveries of simulated regions with faults, against the same regions without any.

``make bench ARGS='--only goodput'`` calls it. Time is simulated, so neither the machine nor its load changes a figure.
Exit code 1 if a seed breaks an invariant, or if a judge objects.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from drone_orchestrator.simulation.profile import FAULTS, INTENSE, Profile
from drone_orchestrator.simulation.seeds import Summary, run_seeds
from drone_orchestrator.simulation.world import SeedResult

#: The suite plays most of these seeds, and fails if their rate is lower than the recorded one by more than this share.
#: A change of any rule shuffles what happens in each seed, which alone moves the rate a little.
MAY_FALL = 0.03


def _play(seeds: Sequence[int], profile: Profile, jobs: int) -> tuple[Summary, list[SeedResult]]:
    """Return the summary of the seeds, and their results in the order of the seeds."""
    results = sorted(run_seeds(seeds, profile, jobs), key=lambda result: result.seed)
    summary = Summary()
    for result in results:
        summary.add(result)
    return summary, results


def main() -> int:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, help="number of seeds, from 0 on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    seeds = range(options.seeds)
    faulty, results = _play(seeds, INTENSE, options.jobs)
    calm, _ = _play(seeds, INTENSE.without_faults(), options.jobs)
    figures = {
        "seeds": options.seeds,
        "faults_per_seed": round(sum(faulty.faults[kind] for kind in FAULTS) / options.seeds, 1),
        "per_hour": round(faulty.delivered_per_hour, 3),
        "per_hour_without_faults": round(calm.delivered_per_hour, 3),
        "ratio": round(faulty.delivered_per_hour / calm.delivered_per_hour, 4),
        "share": round(faulty.share_delivered, 4),
        "share_without_faults": round(calm.share_delivered, 4),
        "may_fall": MAY_FALL,
        "failing_seeds": [failed.seed for each in (faulty, calm) for failed in each.failing],
        "runs": [[result.ended.get("DELIVERED", 0), result.simulated_s] for result in results],
    }
    print(json.dumps(figures))
    return 1 if figures["failing_seeds"] else 0


if __name__ == "__main__":
    sys.exit(main())
