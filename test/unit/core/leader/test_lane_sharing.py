"""Sharing of drones: each lane gets its own first, then drones that others may lend, within every bound."""

from __future__ import annotations

from collections.abc import Sequence

from fleets import FLEET, HEAVY, LIGHT, drone, wanted
from hypothesis import given, settings
from hypothesis import strategies as st

from drone_orchestrator.core.leader.lane_sharing import FEWEST_ORDERS, LaneRound, allot, may_carry
from drone_orchestrator.core.planner import Pairing, PlannedOrder
from drone_orchestrator.core.types import DroneClass, DroneReport, FleetSpec, Order
from drone_orchestrator.planning.planner import AssignmentPlanner

PLANNER = AssignmentPlanner()


def lane(
    drone_class: DroneClass,
    drones: int = 0,
    orders: Sequence[PlannedOrder] = (),
    *,
    room: int = 1000,
    lendable: int = 1000,
    deserted: bool = False,
) -> LaneRound:
    free = [drone(f"{drone_class.name}-{n}", drone_class) for n in range(drones)]
    return LaneRound(drone_class, free, orders, room, lendable, deserted)


def some(count: int, kind: str = "a", **fields: object) -> list[PlannedOrder]:
    return [wanted(f"{kind}{n}", **fields) for n in range(count)]


def heavy(count: int) -> list[PlannedOrder]:
    return some(count, "h", package_weight_kg=5.0)


def by_class(pairs: Sequence[Pairing]) -> dict[str, int]:
    found: dict[str, int] = {}
    for pair in pairs:
        name = pair.drone_id.split("-", maxsplit=1)[0]
        found[name] = found.get(name, 0) + 1
    return found


def test_each_lane_flies_its_own_orders_with_its_own_drones() -> None:
    pairs = allot(FLEET, PLANNER, [lane(LIGHT, 2, some(2)), lane(HEAVY, 2, heavy(2))])
    assert {p.message_id: p.drone_id.split("-")[0] for p in pairs} == {
        "a0": "light",
        "a1": "light",
        "h0": "heavy",
        "h1": "heavy",
    }


def test_orders_left_over_in_a_lane_fly_with_drones_that_others_lend() -> None:
    pairs = allot(FLEET, PLANNER, [lane(LIGHT, 1, some(4)), lane(HEAVY, 4, lendable=2)])
    assert by_class(pairs) == {"light": 1, "heavy": 2}


def test_a_lanes_own_orders_come_before_those_it_lends_to() -> None:
    pairs = allot(FLEET, PLANNER, [lane(LIGHT, 0, some(9)), lane(HEAVY, 3, heavy(2), lendable=3)])
    assert {p.message_id for p in pairs} >= {"h0", "h1"}
    assert by_class(pairs) == {"heavy": 3}


def test_a_class_that_lends_nothing_keeps_its_idle_drones() -> None:
    assert allot(FLEET, PLANNER, [lane(LIGHT, 0, some(3)), lane(HEAVY, 3, lendable=0)]) == []


def test_a_lane_without_drones_may_borrow_all_that_the_lenders_orders_leave() -> None:
    pairs = allot(FLEET, PLANNER, [lane(LIGHT, 0, some(9), deserted=True), lane(HEAVY, 3, heavy(1), lendable=0)])
    assert by_class(pairs) == {"heavy": 3}
    assert "h0" in {p.message_id for p in pairs}


def test_an_order_that_names_its_class_is_never_lent_a_drone() -> None:
    lanes = [lane(LIGHT, 0, some(2, drone_class="light"), deserted=True), lane(HEAVY, 2)]
    assert allot(FLEET, PLANNER, lanes) == []


def test_orders_too_heavy_for_the_lender_do_not_crowd_out_lighter_ones() -> None:
    orders = [*some(5, "h", package_weight_kg=5.0), *some(1)]
    pairs = allot(FLEET, PLANNER, [lane(LIGHT, 1), lane(HEAVY, 0, orders, room=1)])
    assert [(p.message_id, p.drone_id) for p in pairs] == [("a0", "light-0")]


def test_the_bound_of_a_lane_covers_own_and_borrowed_drones_together() -> None:
    pairs = allot(FLEET, PLANNER, [lane(LIGHT, 2, some(9), room=3), lane(HEAVY, 9)])
    assert by_class(pairs) == {"light": 2, "heavy": 1}


def test_a_lane_over_its_bound_gets_nothing() -> None:
    assert allot(FLEET, PLANNER, [lane(LIGHT, 2, some(2), room=-1), lane(HEAVY, 2)]) == []


def test_the_most_urgent_orders_go_first_if_room_is_short() -> None:
    pairs = allot(FLEET, PLANNER, [lane(LIGHT, 5, some(5), room=2)])
    assert sorted(p.message_id for p in pairs) == ["a0", "a1"]


def test_two_borrowers_together_take_no_more_than_the_lender_allows() -> None:
    third = DroneClass("third", 2.5, 18.0, 5.0, 80.0, 500.0, 6.0, 900.0)
    lanes = [lane(LIGHT, 0, some(5)), lane(third, 0, some(5, "t")), lane(HEAVY, 6, lendable=3)]
    assert by_class(allot(FLEET, PLANNER, lanes)) == {"heavy": 3}


def test_class_and_payload_decide_which_drones_may_carry_an_order() -> None:
    order = wanted(package_weight_kg=2.5).order
    assert may_carry(LIGHT, order)
    assert not may_carry(LIGHT, wanted(package_weight_kg=2.6).order)
    assert not may_carry(HEAVY, wanted(drone_class="light").order)


class Greedy:
    """A planner that pairs drones and orders in sequence, as many as possible."""

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        return [Pairing(w.order.message_id, d.drone_id) for d, w in zip(drones, orders, strict=False)]

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        return True


COUNT = st.integers(0, 6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(COUNT, COUNT, COUNT, COUNT, st.booleans()), min_size=1, max_size=4))
def test_every_bound_holds_whatever_the_planner_proposes(shape: list[tuple[int, int, int, int, bool]]) -> None:
    classes = [DroneClass(f"c{n}", 2.5, 18.0, 5.0, 80.0, 500.0, 6.0, 900.0) for n in range(len(shape))]
    lanes = [
        lane(c, drones, some(orders, f"{c.name}-"), room=room, lendable=lendable, deserted=deserted)
        for c, (drones, orders, room, lendable, deserted) in zip(classes, shape, strict=True)
    ]
    pairs = allot(FLEET, Greedy(), lanes)

    assert len({p.drone_id for p in pairs}) == len(pairs) == len({p.message_id for p in pairs})
    for each in lanes:
        name = each.drone_class.name
        mine = [p for p in pairs if p.message_id.startswith(f"{name}-")]
        assert len(mine) <= each.room
        lent = [p for p in pairs if p.drone_id.startswith(f"{name}-") and p not in mine]
        to_deserted = [
            p for p in lent if next(b for b in lanes if p.message_id.startswith(b.drone_class.name)).deserted
        ]
        assert len(lent) - len(to_deserted) <= each.lendable
        own_served = [p for p in mine if p.drone_id.startswith(f"{name}-")]
        assert len(own_served) == min(len(each.free), len(each.orders), each.room), "its own drones come first"


class Counting(AssignmentPlanner):
    """A planner that records the number of orders considered by each plan."""

    def __init__(self) -> None:
        self.looked_at: list[int] = []

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        self.looked_at.append(len(orders))
        return super().plan(fleet, drones, orders)


def test_few_drones_consider_only_the_most_urgent_orders() -> None:
    planner = Counting()
    pairs = allot(FLEET, planner, [lane(LIGHT, 1, some(200)), lane(HEAVY)])
    assert len(pairs) == 1
    assert planner.looked_at == [FEWEST_ORDERS]


def test_orders_that_no_drone_can_fly_now_block_no_other() -> None:
    planner = Counting()
    pairs = allot(FLEET, planner, [lane(LIGHT, 1, heavy(100) + some(1)), lane(HEAVY)])
    assert [pair.message_id for pair in pairs] == ["a0"]
    assert planner.looked_at == [FEWEST_ORDERS, 101]
