"""An error about one order or drone sets that one aside; everything else goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest
from world import FLEET, World, make_order, make_report

from drone_orchestrator.core.leader.before_loading import BeforeLoading
from drone_orchestrator.core.leader.planning_round import PlanningRound
from drone_orchestrator.core.leader.roster import Roster
from drone_orchestrator.core.leader.set_aside import LOOK_AGAIN_S, CarefulPlanner
from drone_orchestrator.core.planner import Pairing, PlannedOrder, Planner
from drone_orchestrator.core.types import CancelRequest, DroneReport, FleetSpec, Instant, Order, SagaStatus
from drone_orchestrator.planning.planner import AssignmentPlanner

S = SagaStatus
BAD, GOOD = make_order(1), make_order(2)
NOW = Instant(10.0, 1010.0)


class Picky:
    """A planner that raises if it sees a bad order or a bad drone."""

    def __init__(self, orders: Sequence[str] = (), drones: Sequence[str] = ()) -> None:
        self.orders, self.drones = set(orders), set(drones)
        self.planner = AssignmentPlanner()

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        return self.planner.capable(fleet, order)

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        bad = self.orders & {each.order.message_id for each in orders} or self.drones & {d.drone_id for d in drones}
        if bad and drones and orders:
            raise ZeroDivisionError(f"cannot plan {sorted(bad)}")
        return self.planner.plan(fleet, drones, orders)


def fails_for(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, strikes: Any) -> dict[str, bool]:
    """Let ``owner.method`` raise where it ``strikes`` while the returned switch is on."""
    switch = {"on": True}
    original = getattr(owner, method)

    def failing(self: Any, *args: Any, **more: Any) -> Any:
        if switch["on"] and strikes(*args):
            raise ZeroDivisionError("a defect about one order")
        return original(self, *args, **more)

    monkeypatch.setattr(owner, method, failing)
    return switch


def is_bad(message_id: str, *_: Any) -> bool:
    return message_id == BAD.message_id


def world_with(*orders: Order) -> World:
    world = World()
    world.takes_bad_records = True
    world.hear(make_report("drone_1"), make_report("drone_2"))
    world.run()
    world.intake.submit_all(orders)
    return world


def assigned(world: World) -> set[str]:
    return {saga.value.order_id for saga in world.leader.core.view.sagas.values() if saga.value.status is S.ASSIGNED}


def careful(world: World, planner: Planner) -> CarefulPlanner:
    dispatcher = world.leader.core.dispatcher
    return CarefulPlanner(planner, dispatcher._aside, NOW)


def planned(*orders: Order) -> list[PlannedOrder]:
    return [PlannedOrder(order, 1.0) for order in orders]


def test_one_order_s_error_costs_that_order_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_for(monkeypatch, BeforeLoading, "reconcile_inbox", is_bad)
    world = world_with(BAD, GOOD)
    world.advance(1.0)
    assert assigned(world) == {GOOD.order_id}
    assert world.leader.core.dispatcher.set_aside == (f"order {BAD.message_id}",)
    assert [each.what for each in world.set_aside] == [f"order {BAD.message_id}"]


def test_an_order_is_tried_again_after_a_while_and_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = fails_for(monkeypatch, BeforeLoading, "reconcile_inbox", is_bad)
    world = world_with(BAD)
    drones = [make_report("drone_1"), make_report("drone_2")]
    world.pass_time(LOOK_AGAIN_S + 2.0, hear=drones)
    assert len(world.set_aside) == 1
    switch["on"] = False
    world.pass_time(LOOK_AGAIN_S + 2.0, hear=drones)
    assert assigned(world) == {BAD.order_id}
    assert world.leader.core.dispatcher.set_aside == ()


def test_an_order_is_tried_again_at_once_when_a_record_of_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = fails_for(monkeypatch, BeforeLoading, "reconcile_inbox", is_bad)
    world = world_with(BAD)
    world.advance(1.0)
    switch["on"] = False
    world.intake.request_cancel(CancelRequest(BAD.message_id, world.now.wall_s))
    world.advance(1.0)
    assert world.leader.core.dispatcher.set_aside == ()


def test_a_drone_s_error_costs_that_drone_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = fails_for(monkeypatch, Roster, "_update", lambda drone_id, *_: drone_id == "drone_1")
    world = world_with(GOOD)
    world.advance(1.0)
    saga = world.saga(GOOD)
    assert saga.drone_id == "drone_2"
    assert world.leader.core.dispatcher.set_aside == ("drone drone_1",)
    switch["on"] = False
    world.hear(make_report("drone_1", energy_wh=500.0))
    world.advance(1.0)
    assert world.leader.core.dispatcher.set_aside == ()


def test_a_planning_round_that_raises_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = fails_for(monkeypatch, PlanningRound, "run", lambda *_: True)
    world = world_with(GOOD)
    world.advance(1.0)
    assert assigned(world) == set()
    switch["on"] = False
    world.pass_time(5.0, hear=[make_report("drone_1")])
    assert assigned(world) == {GOOD.order_id}


@pytest.mark.parametrize("others", [1, 7])
def test_the_planner_s_culprit_is_found_among_orders(others: int) -> None:
    world = world_with()
    good = [make_order(number) for number in range(10, 10 + others)]
    drones = [make_report(f"drone_{number}") for number in range(1, 4)]
    pairs = careful(world, Picky(orders=[BAD.message_id])).plan(FLEET, drones, planned(*good, BAD))
    assert pairs and BAD.message_id not in {pair.message_id for pair in pairs}
    assert world.leader.core.dispatcher.set_aside == (f"order {BAD.message_id}",)


def test_the_planner_s_culprit_is_found_among_drones() -> None:
    world = world_with()
    drones = [make_report(f"drone_{number}") for number in range(1, 5)]
    for orders in (planned(GOOD), planned(GOOD, BAD)):
        pairs = careful(world, Picky(drones=["drone_3"])).plan(FLEET, drones, orders)
        assert len(pairs) == len(orders) and "drone_3" not in {pair.drone_id for pair in pairs}
        assert world.leader.core.dispatcher.set_aside == ("drone drone_3",)


def test_a_planner_that_always_raises_ends_the_round_without_pairs() -> None:
    world = world_with()
    drones = [make_report(f"drone_{number}") for number in range(1, 13)]
    orders = [make_order(number) for number in range(1, 13)]
    broken = Picky(orders=[order.message_id for order in orders])
    assert careful(world, broken).plan(FLEET, drones, planned(*orders)) == []
    assert careful(world, broken).plan(FLEET, drones[:1], planned(orders[0])) == []
    assert careful(world, broken).capable(FLEET, GOOD)


def test_an_interrupt_is_no_error_of_an_order() -> None:
    world = world_with()
    dispatcher = world.leader.core.dispatcher
    with mock.patch.object(dispatcher, "_next_step", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        dispatcher.reconcile(GOOD.message_id, NOW)
    assert dispatcher.set_aside == ()
