"""Plans are feasible for any input, optimal for small ones, and independent of the order of the input."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drone_orchestrator.core.planner import PlannedOrder
from drone_orchestrator.core.types import (
    DroneClass,
    DroneReport,
    FleetSpec,
    GeoPoint,
    NoFlyZone,
    Order,
    Phase,
    Priority,
)
from drone_orchestrator.planning import assignment
from drone_orchestrator.planning.assignment import assign
from drone_orchestrator.planning.cost import costs, delivery_times_s
from drone_orchestrator.planning.energy import mission_energy_wh
from drone_orchestrator.planning.feasibility import feasible
from drone_orchestrator.planning.geo import distance_between_m
from drone_orchestrator.planning.legs import measure
from drone_orchestrator.planning.planner import AssignmentPlanner, GreedyPlanner
from drone_orchestrator.planning.single import soonest

DEPOT = GeoPoint(47.4, 8.5)
LIGHT = DroneClass("light", 2.5, 18.0, 5.0, 80.0, 500.0, 6.0, 900.0)
HEAVY = DroneClass("heavy", 8.0, 15.0, 4.0, 80.0, 1500.0, 14.0, 2500.0)
FLEET = FleetSpec("zurich", DEPOT, 8_000.0, (LIGHT, HEAVY))

ZONES = (
    NoFlyZone(
        "tower", (GeoPoint(47.41, 8.49), GeoPoint(47.41, 8.495), GeoPoint(47.415, 8.495), GeoPoint(47.415, 8.49))
    ),
    NoFlyZone("wood", (GeoPoint(47.385, 8.505), GeoPoint(47.385, 8.52), GeoPoint(47.395, 8.51))),
)

# A coarse grid, for many ties: they are what threatens determinism.
points = st.builds(
    GeoPoint,
    st.sampled_from([47.33, 47.38, 47.4, 47.42, 47.46]),
    st.sampled_from([8.4, 8.48, 8.5, 8.53]),
)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[DroneReport], list[PlannedOrder]]:
    drones = [
        DroneReport(
            drone_id=f"d{i}",
            drone_class=draw(st.sampled_from(["light", "heavy", "unknown"])),
            journal_id="j",
            highest_epoch=1,
            phase=draw(st.sampled_from([Phase.IDLE, Phase.IDLE, Phase.RETURNING, Phase.DROPPING])),
            position=draw(points),
            energy_wh=draw(st.sampled_from([120.0, 250.0, 500.0, 1500.0])),
            package_on_board=draw(st.booleans()) and draw(st.booleans()),
        )
        for i in range(draw(st.integers(0, 6)))
    ]
    orders = [
        PlannedOrder(
            Order(
                message_id=f"m{j}",
                order_id=f"o{j}",
                destination=draw(points),
                package_weight_kg=draw(st.sampled_from([0.5, 2.5, 4.0, 9.0])),
                submitted_at=0.0,
                pickup=draw(st.none() | points),
                priority=draw(st.sampled_from(list(Priority))),
                deadline_s=draw(st.sampled_from([None, 100.0, 1_000.0])),
                drone_class=draw(st.sampled_from([None, None, "light", "heavy"])),
            ),
            age_s=draw(st.sampled_from([0.0, 0.0, 60.0, 900.0])),
        )
        for j in range(draw(st.integers(0, 6)))
    ]
    return drones, orders


def may_fly(drone: DroneReport, order: Order) -> bool:
    """Return whether one pair is feasible, computed again without arrays."""
    drone_class = FLEET.drone_class(drone.drone_class)
    if drone_class is None or drone.package_on_board or drone.phase not in (Phase.IDLE, Phase.RETURNING):
        return False
    if order.drone_class not in (None, drone_class.name) or order.package_weight_kg > drone_class.max_payload_kg:
        return False
    pickup = order.pickup or DEPOT
    back_m = distance_between_m(order.destination, DEPOT)
    if max(back_m, distance_between_m(pickup, DEPOT)) > FLEET.service_radius_m:
        return False
    to_pickup_m, loaded_m = distance_between_m(drone.position, pickup), distance_between_m(pickup, order.destination)
    need_wh = float(mission_energy_wh(to_pickup_m, loaded_m, back_m, order.package_weight_kg, drone_class))
    return drone.energy_wh - need_wh >= drone_class.reserve_fraction * drone_class.battery_wh


@given(fleets())
def test_the_mask_agrees_with_each_pair_judged_alone(fleet: tuple[list[DroneReport], list[PlannedOrder]]) -> None:
    drones, planned = fleet
    orders = [p.order for p in planned]
    mask = feasible(FLEET, drones, orders, measure(FLEET, drones, orders))
    assert mask.tolist() == [[may_fly(d, o) for o in orders] for d in drones]


@given(fleets(), st.randoms(use_true_random=False))
def test_a_plan_is_feasible_and_independent_of_the_order_of_its_input(
    fleet: tuple[list[DroneReport], list[PlannedOrder]], random: object
) -> None:
    drones, planned = fleet
    by_drone, by_order = {d.drone_id: d for d in drones}, {p.order.message_id: p.order for p in planned}
    for planner in (AssignmentPlanner(), GreedyPlanner()):
        pairs = planner.plan(FLEET, drones, planned)
        assert all(may_fly(by_drone[p.drone_id], by_order[p.message_id]) for p in pairs)
        assert len({p.drone_id for p in pairs}) == len({p.message_id for p in pairs}) == len(pairs)
        mixed_drones, mixed_orders = list(drones), list(planned)
        random.shuffle(mixed_drones)  # type: ignore[attr-defined]
        random.shuffle(mixed_orders)  # type: ignore[attr-defined]
        assert planner.plan(FLEET, mixed_drones, mixed_orders) == pairs


@given(fleets())
def test_the_best_plan_serves_at_least_as_many_as_the_greedy_one(
    fleet: tuple[list[DroneReport], list[PlannedOrder]],
) -> None:
    assert len(AssignmentPlanner().plan(FLEET, *fleet)) >= len(GreedyPlanner().plan(FLEET, *fleet))


matrices = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        st.lists(
            st.lists(st.integers(-50, 50), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
        ),
        st.lists(st.lists(st.booleans(), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]),
    )
)


@pytest.mark.parametrize("zones", [(), ZONES], ids=["free", "zones"])
@given(fleets())
def test_a_single_order_gets_the_same_drone_as_with_arrays(
    zones: tuple[NoFlyZone, ...], scene: tuple[list[DroneReport], list[PlannedOrder]]
) -> None:
    drones, orders = scene
    fleet = replace(FLEET, no_fly_zones=zones)
    for planned in orders if drones else ():
        legs = measure(fleet, drones, [planned.order])
        fit = feasible(fleet, drones, [planned.order], legs)[:, 0]
        times_s = delivery_times_s(fleet, drones, legs)[:, 0]
        chosen = soonest(fleet, drones, planned.order)
        assert (chosen is not None) == bool(fit.any())
        if chosen is not None:
            row = drones.index(chosen)
            assert fit[row]
            assert times_s[row] == times_s[fit].min()


@given(fleets())
def test_leaving_out_dominated_drones_costs_nothing(
    scene: tuple[list[DroneReport], list[PlannedOrder]],
) -> None:
    drones, orders = scene
    wanted = [planned.order for planned in orders]
    pairs = AssignmentPlanner().plan(FLEET, drones, orders)
    if drones and wanted:
        legs = measure(FLEET, drones, wanted)
        mask = feasible(FLEET, drones, wanted, legs)
        cost = costs(orders, delivery_times_s(FLEET, drones, legs), mask)
        best = assign(cost, mask)
        rows = {drone.drone_id: row for row, drone in enumerate(drones)}
        columns = {order.message_id: column for column, order in enumerate(wanted)}
        chosen = [(rows[pair.drone_id], columns[pair.message_id]) for pair in pairs]
        assert len(chosen) == len(best)
        assert sum(cost[pair] for pair in chosen) == pytest.approx(sum(cost[pair] for pair in best))


def brute_force(cost: np.ndarray, mask: np.ndarray) -> tuple[int, float]:
    """Return the largest number of pairs and its least cost, by trying everything."""
    rows, columns = cost.shape
    best = (0, 0.0)
    for choice in itertools.product([*range(columns), None], repeat=rows):
        taken = [(r, c) for r, c in enumerate(choice) if c is not None]
        if len({c for _, c in taken}) == len(taken) and all(mask[pair] for pair in taken):
            best = min(best, (-len(taken), float(sum(cost[pair] for pair in taken))))
    return -best[0], best[1]


@settings(max_examples=60)
@given(matrices)
def test_the_assignment_is_optimal(matrix: tuple[list[list[int]], list[list[bool]]]) -> None:
    cost, mask = np.array(matrix[0], dtype=np.float64), np.array(matrix[1])
    cost[~mask] = np.nan  # infeasible entries are ignored
    pairs = assign(cost, mask)
    assert all(mask[pair] for pair in pairs)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert (len(pairs), float(sum(cost[pair] for pair in pairs))) == brute_force(cost, mask)


@settings(max_examples=60)
@given(matrices, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_a_row_with_room_for_n_equals_n_rows(matrix: tuple[list[list[int]], list[list[bool]]], room: list[int]) -> None:
    cost, mask = np.array(matrix[0], dtype=np.float64), np.array(matrix[1])
    cost[~mask] = np.nan
    each = np.array([room[row % len(room)] for row in range(len(cost))], dtype=np.intp)
    pairs = assign(cost, mask, each)
    assert all(mask[pair] for pair in pairs)
    assert len({column for _, column in pairs}) == len(pairs)
    assert all(sum(row == r for row, _ in pairs) <= each[r] for r in range(len(cost)))
    found = (len(pairs), float(sum(cost[pair] for pair in pairs)))
    most = (0, 0.0)
    for choice in itertools.product([*range(len(cost)), None], repeat=cost.shape[1]):
        taken = [(row, column) for column, row in enumerate(choice) if row is not None]
        if all(mask[pair] for pair in taken) and all(choice.count(row) <= each[row] for row in range(len(cost))):
            most = min(most, (-len(taken), float(sum(cost[pair] for pair in taken))))
    assert found == (-most[0], most[1])


@settings(max_examples=60)
@given(matrices, st.integers(1, 3))
def test_assignment_of_large_matrices_has_the_most_pairs_and_serves_the_best_columns(
    matrix: tuple[list[list[int]], list[list[bool]]], block: int
) -> None:
    """Use the method for large matrices on small ones."""
    cost, mask = np.array(matrix[0], dtype=np.float64), np.array(matrix[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "EXACT_PAIRS", 0)
        patch.setattr(assignment, "BLOCK_PAIRS", block)
        pairs = assign(cost, mask)
    assert all(mask[pair] for pair in pairs)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    most, _ = brute_force(cost, mask)
    assert len(pairs) == most
    if mask.any():
        cheapest = np.where(mask, cost, np.inf).min(axis=0).argmin()
        assert cheapest in {c for _, c in pairs}
