"""Many seeds, on all cores or in this process."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context

from ..runtime import gc_tuning
from ..verification.records import INVARIANTS
from .profile import Profile
from .world import SeedResult, World


def run_seed(seed: int, profile: Profile) -> SeedResult:
    """Play one seed out, here and now."""
    return World(seed, profile).run()


def run_seeds(seeds: Iterable[int], profile: Profile, jobs: int) -> Iterator[SeedResult]:
    """The results as they come. With one job everything happens in this process, where tests may have patched the core.

    Closing the iterator, as an interrupt does, leaves no process behind: what has begun ends, the rest never begins.
    """
    if jobs == 1:
        for seed in seeds:
            yield run_seed(seed, profile)
        return
    # Spawned, not forked: a fork would copy threads' locks in whatever state they are.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=gc_tuning.calm)
    try:
        with _interrupts_held_back():
            futures = [pool.submit(run_seed, seed, profile) for seed in seeds]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(slots=True)
class Summary:
    """What came of several seeds together."""

    seeds: int = 0
    failing: list[SeedResult] = field(default_factory=list)
    simulated_s: float = 0.0
    orders: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    invariants: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(INVARIANTS, 0)))

    def add(self, result: SeedResult) -> None:
        self.seeds += 1
        if not result.ok:
            self.failing.append(result)
            self.failing.sort(key=lambda failed: failed.seed)
        self.simulated_s += result.simulated_s
        self.orders += result.orders
        self.ended.update(result.ended)
        self.faults.update(result.faults)
        self.invariants.update(result.invariants)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes that are started here never see an interrupt of the terminal: it is their parent's to end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
