"""Every record round-trips; any other bytes in the store are read or set aside, and never raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import entries, entries_of, ids, numbers, texts

from drone_orchestrator.core.types import Corrupt, Kind, Reservation, Value
from drone_orchestrator.store.codec import decode, encode

kinds = st.sampled_from(Kind)
scalars = st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats() | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8)


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.OTHER}))
def test_every_record_round_trips(kind: Kind) -> None:
    @given(entries_of(kind))
    def check(entry: tuple[Kind, str, Value]) -> None:
        _, id_, value = entry
        raw = encode(value)
        assert decode(kind, id_, raw) == value
        assert encode(decode(kind, id_, raw)) == raw

    check()


@given(kinds, ids, st.binary(max_size=64), st.none() | st.booleans())
def test_any_bytes_are_read_or_set_aside(kind: Kind, id_: str, raw: bytes, leased: bool | None) -> None:
    set_aside = decode(kind, id_, raw, leased)
    assert isinstance(set_aside, Corrupt)
    assert encode(set_aside) == raw


@given(kinds, ids, anything)
def test_any_json_is_read_or_set_aside(kind: Kind, id_: str, document: Any) -> None:
    raw = json.dumps(document).encode()
    value = decode(kind, id_, raw)
    assert isinstance(value, Corrupt)


@given(entries, st.data())
def test_a_record_with_a_wrong_or_missing_field_is_read_or_set_aside(
    entry: tuple[Kind, str, Value], data: st.DataObject
) -> None:
    kind, id_, value = entry
    document = json.loads(encode(value))
    name = data.draw(st.sampled_from(sorted(document)))
    if data.draw(st.booleans()):
        del document[name]
    else:
        document[name] = data.draw(anything)
    read = decode(kind, id_, json.dumps(document).encode())
    if not isinstance(read, Corrupt):
        # Whatever is accepted as a record can be written, and is then read back equal.
        assert decode(kind, id_, encode(read)) == read


@given(entries, texts.filter(bool), anything)
def test_fields_of_a_newer_version_are_ignored(entry: tuple[Kind, str, Value], name: str, new: Any) -> None:
    kind, id_, value = entry
    document = json.loads(encode(value))
    if name not in document:
        document[name] = new
    raw = json.dumps(document).encode()
    read = decode(kind, id_, raw)
    if isinstance(read, Corrupt):
        assert "NaN" in read.reason or "Infinity" in read.reason
    else:
        assert read == value


@given(entries, entries)
def test_a_record_under_the_key_of_another_is_set_aside(
    entry: tuple[Kind, str, Value], other: tuple[Kind, str, Value]
) -> None:
    kind, id_, value = entry
    if kind in (Kind.LEADER, Kind.FLEET, Kind.ORDER_INDEX) or id_ == other[1]:
        return  # the key of the first two is all there is, and an index has no id in its value
    assert isinstance(decode(kind, other[1], encode(value)), Corrupt)


@given(st.builds(Reservation, ids, ids, st.integers(0, 9), st.integers(0, 9), st.booleans()), st.booleans())
def test_the_lease_on_the_key_overrides_the_record_of_a_reservation(reservation: Reservation, leased: bool) -> None:
    read = decode(Kind.ASSIGNMENT, reservation.drone_id, encode(reservation), leased)
    assert isinstance(read, Reservation)
    assert read.leased is leased


@given(st.sampled_from(Kind), st.integers(1_000, 100_000), numbers)
def test_very_deep_documents_are_set_aside(kind: Kind, depth: int, leaf: float) -> None:
    raw = b"[" * depth + json.dumps(leaf).encode() + b"]" * depth
    assert isinstance(decode(kind, "x", raw), Corrupt)
