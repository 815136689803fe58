"""The same records can be written and read with orjson and without it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import entries, numbers, texts

from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    CommandAction,
    Corrupt,
    GeoPoint,
    Kind,
    LeaderRecord,
    OperatorCommand,
    Order,
    Saga,
    SagaEvent,
    SagaStatus,
    Value,
)
from drone_orchestrator.store import json_text
from drone_orchestrator.store.codec import decode, encode

plain = st.none() | st.booleans() | st.integers(-(10**25), 10**25) | numbers | texts
documents = st.dictionaries(
    texts, st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8)
)


@contextmanager
def by_python() -> Iterator[None]:
    """Use Python's own json, as if orjson were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "orjson", None)
        patch.setattr(json_text, "_load_fast", json_text.load)
        yield


def test_orjson_is_used_in_these_tests() -> None:
    assert json_text.orjson is not None
    assert json_text.dump({"a": "é"}, 0.0) == '{"a":"é"}'.encode()
    with by_python():
        assert json_text.dump({"a": "é"}, 0.0) == b'{"a":"\\u00e9"}'


@given(documents)
def test_text_written_by_either_is_read_by_both(document: dict[str, Any]) -> None:
    fast = json_text.dump(document, 0.0)
    with by_python():
        slow = json_text.dump(document, 0.0)
    for raw in (fast, slow):
        assert json_text.load(raw) == json.loads(raw) == document


@given(entries)
def test_records_round_trip_between_both(entry: tuple[Kind, str, Value]) -> None:
    kind, id_, value = entry
    fast = encode(value)
    with by_python():
        slow = encode(value)
        assert decode(kind, id_, fast) == decode(kind, id_, slow) == value
    assert decode(kind, id_, fast) == decode(kind, id_, slow) == value


@given(st.sampled_from([Kind.INBOX_ORDER, Kind.SAGA, Kind.ASSIGNMENT, Kind.BREAKER]), st.data())
def test_both_report_an_invalid_record_in_the_same_words(kind: Kind, data: st.DataObject) -> None:
    id_, value = {kind: (i, v) for kind, i, v in data.draw(st.lists(entries, min_size=1))}.get(kind, ("m", None))
    document = json.loads(encode(value)) if value is not None else {}
    anything = plain | st.sampled_from([math.nan, math.inf, -math.inf]) | st.lists(plain)
    document[data.draw(st.sampled_from(["message_id", "attempt", "epoch", "v", "order", "at"]))] = data.draw(anything)
    raw = json.dumps(document).encode()
    read = decode(kind, id_, raw)
    with by_python():
        assert decode(kind, id_, raw) == read


@pytest.mark.parametrize("raw", [b'{"v":1', b"\xff", b"", b'{"v":1}{', b'{"v":1e999}', b'{"message_id":"\\ud800"}'])
def test_both_set_invalid_bytes_aside_for_the_same_reason(raw: bytes) -> None:
    read = decode(Kind.INBOX_ORDER, "m", raw)
    assert isinstance(read, Corrupt)
    with by_python():
        assert decode(Kind.INBOX_ORDER, "m", raw) == read


POINT = GeoPoint(1.0, 2.0)
ORDER = Order("m", "o", POINT, 1.5, 10.0, pickup=POINT, deadline_s=60.0)
RECORDS: list[Any] = [
    ORDER,
    Saga("m", ORDER, SagaStatus.PENDING, 1.0, 2.0),
    SagaEvent("m", 1, "accepted", 1.0, 7, SagaStatus.PENDING, order=ORDER),
    CancelRequest("m", 5.0),
    OperatorCommand("m", CommandAction.RETRY, 5.0),
    Breaker("d", BreakerState.OPEN, 7),
    LeaderRecord("a", "i", 5.0),
]


def with_a_wrong_number(record: Any, wrong: float) -> Iterator[Any]:
    """Yield ``record`` once per float in it, with ``wrong`` in its place."""
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            yield from (replace(record, **{field.name: inner}) for inner in with_a_wrong_number(value, wrong))
        elif isinstance(value, float):
            yield replace(record, **{field.name: wrong})


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_no_number_is_written_that_json_cannot_express(record: Any, wrong: float) -> None:
    broken = list(with_a_wrong_number(record, wrong))
    assert broken
    for each in broken:
        with pytest.raises(ValueError):
            encode(each)
        with by_python(), pytest.raises(ValueError):
            encode(each)
