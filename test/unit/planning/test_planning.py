"""Plans are feasible, serve urgent and old orders first, and leave no order out forever."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.optimize
from fleets import DEPOT, FLEET, HEAVY, LIGHT, at, drone, wanted

from drone_orchestrator.core.planner import PRIORITY_FACTOR, Pairing, PlannedOrder, Planner
from drone_orchestrator.core.types import DroneReport, FleetSpec, GeoPoint, Phase, Priority
from drone_orchestrator.planning import assignment
from drone_orchestrator.planning.assignment import EXACT_PAIRS, assign
from drone_orchestrator.planning.cost import LATE_S, LEFT_OUT_FACTOR
from drone_orchestrator.planning.energy import mission_energy_wh
from drone_orchestrator.planning.planner import AssignmentPlanner, GreedyPlanner

PLANNERS = [AssignmentPlanner(), GreedyPlanner()]
both = pytest.mark.parametrize("planner", PLANNERS, ids=["assignment", "greedy"])


def plan(
    planner: Planner, drones: list[DroneReport], orders: list[PlannedOrder], fleet: FleetSpec = FLEET
) -> dict[str, str]:
    """Return the drone id of each message id that is served."""
    return {pair.message_id: pair.drone_id for pair in planner.plan(fleet, drones, orders)}


# --- feasibility ------------------------------------------------------------------------------------------------------


@both
def test_one_drone_serves_one_order(planner: Planner) -> None:
    assert planner.plan(FLEET, [drone()], [wanted()]) == [Pairing("m1", "d1")]


@both
def test_an_empty_input_gives_an_empty_plan(planner: Planner) -> None:
    assert planner.plan(FLEET, [], [wanted()]) == []
    assert planner.plan(FLEET, [drone()], []) == []


@both
@pytest.mark.parametrize("phase", list(Phase))
def test_only_idle_or_returning_drones_get_orders(planner: Planner, phase: Phase) -> None:
    free = phase in (Phase.IDLE, Phase.RETURNING)
    assert bool(plan(planner, [drone(phase=phase)], [wanted()])) is free


@both
def test_a_drone_with_a_package_on_board_is_not_free(planner: Planner) -> None:
    assert plan(planner, [drone(package_on_board=True)], [wanted()]) == {}


@both
def test_an_order_gets_the_class_that_it_names(planner: Planner) -> None:
    drones = [drone("d1", LIGHT), drone("d2", HEAVY)]
    assert plan(planner, drones, [wanted(drone_class="heavy")]) == {"m1": "d2"}
    assert plan(planner, drones, [wanted(drone_class="unknown")]) == {}


@both
def test_a_drone_of_an_unknown_class_gets_no_order(planner: Planner) -> None:
    assert plan(planner, [replace(drone(), drone_class="submarine")], [wanted()]) == {}


@both
def test_a_drone_gets_no_package_above_its_payload(planner: Planner) -> None:
    drones = [drone("d1", LIGHT), drone("d2", HEAVY)]
    assert plan(planner, drones, [wanted(package_weight_kg=2.6)]) == {"m1": "d2"}
    assert plan(planner, drones, [wanted(package_weight_kg=8.1)]) == {}


@both
@pytest.mark.parametrize("field", ["destination", "pickup"])
def test_no_order_outside_the_service_radius_is_served(planner: Planner, field: str) -> None:
    near = replace(FLEET, service_radius_m=2_000.0)
    assert plan(planner, [drone()], [wanted(**{field: at(1_990.0, 0.0)})], near) == {"m1": "d1"}
    assert plan(planner, [drone()], [wanted(**{field: at(2_010.0, 0.0)})], near) == {}


@both
def test_the_energy_must_suffice_for_the_round_trip_and_the_reserve(planner: Planner) -> None:
    order = wanted(destination=at(4_000.0, 0.0))
    need_wh = float(mission_energy_wh(0.0, 4_000.0, 4_000.0, 1.0, LIGHT))
    enough_wh = need_wh * 1.005 + LIGHT.reserve_fraction * LIGHT.battery_wh  # sphere and plane differ by up to 0.3 %
    assert plan(planner, [drone(energy_wh=enough_wh)], [order]) == {"m1": "d1"}
    assert plan(planner, [drone(energy_wh=enough_wh * 0.98)], [order]) == {}
    assert plan(planner, [drone(energy_wh=enough_wh, position=at(-1_000.0, 0.0))], [order]) == {}


@both
@pytest.mark.parametrize("broken", [{"energy_wh": float("nan")}, {"position": GeoPoint(float("nan"), 8.5)}])
def test_a_drone_with_an_unknown_state_gets_no_order(planner: Planner, broken: dict[str, object]) -> None:
    assert plan(planner, [drone("d1", **broken), drone("d2")], [wanted("m1"), wanted("m2")]) in (
        {"m1": "d2"},
        {"m2": "d2"},
    )


@both
def test_capable_asks_whether_a_charged_drone_of_any_class_could_fly(planner: Planner) -> None:
    assert planner.capable(FLEET, wanted().order)
    assert planner.capable(FLEET, wanted(package_weight_kg=8.0).order)
    assert not planner.capable(FLEET, wanted(package_weight_kg=8.1).order)
    assert not planner.capable(FLEET, wanted(package_weight_kg=3.0, drone_class="light").order)
    assert not planner.capable(FLEET, wanted(drone_class="unknown").order)
    assert not planner.capable(FLEET, wanted(destination=at(8_100.0, 0.0)).order)
    wide = replace(FLEET, service_radius_m=1e6)
    assert not planner.capable(wide, wanted(destination=at(60_000.0, 0.0)).order)
    assert not planner.capable(wide, wanted(pickup=at(60_000.0, 0.0)).order)


# --- choice -----------------------------------------------------------------------------------------------------------


@both
def test_the_nearest_drone_flies(planner: Planner) -> None:
    far, near = drone("d1", position=at(3_000.0, 0.0)), drone("d2", position=at(500.0, 0.0), phase=Phase.RETURNING)
    assert plan(planner, [far, near], [wanted()]) == {"m1": "d2"}


def test_more_assignments_are_better_than_cheaper_ones() -> None:
    """The light drone is nearer to both pickups, but only the heavy one can carry the heavy package."""
    drones = [drone("d1", HEAVY), drone("d2", LIGHT, position=at(3_000.0, 0.0))]
    orders = [wanted("m1", age_s=9_000.0, priority=Priority.URGENT), wanted("m2", package_weight_kg=5.0)]
    assert plan(AssignmentPlanner(), drones, orders) == {"m1": "d2", "m2": "d1"}
    assert plan(GreedyPlanner(), drones, orders) == {"m1": "d1"}


@both
def test_the_higher_priority_is_served_first_when_drones_are_few(planner: Planner) -> None:
    orders = [wanted(f"m{p.value}", priority=p) for p in Priority]
    assert plan(planner, [drone()], orders) == {"m4": "d1"}
    assert plan(planner, [drone("d1"), drone("d2")], orders).keys() == {"m3", "m4"}


@both
def test_the_older_of_equal_orders_is_served_first(planner: Planner) -> None:
    assert plan(planner, [drone()], [wanted("m1", age_s=10.0), wanted("m2", age_s=60.0)]) == {"m2": "d1"}


@both
def test_no_order_starves(planner: Planner) -> None:
    """However urgent and near the orders that keep arriving, a distant one of low priority is served once it is old."""
    rivals = [wanted(f"n{i}", priority=Priority.URGENT, destination=at(10.0, 0.0), deadline_s=300.0) for i in range(20)]
    low = wanted("m1", priority=Priority.LOW, destination=at(5_000.0, 0.0))
    assert "m1" not in plan(planner, [drone()], [low, *rivals])
    bound = PRIORITY_FACTOR[Priority.URGENT] * 2.0 * LEFT_OUT_FACTOR / (LEFT_OUT_FACTOR - 1.0)
    assert plan(planner, [drone()], [replace(low, age_s=bound * 300.0), *rivals]) == {"m1": "d1"}


@both
def test_a_near_deadline_is_served_first_and_a_hopeless_one_is_not(planner: Planner) -> None:
    plain, pressing = wanted("m1"), wanted("m2", deadline_s=200.0)
    assert plan(planner, [drone()], [plain, pressing]) == {"m2": "d1"}
    lost = wanted("m0", deadline_s=20.0)
    assert plan(planner, [drone()], [lost, pressing]) == {"m2": "d1"}


def test_a_near_drone_serves_the_order_that_would_otherwise_be_late() -> None:
    near, far = drone("d1"), drone("d2", position=at(4_000.0, 0.0))
    assert LATE_S > 0.0
    tight = wanted("m2", deadline_s=150.0)
    assert plan(AssignmentPlanner(), [near, far], [wanted("m1", age_s=60.0), tight]) == {"m1": "d2", "m2": "d1"}


@both
def test_pairings_are_sorted_by_message_id(planner: Planner) -> None:
    pairs = planner.plan(FLEET, [drone(f"d{i}") for i in range(5)], [wanted(f"m{i}") for i in (3, 0, 2, 1)])
    assert [p.message_id for p in pairs] == ["m0", "m1", "m2", "m3"]
    assert len({p.drone_id for p in pairs}) == 4


# --- assignment -------------------------------------------------------------------------------------------------------


def test_without_a_feasible_pair_the_assignment_is_empty() -> None:
    assert assign(np.ones((3, 2)), np.zeros((3, 2), dtype=bool)) == []


@pytest.mark.parametrize("shape", [(400, 400), (300, 500), (500, 300)])
def test_above_the_exact_size_no_pair_and_little_cost_is_lost(shape: tuple[int, int]) -> None:
    assert min(shape) > EXACT_PAIRS
    rng = np.random.default_rng(7)
    cost = -rng.uniform(1.0, 8.0, shape[1]) * rng.uniform(2_000.0, 3_000.0, shape)
    feasible = rng.random(shape) < 0.1
    feasible[:20, :] = False
    feasible[:20, 0] = True  # twenty rows compete for the same column
    pairs = assign(cost, feasible)
    best = _reference(cost, feasible)
    assert all(feasible[pair] for pair in pairs)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs) == len(best)
    assert sum(cost[pair] for pair in pairs) <= 0.97 * sum(cost[pair] for pair in best)


def test_any_number_of_identical_drones_is_planned_exactly() -> None:
    """A fleet at the depot, and a few drones in flight that are nearer to some orders."""
    many = 2 * EXACT_PAIRS
    rng = np.random.default_rng(7)
    rest, flying = rng.uniform(-8_000.0, -1_000.0, many), rng.uniform(-8_000.0, -1_000.0, (5, many))
    cost, feasible = np.vstack([rest, flying]), np.ones((6, many), dtype=bool)
    feasible[0, :3] = False  # out of reach for the drones at the depot
    feasible[1:, 3:] = rng.random((5, many - 3)) < 0.5
    room = np.array([many, 1, 1, 1, 1, 1])
    pairs = assign(cost, feasible, room)
    rows = np.repeat(np.arange(6), room)
    best = _reference(cost[rows], feasible[rows])
    assert len(pairs) == len(best) == many
    assert all(feasible[pair] for pair in pairs)
    assert sum(cost[pair] for pair in pairs) == pytest.approx(sum(cost[rows][pair] for pair in best))


@both
def test_drones_in_one_place_are_planned_together_whatever_their_energy(planner: Planner) -> None:
    drones = [drone(f"d{i}", energy_wh=400.0 + i) for i in range(6)]
    pairs = planner.plan(FLEET, drones, [wanted(f"m{i}") for i in range(4)])
    assert len({p.message_id for p in pairs}) == len({p.drone_id for p in pairs}) == 4
    assert {p.drone_id for p in pairs} == {"d2", "d3", "d4", "d5"}  # those with the most energy


@both
def test_drones_with_little_energy_fly_near_orders(planner: Planner) -> None:
    """Of otherwise equal drones in one place, the least capable flies."""
    full, low = LIGHT.battery_wh, 0.4 * LIGHT.battery_wh
    drones = [drone(f"d{i}", energy_wh=full if i % 2 else low) for i in range(6)]
    near = [wanted(f"near{i}", destination=at(500.0, 0.0), priority=Priority.URGENT) for i in range(3)]
    far = [wanted(f"far{i}", destination=at(6_000.0, 0.0), priority=Priority.LOW) for i in range(3)]
    pairs = {pair.message_id: pair.drone_id for pair in planner.plan(FLEET, drones, [*near, *far])}
    assert {pairs.get(f"far{i}") for i in range(3)} == {"d1", "d3", "d5"}
    assert {pairs.get(f"near{i}") for i in range(3)} == {"d0", "d2", "d4"}


def _reference(cost: np.ndarray, feasible: np.ndarray) -> list[tuple[int, int]]:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(np.where(feasible, cost, 1e9))
    return [(r, c) for r, c in zip(rows, columns, strict=True) if feasible[r, c]]


def test_planning_does_not_load_the_rest_of_scipy() -> None:
    code = (
        "import sys, drone_orchestrator.planning.planner;"
        "sys.exit('scipy.optimize' in sys.modules or 'scipy.sparse' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode
        == 0
    )


def test_orders_without_a_pickup_are_loaded_at_the_depot() -> None:
    drones = [drone("d1", position=at(2_000.0, 0.0)), drone("d2", position=at(-2_000.0, 0.0))]
    there = wanted("m1", pickup=at(1_900.0, 0.0))
    assert plan(AssignmentPlanner(), drones, [there]) == {"m1": "d1"}
    assert plan(AssignmentPlanner(), drones, [wanted("m1", pickup=DEPOT)]) == plan(
        AssignmentPlanner(), drones, [wanted("m1")]
    )


def test_a_single_order_goes_to_the_best_class_in_one_place() -> None:
    drones = [drone("d1", LIGHT, energy_wh=1.0), drone("d2", HEAVY), drone("d3", LIGHT)]
    assert plan(AssignmentPlanner(), drones, [wanted("m1")]) == {"m1": "d3"}, "the faster of those with enough energy"


# --- how scipy's solver is loaded -------------------------------------------------------------------------------------


def test_the_public_solver_is_used_if_scipy_has_moved_the_private_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = ModuleSpec("scipy", None, is_package=True)
    elsewhere.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(assignment, "find_spec", lambda name: elsewhere)
    assert assignment._load_solver() is scipy.optimize.linear_sum_assignment


def test_a_private_module_without_the_solver_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "module_from_spec", lambda spec: ModuleType("_lsap"))
    assert assignment._load_solver() is scipy.optimize.linear_sum_assignment
