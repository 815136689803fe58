"""Bulkheads in the leader: a flood in one lane costs that lane only; bounds include commits in flight."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
from scenes import HEAVY, LIGHT, LaneWorld, done, drone, heavy_order, light_order, say, sound
from world import World, make_order, make_report

from drone_orchestrator.core.leader.events import ViewLoaded
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import (
    DroneReport,
    GeoPoint,
    Order,
    Outcome,
    Phase,
    Priority,
    Reservation,
    SagaStatus,
)

S = SagaStatus
STEP_S = 0.02  # the leader's period, and the time that the store takes for one group of commits


def reserved(world: World) -> dict[str, str]:
    """Return the order that each drone is reserved for."""
    held = world.leader.core.view.reservations
    return {id_: e.value.message_id for id_, e in held.items() if isinstance(e.value, Reservation)}


def busy_fleet(world: LaneWorld, light: int, heavy: int) -> list[DroneReport]:
    """Return every drone's report: on its way to the pickup of its order, or free."""
    held, out = reserved(world), []
    for drone_class, count in ((LIGHT, light), (HEAVY, heavy)):
        for number in range(count):
            report = drone(drone_class, number)
            if report.drone_id in held:
                saga = world.intake.find(held[report.drone_id])
                attempt = saga.saga.attempt if saga is not None and saga.saga is not None else 0
                report = replace(report, phase=Phase.TO_PICKUP, message_id=held[report.drone_id], attempt=attempt)
            out.append(report)
    return out


# --- a flood --------------------------------------------------------------------------------------------------------


def heavy_latencies(flood: int, accept_orders: int = 64) -> list[float]:
    """Return the seconds to assignment of heavy orders, each submitted right after ``flood`` light ones."""
    policy = DispatchPolicy(goal_retry_s=60.0, accept_orders=accept_orders)
    world = LaneWorld([LIGHT, HEAVY], policy, commits_per_step=64)
    world.pass_time(1.0, step_s=STEP_S)
    say(world, *busy_fleet(world, light=4, heavy=8))
    took = []
    for number in range(3):
        for extra in range(flood):
            world.intake.submit(light_order(1000 * (number + 1) + extra, submitted_at=world.now.wall_s))
        world.advance(STEP_S)
        order = heavy_order(number, submitted_at=world.now.wall_s, priority=Priority.LOW)
        world.intake.submit(order)
        submitted_s = world.mono_s
        while order.message_id not in reserved(world).values():
            world.advance(STEP_S)
            assert world.mono_s < submitted_s + 30.0, "starved"
        took.append(world.mono_s - submitted_s)
        say(world, *busy_fleet(world, light=4, heavy=8))
        world.pass_time(0.1, step_s=STEP_S)
    return took


def test_a_flood_of_one_class_does_not_slow_the_assignment_of_another() -> None:
    quiet, flooded = heavy_latencies(0), heavy_latencies(200)
    assert median(flooded) <= 1.5 * median(quiet)
    assert median(heavy_latencies(200, accept_orders=1000)) > 1.5 * median(quiet), "this test could not fail"


def test_a_flood_borrows_no_more_than_is_lent_and_returns_it() -> None:
    world = LaneWorld([LIGHT, replace(HEAVY, lend_fraction=0.5)])
    world.run()
    say(world, *busy_fleet(world, light=2, heavy=4))
    for number in range(20):
        world.intake.submit(light_order(number))
    world.run()
    for _ in range(5):
        world.pass_time(1.0, hear=busy_fleet(world, light=2, heavy=4))
        lent = [d for d in reserved(world) if d.startswith("heavy")]
        assert len(lent) == 2
    urgent = [heavy_order(100 + n) for n in range(2)]
    for order in urgent:
        world.intake.submit(order)
    world.run()
    assert [world.saga(order).status for order in urgent] == [S.ASSIGNED, S.ASSIGNED]
    sound(world)


def test_lent_drones_include_commits_in_flight() -> None:
    world = LaneWorld([LIGHT, replace(HEAVY, lend_fraction=0.5)], commits_per_step=1)
    world.pass_time(0.5, step_s=0.05)
    say(world, drone(LIGHT, 0), *(drone(HEAVY, n) for n in range(4)))
    most = 0
    for number in range(12):
        world.intake.submit(light_order(number))
        world.advance(0.05)
        most = max(most, sum(d.startswith("heavy") for d in reserved(world)))
    world.pass_time(2.0, step_s=0.05)
    most = max(most, sum(d.startswith("heavy") for d in reserved(world)))
    assert most == 2


def test_the_orders_of_a_class_without_drones_go_to_other_classes() -> None:
    world = LaneWorld([LIGHT, replace(HEAVY, lend_fraction=0.0)])
    world.run()
    say(world, drone(LIGHT, 0), drone(HEAVY, 0))
    world.pass_time(20.0, hear=[drone(HEAVY, 0)])
    order = light_order(1)
    world.intake.submit(order)
    world.pass_time(2.0, hear=[drone(HEAVY, 0)])
    assert world.saga(order).drone_id == "heavy_0"


def test_an_order_that_names_its_class_never_goes_to_another() -> None:
    world = LaneWorld([LIGHT, HEAVY])
    world.run()
    order = light_order(1, drone_class="light")
    world.intake.submit(order)
    world.pass_time(2.0, hear=[drone(HEAVY, 0)])
    assert world.saga(order).status is S.PENDING


# --- bounds ---------------------------------------------------------------------------------------------------------


def flights(world: LaneWorld) -> int:
    """Return the number of light orders in the store between assignment and end."""
    sagas = [world.intake.find(f"m{n}") for n in range(40)]
    states = [v.saga.status for v in sagas if v is not None and v.saga is not None]
    return sum(not s.is_terminal and s is not S.PENDING for s in states)


@pytest.mark.parametrize("commits_per_step", [0, 1, 3])
def test_no_more_orders_are_in_flight_than_the_lane_allows(commits_per_step: int) -> None:
    world = LaneWorld([replace(LIGHT, max_in_flight=3), HEAVY], commits_per_step=commits_per_step)
    world.pass_time(0.5, step_s=0.05)
    say(world, *(drone(LIGHT, n) for n in range(8)))
    delivered: list[Order] = []
    for number in range(12):
        world.intake.submit(light_order(number))
        world.advance(0.05)
        assert flights(world) <= 3
    for number in range(200):
        if world.mono_s > 60.0 or len(delivered) >= 6:
            break
        for drone_id, message_id in reserved(world).items():
            order = light_order(int(message_id[1:]))
            assert world.intake.find(message_id) is not None
            attempt = world.saga(order).attempt
            at_pickup = drone(LIGHT, 0, phase=Phase.TO_PICKUP, message_id=message_id, attempt=attempt)
            say(world, replace(at_pickup, drone_id=drone_id, journal_id=f"journal-of-{drone_id}"))
            world.ask_clearance(number, drone_id, order, attempt)
            finished = finish(order, drone_id, attempt)
            for _ in range(3):
                say(world, finished)
                world.advance(0.05)
                assert flights(world) <= 3
            if world.saga(order).status is S.DELIVERED:
                delivered.append(order)
        say(world, *(drone(LIGHT, n) for n in range(8) if f"light_{n}" not in reserved(world)))
        world.advance(0.05)
        assert flights(world) <= 3
    assert len(delivered) >= 6, "the lane still makes progress"
    sound(world)


def finish(order: Order, drone_id: str, attempt: int) -> DroneReport:
    return replace(done(order, Outcome.DELIVERED, drone_id, attempt), drone_class="light")


def test_the_number_of_orders_being_accepted_is_bounded_by_the_policy() -> None:
    world = LaneWorld([LIGHT, HEAVY], DispatchPolicy(accept_orders=5), commits_per_step=2)
    world.pass_time(1.0, step_s=0.05)
    for number in range(40):
        world.intake.submit(light_order(number))
    most = 0
    for _ in range(60):
        world.advance(0.05)
        most = max(most, len(world.queued))
    assert most <= 5
    assert world.leader.core.view.inbox == {}, "in the end all are accepted"
    sound(world)


def test_an_order_for_an_unknown_class_fails_with_a_reason() -> None:
    world = LaneWorld([LIGHT, HEAVY])
    world.run()
    order = light_order(1, drone_class="zeppelin")
    world.intake.submit(order)
    world.run()
    assert (world.saga(order).status, world.saga(order).reason) == (S.FAILED, "no_capable_drone")


# --- order of service -----------------------------------------------------------------------------------------------


def first_served(*orders: Order) -> str:
    world = World()
    world.run()
    for order in orders:
        world.intake.submit(order)
    world.run()
    say(world, make_report())
    (message_id,) = reserved(world).values()
    return message_id


def test_the_more_urgent_order_goes_first() -> None:
    normal = make_order(1, submitted_at=999.0)
    assert first_served(normal, make_order(2, submitted_at=999.0, priority=Priority.URGENT)) == "m2"


def test_an_old_order_of_lower_priority_goes_first() -> None:
    fresh = make_order(1, submitted_at=1000.0, priority=Priority.URGENT)
    assert first_served(fresh, make_order(2, submitted_at=1000.0 - 3600.0, priority=Priority.LOW)) == "m2"


def test_an_order_from_a_client_whose_clock_is_ahead_gains_no_advantage() -> None:
    ahead = make_order(1, submitted_at=5000.0)
    assert first_served(ahead, make_order(2, submitted_at=900.0)) == "m2"


# --- orders and lanes that must not block others ----------------------------------------------------------------------


def test_an_order_that_no_drone_can_fly_now_does_not_block_the_next() -> None:
    """The lane has room for one order, and the most urgent one is too far for a half-empty battery."""
    world = LaneWorld([replace(LIGHT, max_in_flight=1)])
    world.run()
    far = light_order(1, destination=GeoPoint(37.7577 + 0.065, -122.3876), submitted_at=0.0)
    near = light_order(2)
    world.intake.submit(far)
    world.intake.submit(near)
    world.pass_time(2.0, hear=[drone(LIGHT, 1, energy_wh=250.0)])
    assert (world.saga(far).status, world.saga(near).status) == (S.PENDING, S.ASSIGNED)


def test_a_new_leader_does_not_treat_a_lane_as_without_drones_at_once() -> None:
    world = LaneWorld([LIGHT, HEAVY])
    world.run()
    for number in range(8):
        world.intake.submit(light_order(number))
    world.run()
    say(world, *(drone(HEAVY, n) for n in range(4)))
    say(world, *(drone(LIGHT, n) for n in range(4)))
    assert sorted(reserved(world)) == ["heavy_0", "heavy_1", *(f"light_{n}" for n in range(4))]


def test_a_lane_whose_only_drone_is_briefly_silent_borrows_none() -> None:
    world = LaneWorld([LIGHT, replace(HEAVY, lend_fraction=0.0)])
    world.pass_time(15.0, hear=[drone(LIGHT, 0), drone(HEAVY, 0)])
    world.pass_time(5.0, hear=[drone(HEAVY, 0)])
    order = light_order(1)
    world.intake.submit(order)
    world.pass_time(1.0, hear=[drone(HEAVY, 0)])
    assert world.saga(order).status is S.PENDING


def test_reloading_the_view_forgets_no_commit_in_flight() -> None:
    world = LaneWorld([replace(LIGHT, max_in_flight=1)], commits_per_step=1)
    world.pass_time(0.5, step_s=0.1)
    say(world, drone(LIGHT, 1), drone(LIGHT, 2))
    world.intake.submit(light_order(1))
    world.run()
    assert len(world.queued) == 1
    world.leader.inbox.append(ViewLoaded(world.leader.store.snapshot()))
    world.intake.submit(light_order(2))
    world.run()
    asked = [commit.change.message_id for _, commit in world.queued]
    assert len(asked) == len(set(asked)), "two commits of one order in flight"
    world.pass_time(1.0, step_s=0.1)
    assert flights(world) == 1
    assert {world.saga(light_order(n)).status for n in (1, 2)} == {S.ASSIGNED, S.PENDING}
    sound(world)
