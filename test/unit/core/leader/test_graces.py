"""Graces and budgets belong to a term: a new view does not restart them, an operator's `retry` does."""

from __future__ import annotations

from dataclasses import replace

from scenes import (
    LIGHT,
    LaneWorld,
    cancel,
    carrying,
    command,
    dispatch,
    drone,
    fly,
    flying,
    light_order,
    load,
    nothing_is_left,
    say,
)
from world import World, make_order, make_report

from drone_orchestrator.core.leader.events import DroneHeard, ViewLoaded
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import CommandAction, DeliveryOutcome, Outcome, Phase, SagaStatus

S = SagaStatus
GRACE_S = 30.0


def reload(world: World) -> None:
    """Load a new snapshot, as after a watch that lost its place."""
    world.leader.inbox.append(ViewLoaded(world.leader.store.snapshot()))
    world.run()


def test_many_reloads_lose_no_order() -> None:
    world = World()
    order = load(world, make_order())
    for _ in range(50):
        reload(world)
        world.pass_time(0.5, hear=[carrying(order)])
    assert world.saga(order).status is S.LOADING
    done = DeliveryOutcome(order.message_id, 1, Outcome.DELIVERED)
    say(world, replace(carrying(order), phase=Phase.RETURNING, message_id=None, attempt=0, outcomes=(done,)))
    assert world.saga(order).status is S.DELIVERED
    nothing_is_left(world, order)


def test_the_grace_of_a_silent_drone_outlasts_reloads() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S))
    order = fly(world, make_order())
    world.crash(world.leader)
    world.add_replica("successor")
    world.pass_time(8)
    for _ in range(10):
        world.pass_time(10)
        reload(world)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "drone_lost_with_package")


def test_a_new_leader_waits_the_whole_grace_itself() -> None:
    """Another leader may have heard the drone while this replica, as a standby, did not."""
    world = World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S))
    order = fly(world, make_order())
    standby = world.add_replica("standby")
    for _ in range(round(2 * GRACE_S)):
        world.replicas[0].inbox.append(DroneHeard(flying(order)))
        world.advance(1.0)
    world.crash(world.leader)
    world.pass_time(8)
    assert world.leader is standby
    world.pass_time(GRACE_S - 4)
    assert world.saga(order).status is S.IN_TRANSIT
    world.pass_time(8)
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "drone_lost_with_package")


def test_a_request_for_clearance_proves_that_the_drone_is_there() -> None:
    """The drone's reports have been lost for longer than the grace when it asks to load."""
    world = World(dispatch=DispatchPolicy(lost_grace_s=5.0))
    order = dispatch(world, make_order())
    world.pass_time(8)
    world.ask_clearance(1, "drone_1", order, 1)
    world.pass_time(4)
    assert world.saga(order).status is S.LOADING
    world.pass_time(2)
    assert world.saga(order).reason == "drone_lost_with_package"


def test_time_out_of_reach_is_no_time_in_which_the_drone_knew_nothing() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S))
    order = fly(world, make_order())
    stranger = make_report("drone_1", journal_id="journal-of-drone_1")
    world.pass_time(2, hear=[stranger])
    world.pass_time(GRACE_S - 4)
    world.pass_time(6, hear=[stranger])
    assert not world.saga(order).parked
    world.pass_time(GRACE_S, hear=[stranger])
    assert (world.saga(order).parked, world.saga(order).reason) == (True, "drone_knows_nothing_of_it")


def test_the_grace_of_a_grounded_drone_outlasts_reloads() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S))
    order = fly(world, make_order())
    for _ in range(10):
        world.pass_time(10, hear=[flying(order, phase=Phase.GROUNDED)])
        reload(world)
    assert world.saga(order).parked


def test_the_budget_of_recalls_outlasts_reloads() -> None:
    world = World(dispatch=DispatchPolicy(max_recall_tries=3, recall_cap_s=2.0))
    order = fly(world, make_order())
    cancel(world, order)
    for _ in range(20):
        world.pass_time(2, hear=[flying(order)])
        reload(world)
    assert (world.saga(order).parked, world.saga(order).reason) == (True, "recall_not_obeyed")


def parked_by_a_grounded_drone(world: World):
    order = fly(world, make_order())
    grounded = flying(order, phase=Phase.GROUNDED)
    world.pass_time(GRACE_S + 2, hear=[grounded])
    assert world.saga(order).parked
    return order, grounded


def test_a_retry_gets_a_full_grace_if_the_drone_is_still_grounded() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S))
    order, grounded = parked_by_a_grounded_drone(world)
    command(world, order, CommandAction.RETRY)
    world.pass_time(GRACE_S / 2, hear=[grounded])
    assert not world.saga(order).parked
    world.pass_time(GRACE_S, hear=[grounded])
    assert world.saga(order).parked


def test_a_retry_gets_a_full_grace_if_the_drone_is_silent() -> None:
    world = World(dispatch=DispatchPolicy(lost_grace_s=GRACE_S))
    order, _ = parked_by_a_grounded_drone(world)
    world.pass_time(2 * GRACE_S)
    command(world, order, CommandAction.RETRY)
    world.pass_time(GRACE_S / 2)
    assert not world.saga(order).status.is_terminal
    world.pass_time(GRACE_S)
    assert world.saga(order).status is S.FAILED


def test_a_parked_order_takes_no_room_in_its_lane() -> None:
    world = LaneWorld([replace(LIGHT, max_in_flight=1)])
    world.run()
    first, second = light_order(1), light_order(2)
    say(world, drone(LIGHT, 1))
    world.intake.submit(first)
    world.run()
    world.accept_goals()
    say(world, drone(LIGHT, 1, phase=Phase.TO_PICKUP, message_id=first.message_id, attempt=1))
    world.ask_clearance(1, "light_1", first, 1)
    say(world, drone(LIGHT, 1, journal_id="another"))
    assert world.saga(first).parked
    world.intake.submit(second)
    world.pass_time(10, hear=[drone(LIGHT, 1, journal_id="another")])
    assert world.saga(second).status is S.ASSIGNED
