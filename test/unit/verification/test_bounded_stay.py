"""J3 objects to an order that waits although what it waits for is there, and to no order that rightly waits."""

from __future__ import annotations

import pytest
from histories import History, order, to_loading

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.leader.bounds import WAITS
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import DroneClass, FleetSpec, GeoPoint, Kind, Order, SagaStatus
from drone_orchestrator.verification.bounded_stay import BoundedStay, longest_stays_s
from drone_orchestrator.verification.checker import check
from drone_orchestrator.verification.records import Violation

S = SagaStatus
FLEET = FleetSpec("sf", GeoPoint(37.0, -122.0), 800.0, (DroneClass("c", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0),))
WITHIN_S = 9.0
LONGEST_S = longest_stays_s(FLEET, DispatchPolicy(), WITHIN_S)


class Witnessed:
    """A run in which the revisions up to ``pause_after`` take a second each, and the next comes ``pause_s`` later."""

    def __init__(self, pause_after: int, pause_s: float, *reach: str) -> None:
        self.pause_after, self.pause_s, self.reach = pause_after, pause_s, reach

    def committed_s(self, revision: int) -> float:
        return revision + (self.pause_s - 1.0 if revision > self.pause_after else 0.0)

    def served_s(self, drone_id: str | None, from_s: float, until_s: float) -> float:
        return until_s - from_s if drone_id in self.reach else 0.0

    def idle_s(self, order: Order, from_s: float, until_s: float, least_s: float) -> tuple[float, str]:
        return (until_s - from_s, "d1") if "d1" in self.reach else (0.0, "")


def stuck_in(status: SagaStatus) -> tuple[History, int]:
    """Return a history that ends in ``status``, and the revision at which that began."""
    history = History()
    history.leader()
    history.submit(order())
    history.accept(order())
    if status is S.PENDING:
        return history, history.revision
    history.assign("m1", "d1")
    if status is not S.ASSIGNED:
        history.dispatch("m1")
    if status not in (S.ASSIGNED, S.DISPATCHED):
        history.clear("m1")
    if status in (S.IN_TRANSIT, S.COMPENSATING):
        history.load("m1")
    if status is S.COMPENSATING:
        history.abandon("m1")
    return history, history.revision


def objections(history: History, witness: Witnessed) -> tuple[Violation, ...]:
    judge = BoundedStay(witness, FLEET, DispatchPolicy(), WITHIN_S)
    report = check(history.changes, complete=False, judges=(judge,))
    assert not any(report.invariants.values()), report.violations
    return report.violations


def test_every_wait_is_judged() -> None:
    assert set(LONGEST_S) == set(WAITS)


@pytest.mark.parametrize("status", LONGEST_S)
def test_an_order_that_stays_beside_a_drone_within_reach_is_noticed(status: SagaStatus) -> None:
    history, began = stuck_in(status)
    history.write((Kind.OTHER, "unrelated", "x"))
    (found,) = objections(history, Witnessed(began, LONGEST_S[status] + 1.0, "d1"))
    assert (found.invariant, found.name, found.revisions) == ("J3", "bounded_stay", (began, began + 1))
    assert f"m1 {'waited for a drone' if status is S.PENDING else f'stayed {status.value}'} for" in found.text
    assert objections(history, Witnessed(began, LONGEST_S[status], "d1")) == ()


@pytest.mark.parametrize("status", LONGEST_S)
def test_an_order_whose_drone_is_out_of_reach_may_wait(status: SagaStatus) -> None:
    history, began = stuck_in(status)
    history.write((Kind.OTHER, "unrelated", "x"))
    assert objections(history, Witnessed(began, 10 * LONGEST_S[status], "d2")) == ()


def test_an_order_that_waits_in_the_inbox_beside_a_free_drone_is_noticed() -> None:
    history = History()
    history.leader()
    history.submit(order())
    submitted = history.revision
    history.accept(order())
    too_long_s = LONGEST_S[S.PENDING] + 1.0
    (found,) = objections(history, Witnessed(submitted, too_long_s, "d1"))
    assert found.revisions == (submitted, submitted + 1)
    assert "d1 was free" in found.text
    assert objections(history, Witnessed(submitted, too_long_s, "d2")) == ()


def test_an_order_that_goes_on_in_time_is_not_complained_of() -> None:
    history = to_loading()
    history.load("m1")
    history.deliver("m1")
    assert objections(history, Witnessed(6, LONGEST_S[S.LOADING] - 1.0, "d1")) == ()


@pytest.mark.parametrize(
    ("again_s", "drone_id", "objects"), [(50.0, "d1", True), (52.0, "d1", False), (1.0, "d2", False)]
)
def test_a_drone_that_did_not_get_on_gets_no_order_for_a_while(again_s: float, drone_id: str, objects: bool) -> None:
    history, _ = stuck_in(S.DISPATCHED)
    stall = history.event("m1", sagas.ABANDONED, S.COMPENSATING, target=S.PENDING, reason="no_progress")
    history.transition(stall)
    stalled = history.revision
    history.compensate("m1")
    history.assign("m1", drone_id)
    found = objections(history, Witnessed(stalled + 1, again_s - 1.0))
    assert [(v.invariant, v.revisions) for v in found] == [("J3", (stalled, stalled + 2))] * objects
