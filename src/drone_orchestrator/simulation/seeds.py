"""Runs many seeds, on all cores or in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context

from ..runtime import gc_tuning
from ..runtime.signals import end_with_parent, interrupts_held_back
from ..verification.records import INVARIANTS, JUDGES
from .profile import Profile
from .world import SeedResult, World


def run_seed(seed: int, profile: Profile) -> SeedResult:
    """Run one seed in this process."""
    return World(seed, profile).run()


def _prepare_worker() -> None:
    end_with_parent()
    gc_tuning.calm()


def run_seeds(seeds: Iterable[int], profile: Profile, jobs: int) -> Iterator[SeedResult]:
    """Yield the results as they come. One job runs in this process, where tests may have patched the core.

    Closing the iterator, as an interrupt does, leaves no process behind: started seeds finish, the rest never start.
    """
    if jobs == 1:
        for seed in seeds:
            yield run_seed(seed, profile)
        return
    # Spawned, not forked: a fork would copy the locks of other threads in whatever state they are.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_prepare_worker)
    try:
        with interrupts_held_back():
            futures = [pool.submit(run_seed, seed, profile) for seed in seeds]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(slots=True)
class Summary:
    """Summary of several seeds."""

    seeds: int = 0
    failing: list[SeedResult] = field(default_factory=list)
    simulated_s: float = 0.0
    orders: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    met: dict[str, Counter[str]] = field(default_factory=dict)
    invariants: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(INVARIANTS, 0)))
    judges: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(JUDGES, 0)))

    @property
    def delivered_per_hour(self) -> float:
        """Deliveries per simulated hour, from the start of each seed until it has nothing left to do."""
        return 3600.0 * self.ended["DELIVERED"] / self.simulated_s

    @property
    def share_delivered(self) -> float:
        """Share of the orders, but for cancelled ones, that were delivered."""
        return self.ended["DELIVERED"] / (self.orders - self.ended["CANCELLED"])

    def add(self, result: SeedResult) -> None:
        self.seeds += 1
        if not result.ok:
            self.failing.append(result)
            self.failing.sort(key=lambda failed: failed.seed)
        self.simulated_s += result.simulated_s
        self.orders += result.orders
        self.ended.update(result.ended)
        self.faults.update(result.faults)
        for kind, phases in result.met.items():
            self.met.setdefault(kind, Counter()).update(phases)
        self.invariants.update(result.invariants)
        self.judges.update(result.judges)
