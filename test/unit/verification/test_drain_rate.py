"""J7 objects to a backlog that is worked off too slowly after the last fault, and to none that has a good reason."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from histories import History, order

from drone_orchestrator.core.types import CancelRequest, Kind
from drone_orchestrator.verification.checker import check
from drone_orchestrator.verification.goodput import LEAST_ORDERS, LEAST_SHARE, DrainRate, Waiting
from drone_orchestrator.verification.records import Violation

SPARE_S = 20.0
#: Time (s) that the region without faults takes for the backlog.
ALONE_S = 80.0
LONGEST_S = ALONE_S / LEAST_SHARE + SPARE_S


class Witnessed:
    """A run whose last fault ended at revision ``calm_after``. The last revision comes ``lasted_s`` after it."""

    def __init__(self, history: History, calm_after: int | None, lasted_s: float) -> None:
        self.last, self.calm_after, self.lasted_s = history.revision, calm_after, lasted_s
        self.asked: Mapping[str, Waiting] = {}
        self.gone = ""

    def calm_since_s(self) -> float | None:
        return None if self.calm_after is None else float(self.calm_after)

    def committed_s(self, revision: int) -> float:
        after = 0 if self.calm_after is None else self.calm_after
        if revision == self.last:
            return after + self.lasted_s
        return revision if revision <= after else after + 0.5

    def is_gone(self, drone_id: str) -> bool:
        return drone_id == self.gone

    def drains_within(self, backlog: Mapping[str, Waiting], within_s: float) -> bool:
        self.asked = backlog
        return within_s >= ALONE_S


def left_behind(orders: int) -> tuple[History, int]:
    """Return a history in which half of the orders have a saga, and the revision at which its last fault ended."""
    history = History()
    history.leader()
    for number in range(orders):
        history.submit(order(f"m{number}"))
        if number % 2:
            history.accept(order(f"m{number}"))
    return history, history.revision


def delivered(history: History, message_id: str) -> None:
    if message_id not in history.sagas:
        history.accept(order(message_id))
    history.assign(message_id, f"d-{message_id}")
    history.dispatch(message_id)
    history.clear(message_id)
    history.load(message_id)
    history.deliver(message_id)


def objections(history: History, witness: Witnessed, *, complete: bool = True) -> tuple[Violation, ...]:
    report = check(history.changes, complete=complete, judges=(DrainRate(witness, SPARE_S),))
    assert not any(report.invariants.values()), report.violations
    return report.violations


def test_a_backlog_that_takes_longer_than_a_region_without_faults_is_noticed() -> None:
    history, calm_after = left_behind(LEAST_ORDERS)
    for number in range(LEAST_ORDERS):
        delivered(history, f"m{number}")
    (found,) = objections(history, Witnessed(history, calm_after, LONGEST_S + 1.0))
    assert (found.invariant, found.name, found.revisions) == ("J7", "goodput", (history.revision,))
    assert objections(history, Witnessed(history, calm_after, LONGEST_S - 1.0)) == ()


def test_a_backlog_that_is_never_worked_off_is_noticed() -> None:
    history, calm_after = left_behind(LEAST_ORDERS)
    delivered(history, "m0")
    history.write((Kind.OTHER, "unrelated", "x"))
    (found,) = objections(history, Witnessed(history, calm_after, LONGEST_S + 1.0), complete=False)
    assert f"{LEAST_ORDERS - 1} are left" in found.text


@pytest.mark.parametrize("orders", [1, LEAST_ORDERS - 1])
def test_a_few_orders_have_no_rate(orders: int) -> None:
    history, calm_after = left_behind(orders)
    for number in range(orders):
        delivered(history, f"m{number}")
    assert objections(history, Witnessed(history, calm_after, 100.0 * LONGEST_S)) == ()


def test_a_run_that_was_broken_off_before_its_last_fault_has_no_rate() -> None:
    history, _ = left_behind(LEAST_ORDERS)
    assert objections(history, Witnessed(history, None, 100.0 * LONGEST_S), complete=False) == ()


def test_orders_that_ended_before_or_came_later_or_were_to_be_cancelled_are_not_of_the_backlog() -> None:
    history, _ = left_behind(LEAST_ORDERS + 2)
    delivered(history, "m0")
    history.write((Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 100.0)))
    calm_after = history.revision
    history.submit(order("later"))
    history.write((Kind.INBOX_CANCEL, "m2", CancelRequest("m2", 100.0)))
    history.write((Kind.OTHER, "unrelated", "x"))
    witness = Witnessed(history, calm_after, LONGEST_S + 1.0)
    assert objections(history, witness, complete=False)
    assert set(witness.asked) == {f"m{number}" for number in range(2, LEAST_ORDERS + 2)}
    assert {id_: waiting.cancelled_after_s for id_, waiting in witness.asked.items() if id_ in ("m2", "m3")} == {
        "m2": 0.5,
        "m3": None,
    }


def test_an_order_beside_a_lost_drone_is_not_of_the_backlog() -> None:
    history, _ = left_behind(LEAST_ORDERS + 1)
    history.assign("m1", "d1")
    history.assign("m3", "d3")
    calm_after = history.revision
    history.write((Kind.OTHER, "unrelated", "x"))
    witness = Witnessed(history, calm_after, LONGEST_S + 1.0)
    witness.gone = "d3"
    assert objections(history, witness, complete=False)
    assert set(witness.asked) == {f"m{number}" for number in range(LEAST_ORDERS + 1)} - {"m3"}
