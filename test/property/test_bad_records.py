"""A record that says anything at all costs one order or one drone at most, and never a leader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, make_order, make_report

from drone_orchestrator.core.leader.effects import SendGoal
from drone_orchestrator.core.planner import Pairing, PlannedOrder
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    CommandAction,
    DroneReport,
    FleetSpec,
    GeoPoint,
    Kind,
    OperatorCommand,
    Order,
    Phase,
    Reservation,
    Saga,
    SagaStatus,
)
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.store.codec import encode
from drone_orchestrator.store.kv import Put

S = SagaStatus
BAD, GOOD = make_order(1), make_order(2)
SAGA = Saga("m1", BAD, S.DISPATCHED, 1000.0, 1000.0, attempt=1, drone_id="drone_1", epoch=1, event_count=3)
#: One valid record of each kind that a leader reads.
RECORDS: dict[Kind, tuple[str, Any]] = {
    Kind.SAGA: ("m1", SAGA),
    Kind.INBOX_ORDER: ("m1", BAD),
    Kind.INBOX_CANCEL: ("m1", CancelRequest("m1", 1000.0)),
    Kind.INBOX_COMMAND: ("m1", OperatorCommand("m1", CommandAction.RETURNED, 1000.0, "ops")),
    Kind.ASSIGNMENT: ("drone_1", Reservation("drone_1", "m1", 1, 1, leased=True)),
    Kind.BREAKER: ("drone_1", Breaker("drone_1", BreakerState.OPEN, 1, 3, 1, 1010.0)),
}
_big = st.sampled_from([-(2**80), -1, 0, 1, 2**31, 2**63, 2**80, 999_999, -1e308, 1e308, 1e-46, 0.5])
_words = st.sampled_from(["", "x", "m1", "m9", "drone_1", "Drone-1", "a/b", "\ud800", "ü" * 200])
_statuses = st.sampled_from([status.value for status in S])
_values = st.none() | st.booleans() | _big | _words | _statuses | st.sampled_from(["open", "half_open", "urgent"])


@st.composite
def documents(draw: st.DrawFn, kind: Kind) -> bytes:
    """A valid record with some fields replaced, nested ones too."""
    document = json.loads(encode(RECORDS[kind][1]))
    for _ in range(draw(st.integers(1, 4))):
        part = document
        names = sorted(name for name in part if name not in ("v", "message_id") or draw(st.booleans()))
        name = draw(st.sampled_from(names))
        while isinstance(part.get(name), dict) and draw(st.booleans()):
            part = part[name]
            name = draw(st.sampled_from(sorted(part)))
        part[name] = draw(_statuses if name in ("status", "target") else _values)
    return json.dumps(document).encode()


@st.composite
def stores(draw: st.DrawFn) -> list[tuple[Kind, bytes]]:
    kinds = draw(st.sets(st.sampled_from(sorted(RECORDS)), min_size=1, max_size=4))
    return [(kind, draw(documents(kind))) for kind in sorted(kinds)]


def put(world: World, kind: Kind, raw: bytes) -> None:
    world.intake._driver.txn((), (Put(world.intake.keys.of(kind, RECORDS[kind][0]), raw),))


def tolerant(**options: Any) -> World:
    world = World(**options)
    world.takes_bad_records = True
    world.run()
    return world


def deliver_good(world: World) -> None:
    """The healthy order gets the healthy drone, and clearance."""
    for _ in range(4):
        world.pass_time(2.0, hear=[make_report("drone_1"), make_report("drone_2"), make_report("drone_3")])
        for goal in [g for g in world.leader.take(SendGoal) if isinstance(g, SendGoal) and g.order == GOOD]:
            world.ask_clearance(1, goal.drone_id, GOOD, goal.attempt)
            assert world.saga(GOOD).status is S.LOADING
            return
    raise AssertionError(f"the healthy order got no drone: {world.saga(GOOD).status}")


@settings(max_examples=300)
@given(stores())
def test_no_record_stops_a_leader_or_another_order(records: list[tuple[Kind, bytes]]) -> None:
    world = tolerant()
    for kind, raw in records:
        put(world, kind, raw)
    world.run()
    world.intake.submit(GOOD)
    deliver_good(world)
    world.crash(world.leader)
    world.add_replica("successor")
    world.pass_time(15.0, hear=[make_report("drone_1")])
    assert world.leader.name == "successor"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "ASSIGNED", "drone_id": None},
        {"status": "LOADING", "journal_id": None},
        {"status": "LOADING", "journal_id": "j", "drone_id": None},
        {"status": "COMPENSATING", "target": None},
        {"status": "COMPENSATING", "target": "LOADING"},
        {"status": "DELIVERED", "target": "PENDING"},
        {"status": "PENDING", "parked": True},
        {"drone_id": "a/b"},
        {"attempt": 7, "event_count": 3},
        {"attempt": -1},
        {"event_count": 2**80},
    ],
    ids=str,
)
def test_a_saga_that_contradicts_itself_is_set_aside_until_it_changes(changes: dict[str, Any]) -> None:
    world = tolerant()
    put(world, Kind.SAGA, json.dumps(json.loads(encode(SAGA)) | changes).encode())
    world.pass_time(3.0, hear=[make_report()])
    assert [each.what for each in world.set_aside] == ["order m1"], "reported once"
    assert world.leader.core.dispatcher.set_aside == ("order m1",)
    assert list(world.leader.core.view.contradictions()) == ["sagas/m1"]
    pending = replace(SAGA, status=S.PENDING, drone_id=None)
    put(world, Kind.SAGA, encode(pending))
    world.pass_time(3.0, hear=[make_report()])
    assert world.leader.core.dispatcher.set_aside == ()
    assert world.saga(BAD).status is not S.PENDING, "it is looked at again"


def test_a_saga_without_room_for_events_costs_itself_alone() -> None:
    """Its next step cannot be written: the store refuses it, and commits the others of its group."""
    world = tolerant()
    put(world, Kind.SAGA, encode(replace(SAGA, status=S.PENDING, drone_id=None, event_count=999_999)))
    world.intake.submit(GOOD)
    deliver_good(world)
    assert [each.what for each in world.set_aside] == ["order m1"]
    assert "999999" in str(world.set_aside[0].error)


@pytest.mark.parametrize("trips", [-(2**80), 2**80])
def test_a_breaker_that_contradicts_itself_keeps_its_drone_alone_on_the_ground(trips: int) -> None:
    world = tolerant()
    put(world, Kind.BREAKER, json.dumps(json.loads(encode(RECORDS[Kind.BREAKER][1])) | {"trips": trips}).encode())
    world.intake.submit(GOOD)
    deliver_good(world)
    assert world.saga(GOOD).drone_id != "drone_1"
    assert {each.what for each in world.set_aside} == {"drone drone_1"}
    put(world, Kind.BREAKER, encode(Breaker("drone_1", BreakerState.CLOSED, 1)))
    world.run()
    assert world.leader.core.dispatcher.set_aside == ()


def test_a_reservation_for_an_unknown_order_is_reported_and_runs_out() -> None:
    world = tolerant()
    orphan = Reservation("drone_1", "m9", 1, 1, leased=True)
    lease = world.intake._driver.grant_leases(5.0, 1)[0]
    world.intake._driver.txn((), (Put(world.intake.keys.assignment("drone_1"), encode(orphan), lease),))
    world.intake.submit(GOOD)
    world.pass_time(2.0, hear=[make_report()])
    assert {each.what for each in world.set_aside} == {"drone drone_1"}
    world.pass_time(15.0, hear=[make_report()])
    assert world.saga(GOOD).drone_id == "drone_1"


# --- defects -----------------------------------------------------------------------------------------------------


class TouchyPlanner(AssignmentPlanner):
    """Raises when it is given a certain order or drone."""

    def __init__(self, order_id: str = "", drone_id: str = "") -> None:
        super().__init__()
        self._order_id, self._drone_id = order_id, drone_id

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        if any(each.drone_id == self._drone_id for each in drones):
            raise ZeroDivisionError("this drone")
        if any(each.order.message_id == self._order_id for each in orders):
            raise ZeroDivisionError("this order")
        return super().plan(fleet, drones, orders)


def with_planner(monkeypatch: pytest.MonkeyPatch, planner: AssignmentPlanner) -> World:
    monkeypatch.setattr("world.AssignmentPlanner", lambda: planner)
    return tolerant()


def test_an_order_that_makes_the_planner_raise_does_not_take_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    world = with_planner(monkeypatch, TouchyPlanner(order_id="m1"))
    for order in (BAD, GOOD, make_order(3)):
        world.intake.submit(order)
    world.pass_time(90.0, hear=[make_report("drone_1"), make_report("drone_2")])
    assert world.saga(GOOD).attempt and world.saga(make_order(3)).attempt, "both got a drone"
    # An error is reported once for each state of the order's records: while no drone is free, the order is accepted.
    assert {each.what for each in world.set_aside} == {"order m1"} and len(world.set_aside) <= 2
    assert isinstance(world.set_aside[0].error, ZeroDivisionError)


def test_a_drone_that_makes_the_planner_raise_does_not_take_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    world = with_planner(monkeypatch, TouchyPlanner(drone_id="drone_1"))
    for order in (BAD, GOOD):
        world.intake.submit(order)
    world.pass_time(5.0, hear=[make_report("drone_1"), make_report("drone_2"), make_report("drone_3")])
    assert {world.saga(BAD).drone_id, world.saga(GOOD).drone_id} == {"drone_2", "drone_3"}
    assert [each.what for each in world.set_aside] == ["drone drone_1"]


def test_a_defect_about_one_order_is_loud_and_costs_that_order_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(AssignmentPlanner):
        def capable(self, fleet: FleetSpec, order: Order) -> bool:
            if order.message_id == "m1":
                raise KeyError("forgotten")
            return super().capable(fleet, order)

    world = with_planner(monkeypatch, Forgetful())
    put(world, Kind.SAGA, encode(replace(SAGA, status=S.PENDING, drone_id=None)))
    world.intake.submit(GOOD)
    deliver_good(world)
    assert [each.what for each in world.set_aside] == ["order m1"]
    assert world.set_aside[0].error.__traceback__ is not None


@given(
    st.builds(
        make_report,
        st.just("drone_1"),
        position=st.builds(GeoPoint, st.floats(), st.floats()),
        energy_wh=st.floats(),
        drone_class=st.sampled_from(["courier", "", "x", "\ud800"]),
        phase=st.sampled_from(Phase),
        attempt=st.integers(),
        message_id=st.sampled_from([None, "", "m1", "m2", "\ud800"]),
        highest_epoch=st.integers(),
    )
)
def test_no_report_of_a_drone_stops_a_leader_or_another_drone(report: DroneReport) -> None:
    world = tolerant()
    world.intake.submit(GOOD)
    world.hear(report)
    world.pass_time(5.0, hear=[report, make_report("drone_2")])
    world.intake.submit(make_order(3))
    world.pass_time(5.0, hear=[report, make_report("drone_3")])
    assert {"drone_2", "drone_3"} & {world.saga(GOOD).drone_id, world.saga(make_order(3)).drone_id}
