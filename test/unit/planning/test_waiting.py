"""An order that waits says why: the obstacle of the fleet first, then of each drone that could fly it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from world import COURIER, FLEET, make_order, make_report

from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    Entry,
    GeoPoint,
    Kind,
    LeaderRecord,
    NoFlyZone,
    Phase,
    Reservation,
    Saga,
    SagaStatus,
    Snapshot,
)
from drone_orchestrator.core.view import FleetView, OrderView
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.planning.waiting import (
    MAX_DRONES,
    TOLD_AFTER_S,
    KnownDrone,
    WaitingCode,
    WaitingReason,
    as_sentence,
    reasons_for_waiting,
)
from drone_orchestrator.telemetry.waiting_orders import lasting_waits

C = WaitingCode
NOW_S = 5000.0
LEADER = Entry(Kind.LEADER, "", LeaderRecord("a", "a-1", 0.0), 2)
HEAVY = replace(COURIER, name="heavy", max_payload_kg=8.0, battery_wh=2400.0)
TWO_CLASSES = replace(FLEET, classes=(COURIER, HEAVY))


def view_of(*entries: Entry, leader: bool = True) -> FleetView:
    return FleetView.of(Snapshot(9, (*((LEADER,) if leader else ()), *entries)))


def drone(age_s: float = 0.0, **changes: Any) -> KnownDrone:
    return KnownDrone(make_report(**changes), age_s)


def held(message_id: str = "m7") -> Entry:
    return Entry(Kind.ASSIGNMENT, "drone_1", Reservation("drone_1", message_id, 1, 2, True), 3)


def open_breaker(until_s: float = NOW_S + 30.0) -> Entry:
    return Entry(Kind.BREAKER, "drone_1", Breaker("drone_1", BreakerState.OPEN, 2, 3, 1, until_s), 3)


def why(
    *drones: KnownDrone, view: FleetView | None = None, saga: Saga | None = None, **order: Any
) -> list[WaitingReason]:
    waiting = OrderView(make_order(1, **order), saga)
    return reasons_for_waiting(TWO_CLASSES, AssignmentPlanner(), waiting, drones, view or view_of(), NOW_S)


@pytest.mark.parametrize(
    ("known", "entries", "code", "detail"),
    [
        (drone(age_s=60.0), (), C.DRONE_SILENT, "has not been heard for 60 s"),
        (drone(phase=Phase.GROUNDED), (), C.DRONE_GROUNDED, "is grounded until a person has seen to it"),
        (drone(), (held(),), C.DRONE_BUSY, "has another order: m7"),
        (drone(message_id="m8", phase=Phase.TO_PICKUP), (), C.DRONE_BUSY, "has another order: m8"),
        (drone(phase=Phase.RETURNING, package_on_board=True), (), C.DRONE_BUSY, "is RETURNING"),
        (drone(), (open_breaker(),), C.BREAKER_OPEN, "has failed too often: its breaker is open for 30 s"),
        (drone(energy_wh=120.0), (), C.LOW_ENERGY, "has 120 Wh, which is not enough for it now"),
        (drone(energy_wh=float("nan")), (), C.LOW_ENERGY, "does not report its place or its energy"),
        (drone(), (open_breaker(NOW_S),), C.IN_LINE, "is free: other orders come first, or the next planning round"),
    ],
)
def test_each_drone_that_could_fly_the_order_has_its_own_reason(
    known: KnownDrone, entries: tuple[Entry, ...], code: WaitingCode, detail: str
) -> None:
    *_, reason = why(known, view=view_of(*entries))
    assert (reason.code, reason.drone_id) == (code, "drone_1")
    assert reason.detail.startswith(detail)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"package_weight_kg": 8.1}, C.TOO_HEAVY),
        ({"package_weight_kg": 5.0, "drone_class": "courier"}, C.TOO_HEAVY),
        ({"drone_class": "balloon"}, C.NO_DRONE_OF_CLASS),
        ({"destination": GeoPoint(38.7577, -122.3876)}, C.OUT_OF_RANGE),
    ],
)
def test_an_order_that_no_class_can_fly_says_so(order: dict[str, Any], code: WaitingCode) -> None:
    (reason,) = why(drone(), **order)
    assert (reason.code, reason.drone_id) == (code, None)


def test_a_no_fly_zone_in_the_way_is_named() -> None:
    there, around = make_order(1).destination, ((-0.01, -0.01), (-0.01, 0.01), (0.01, 0.0))
    corners = tuple(GeoPoint(there.lat_deg + north, there.lon_deg + east) for north, east in around)
    fleet = replace(TWO_CLASSES, no_fly_zones=(NoFlyZone("all", corners),))
    order = OrderView(make_order(1), None)
    (reason,) = reasons_for_waiting(fleet, AssignmentPlanner(), order, [], view_of(), NOW_S)
    assert reason.code is C.NO_FLY_ZONE


def test_the_lack_of_a_whole_class_comes_first() -> None:
    courier, heavy = drone(), drone(age_s=60.0, drone_id="drone_9", drone_class="heavy")
    reasons = why(courier, heavy, package_weight_kg=5.0)
    assert [each.code for each in reasons] == [C.NO_DRONE_OF_CLASS, C.DRONE_SILENT]
    assert [each.drone_id for each in reasons] == [None, "drone_9"]
    assert as_sentence(reasons) == "no drone of class heavy is heard, and no other can fly it"
    assert [each.code for each in why()] == [C.NO_DRONE_OF_CLASS]


def test_breakers_are_a_reason_of_the_fleet_if_they_are_open_for_all() -> None:
    view = view_of(open_breaker())
    assert [each.code for each in why(drone(), view=view)] == [C.ALL_BREAKERS_OPEN, C.BREAKER_OPEN]
    codes = [each.code for each in why(drone(), drone(drone_id="drone_2"), view=view)]
    assert codes == [C.BREAKER_OPEN, C.IN_LINE]


def test_without_a_leader_or_between_two_attempts_every_drone_waits() -> None:
    assert why(drone(), view=view_of(leader=False))[0].code is C.NO_LEADER
    saga = Saga("m1", make_order(1), SagaStatus.PENDING, 0.0, 0.0, attempt=2, not_before=NOW_S + 4.0)
    reasons = why(drone(), saga=saga)
    assert [each.code for each in reasons] == [C.BACKING_OFF, C.IN_LINE]
    assert as_sentence(reasons) == "attempt 2 was undone; the next follows in 4 s"
    assert as_sentence(reasons[1:]).startswith("drone_1 is free")


def test_a_large_fleet_is_not_listed_whole() -> None:
    reasons = why(*(drone(drone_id=f"drone_{n}", phase=Phase.GROUNDED) for n in range(3 * MAX_DRONES)))
    assert len(reasons) == MAX_DRONES


# --- the finding ------------------------------------------------------------------------------------------------------


def waits(*drones: KnownDrone, waited_s: float = TOLD_AFTER_S, orders: int = 1, leader: bool = True) -> dict[str, str]:
    made = [make_order(n, package_weight_kg=5.0, submitted_at=NOW_S - waited_s) for n in range(1, orders + 1)]
    view = view_of(*(Entry(Kind.INBOX_ORDER, order.message_id, order, 5) for order in made), leader=leader)
    return dict(lasting_waits(view, TWO_CLASSES, AssignmentPlanner(), drones, NOW_S))


def test_orders_that_wait_for_long_for_something_that_does_not_come_are_a_finding() -> None:
    sentence = "order ORD-1 has waited for 120 s: no drone of class heavy is heard, and no other can fly it"
    assert waits(drone()) == {"no_drone_of_class": sentence}
    assert waits(drone(), orders=3) == {"no_drone_of_class": f"{sentence} (and 2 more)"}


def test_orders_that_wait_for_their_turn_are_no_finding() -> None:
    heavy = {"drone_class": "heavy", "energy_wh": 2400.0}
    assert waits(drone(), waited_s=TOLD_AFTER_S - 1.0) == {}
    assert waits(drone(**heavy)) == {}
    assert waits(drone(**heavy, phase=Phase.TO_PICKUP, message_id="m9")) == {}
    assert waits(drone(**heavy, phase=Phase.GROUNDED)).keys() == {"drone_grounded"}
    assert waits(drone(), leader=False) == {}, "that nobody leads is a finding of its own"
