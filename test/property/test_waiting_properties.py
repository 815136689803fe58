"""The queue of waiting orders always answers like a plain sort of all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drone_orchestrator.core.leader.waiting_orders import WaitingOrders
from drone_orchestrator.core.planner import urgency
from drone_orchestrator.core.types import GeoPoint, Order, Priority

PLACE = GeoPoint(37.76, -122.39)
LANES = ("light", "heavy")
steps = st.lists(
    st.tuples(
        st.sampled_from(("add", "remove")),
        st.integers(0, 12),
        st.sampled_from(LANES),
        st.sampled_from(tuple(Priority)),
        st.integers(0, 2000),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps, st.integers(0, 2500), st.integers(0, 15))
def test_the_most_urgent_orders_of_a_lane_come_first_after_any_changes(
    script: list[tuple[str, int, str, Priority, int, bool]], now_s: int, most: int
) -> None:
    waiting = WaitingOrders()
    model: dict[str, tuple[Order, str, bool]] = {}
    for action, number, lane, priority, submitted_at, begun in script:
        id_ = f"m{number}"
        if action == "remove":
            assert waiting.remove(id_) == (model.pop(id_)[1] if id_ in model else "")
            continue
        wants = lane if number % 2 else None
        order = Order(id_, f"o{number}", PLACE, 1.0, float(submitted_at), priority=priority, drone_class=wants)
        waiting.add(order, lane, begun=begun)
        model.pop(id_, None)
        model[id_] = (order, lane, begun)
    assert len(waiting) == len(model)
    assert all(id_ in waiting for id_ in model)
    for lane in LANES:
        orders = [order for order, its_lane, _ in model.values() if its_lane == lane]
        assert waiting.any_open(lane) == any(order.drone_class is None for order in orders)

        def most_urgent_first(order: Order) -> tuple[float, float, str]:
            return -urgency(order, now_s - order.submitted_at), order.submitted_at, order.message_id

        expected = [order.message_id for order in sorted(orders, key=most_urgent_first)][:most]
        assert [planned.order.message_id for planned in waiting.most_urgent(lane, most, float(now_s))] == expected
        not_begun = [id_ for id_, (_, its_lane, begun) in model.items() if its_lane == lane and not begun]
        assert waiting.not_begun(lane, most) == not_begun[:most]
    assert {lane for _, lane, _ in model.values()} <= set(waiting.lanes)
