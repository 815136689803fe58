"""No order ends because one wall clock is wrong: the leader's, its predecessor's, a gateway's or a drone's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import World, make_order

from drone_orchestrator.core.leader.deadlines import Deadlines
from drone_orchestrator.core.leader.events import ClockHeard
from drone_orchestrator.core.leader.wall_clock import STAMP_FOR_S, STEP_SHOWN_S, WallClock
from drone_orchestrator.core.types import Entry, Instant, Kind, Order, SagaStatus, StoreChange
from drone_orchestrator.core.view import FleetView

S = SagaStatus
HOUR_S = 3600.0


def submit(world: World, **changes: object) -> Order:
    order = make_order(**{"submitted_at": world.now.wall_s, "deadline_s": 600.0, **changes})
    world.intake.submit(order)
    world.run()
    return order


def hear_clocks(world: World, *ahead_s: float) -> None:
    """Let the leader hear one drone's clock for each of ``ahead_s``, so far ahead of its own."""
    world.tell(*(ClockHeard(f"drone_{n}", world.now.wall_s + each) for n, each in enumerate(ahead_s)))


def restarted(world: World) -> None:
    """Replace all replicas by one that finds the orders in the store."""
    for replica in list(world.replicas):
        world.crash(replica)
    world.add_replica("later")
    world.pass_time(10.0)


def outcome(world: World, order: Order) -> tuple[SagaStatus, str | None]:
    return world.saga(order).status, world.saga(order).reason


def test_an_id_that_was_given_back_has_the_deadline_of_its_new_order() -> None:
    view, first = FleetView(), make_order(1, submitted_at=1000.0, deadline_s=600.0)
    deadlines = Deadlines(view, WallClock())
    for at_s, order in ((0.0, first), (5000.0, replace(first, submitted_at=6000.0))):
        now = Instant(at_s, 1000.0 + at_s)
        view.apply(StoreChange(int(at_s) + 1, (Entry(Kind.INBOX_ORDER, order.message_id, order, int(at_s) + 1),)))
        deadlines.arrived(order.message_id, now)
        assert deadlines.left_s(order, None, now) == 600.0


LATE = (S.FAILED, "deadline_exceeded")
WAITS = (S.PENDING, None)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_a_leader_whose_clock_is_set_counts_a_deadline_as_before(jump_s: float) -> None:
    world = World()
    order = submit(world)
    world.pass_time(10.0)
    world.wall_offset_s = jump_s
    world.pass_time(580.0)
    assert outcome(world, order) == WAITS
    world.pass_time(15.0)
    assert outcome(world, order) == LATE


@pytest.mark.parametrize("behind_s", [900.0, -900.0])
def test_the_deadline_of_an_order_from_a_gateway_with_a_wrong_clock_counts_from_its_arrival(behind_s: float) -> None:
    world = World()
    order = submit(world, submitted_at=world.now.wall_s - behind_s)
    hear_clocks(world, 0.0, 0.0)
    world.pass_time(590.0)
    assert outcome(world, order) == WAITS
    world.pass_time(15.0)
    assert outcome(world, order) == LATE


def test_a_successor_goes_on_counting_what_it_saw_as_a_standby() -> None:
    world = World(replicas=2)
    order = submit(world)
    world.pass_time(400.0)
    world.crash(world.leader)
    world.wall_offset_s = HOUR_S
    world.pass_time(190.0)
    assert outcome(world, order) == WAITS
    world.pass_time(15.0)
    assert outcome(world, order) == LATE


def test_an_order_found_after_an_outage_is_late_once_other_clocks_confirm_it() -> None:
    world = World()
    order = submit(world)
    restarted(world)
    world.wall_offset_s = HOUR_S  # as if the outage had taken an hour
    world.pass_time(5.0)
    assert outcome(world, order) == WAITS
    hear_clocks(world, 0.1, -0.2)
    world.pass_time(11.0)
    assert outcome(world, order) == LATE


def test_an_order_found_in_the_store_is_late_at_once_if_clocks_agree() -> None:
    world = World()
    order = submit(world)
    for replica in list(world.replicas):
        world.crash(replica)
    world.pass_time(HOUR_S, step_s=60.0)
    later = world.add_replica("later")
    later.inbox.append(ClockHeard("drone_1", world.now.wall_s))
    world.pass_time(10.0)
    assert outcome(world, order) == LATE


@pytest.mark.parametrize("ahead_s", [(), (-HOUR_S,), (-HOUR_S, -HOUR_S, 0.0)])
def test_a_leader_alone_with_its_clock_fails_no_order_that_it_found(ahead_s: tuple[float, ...]) -> None:
    world = World()
    order = submit(world)
    restarted(world)
    world.wall_offset_s = HOUR_S
    hear_clocks(world, *ahead_s)
    world.pass_time(500.0)
    assert outcome(world, order) == WAITS


def test_two_stamps_that_contradict_each_other_make_no_order_late() -> None:
    world = World()
    order = submit(world, submitted_at=world.now.wall_s - 900.0)  # the leader noted another time when it took the order
    restarted(world)
    hear_clocks(world, 0.0, 0.0)
    world.pass_time(500.0)
    assert outcome(world, order) == WAITS


def test_a_wall_clock_is_confirmed_by_most_of_the_others() -> None:
    clock, now = WallClock(), Instant(10.0, 1000.0)
    assert not clock.is_confirmed(now)
    clock.heard("drone_1", 1001.0, now)
    assert clock.is_confirmed(now) and not clock.trouble(now)
    clock.heard("drone_2", 5000.0, now)
    assert clock.is_confirmed(now)  # two of three, itself included
    clock.heard("drone_3", 5001.0, now)
    assert not clock.is_confirmed(now)
    assert clock.trouble(now) == "this machine's clock is 4001 s behind 2 of 3 others"
    much_later = Instant(10.0 + STAMP_FOR_S + 1.0, 1000.0 + STAMP_FOR_S + 1.0)
    assert not clock.is_confirmed(much_later) and not clock.trouble(much_later)


def test_a_wall_clock_that_is_set_is_reported_for_a_while() -> None:
    clock = WallClock()
    assert clock.trouble(Instant(10.0, 1000.0)) == ""
    assert clock.trouble(Instant(11.0, 1003.0)) == ""  # NTP may slew it
    assert clock.trouble(Instant(12.0, 4604.0)) == "this machine's clock was set by +3600 s"
    assert clock.trouble(Instant(12.0 + STEP_SHOWN_S, 4604.0 + STEP_SHOWN_S)) != ""
    assert clock.trouble(Instant(14.0 + STEP_SHOWN_S, 4606.0 + STEP_SHOWN_S)) == ""
