"""Records as JSON, versioned and tolerant.

Each value is an object with ``"v": 1``. Reading ignores fields it does not know and defaults optional ones that are
missing, so that an older and a newer program can share a store. What cannot be read becomes
:class:`~drone_orchestrator.core.types.Corrupt` and is reported; :func:`decode` never raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, NoReturn, TypeVar

from ..core.types import (
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
    Priority,
    Reservation,
    Saga,
    SagaEvent,
    SagaStatus,
    Value,
)
from . import json_text
from .keys import InvalidId, event_id

E = TypeVar("E", bound=Enum)

VERSION = 1
_REQUIRED: Any = object()
_STATUSES = {status.value: status for status in SagaStatus}
_PRIORITIES = dict(Priority.__members__)
_PRIORITY_NAMES = {priority: name.lower() for name, priority in _PRIORITIES.items()}


class _Unreadable(ValueError):
    """Why a value is corrupt."""


class _Fields:
    """Typed access to the fields of one JSON object; raises :class:`_Unreadable` naming the field."""

    def __init__(self, data: object, where: str = "") -> None:
        if not isinstance(data, dict):
            raise _Unreadable(f"{where or 'value'} is not an object")
        self._data: Mapping[str, object] = data
        self._where = f"{where}." if where else ""

    def _default(self, name: str, default: Any) -> Any:
        if default is _REQUIRED:
            raise _Unreadable(f"{self._where}{name} is missing")
        return default

    def _wrong(self, name: str, wanted: str) -> NoReturn:
        raise _Unreadable(f"{self._where}{name} is not {wanted}")

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self._data.get(name)
        if isinstance(value, str):
            return value
        return self._default(name, default) if value is None else self._wrong(name, "text")

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self._data.get(name)
        if value.__class__ is float and math.isfinite(value):
            return value
        if value is None:
            return self._default(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._wrong(name, "a number")
        try:
            number = float(value)
        except OverflowError:
            self._wrong(name, "a finite number")
        return number if math.isfinite(number) else self._wrong(name, "a finite number")

    def integer(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self._data.get(name)
        if value is None:
            return self._default(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(name, "an integer")
        return value

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        value = self._data.get(name)
        if value is None:
            value = self._default(name, default)
        return value if isinstance(value, bool) else self._wrong(name, "true or false")

    def one_of(self, name: str, choices: type[E]) -> E:
        value = self.text(name)
        try:
            return choices(value)
        except ValueError:
            self._wrong(name, f"one of {', '.join(str(choice.value) for choice in choices)}")

    def status(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self.text(name, default)
        if value is None:
            return None
        return _STATUSES.get(value) or self._wrong(name, "a known status")

    def priority(self, name: str) -> Priority:
        value = self.text(name, _PRIORITY_NAMES[Priority.NORMAL])
        return _PRIORITIES.get(value.upper()) or self._wrong(name, "a known priority")

    def point(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self._data.get(name)
        if value is None:
            return self._default(name, default)
        fields = _Fields(value, f"{self._where}{name}")
        return GeoPoint(fields.number("lat"), fields.number("lon"))

    def order(self, name: str, default: Any = _REQUIRED) -> Any:
        value = self._data.get(name)
        return self._default(name, default) if value is None else _read_order(_Fields(value, f"{self._where}{name}"))


# --- writing ---------------------------------------------------------------------------------------------------------


def order_to_dict(order: Order) -> dict[str, Any]:
    """An order as in the store, in HTTP and on the command line."""
    return {
        "message_id": order.message_id,
        "order_id": order.order_id,
        "destination": _point(order.destination),
        "package_weight_kg": order.package_weight_kg,
        "pickup": _point(order.pickup) if order.pickup else None,
        "priority": _PRIORITY_NAMES[order.priority],
        "deadline_s": order.deadline_s,
        "drone_class": order.drone_class,
        "submitted_at": order.submitted_at,
        "trace_context": order.trace_context,
    }


def saga_to_dict(saga: Saga) -> dict[str, Any]:
    """A saga as in the store, in HTTP and on the command line."""
    return {
        "message_id": saga.message_id,
        "order_id": saga.order_id,
        "status": saga.status.value,
        "attempt": saga.attempt,
        "drone_id": saga.drone_id,
        "epoch": saga.epoch,
        "reason": saga.reason,
        "order": order_to_dict(saga.order),
        "created_at": saga.created_at,
        "updated_at": saga.updated_at,
        "journal_id": saga.journal_id,
        "target": saga.target.value if saga.target else None,
        "not_before": saga.not_before,
        "event_count": saga.event_count,
        "parked": saga.parked,
    }


def event_to_dict(event: SagaEvent) -> dict[str, Any]:
    """A saga event as in the store, in HTTP and on the command line."""
    return {
        "message_id": event.message_id,
        "n": event.n,
        "type": event.type,
        "at": event.at,
        "epoch": event.epoch,
        "from_status": event.from_status.value if event.from_status else None,
        "to_status": event.to_status.value,
        "attempt": event.attempt,
        "drone_id": event.drone_id,
        "reason": event.reason,
        "journal_id": event.journal_id,
        "target": event.target.value if event.target else None,
        "not_before": event.not_before,
        "order": order_to_dict(event.order) if event.order else None,
    }


def reservation_to_dict(reservation: Reservation) -> dict[str, Any]:
    """``assignments/<drone_id>``."""
    return {
        "drone_id": reservation.drone_id,
        "message_id": reservation.message_id,
        "attempt": reservation.attempt,
        "epoch": reservation.epoch,
        "leased": reservation.leased,
    }


def cancel_to_dict(request: CancelRequest) -> dict[str, Any]:
    """``inbox/cancels/<message_id>``."""
    return {"message_id": request.message_id, "requested_at": request.requested_at, "reason": request.reason}


def command_to_dict(command: OperatorCommand) -> dict[str, Any]:
    """``inbox/commands/<message_id>``."""
    return {
        "message_id": command.message_id,
        "action": command.action.value,
        "requested_at": command.requested_at,
        "by": command.by,
    }


def breaker_to_dict(breaker: Breaker) -> dict[str, Any]:
    """``breakers/<drone_id>``."""
    return {
        "drone_id": breaker.drone_id,
        "state": breaker.state.value,
        "epoch": breaker.epoch,
        "failures": breaker.failures,
        "trips": breaker.trips,
        "open_until": breaker.open_until,
    }


def leader_to_dict(record: LeaderRecord) -> dict[str, Any]:
    """The leader key's value."""
    return {"holder": record.holder, "instance_id": record.instance_id, "since": record.since}


def _point(point: GeoPoint) -> dict[str, float]:
    return {"lat": point.lat_deg, "lon": point.lon_deg}


def _numbers_of(order: Order) -> float:
    pickup = order.pickup
    return (
        order.destination.lat_deg
        + order.destination.lon_deg
        + order.package_weight_kg
        + order.submitted_at
        + (order.deadline_s or 0.0)
        + (pickup.lat_deg + pickup.lon_deg if pickup else 0.0)
    )


#: Per record: its fields, and the sum of all floats in them.
_WRITERS: dict[type, tuple[Callable[[Any], dict[str, Any]], Callable[[Any], float]]] = {
    Order: (order_to_dict, _numbers_of),
    Saga: (saga_to_dict, lambda s: s.created_at + s.updated_at + s.not_before + _numbers_of(s.order)),
    SagaEvent: (event_to_dict, lambda e: e.at + e.not_before + (_numbers_of(e.order) if e.order else 0.0)),
    Reservation: (reservation_to_dict, lambda reservation: 0.0),
    CancelRequest: (cancel_to_dict, lambda request: request.requested_at),
    OperatorCommand: (command_to_dict, lambda command: command.requested_at),
    Breaker: (breaker_to_dict, lambda breaker: breaker.open_until),
    LeaderRecord: (leader_to_dict, lambda record: record.since),
    str: (lambda message_id: {"message_id": message_id}, lambda message_id: 0.0),
}


def encode(value: Value) -> bytes:
    """The stored form of a record; ``ValueError`` for a number that JSON has not (NaN, infinity).

    A ``str`` is the message id of an order index. ``Corrupt`` is put back as it was.
    """
    if isinstance(value, Corrupt):
        return value.raw
    fields, numbers = _WRITERS[type(value)]
    return json_text.dump({"v": VERSION, **fields(value)}, numbers(value))


# --- reading ---------------------------------------------------------------------------------------------------------


def decode(kind: Kind, id: str, raw: bytes, leased: bool | None = None) -> Value:
    """The record under ``(kind, id)``, or ``Corrupt``; never raises.

    ``leased`` says whether the key hangs on a lease right now. Where it is given it wins over what a reservation says
    of itself: the store lets the key expire by the lease, not by the text.
    """
    reader = _READERS.get(kind)
    if reader is None:
        return Corrupt(raw, "unknown kind of key")
    try:
        value = _read(reader, id, json_text.load_fast(raw))
    except (ValueError, RecursionError):
        try:  # what is wrong with it, if anything is
            value = _read(reader, id, json_text.load(raw))
        except (_Unreadable, json_text.NotANumber) as error:
            return Corrupt(raw, str(error))
        except (ValueError, RecursionError) as error:
            return Corrupt(raw, f"{type(error).__name__}: {error}")
    if isinstance(value, Reservation) and leased is not None and value.leased is not leased:
        return replace(value, leased=leased)
    return value


def _read(reader: Callable[[_Fields], tuple[Any, str | None]], id: str, document: object) -> Value:
    fields = _Fields(document)
    version = fields.integer("v", VERSION)
    if version > VERSION:
        raise _Unreadable(f"written by a newer version (v {version}; this program reads up to {VERSION})")
    value, own_id = reader(fields)
    if own_id is not None and own_id != id:
        raise _Unreadable(f"says it is {own_id!r}, but its key says {id!r}")
    record: Value = value
    return record


def saga_from_dict(data: object) -> Saga:
    """Inverse of :func:`saga_to_dict`; ``ValueError`` names what cannot be read."""
    return _read_saga(_Fields(data, "saga"))


def event_from_dict(data: object) -> SagaEvent:
    """Inverse of :func:`event_to_dict`; ``ValueError`` names what cannot be read."""
    return _read_event(_Fields(data, "event"))


def _read_order(fields: _Fields) -> Order:
    return Order(
        message_id=fields.text("message_id"),
        order_id=fields.text("order_id"),
        destination=fields.point("destination"),
        package_weight_kg=fields.number("package_weight_kg"),
        submitted_at=fields.number("submitted_at"),
        pickup=fields.point("pickup", None),
        priority=fields.priority("priority"),
        deadline_s=fields.number("deadline_s", None),
        drone_class=fields.text("drone_class", None),
        trace_context=fields.text("trace_context", ""),
    )


def _read_saga(fields: _Fields) -> Saga:
    saga = Saga(
        message_id=fields.text("message_id"),
        order=fields.order("order"),
        status=fields.status("status"),
        created_at=fields.number("created_at"),
        updated_at=fields.number("updated_at"),
        attempt=fields.integer("attempt", 0),
        drone_id=fields.text("drone_id", None),
        epoch=fields.integer("epoch", 0),
        reason=fields.text("reason", None),
        journal_id=fields.text("journal_id", None),
        target=fields.status("target", None),
        not_before=fields.number("not_before", 0.0),
        event_count=fields.integer("event_count", 0),
        parked=fields.flag("parked", False),
    )
    if saga.order.message_id != saga.message_id:
        raise _Unreadable(f"its order is of message {saga.order.message_id!r}")
    return saga


def _read_event(fields: _Fields) -> SagaEvent:
    event = SagaEvent(
        message_id=fields.text("message_id"),
        n=fields.integer("n"),
        type=fields.text("type"),
        at=fields.number("at"),
        epoch=fields.integer("epoch"),
        to_status=fields.status("to_status"),
        from_status=fields.status("from_status", None),
        attempt=fields.integer("attempt", 0),
        drone_id=fields.text("drone_id", None),
        reason=fields.text("reason", None),
        journal_id=fields.text("journal_id", None),
        target=fields.status("target", None),
        not_before=fields.number("not_before", 0.0),
        order=fields.order("order", None),
    )
    if event.order is not None and event.order.message_id != event.message_id:
        raise _Unreadable(f"its order is of message {event.order.message_id!r}")
    return event


def _read_reservation(fields: _Fields) -> Reservation:
    return Reservation(
        drone_id=fields.text("drone_id"),
        message_id=fields.text("message_id"),
        attempt=fields.integer("attempt"),
        epoch=fields.integer("epoch"),
        leased=fields.flag("leased"),
    )


def _read_cancel(fields: _Fields) -> CancelRequest:
    default = CancelRequest("", 0.0).reason
    return CancelRequest(fields.text("message_id"), fields.number("requested_at"), fields.text("reason", default))


def _read_command(fields: _Fields) -> OperatorCommand:
    return OperatorCommand(
        message_id=fields.text("message_id"),
        action=fields.one_of("action", CommandAction),
        requested_at=fields.number("requested_at"),
        by=fields.text("by", ""),
    )


def _breaker_reader(fields: _Fields) -> tuple[Breaker, str]:
    breaker = Breaker(
        drone_id=fields.text("drone_id"),
        state=fields.one_of("state", BreakerState),
        epoch=fields.integer("epoch"),
        failures=fields.integer("failures", 0),
        trips=fields.integer("trips", 0),
        open_until=fields.number("open_until", 0.0),
    )
    return breaker, breaker.drone_id


def _read_leader(fields: _Fields) -> LeaderRecord:
    return LeaderRecord(fields.text("holder"), fields.text("instance_id"), fields.number("since"))


def _with_message_id(read: Callable[[_Fields], Any]) -> Callable[[_Fields], tuple[Any, str | None]]:
    def reader(fields: _Fields) -> tuple[Any, str | None]:
        value = read(fields)
        return value, value.message_id

    return reader


def _event_reader(fields: _Fields) -> tuple[SagaEvent, str]:
    event = _read_event(fields)
    try:
        return event, event_id(event.message_id, event.n)
    except InvalidId as error:
        raise _Unreadable(str(error)) from error


def _reservation_reader(fields: _Fields) -> tuple[Reservation, str]:
    reservation = _read_reservation(fields)
    return reservation, reservation.drone_id


#: Per kind: the record, and the id that it claims (``None`` where the value does not repeat its key).
_READERS: dict[Kind, Callable[[_Fields], tuple[Any, str | None]]] = {
    Kind.INBOX_ORDER: _with_message_id(_read_order),
    Kind.INBOX_CANCEL: _with_message_id(_read_cancel),
    Kind.INBOX_COMMAND: _with_message_id(_read_command),
    Kind.SAGA: _with_message_id(_read_saga),
    Kind.EVENT: _event_reader,
    Kind.ASSIGNMENT: _reservation_reader,
    Kind.BREAKER: _breaker_reader,
    Kind.LEADER: lambda fields: (_read_leader(fields), None),
    Kind.ORDER_INDEX: lambda fields: (fields.text("message_id"), None),
}
