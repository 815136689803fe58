"""One validator for all intakes: every field has its rule, every refusal its field and code."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from fleets import DEPOT, FLEET, HEAVY, LIGHT, at

from drone_orchestrator.core.admission import (
    FIELDS,
    Code,
    InvalidOrder,
    check_serviceable,
    message_id_from_key,
    parse_order,
    same_request,
)
from drone_orchestrator.core.types import FleetSpec, GeoPoint, Order, Priority
from drone_orchestrator.planning.geo import distance_between_m
from drone_orchestrator.planning.planner import AssignmentPlanner

NEW_ID = "123e4567-e89b-42d3-a456-426614174000"
MINIMAL: dict[str, object] = {
    "order_id": "order-1",
    "destination": {"lat": 47.41, "lon": 8.52},
    "package_weight_kg": 1.5,
}


def parse(**fields: object) -> Order:
    return parse_order({**MINIMAL, **fields}, now_s=1_000.0, new_id=NEW_ID)


def refusal(document: Any) -> tuple[str, Code]:
    with pytest.raises(InvalidOrder) as caught:
        parse_order(document, now_s=1_000.0, new_id=NEW_ID)
    assert caught.value.reason
    assert caught.value.field in str(caught.value)
    return caught.value.field, caught.value.code


# --- accepted orders --------------------------------------------------------------------------------------------------


def test_a_minimal_order_is_accepted() -> None:
    assert parse() == Order(NEW_ID, "order-1", GeoPoint(47.41, 8.52), 1.5, 1_000.0)


def test_a_full_order_is_accepted() -> None:
    assert parse(
        message_id="00000000-0000-4000-8000-00000000000A",
        pickup={"lat": 47, "lon": -180},
        priority="high",
        deadline_s=600,
        drone_class="heavy",
    ) == Order(
        message_id="00000000-0000-4000-8000-00000000000a",
        order_id="order-1",
        destination=GeoPoint(47.41, 8.52),
        package_weight_kg=1.5,
        submitted_at=1_000.0,
        pickup=GeoPoint(47.0, -180.0),
        priority=Priority.HIGH,
        deadline_s=600.0,
        drone_class="heavy",
    )


def test_optional_fields_may_be_null() -> None:
    assert parse(**dict.fromkeys(FIELDS - MINIMAL.keys())) == parse()


def test_an_id_is_generated_only_if_there_is_none() -> None:
    made = []

    def make() -> str:
        made.append(1)
        return NEW_ID

    own = "9b2f0f5c-7b1e-4c7e-9a30-0d6c5f6a1b2c"
    assert parse_order({**MINIMAL, "message_id": own}, now_s=0.0, new_id=make).message_id == own
    assert made == []
    assert parse_order(MINIMAL, now_s=0.0, new_id=make).message_id == NEW_ID
    assert made == [1]


def test_the_trace_context_is_kept() -> None:
    assert parse_order(MINIMAL, now_s=0.0, new_id=NEW_ID, trace_context="00-ab-cd-01").trace_context == "00-ab-cd-01"


@pytest.mark.parametrize("priority", list(Priority))
def test_a_priority_is_given_by_name_or_number(priority: Priority) -> None:
    assert parse(priority=priority.name.lower()).priority is priority
    assert parse(priority=priority.name).priority is priority
    assert parse(priority=int(priority)).priority is priority


@pytest.mark.parametrize("order_id", ["a", "A-1_b.c", "x" * 64])
def test_these_order_ids_are_accepted(order_id: str) -> None:
    assert parse(order_id=order_id).order_id == order_id


def test_numbers_are_rounded_to_what_messages_can_carry() -> None:
    order = parse(package_weight_kg=2.26796185, deadline_s=1e-45)
    assert (order.package_weight_kg, order.deadline_s) == (2.2679617, 1e-45)


def test_an_order_accepted_before_rounding_existed_is_the_same_order() -> None:
    order = parse(package_weight_kg=2.26796185, deadline_s=600.00001)
    older = replace(order, package_weight_kg=2.26796185, deadline_s=600.00001)
    assert same_request(order, older) and same_request(older, order)
    assert not same_request(order, replace(older, package_weight_kg=2.26797))
    assert not same_request(order, replace(older, deadline_s=None))


# --- refused orders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted(MINIMAL))
def test_a_missing_required_field_is_refused(field: str) -> None:
    without = {k: v for k, v in MINIMAL.items() if k != field}
    assert refusal(without) == (field, Code.MISSING)
    assert refusal({**MINIMAL, field: None}) == (field, Code.MISSING)


@pytest.mark.parametrize("document", [None, [], "order", 7, True])
def test_a_document_must_be_an_object(document: object) -> None:
    assert refusal(document) == ("", Code.WRONG_TYPE)


HUGE = 10**400
BAD: list[tuple[str, object, str, Code]] = [
    ("order_id", 7, "order_id", Code.WRONG_TYPE),
    ("order_id", "", "order_id", Code.MISSING),
    ("order_id", "x" * 65, "order_id", Code.TOO_LONG),
    ("order_id", "a/b", "order_id", Code.BAD_FORMAT),
    ("order_id", "a b", "order_id", Code.BAD_FORMAT),
    ("order_id", "a\n", "order_id", Code.BAD_FORMAT),
    ("order_id", "\ud800", "order_id", Code.BAD_FORMAT),
    ("order_id", "é", "order_id", Code.BAD_FORMAT),
    ("order_id", "..", "order_id", Code.BAD_FORMAT),
    ("message_id", 7, "message_id", Code.WRONG_TYPE),
    ("message_id", "", "message_id", Code.BAD_FORMAT),
    ("message_id", NEW_ID + "\n", "message_id", Code.BAD_FORMAT),
    ("message_id", "{" + NEW_ID + "}", "message_id", Code.BAD_FORMAT),
    ("message_id", "a/../leader", "message_id", Code.BAD_FORMAT),
    ("destination", "47.4,8.5", "destination", Code.WRONG_TYPE),
    ("destination", [47.4, 8.5], "destination", Code.WRONG_TYPE),
    ("destination", {"lat": 47.4}, "destination.lon", Code.MISSING),
    ("destination", {"lat": None, "lon": 8.5}, "destination.lat", Code.MISSING),
    ("destination", {"lat": "47.4", "lon": 8.5}, "destination.lat", Code.WRONG_TYPE),
    ("destination", {"lat": 90.1, "lon": 8.5}, "destination.lat", Code.OUT_OF_RANGE),
    ("destination", {"lat": 47.4, "lon": -180.1}, "destination.lon", Code.OUT_OF_RANGE),
    ("destination", {"lat": float("nan"), "lon": 8.5}, "destination.lat", Code.NOT_FINITE),
    ("destination", {"lat": 47.4, "lon": 8.5, "alt": 3}, "destination.alt", Code.UNKNOWN_FIELD),
    ("pickup", {"lat": HUGE, "lon": 8.5}, "pickup.lat", Code.OUT_OF_RANGE),
    ("pickup", {}, "pickup.lat", Code.MISSING),
    ("package_weight_kg", True, "package_weight_kg", Code.WRONG_TYPE),
    ("package_weight_kg", "1", "package_weight_kg", Code.WRONG_TYPE),
    ("package_weight_kg", 0, "package_weight_kg", Code.OUT_OF_RANGE),
    ("package_weight_kg", -0.0, "package_weight_kg", Code.OUT_OF_RANGE),
    ("package_weight_kg", -HUGE, "package_weight_kg", Code.OUT_OF_RANGE),
    ("package_weight_kg", 1000.1, "package_weight_kg", Code.OUT_OF_RANGE),
    ("package_weight_kg", 1e-46, "package_weight_kg", Code.OUT_OF_RANGE),
    ("package_weight_kg", 1000.00001, "package_weight_kg", Code.OUT_OF_RANGE),
    ("package_weight_kg", float("inf"), "package_weight_kg", Code.NOT_FINITE),
    ("priority", "asap", "priority", Code.BAD_FORMAT),
    ("priority", 0, "priority", Code.OUT_OF_RANGE),
    ("priority", HUGE, "priority", Code.OUT_OF_RANGE),
    ("priority", True, "priority", Code.WRONG_TYPE),
    ("priority", 2.0, "priority", Code.WRONG_TYPE),
    ("deadline_s", 0, "deadline_s", Code.OUT_OF_RANGE),
    ("deadline_s", 1e-46, "deadline_s", Code.OUT_OF_RANGE),
    ("deadline_s", 7 * 24 * 3600 + 1, "deadline_s", Code.OUT_OF_RANGE),
    ("deadline_s", float("nan"), "deadline_s", Code.NOT_FINITE),
    ("drone_class", 1, "drone_class", Code.WRONG_TYPE),
    ("drone_class", "", "drone_class", Code.BAD_FORMAT),
    ("drone_class", "light/../x", "drone_class", Code.BAD_FORMAT),
    ("drone_class", "x" * 33, "drone_class", Code.TOO_LONG),
    ("colour", "red", "colour", Code.UNKNOWN_FIELD),
]


@pytest.mark.parametrize(("field", "value", "culprit", "code"), BAD)
def test_an_invalid_field_is_refused(field: str, value: object, culprit: str, code: Code) -> None:
    assert refusal({**MINIMAL, field: value}) == (culprit, code)


def test_the_name_of_an_unknown_field_is_safe_to_show() -> None:
    field, code = refusal({**MINIMAL, "\ud800" + "x" * 1_000: 1})
    assert code is Code.UNKNOWN_FIELD
    assert len(field.encode("ascii")) < 100
    assert refusal({**MINIMAL, 7: 1}) == ("a number", Code.UNKNOWN_FIELD)


# --- idempotency keys -------------------------------------------------------------------------------------------------


def test_an_idempotency_key_always_means_the_same_message() -> None:
    """Fixed forever: another value would turn a repeated order into a second one."""
    assert message_id_from_key("order-1") == "09b9fd8c-d468-5d78-9aec-49f446770d94"
    assert message_id_from_key("order-2") != message_id_from_key("order-1")
    assert uuid.UUID(message_id_from_key("é" * 128)).version == 5


def test_an_idempotency_key_that_is_a_uuid_is_the_message_id() -> None:
    assert message_id_from_key(NEW_ID.upper()) == NEW_ID


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", Code.MISSING),
        ("x" * 129, Code.TOO_LONG),
        ("a\nb", Code.BAD_FORMAT),
        ("\ud800", Code.BAD_FORMAT),
        (7, Code.WRONG_TYPE),
    ],
)
def test_an_invalid_idempotency_key_is_refused(key: Any, code: Code) -> None:
    with pytest.raises(InvalidOrder) as caught:
        message_id_from_key(key)
    assert (caught.value.field, caught.value.code) == ("idempotency_key", code)


# --- orders that the fleet can serve ----------------------------------------------------------------------------------


def unserviceable(order: Order, fleet: FleetSpec = FLEET) -> tuple[str, Code] | None:
    try:
        check_serviceable(order, fleet, AssignmentPlanner().capable)
    except InvalidOrder as error:
        return error.field, error.code
    return None


def ordered(**fields: Any) -> Order:
    return replace(Order(NEW_ID, "order-1", at(1_000.0, 0.0), 1.0, 0.0), **fields)


def test_orders_that_the_fleet_cannot_serve_are_refused() -> None:
    assert unserviceable(ordered()) is None
    assert unserviceable(ordered(package_weight_kg=8.0, drone_class="heavy", pickup=at(0.0, 500.0))) is None


@pytest.mark.parametrize(
    ("fields", "culprit", "code"),
    [
        ({"drone_class": "submarine"}, "drone_class", Code.UNKNOWN_CLASS),
        ({"package_weight_kg": HEAVY.max_payload_kg + 0.1}, "package_weight_kg", Code.TOO_HEAVY),
        (
            {"package_weight_kg": LIGHT.max_payload_kg + 0.1, "drone_class": "light"},
            "package_weight_kg",
            Code.TOO_HEAVY,
        ),
        ({"destination": at(8_100.0, 0.0)}, "destination", Code.OUT_OF_AREA),
        ({"pickup": at(0.0, -8_100.0)}, "pickup", Code.OUT_OF_AREA),
    ],
)
def test_an_order_that_no_drone_could_ever_fly_is_refused(fields: dict[str, Any], culprit: str, code: Code) -> None:
    assert unserviceable(ordered(**fields)) == (culprit, code)


def test_an_order_beyond_a_full_battery_is_refused() -> None:
    wide = replace(FLEET, service_radius_m=100_000.0)
    assert unserviceable(ordered(destination=at(60_000.0, 0.0)), wide) == ("destination", Code.BEYOND_ENERGY)


def test_a_fleet_without_classes_serves_no_order() -> None:
    assert unserviceable(ordered(), replace(FLEET, classes=())) == ("drone_class", Code.UNKNOWN_CLASS)


@pytest.mark.parametrize("east_m", [0.0, 1_234.5, -7_000.0])
def test_the_service_radius_is_measured_as_in_the_planner(east_m: float) -> None:
    there = at(east_m, 2_000.0)
    away_m = distance_between_m(DEPOT, there)
    for radius_m, served in ((away_m * (1 + 1e-9), True), (away_m * (1 - 1e-9), False)):
        fleet = replace(FLEET, service_radius_m=radius_m)
        assert (unserviceable(ordered(destination=there), fleet) is None) is served
        assert AssignmentPlanner().capable(fleet, ordered(destination=there)) is served
