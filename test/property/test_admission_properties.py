"""Any input gives an order that satisfies every rule, or ``InvalidOrder``; never anything else."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drone_orchestrator.core.admission import (
    FIELDS,
    MAX_DEADLINE_S,
    MAX_WEIGHT_KG,
    InvalidOrder,
    message_id_from_key,
    parse_message_id,
    parse_order,
    same_request,
)
from drone_orchestrator.core.types import Order, Priority

NEW_ID = "123e4567-e89b-42d3-a456-426614174000"

texts = st.text(st.characters(exclude_categories=()), max_size=40)  # surrogates and control characters, too
scalars = st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats() | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=12)
points = st.fixed_dictionaries({"lat": st.floats(-91, 91), "lon": st.floats(-181, 181)})
near_orders = st.fixed_dictionaries(
    {
        "order_id": st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True) | anything,
        "destination": points | anything,
        "package_weight_kg": st.floats(-1, 1001) | st.integers(-1, 1001) | anything,
    },
    optional={
        "pickup": points | anything,
        "priority": st.sampled_from(["low", "NORMAL", 1, 4, 5]) | anything,
        "deadline_s": st.floats(-1, MAX_DEADLINE_S + 1) | anything,
        "drone_class": st.sampled_from(["light", "heavy-2"]) | anything,
        "message_id": st.uuids().map(str) | st.uuids().map(lambda u: str(u).upper()) | anything,
    },
)


def parse(document: Any) -> Order | InvalidOrder:
    try:
        return parse_order(document, now_s=5.0, new_id=NEW_ID)
    except InvalidOrder as error:
        return error


def check(document: Any) -> None:
    result = parse(document)
    if isinstance(result, InvalidOrder):
        json.dumps([result.field, result.reason, result.code.value]).encode()
        str(result).encode("ascii", "strict")
        assert len(str(result)) < 1_000
        return
    assert isinstance(document, dict)
    assert document.keys() <= FIELDS
    for point in (result.destination, result.pickup):
        assert point is None or (abs(point.lat_deg) <= 90.0 and abs(point.lon_deg) <= 180.0)
    assert 0.0 < result.package_weight_kg <= MAX_WEIGHT_KG
    assert result.deadline_s is None or 0.0 < result.deadline_s <= MAX_DEADLINE_S
    assert all(math.isfinite(x) for x in (result.package_weight_kg, result.destination.lat_deg))
    assert isinstance(result.priority, Priority)
    assert parse_message_id(result.message_id) == result.message_id
    assert "/" not in result.order_id
    assert 1 <= len(result.order_id) <= 64


@given(anything | st.dictionaries(st.sampled_from(sorted(FIELDS)) | texts, anything))
def test_any_document_gives_a_valid_order_or_is_refused(document: Any) -> None:
    check(document)


@given(near_orders)
def test_a_nearly_valid_document_gives_a_valid_order_or_is_refused(document: dict[str, Any]) -> None:
    check(document)


@given(st.integers(1, 100_000), st.sampled_from(["list", "object"]), st.sampled_from(sorted(FIELDS)))
def test_a_very_deep_document_gives_a_valid_order_or_is_refused(depth: int, shape: str, field: str) -> None:
    deep: Any = 1
    for _ in range(depth % 20_000):
        deep = [deep] if shape == "list" else {"lat": deep}
    document = {"order_id": "a", "destination": {"lat": 1, "lon": 2}, "package_weight_kg": 1}
    check({**document, field: deep})


@given(near_orders)
def test_the_same_document_gives_the_same_order(document: dict[str, Any]) -> None:
    first, second = parse(document), parse(dict(reversed(document.items())))
    if isinstance(first, Order) and isinstance(second, Order):
        assert same_request(first, second)
    assert isinstance(first, Order) is isinstance(second, Order)


@given(texts)
def test_any_idempotency_key_gives_a_message_id_or_is_refused(key: str) -> None:
    try:
        message_id = message_id_from_key(key)
    except InvalidOrder as error:
        assert error.field == "idempotency_key"
    else:
        assert parse_message_id(message_id) == message_id == message_id_from_key(key)
