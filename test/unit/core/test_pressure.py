"""The speed at which a lane's queue gets shorter, and the retry interval that a full lane gives."""

from __future__ import annotations

from fleets import FLEET, at

from drone_orchestrator.core.lanes import DRAIN_WINDOW_S, RETRY_LEAST_S, RETRY_MOST_S, Drain, Ledger, Level, level_of
from drone_orchestrator.core.types import Entry, Kind, Order, StoreChange
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.planning.planner import AssignmentPlanner


def test_the_speed_of_a_queue_is_measured_over_the_last_half_minute() -> None:
    drain, drained = Drain(0.0), 0
    for second in range(1, 121):
        drained += 2 if second <= 60 else 1
        drain.note(drained, float(second))
    assert drain.per_s(drained, 120.0) == 1.0
    assert drain.per_s(drained, 120.0 + DRAIN_WINDOW_S) < 0.1
    assert drain.per_s(drained, 125.0 + 2 * DRAIN_WINDOW_S) == 0.0


def test_one_sample_per_second_is_kept_however_often_it_is_updated() -> None:
    drain = Drain(0.0)
    for tick in range(10_000):
        drain.note(tick, tick * 0.01)
    assert len(drain._samples) <= DRAIN_WINDOW_S + 2
    assert round(drain.per_s(10_000, 100.0)) == 100


def test_orders_that_return_to_the_queue_do_not_speed_it_up() -> None:
    drain = Drain(0.0)
    drain.note(5, 5.0)
    assert drain.per_s(-3, 6.0) == 0.0


def test_the_retry_interval_is_bounded_and_grows_with_the_queue() -> None:
    drain = Drain(0.0)
    drain.note(10, 10.0)
    waits = [drain.retry_after_s(waiting, 100, 10, 10.0) for waiting in (100, 110, 1000)]
    assert waits == [RETRY_LEAST_S, 11.0, RETRY_MOST_S]
    assert Drain(0.0).retry_after_s(100, 100, 0, 10.0) == RETRY_MOST_S


def test_pressure_levels_start_at_half_the_bound_and_at_the_bound() -> None:
    assert [level_of(n, 10) for n in (0, 5, 6, 9, 10, 11)] == [
        Level.CLEAR,
        Level.CLEAR,
        Level.SLOW_DOWN,
        Level.SLOW_DOWN,
        Level.FULL,
        Level.FULL,
    ]


def test_only_orders_are_counted() -> None:
    view, ledger = FleetView(), Ledger(FLEET, AssignmentPlanner().capable)
    order = Order("m1", "order-1", at(1000.0, 0.0), 1.0, 0.0)
    news = view.apply(StoreChange(1, (Entry(Kind.ASSIGNMENT, "d", None, 1), Entry(Kind.INBOX_ORDER, "m1", order, 1))))
    ledger.apply(view, [Entry(Kind.BREAKER, "d", None, 1), *news])
    assert ledger.waiting("light") == 1
