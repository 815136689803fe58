"""Pauses grow, stay bounded and are the same everywhere; a breaker never keeps a drone out forever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from records import breakers

from drone_orchestrator.core.leader.breakers import after_failure, after_success, on_trial
from drone_orchestrator.core.policies import BreakerPolicy, backoff_s
from drone_orchestrator.core.types import Breaker, BreakerState

seconds = st.floats(0.01, 1_000.0)
policies = st.builds(
    lambda failures, open_s, more: BreakerPolicy(failures, open_s, open_s * more),
    st.integers(1, 6),
    seconds,
    st.floats(1.0, 100.0),
)


@given(st.integers(-3, 10**6), seconds, st.floats(1.0, 1000.0), st.text())
def test_back_off_is_bounded_positive_and_repeatable(attempt: int, base_s: float, more: float, seed: str) -> None:
    cap_s = base_s * more
    delay_s = backoff_s(attempt, base_s=base_s, cap_s=cap_s, seed=seed)
    assert 0.0 < delay_s <= cap_s
    assert delay_s == backoff_s(attempt, base_s=base_s, cap_s=cap_s, seed=seed)


@given(st.integers(1, 40), seconds, st.floats(1.0, 1000.0), st.text())
def test_back_off_grows_until_its_cap_and_jitter_never_takes_more_than_half(
    attempt: int, base_s: float, more: float, seed: str
) -> None:
    cap_s = base_s * more
    full_s = min(cap_s, base_s * 2.0 ** (attempt - 1))
    assert full_s / 2 <= backoff_s(attempt, base_s=base_s, cap_s=cap_s, seed=seed) <= full_s


def test_jitter_spreads_simultaneous_retries() -> None:
    delays = {backoff_s(3, base_s=1.0, cap_s=60.0, seed=f"m{i}") for i in range(50)}
    assert len(delays) > 45


@given(policies, st.integers(1, 30), st.floats(0.0, 2e9))
def test_a_drone_that_always_fails_gets_a_pause_and_then_another_trial(
    policy: BreakerPolicy, trips: int, now_s: float
) -> None:
    """Pauses are bounded and end in the future, and their bound never falls from one opening to the next."""
    breaker: Breaker | None = None
    for trip in range(1, trips + 1):
        for _ in range(policy.failures if breaker is None else 1):
            breaker = after_failure(breaker, "d1", policy, now_s=now_s, epoch=trip)
        assert breaker is not None
        assert (breaker.state, breaker.trips, breaker.epoch) == (BreakerState.OPEN, trip, trip)
        pause_s = breaker.open_until - now_s
        slack_s = 1e-6 * (1.0 + now_s)  # rounding of a wall clock time plus a pause
        full_s = min(policy.open_cap_s, policy.open_s * 2.0 ** (trip - 1))
        assert full_s / 2 - slack_s <= pause_s <= full_s + slack_s
        trial = on_trial(breaker, epoch=trip)
        assert trial is not None
        assert trial.state is BreakerState.HALF_OPEN
        assert on_trial(trial, epoch=trip) is None  # one trial needs one record
        breaker, now_s = trial, breaker.open_until


@given(breakers, policies, st.floats(0.0, 2e9), st.integers(1, 9))
def test_one_success_closes_from_any_state_and_resets_the_count(
    breaker: Breaker, policy: BreakerPolicy, now_s: float, epoch: int
) -> None:
    after = after_success(breaker, epoch=epoch)
    if after is None:
        assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 0)
        after = breaker
    assert (after.state, after.failures) == (BreakerState.CLOSED, 0)
    for count in range(1, policy.failures + 1):
        after = after_failure(after, after.drone_id, policy, now_s=now_s, epoch=epoch)
        assert after.state is (BreakerState.OPEN if count == policy.failures else BreakerState.CLOSED)


@given(breakers, policies, st.floats(0.0, 2e9), st.integers(1, 9))
def test_a_failure_counts_once_in_any_state_and_a_failed_trial_opens_again(
    breaker: Breaker, policy: BreakerPolicy, now_s: float, epoch: int
) -> None:
    after = after_failure(breaker, breaker.drone_id, policy, now_s=now_s, epoch=epoch)
    assert after.failures == breaker.failures + 1
    if breaker.state is not BreakerState.CLOSED:
        assert after.state is BreakerState.OPEN
        assert after.trips == breaker.trips + 1
