"""Encodes records as versioned JSON, and decodes them tolerantly.

Each value is an object with ``"v": 1``. Decoding keeps unknown fields unread, so that they are written back, and fills
in defaults for missing optional ones: an older and a newer program can share a store. An unreadable value becomes
:class:`~drone_orchestrator.core.types.Corrupt` and is reported; :func:`decode` never raises.

Each record has one table of its fields here. To add a field, add it to the dataclass (with a default) and to the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ..core.leader import configuration, led_time
from ..core.leader.configuration import Configuration
from ..core.leader.led_time import LedTime
from ..core.types import (
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
    Reservation,
    Saga,
    SagaEvent,
    Value,
)
from ..core.view import GENERATIONS
from . import json_text
from .fields import (
    JsonObject,
    Table,
    Unreadable,
    derived,
    flag,
    integer,
    marks,
    number,
    one_of,
    part,
    priority,
    sparse,
    status,
    text,
)
from .keys import InvalidId, event_id

VERSION = 1
AnyGeneration = TypeVar("AnyGeneration", LeaderRecord, FleetIdentity)

POINT = Table(GeoPoint, number("lat", "lat_deg"), number("lon", "lon_deg"))

#: ``inbox/orders/<message_id>``, and part of sagas and first events.
ORDER = Table(
    Order,
    text("message_id"),
    text("order_id"),
    part("destination", POINT),
    number("package_weight_kg"),
    part("pickup", POINT),
    priority("priority"),
    number("deadline_s"),
    text("drone_class"),
    number("submitted_at"),
    text("trace_context"),
)

#: ``sagas/<message_id>``.
SAGA = Table(
    Saga,
    text("message_id"),
    derived("order_id"),
    status("status"),
    integer("attempt"),
    text("drone_id"),
    integer("epoch"),
    text("reason"),
    part("order", ORDER),
    number("created_at"),
    number("updated_at"),
    text("journal_id"),
    status("target"),
    number("not_before"),
    integer("event_count"),
    flag("parked"),
    sparse(integer("excused")),
)

#: ``events/<message_id>/<n>``.
EVENT = Table(
    SagaEvent,
    text("message_id"),
    integer("n"),
    text("type"),
    number("at"),
    integer("epoch"),
    status("from_status"),
    status("to_status"),
    integer("attempt"),
    text("drone_id"),
    text("reason"),
    text("journal_id"),
    status("target"),
    number("not_before"),
    part("order", ORDER),
    sparse(integer("excused")),
)

#: ``assignments/<drone_id>``.
RESERVATION = Table(
    Reservation, text("drone_id"), text("message_id"), integer("attempt"), integer("epoch"), flag("leased")
)

#: ``inbox/cancels/<message_id>``.
CANCEL = Table(CancelRequest, text("message_id"), number("requested_at"), text("reason"))

#: ``inbox/commands/<message_id>``.
COMMAND = Table(
    OperatorCommand, text("message_id"), one_of("action", CommandAction), number("requested_at"), text("by")
)

#: ``breakers/<drone_id>``.
BREAKER = Table(
    Breaker,
    text("drone_id"),
    one_of("state", BreakerState),
    integer("epoch"),
    integer("failures"),
    integer("trips"),
    number("open_until"),
)

#: The leader key.
LEADER = Table(LeaderRecord, text("holder"), text("instance_id"), number("since"), sparse(integer("generation")))

#: The key ``fleet``.
FLEET = Table(
    FleetIdentity,
    text("fleet_id"),
    integer("generation"),
    sparse(text("held")),
    sparse(integer("log_lead")),
)

#: ``notes/led_time``.
LED_TIME = Table(LedTime, integer("epoch"), marks("marks"))

#: ``notes/configuration``.
CONFIGURATION = Table(
    Configuration, integer("epoch"), integer("version"), text("digest"), number("reservation_ttl_s")
)

_TABLES: dict[type, Table[Any]] = {
    Order: ORDER,
    Saga: SAGA,
    SagaEvent: EVENT,
    Reservation: RESERVATION,
    CancelRequest: CANCEL,
    OperatorCommand: COMMAND,
    Breaker: BREAKER,
    LeaderRecord: LEADER,
    FleetIdentity: FLEET,
    LedTime: LED_TIME,
    Configuration: CONFIGURATION,
}


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(value: Value) -> bytes:
    """Return the stored form of a record. Raises ``ValueError`` for a number that JSON does not have (NaN, infinity).

    A ``str`` is the message id of an order index. ``Corrupt`` is written back unchanged.
    """
    if isinstance(value, Corrupt):
        return value.raw
    if isinstance(value, str):
        return json_text.dump({"v": VERSION, "message_id": value}, 0.0)
    table = _TABLES[type(value)]
    return json_text.dump({"v": VERSION, **table.write(value)}, table.sum_of_floats(value))


def order_to_dict(order: Order) -> dict[str, Any]:
    """Return an order in its stored form."""
    return ORDER.write(order)


def saga_to_dict(saga: Saga) -> dict[str, Any]:
    """Return a saga in its stored form."""
    return SAGA.write(saga)


def event_to_dict(event: SagaEvent) -> dict[str, Any]:
    """Return a saga event in its stored form."""
    return EVENT.write(event)


# --- reading ---------------------------------------------------------------------------------------------------------


def decode(kind: Kind, id: str, raw: bytes, leased: bool | None = None) -> Value:
    """Return the record under ``(kind, id)``, or ``Corrupt``; never raises.

    ``leased``: whether the key is on a lease now. If given, it overrides the reservation's own field, because the store
    expires the key by its lease, not by its contents.
    """
    reader = _NOTES.get(id) if kind is Kind.NOTE else _READERS.get(kind)
    if reader is None:
        return Corrupt(raw, "unknown kind of key")
    try:
        value = _read(reader, id, json_text.load_fast(raw))
    except (ValueError, RecursionError):
        try:  # the slow parser accepts more, or finds out what is wrong
            value = _read(reader, id, json_text.load(raw))
        except (Unreadable, json_text.NotANumber) as error:
            return Corrupt(raw, str(error))
        except (ValueError, RecursionError) as error:
            return Corrupt(raw, f"{type(error).__name__}: {error}")
    if isinstance(value, Reservation) and leased is not None and value.leased is not leased:
        return replace(value, leased=leased)
    return value


def _read(reader: Callable[[JsonObject], tuple[Any, str | None]], id: str, document: object) -> Value:
    data = JsonObject(document)
    version = data.integer("v", VERSION)
    if version > VERSION:
        raise Unreadable(f"written by a newer version (v {version}; this program reads up to {VERSION})")
    value, own_id = reader(data)
    if own_id is not None and own_id != id:
        raise Unreadable(f"its id must be {id!r} as in its key, got {own_id!r}")
    record: Value = value
    return record


def saga_from_dict(data: object) -> Saga:
    """Return the saga: the inverse of :func:`saga_to_dict`. Raises ``ValueError`` that names the unreadable field."""
    return _read_saga(JsonObject(data, "saga"))


def event_from_dict(data: object) -> SagaEvent:
    """Return the event: the inverse of :func:`event_to_dict`. Raises ``ValueError`` that names the unreadable field."""
    return _read_event(JsonObject(data, "event"))


def _read_saga(data: JsonObject) -> Saga:
    saga = SAGA.read(data)
    if saga.order.message_id != saga.message_id:
        raise Unreadable(f"its order belongs to message {saga.order.message_id!r}")
    return saga


def _read_event(data: JsonObject) -> SagaEvent:
    event = EVENT.read(data)
    if event.order is not None and event.order.message_id != event.message_id:
        raise Unreadable(f"its order belongs to message {event.order.message_id!r}")
    return event


def _with_message_id(read: Callable[[JsonObject], Any]) -> Callable[[JsonObject], tuple[Any, str | None]]:
    def reader(data: JsonObject) -> tuple[Any, str | None]:
        value = read(data)
        return value, value.message_id

    return reader


def _with_drone_id(table: Table[Any]) -> Callable[[JsonObject], tuple[Any, str | None]]:
    def reader(data: JsonObject) -> tuple[Any, str | None]:
        value = table.read(data)
        return value, value.drone_id

    return reader


def _with_generation(record: AnyGeneration) -> AnyGeneration:
    if not 0 <= record.generation < GENERATIONS:
        raise Unreadable(f"generation must be in 0..{GENERATIONS - 1}, got {record.generation}")
    return record


def _event_reader(data: JsonObject) -> tuple[SagaEvent, str]:
    event = _read_event(data)
    try:
        return event, event_id(event.message_id, event.n)
    except InvalidId as error:
        raise Unreadable(str(error)) from error


#: By kind: returns the record, and the id that it claims (``None`` if the value does not repeat its key).
_READERS: dict[Kind, Callable[[JsonObject], tuple[Any, str | None]]] = {
    Kind.INBOX_ORDER: _with_message_id(ORDER.read),
    Kind.INBOX_CANCEL: _with_message_id(CANCEL.read),
    Kind.INBOX_COMMAND: _with_message_id(COMMAND.read),
    Kind.SAGA: _with_message_id(_read_saga),
    Kind.EVENT: _event_reader,
    Kind.ASSIGNMENT: _with_drone_id(RESERVATION),
    Kind.BREAKER: _with_drone_id(BREAKER),
    Kind.LEADER: lambda data: (_with_generation(LEADER.read(data)), None),
    Kind.FLEET: lambda data: (_with_generation(FLEET.read(data)), None),
    Kind.ORDER_INDEX: lambda data: (data.text("message_id"), None),
}

_NOTES: dict[str, Callable[[JsonObject], tuple[Any, str | None]]] = {
    led_time.NOTE: lambda data: (LED_TIME.read(data), None),
    configuration.NOTE: lambda data: (CONFIGURATION.read(data), None),
}
