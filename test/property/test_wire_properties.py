"""Intake, leader and drone judge the same numbers: an admitted order survives conversion to messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fleets import FLEET
from hypothesis import assume, given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from drone_interfaces.action import ExecuteDelivery
from rclpy.serialization import deserialize_message, serialize_message

from drone_orchestrator.core.admission import (
    MAX_DEADLINE_S,
    MAX_WEIGHT_KG,
    InvalidOrder,
    check_serviceable,
    parse_order,
    rounded_to_float32,
)
from drone_orchestrator.core.types import Order
from drone_orchestrator.ros import messages

NEW_ID = "123e4567-e89b-42d3-a456-426614174000"


def numbers(least: float, most: float) -> st.SearchStrategy[Any]:
    """Return a strategy for numbers near both bounds, tiny ones, and ones that are equal in single precision."""
    near = st.sampled_from([least, most, 0.0, -0.0, 5e-324, 1e-46, 7e-46, 1e-45, 1.401298464324817e-45, 1e-38])
    nudged = st.tuples(near, st.floats(-1e-4, 1e-4)).map(sum)
    return near | nudged | st.floats(least, most) | st.integers(int(least), int(most))


weights, deadlines = numbers(0.0, MAX_WEIGHT_KG), numbers(0.0, MAX_DEADLINE_S)
points = st.fixed_dictionaries({"lat": numbers(-90.0, 90.0), "lon": numbers(-180.0, 180.0)})
documents = st.fixed_dictionaries(
    {"order_id": st.just("o-1"), "destination": points, "package_weight_kg": weights},
    optional={"pickup": points, "deadline_s": deadlines, "priority": st.integers(1, 4)},
)


def admitted(document: dict[str, Any]) -> Order:
    try:
        return parse_order(document, now_s=0.0, new_id=NEW_ID)
    except InvalidOrder:
        assume(False)
        raise


def over_the_wire(order: Order) -> ExecuteDelivery.Goal:
    goal = messages.goal_to_msg(order, attempt=1, epoch=7, instance_id="i")
    return deserialize_message(serialize_message(goal), ExecuteDelivery.Goal)


@given(documents)
def test_the_drone_gets_the_order_that_was_admitted(document: dict[str, Any]) -> None:
    order = admitted(document)

    goal = over_the_wire(order)

    assert messages.order_from_msg(goal.order, goal.message_id) == order


@given(documents)
def test_the_service_recognises_an_order_submitted_over_http(document: dict[str, Any]) -> None:
    order = admitted(document)

    goal = over_the_wire(order)
    again = parse_order(messages.order_document(goal.order, goal.message_id), now_s=0.0, new_id="unused")

    assert again == order


@given(st.floats(0.0, 1.0, exclude_min=True) | st.floats(0.5, 30.0), st.floats(-1e-6, 1e-6))
def test_a_weight_that_the_class_can_carry_is_accepted_by_the_drone(max_kg: float, nudge: float) -> None:
    fleet = replace(FLEET, classes=(replace(FLEET.classes[0], max_payload_kg=max_kg),), no_fly_zones=())
    depot = {"lat": fleet.depot.lat_deg, "lon": fleet.depot.lon_deg}
    order = admitted({"order_id": "o-1", "destination": depot, "package_weight_kg": max_kg + nudge})
    try:
        check_serviceable(order, fleet, lambda fleet, order: True)
    except InvalidOrder:
        assume(False)

    received = messages.order_from_msg(over_the_wire(order).order, NEW_ID)

    assert 0.0 < received.package_weight_kg <= max_kg


@given(st.floats(width=32) | st.floats())
def test_rounding_gives_the_shortest_decimal_of_the_single_precision_value(value: float) -> None:
    with np.errstate(over="ignore"):
        expected = float(str(np.float32(value)))
    rounded = rounded_to_float32(value)
    assert rounded == expected or (np.isnan(rounded) and np.isnan(expected))
