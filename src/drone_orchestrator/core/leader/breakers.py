"""The circuit breaker of each drone, as data: a drone that fails repeatedly gets no orders for a while.

A breaker is a record in the store. It is written in the same transaction as the step that records the failure or
success, so it outlives any leader and cannot disagree with the orders' histories. It has the usual three states.
Consecutive openings last longer each time.
"""

from __future__ import annotations

from dataclasses import replace

from ..policies import BreakerPolicy, backoff_s
from ..types import Breaker, BreakerState


def after_failure(
    breaker: Breaker | None, drone_id: str, policy: BreakerPolicy, *, now_s: float, epoch: int
) -> Breaker:
    """Return the breaker after the drone did not accept an order, or lost one before loading."""
    known = breaker or Breaker(drone_id, BreakerState.CLOSED, epoch)
    failures = known.failures + 1
    if known.state is BreakerState.CLOSED and failures < policy.failures:
        return replace(known, epoch=epoch, failures=failures)
    trips = known.trips + 1
    open_until = now_s + pause_s(trips, drone_id, policy)
    return replace(
        known, state=BreakerState.OPEN, epoch=epoch, failures=failures, trips=trips, open_until=open_until
    )


def pause_s(trips: int, drone_id: str, policy: BreakerPolicy) -> float:
    """Return the time (s) that the breaker stays open after ``trips`` consecutive openings."""
    return backoff_s(trips, base_s=policy.open_s, cap_s=policy.open_cap_s, seed=drone_id)


def after_success(breaker: Breaker | None, *, epoch: int) -> Breaker | None:
    """Return the breaker after the drone completed an order; ``None`` if it does not change."""
    if breaker is None or (breaker.state is BreakerState.CLOSED and not breaker.failures):
        return None
    return replace(breaker, state=BreakerState.CLOSED, epoch=epoch, failures=0, trips=0, open_until=0.0)


def on_trial(breaker: Breaker | None, *, epoch: int) -> Breaker | None:
    """Return the breaker when the drone gets an order; ``None`` unless it was open."""
    if breaker is None or breaker.state is not BreakerState.OPEN:
        return None
    return replace(breaker, state=BreakerState.HALF_OPEN, epoch=epoch)
