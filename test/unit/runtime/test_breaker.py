"""The store's circuit breaker opens, lets one trial call through, and never serialises calls."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from gateway_fixtures import Clock

from drone_orchestrator.ports import FateUnknown, StoreDenied, StoreUnavailable
from drone_orchestrator.runtime.breaker import BreakerOpen, StoreBreaker
from drone_orchestrator.store.reader import CorruptRecord
from drone_orchestrator.telemetry.metrics import Metrics


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics("order_gateway", "test")
        self.breaker = StoreBreaker(
            fail_max=3, reset_s=2.0, clock=self.clock, on_state=self.metrics.show_breaker("etcd")
        )

    def fail(self, error: Exception, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(type(error)):
                self.breaker.call(lambda: raise_(error))

    def open(self) -> None:
        self.fail(StoreUnavailable("away"), times=3)
        assert self.breaker.state == "open"

    @property
    def gauge(self) -> float | None:
        labels = {"agent_type": "order_gateway", "region": "test", "service": "etcd"}
        return self.metrics.registry.get_sample_value("circuit_breaker_state", labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("kind", [StoreUnavailable, FateUnknown, StoreDenied])
def test_consecutive_failures_open_it_and_the_store_is_not_called(bench: Bench, kind: type[Exception]) -> None:
    assert bench.gauge == 0
    bench.fail(kind("away"), times=3)

    with pytest.raises(BreakerOpen):
        bench.breaker.call(lambda: pytest.fail("the store was called"))

    assert (bench.breaker.state, bench.gauge) == ("open", 2)


def test_a_success_in_between_starts_the_count_again(bench: Bench) -> None:
    for _ in range(3):
        bench.fail(StoreUnavailable("away"), times=2)
        bench.breaker.call(lambda: None)

    assert bench.breaker.state == "closed"


def test_an_error_not_caused_by_the_store_does_not_count(bench: Bench) -> None:
    bench.fail(CorruptRecord("one record"), times=10)
    bench.fail(KeyError("a bug"), times=10)

    assert bench.breaker.state == "closed"


def test_a_success_on_trial_closes_it(bench: Bench) -> None:
    bench.open()
    bench.clock.now_s += 2.0

    assert bench.breaker.call(lambda: "answer") == "answer"
    assert (bench.breaker.state, bench.gauge) == ("closed", 0)


def test_a_failure_on_trial_opens_it_for_the_full_time_again(bench: Bench) -> None:
    bench.open()
    bench.clock.now_s += 2.0
    bench.fail(FateUnknown("still slow"))
    bench.clock.now_s += 1.9

    with pytest.raises(BreakerOpen):
        bench.breaker.call(lambda: None)

    bench.clock.now_s += 0.1
    bench.breaker.call(lambda: None)
    assert bench.breaker.state == "closed"


def test_a_bug_on_trial_leaves_the_trial_to_the_next_call(bench: Bench) -> None:
    bench.open()
    bench.clock.now_s += 2.0
    bench.fail(KeyError("a bug"))

    bench.breaker.call(lambda: None)

    assert bench.breaker.state == "closed"


def test_only_one_call_is_on_trial_and_the_others_do_not_wait_for_it(bench: Bench) -> None:
    bench.open()
    bench.clock.now_s += 2.0
    entered, leave = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        assert leave.wait(60.0)

    with ThreadPoolExecutor(1) as pool:
        trial = pool.submit(bench.breaker.call, slow)
        assert entered.wait(60.0)
        assert bench.gauge == 1
        with pytest.raises(BreakerOpen):
            bench.breaker.call(lambda: None)
        leave.set()
        trial.result()

    assert bench.breaker.state == "closed"


def test_calls_run_concurrently(bench: Bench) -> None:
    together = threading.Barrier(8, timeout=60.0)

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(bench.breaker.call, together.wait) for _ in range(8)]

        assert sorted(call.result() for call in calls) == list(range(8))


@pytest.mark.parametrize("late_error", [None, StoreUnavailable("late")])
def test_a_call_started_before_it_opened_keeps_its_outcome(bench: Bench, late_error: Exception | None) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow() -> str:
        entered.set()
        assert leave.wait(60.0)
        if late_error:
            raise late_error
        return "answer"

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(bench.breaker.call, slow)
        assert entered.wait(60.0)
        bench.open()
        leave.set()
        if late_error:
            assert late.exception() is late_error
        else:
            assert late.result() == "answer"

    assert bench.breaker.state == "open"
