"""Keys and records: round trips, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drone_orchestrator.core.leader.led_time import LedTime
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    CommandAction,
    Corrupt,
    FleetIdentity,
    GeoPoint,
    Kind,
    LeaderRecord,
    OperatorCommand,
    Order,
    Priority,
    Reservation,
    Saga,
    SagaEvent,
    SagaStatus,
)
from drone_orchestrator.core.view import GENERATIONS
from drone_orchestrator.store.codec import decode, encode, order_to_dict, saga_to_dict
from drone_orchestrator.store.keys import InvalidId, Keys, event_id

ids = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="/"), min_size=1, max_size=128)
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)
points = st.builds(GeoPoint, numbers, numbers)
orders = st.builds(
    Order,
    ids,
    ids,
    points,
    numbers,
    numbers,
    st.none() | points,
    st.sampled_from(Priority),
    st.none() | numbers,
    st.none() | texts,
    texts,
)
counts = st.integers(0, 2**62)
statuses = st.sampled_from(SagaStatus)


@st.composite
def sagas(draw):
    order = draw(orders)
    optional = st.none() | texts
    return Saga(
        order.message_id, order, draw(statuses), draw(numbers), draw(numbers), draw(counts), draw(optional),
        draw(counts), draw(optional), draw(optional), draw(st.none() | statuses), draw(numbers), draw(counts),
    )  # fmt: skip


@st.composite
def events(draw):
    order = draw(st.none() | orders)
    message_id = order.message_id if order else draw(ids)
    optional = st.none() | texts
    return SagaEvent(
        message_id, draw(st.integers(1, 999_999)), draw(texts), draw(numbers), draw(counts), draw(statuses),
        draw(st.none() | statuses), draw(counts), draw(optional), draw(optional), draw(optional),
        draw(st.none() | statuses), draw(numbers), order,
    )  # fmt: skip


# --- keys ------------------------------------------------------------------------------------------------------------


def test_keys_are_those_of_the_contract():
    keys = Keys("zurich")
    prefix = "/drone_orchestrator/zurich/"
    assert keys.leader == prefix + "leader"
    assert keys.inbox_order("m") == prefix + "inbox/orders/m"
    assert keys.inbox_cancel("m") == prefix + "inbox/cancels/m"
    assert keys.saga("m") == prefix + "sagas/m"
    assert keys.order_index("o") == prefix + "orders/o"
    assert keys.assignment("d") == prefix + "assignments/d"
    assert keys.event("m", 7) == prefix + "events/m/000007"
    assert keys.inbox_command("m") == prefix + "inbox/commands/m"
    assert keys.of(Kind.BREAKER, "b") == prefix + "breakers/b"


def test_notes_of_a_later_version_are_left_alone():
    keys = Keys("r")
    assert keys.parse(keys.of(Kind.NOTE, "led_time")) == (Kind.NOTE, "led_time")
    assert keys.parse(f"{keys.prefix}notes/later") == (Kind.OTHER, "notes/later")
    with pytest.raises(InvalidId, match="have no key"):
        keys.of(Kind.NOTE, "later")


@pytest.mark.parametrize(
    "marks", [[[1]], [1], {}, [[2, 1.0], [1, 2.0]], [[1, 2.0], [2, 1.0]], [[True, 1.0]], [[1, "1"]]]
)
def test_unreadable_marks_of_time_are_corrupt(marks):
    note = LedTime(7, ((3, 1.0), (5, 2.5)))
    assert decode(Kind.NOTE, "led_time", encode(note)) == note
    raw = json.dumps({"v": 1, "epoch": 7, "marks": marks}).encode()
    assert isinstance(decode(Kind.NOTE, "led_time", raw), Corrupt)


@given(st.sampled_from([k for k in Kind if k not in (Kind.LEADER, Kind.FLEET, Kind.EVENT, Kind.NOTE, Kind.OTHER)]), ids)
def test_a_key_parses_to_its_kind_and_id(kind, id_):
    keys = Keys("r")
    assert keys.parse(keys.of(kind, id_)) == (kind, id_)


@given(ids, st.integers(1, 999_999), st.integers(1, 999_999))
def test_event_keys_sort_by_event_number(message_id, n, m):
    keys = Keys("r")
    assert (keys.event(message_id, n) < keys.event(message_id, m)) == (n < m)
    assert keys.parse(keys.event(message_id, n)) == (Kind.EVENT, event_id(message_id, n))


@pytest.mark.parametrize("bad", ["", "a/b", "/", "x" * 129, "tab\t", "new\nline", "ü", "\x00", None, 7])
def test_an_id_that_cannot_be_a_key_is_refused(bad):
    keys = Keys("r")
    for make_key in (keys.saga, keys.order_index, keys.assignment, keys.events_of, lambda id_: keys.event(id_, 1)):
        with pytest.raises(InvalidId):
            make_key(bad)
    with pytest.raises(InvalidId):
        Keys(bad)


@pytest.mark.parametrize("n", [0, -1, 1_000_000])
def test_an_event_number_that_does_not_fit_is_refused(n):
    with pytest.raises(InvalidId):
        Keys("r").event("m", n)


@pytest.mark.parametrize(
    "rest", ["leader/x", "sagas/", "sagas/a/b", "events/m", "events/m/1", "events/m/0000001", "new/x"]
)
def test_an_unknown_key_is_of_kind_other(rest):
    keys = Keys("r")
    assert keys.parse(keys.prefix + rest) == (Kind.OTHER, rest)


def test_another_regions_key_is_refused():
    with pytest.raises(InvalidId):
        Keys("r").parse("/drone_orchestrator/r2/leader")


def test_the_span_without_events_contains_everything_else():
    keys = Keys("r")
    spans = keys.all_but_events()
    within = lambda key: any(first <= key < end for first, end in spans)  # noqa: E731
    assert not within(keys.event("m", 1))
    for kind in (Kind.INBOX_ORDER, Kind.INBOX_CANCEL, Kind.SAGA, Kind.ORDER_INDEX, Kind.ASSIGNMENT, Kind.BREAKER):
        assert within(keys.of(kind, "~")) and within(keys.of(kind, " "))
    assert within(keys.leader)
    assert not within(Keys("r2").leader) and not within(Keys("q").leader)


# --- codec -----------------------------------------------------------------------------------------------------------


@given(orders)
def test_orders_survive_a_round_trip(order):
    assert decode(Kind.INBOX_ORDER, order.message_id, encode(order)) == order


@given(sagas())
def test_sagas_survive_a_round_trip(saga):
    assert decode(Kind.SAGA, saga.message_id, encode(saga)) == saga


@given(events())
def test_events_survive_a_round_trip(event):
    assert decode(Kind.EVENT, event_id(event.message_id, event.n), encode(event)) == event


@pytest.mark.parametrize(
    ("kind", "id_", "value"),
    [
        (Kind.ASSIGNMENT, "d", Reservation("d", "m", 2, 7, leased=True)),
        (Kind.INBOX_CANCEL, "m", CancelRequest("m", 5.0, "because")),
        (Kind.LEADER, "", LeaderRecord("a", "i", 5.0)),
        (Kind.LEADER, "", LeaderRecord("a", "i", 5.0, generation=3)),
        (Kind.FLEET, "", FleetIdentity("7e4c8f5e-0d7e-4b38-9c44-2a7f3de1b605", generation=3)),
        (Kind.ORDER_INDEX, "o", "m"),
    ],
)
def test_the_other_records_survive_a_round_trip(kind, id_, value):
    raw = encode(value)
    assert json.loads(raw)["v"] == 1
    assert decode(kind, id_, raw) == value


@pytest.mark.parametrize("generation", [-1, GENERATIONS])
@pytest.mark.parametrize(
    ("kind", "rest"),
    [(Kind.LEADER, {"holder": "a", "instance_id": "i", "since": 5.0}), (Kind.FLEET, {"fleet_id": "f"})],
)
def test_a_generation_that_no_epoch_can_hold_is_unreadable(kind, rest, generation):
    value = decode(kind, "", json.dumps({"v": 1, **rest, "generation": generation}).encode())
    assert isinstance(value, Corrupt)
    assert "generation" in value.reason


def test_the_leader_key_of_the_first_generation_is_written_as_before_there_were_generations():
    assert json.loads(encode(LeaderRecord("a", "i", 5.0))) == {"v": 1, "holder": "a", "instance_id": "i", "since": 5.0}


ORDER = Order("m", "o", GeoPoint(1.0, 2.0), 1.5, 10.0, priority=Priority.URGENT)
SAGA = Saga("m", ORDER, SagaStatus.PENDING, 1.0, 2.0)


def test_the_fields_are_those_of_the_contract():
    wanted = "message_id order_id status attempt drone_id epoch reason order created_at updated_at"
    assert set(wanted.split()) <= set(saga_to_dict(SAGA))
    fields = order_to_dict(ORDER)
    assert fields["destination"] == {"lat": 1.0, "lon": 2.0}
    assert fields["priority"] == "urgent"


def test_unknown_fields_are_ignored_and_missing_optional_ones_get_defaults():
    raw = json.dumps(
        {
            "message_id": "m", "order_id": "o", "destination": {"lat": 1, "lon": 2, "alt": 3}, "package_weight_kg": 1,
            "submitted_at": 2, "colour": "red", "v": 1,
        }
    ).encode()  # fmt: skip
    assert decode(Kind.INBOX_ORDER, "m", raw) == Order("m", "o", GeoPoint(1.0, 2.0), 1.0, 2.0)


def _changed(**fields):
    return json.dumps({**json.loads(encode(ORDER)), **fields}).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "JSONDecodeError"),
        (b"\xff\xfe", "UnicodeDecodeError"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b"[" * 100_000, ""),
        (_changed(v=2), "newer version"),
        (_changed(v="1"), "v is not an integer"),
        (_changed(v=True), "v is not an integer"),
        (_changed(message_id="other"), "as in its key"),
        (_changed(message_id=None), "message_id is missing"),
        (_changed(order_id=5), "order_id is not text"),
        (_changed(package_weight_kg="1"), "package_weight_kg is not a number"),
        (_changed(package_weight_kg=True), "package_weight_kg is not a number"),
        (_changed(package_weight_kg=float("nan")), "NaN"),
        (_changed(package_weight_kg=float("inf")), "Infinity"),
        (_changed(package_weight_kg=0).replace(b'"package_weight_kg": 0', b'"package_weight_kg": 1e999'), "finite"),
        (_changed(package_weight_kg=10**400), "finite"),
        (_changed(destination={"lat": 1}), "destination.lon is missing"),
        (_changed(destination=[1, 2]), "destination is not an object"),
        (_changed(priority="soon"), "priority"),
        (_changed(deadline_s="1"), "deadline_s"),
    ],
)
def test_an_unreadable_record_is_corrupt_and_says_why(raw, reason):
    value = decode(Kind.INBOX_ORDER, "m", raw)
    assert isinstance(value, Corrupt)
    assert value.raw == raw and reason in value.reason


@given(st.sampled_from(Kind), ids, st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_decoding_never_raises(kind, id_, raw):
    decode(kind, id_, raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(
        [(Kind.INBOX_ORDER, ORDER), (Kind.SAGA, SAGA), (Kind.ASSIGNMENT, Reservation("m", "m", 1, 1, True))]
    ),
    st.data(),
)
def test_decoding_never_raises_for_any_value_of_a_field(record, data):
    kind, value = record
    fields = json.loads(encode(value))
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
    decode(kind, "m", json.dumps(fields).encode())


def test_an_unknown_status_is_corrupt():
    raw = encode(SAGA).replace(b"PENDING", b"DREAMING")
    assert isinstance(decode(Kind.SAGA, "m", raw), Corrupt)


def test_a_saga_with_another_messages_order_is_corrupt():
    saga = replace(SAGA, order=replace(ORDER, message_id="other"))
    assert isinstance(decode(Kind.SAGA, "m", encode(saga)), Corrupt)


def test_an_event_that_does_not_match_its_key_is_corrupt():
    event = SagaEvent("m", 2, "accepted", 1.0, 1, SagaStatus.PENDING)
    assert isinstance(decode(Kind.EVENT, "m/000001", encode(event)), Corrupt)


def test_the_store_says_if_a_reservation_is_leased():
    raw = encode(Reservation("d", "m", 1, 1, leased=True))
    assert decode(Kind.ASSIGNMENT, "d", raw, leased=False) == Reservation("d", "m", 1, 1, leased=False)


def test_a_number_that_json_lacks_is_not_written():
    with pytest.raises(ValueError):
        encode(replace(ORDER, package_weight_kg=float("nan")))


def test_a_corrupt_record_is_written_back_unchanged():
    assert encode(Corrupt(b"\xff", "why")) == b"\xff"


# --- breakers, commands, parked orders -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", BreakerState)
def test_breakers_survive_a_round_trip_and_store_their_state_in_words(state):
    breaker = Breaker("d", state, 7, failures=3, trips=2, open_until=1234.5)
    raw = encode(breaker)
    assert decode(Kind.BREAKER, "d", raw) == breaker
    assert json.loads(raw)["state"] in {"closed", "open", "half_open"}


@pytest.mark.parametrize("action", CommandAction)
def test_commands_survive_a_round_trip(action):
    command = OperatorCommand("m", action, 5.0, "ops")
    assert decode(Kind.INBOX_COMMAND, "m", encode(command)) == command


@given(sagas())
def test_a_parked_saga_survives_a_round_trip(saga):
    parked = replace(saga, parked=True)
    assert decode(Kind.SAGA, saga.message_id, encode(parked)) == parked


def test_a_saga_from_before_parking_existed_is_not_parked():
    document = json.loads(encode(Saga(ORDER.message_id, ORDER, SagaStatus.COMPENSATING, 1.0, 2.0)))
    document.pop("parked", None)
    assert decode(Kind.SAGA, ORDER.message_id, json.dumps(document).encode()).parked is False


@pytest.mark.parametrize(
    ("kind", "value", "change"),
    [
        (Kind.BREAKER, Breaker("d", BreakerState.OPEN, 7), {"state": "ajar"}),
        (Kind.BREAKER, Breaker("d", BreakerState.OPEN, 7), {"failures": "many"}),
        (Kind.BREAKER, Breaker("d", BreakerState.OPEN, 7), {"drone_id": "another"}),
        (Kind.INBOX_COMMAND, OperatorCommand("d", CommandAction.LOST, 5.0), {"action": "teleport"}),
        (Kind.INBOX_COMMAND, OperatorCommand("d", CommandAction.LOST, 5.0), {"message_id": "another"}),
        (Kind.INBOX_COMMAND, OperatorCommand("d", CommandAction.LOST, 5.0), {"requested_at": None}),
    ],
)
def test_an_inconsistent_breaker_or_command_is_corrupt(kind, value, change):
    document = {**json.loads(encode(value)), **change}
    assert isinstance(decode(kind, "d", json.dumps(document).encode()), Corrupt)
