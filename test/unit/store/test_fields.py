"""One table per stored record names its fields, and the check for finite numbers follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

import pytest

from drone_orchestrator.core import types
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    CommandAction,
    GeoPoint,
    LeaderRecord,
    OperatorCommand,
    Order,
    Saga,
    SagaEvent,
    SagaStatus,
)
from drone_orchestrator.store import codec, json_text
from drone_orchestrator.store.codec import encode
from drone_orchestrator.store.fields import Table, number, text

POINT = GeoPoint(48.0, 11.0)
ORDER = Order("m", "o", POINT, 1.0, 2.0, pickup=POINT, deadline_s=3.0)
RECORDS = (
    ORDER,
    Saga("m", ORDER, SagaStatus.PENDING, 1.0, 2.0),
    SagaEvent("m", 1, "accepted", 1.0, 1, SagaStatus.PENDING, order=ORDER),
    CancelRequest("m", 1.0),
    OperatorCommand("m", CommandAction.RETRY, 1.0),
    Breaker("d", BreakerState.CLOSED, 1),
    LeaderRecord("a", "i", 1.0),
)


def with_each_float(record: Any, value: float) -> list[tuple[str, Any]]:
    """Return each float's path, nested ones too, with a copy of ``record`` that has ``value`` in its place."""
    hints = get_type_hints(type(record), vars(types))
    made = []
    for field in fields(record):
        inner = getattr(record, field.name)
        if hints[field.name] in (float, float | None):
            made.append((field.name, replace(record, **{field.name: value})))
        elif isinstance(inner, (GeoPoint, Order)):
            nested = with_each_float(inner, value)
            made += [(f"{field.name}.{path}", replace(record, **{field.name: part})) for path, part in nested]
    return made


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_no_number_of_any_record_may_be_infinite_or_nan(record: Any, value: float) -> None:
    made = with_each_float(record, value)
    assert made
    for path, broken in made:
        with pytest.raises(ValueError, match="JSON compliant"):
            encode(broken)
            pytest.fail(f"{path} was written as {value}")


@pytest.mark.skipif(json_text.orjson is None, reason="the fast path needs orjson")
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_the_fast_path_checks_each_float_once(record: Any) -> None:
    table = codec._TABLES[type(record)]
    for path, changed in with_each_float(record, 1000.0):
        zero = dict(with_each_float(record, 0.0))[path]
        assert table.sum_of_floats(changed) - table.sum_of_floats(zero) == 1000.0, path


@dataclass(frozen=True)
class Spot:
    name: str
    height_m: float = 0.0


def test_a_table_that_lacks_a_field_of_its_record_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Spot.*height_m"):
        Table(Spot, text("name"))


def test_a_table_that_has_a_field_its_record_lacks_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Spot.*width_m"):
        Table(Spot, text("name"), number("height_m"), number("width_m"))
