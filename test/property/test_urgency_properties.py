"""One urgency decides which orders are considered and which are served, and no order starves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone_orchestrator.core.leader.lane_sharing import LaneRound, allot
from drone_orchestrator.core.leader.waiting_orders import WaitingOrders
from drone_orchestrator.core.planner import Planner, drop_dominated, energy_rank, urgency
from drone_orchestrator.core.types import DroneClass, DroneReport, FleetSpec, GeoPoint, Order, Phase, Priority
from drone_orchestrator.planning.planner import AssignmentPlanner, GreedyPlanner

DEPOT = GeoPoint(37.76, -122.39)
NEAR = GeoPoint(37.762, -122.39)
LIGHT = DroneClass("light", 5.0, 15.0, 3.0, 60.0, 400.0, 6.0, 900.0)
FLEET = FleetSpec("test", DEPOT, 20_000.0, (LIGHT,))
NOW_S = 10_000
PLAN_ORDERS = 256

ages = st.integers(0, NOW_S)
priorities = st.sampled_from(tuple(Priority))
planners = pytest.mark.parametrize("planner", [AssignmentPlanner(), GreedyPlanner()])


def order(number: int, priority: Priority, age_s: int) -> Order:
    return Order(f"m{number:03}", f"o{number}", NEAR, 0.5, float(NOW_S - age_s), priority=priority)


def drone(number: int, energy_wh: float = LIGHT.battery_wh) -> DroneReport:
    return DroneReport(f"d{number}", LIGHT.name, f"j{number}", 1, Phase.IDLE, DEPOT, energy_wh)


def served(planner: Planner, orders: list[Order], drones: int) -> list[Order]:
    waiting = WaitingOrders()
    for each in orders:
        waiting.add(each, LIGHT.name, begun=False)
    considered = waiting.most_urgent(LIGHT.name, PLAN_ORDERS, float(NOW_S))
    lane = LaneRound(LIGHT, [drone(n) for n in range(drones)], considered, room=1000, lendable=0)
    by_id = {each.message_id: each for each in orders}
    return [by_id[pair.message_id] for pair in allot(FLEET, planner, [lane])]


@planners
@given(st.lists(st.tuples(priorities, ages), min_size=1, max_size=80), st.integers(1, 3))
def test_the_most_urgent_of_otherwise_equal_orders_are_served(
    planner: Planner, wanted: list[tuple[Priority, int]], drones: int
) -> None:
    orders = [order(number, *each) for number, each in enumerate(wanted)]
    urgencies = sorted((urgency(each, NOW_S - each.submitted_at) for each in orders), reverse=True)
    found = served(planner, orders, drones)
    assert sorted((urgency(each, NOW_S - each.submitted_at) for each in found), reverse=True) == urgencies[:drones]


@planners
@pytest.mark.parametrize("others", [5, 31, 32, 40, 200, 300])
def test_a_new_urgent_order_is_served_before_any_number_of_low_ones_1000_s_old(planner: Planner, others: int) -> None:
    urgent = order(0, Priority.URGENT, 0)
    orders = [urgent, *(order(number, Priority.LOW, 1000) for number in range(1, others + 1))]
    assert served(planner, orders, 1) == [urgent]


@given(priorities, priorities, ages, st.integers(0, 100_000))
def test_waiting_eventually_outranks_any_priority(
    mine: Priority, rival: Priority, age_s: int, rival_age_s: int
) -> None:
    """The rival has always waited for ``rival_age_s``, as in a queue that never empties."""
    patient = order(0, mine, 0)
    other = order(1, rival, 0)
    bound_s = 8 * (300 + rival_age_s)
    assert urgency(patient, bound_s + age_s) > urgency(other, rival_age_s) * (1.0 - 1e-9)


@given(st.integers(0, 1_000_000), st.integers(0, 100_000))
def test_an_urgent_order_overtakes_a_low_one_within_a_seventh_of_its_age(age_s: int, later_s: int) -> None:
    wait_s = max(0.0, (age_s - 2100) / 7) + later_s
    urgent, low = order(0, Priority.URGENT, 0), order(1, Priority.LOW, 0)
    assert urgency(urgent, wait_s) >= urgency(low, age_s + wait_s) * (1.0 - 1e-9)


@planners
@given(st.lists(st.integers(0, int(LIGHT.battery_wh)), min_size=1, max_size=12), st.integers(1, 4))
def test_a_dominated_drone_improves_no_plan(planner: Planner, energies: list[int], count: int) -> None:
    orders = [order(number, Priority.NORMAL, 10) for number in range(count)]
    drones = [drone(number, float(energy_wh)) for number, energy_wh in enumerate(energies)]
    kept = list(drop_dominated(sorted(drones, key=energy_rank), count))
    assert len(kept) == min(count, len(drones))
    assert all(left.energy_wh <= min(k.energy_wh for k in kept) for left in drones if left not in kept)

    def plan(free: list[DroneReport]) -> int:
        lane = LaneRound(LIGHT, free, waiting.most_urgent(LIGHT.name, PLAN_ORDERS, float(NOW_S)), room=1000, lendable=0)
        return len(allot(FLEET, planner, [lane]))

    waiting = WaitingOrders()
    for each in orders:
        waiting.add(each, LIGHT.name, begun=False)
    alone = sum(plan([each]) for each in drones)  # the drones that can fly one of these orders at all
    assert plan(drones) == plan(kept) == min(count, alone)
