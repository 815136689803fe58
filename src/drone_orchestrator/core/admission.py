"""The only validator of orders. HTTP, DDS service, signed topic and command line all pass their documents to it.

For any input, :func:`parse_order` returns an order or raises :class:`InvalidOrder`, and nothing else.
"""

from __future__ import annotations

import math
import re
import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import TypeVar

from .types import FleetSpec, GeoPoint, Order, Priority
from .zones import blocked_way

MAX_ID_CHARS = 128
MAX_WEIGHT_KG = 1000.0
MAX_DEADLINE_S = 7 * 24 * 3600.0
MAX_ORDER_ID_LENGTH = 64
MAX_KEY_LENGTH = 128
MAX_CLASS_LENGTH = 32
ORDER_ID_PATTERN = r"[A-Za-z0-9._-]+"
CLASS_NAME_PATTERN = r"[A-Za-z][A-Za-z0-9_-]*"

_FLOAT32 = struct.Struct("<f")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

#: Namespace of message ids derived from idempotency keys. Never change it: a repeated key would create a second order.
KEY_NAMESPACE = uuid.UUID("6f1c9a52-0d7e-5b38-9c44-2a7f3de1b605")

FIELDS = frozenset(
    {
        "message_id",
        "order_id",
        "destination",
        "pickup",
        "package_weight_kg",
        "priority",
        "deadline_s",
        "drone_class",
    }
)

T = TypeVar("T")

_ORDER_ID = re.compile(ORDER_ID_PATTERN)
_CLASS_NAME = re.compile(CLASS_NAME_PATTERN)
_EARTH_MEAN_RADIUS_M = 6_371_008.8


class Code(str, Enum):
    """Machine-readable reason why a document was refused."""

    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_FIELD = "unknown_field"
    TOO_LONG = "too_long"
    BAD_FORMAT = "bad_format"
    UNKNOWN_CLASS = "unknown_class"
    TOO_HEAVY = "too_heavy"
    OUT_OF_AREA = "out_of_area"
    NO_FLY_ZONE = "no_fly_zone"
    BEYOND_ENERGY = "beyond_energy"


class InvalidOrder(ValueError):
    """The document is not an order that this fleet accepts.

    ``field`` is the dotted path of the invalid field, such as ``destination.lat``, or ``""`` for the document itself.
    ``code`` is for programs, ``reason`` for people. All three are safe to display and encode, whatever the input was.
    """

    def __init__(self, field: str, reason: str, code: Code) -> None:
        super().__init__(f"{field or 'document'}: {reason}")
        self.field = field
        self.reason = reason
        self.code = code


def parse_order(
    document: Mapping[str, object], *, now_s: float, new_id: str | Callable[[], str], trace_context: str = ""
) -> Order:
    """Return the order described by ``document`` (decoded JSON, fields as in ``POST /orders``).

    ``now_s`` (wall clock) becomes ``submitted_at``. ``new_id`` is a message id, or a function that creates one, for a
    document without its own. An optional field that is ``None`` counts as absent. Raises :class:`InvalidOrder`.
    """
    _check_fields(document, "", FIELDS)
    message_id = document.get("message_id")
    if message_id is None:
        message_id = new_id if isinstance(new_id, str) else new_id()
    return Order(
        message_id=parse_message_id(message_id),
        order_id=_order_id(_required(document, "order_id")),
        destination=_point(_required(document, "destination"), "destination"),
        package_weight_kg=_weight_kg(_required(document, "package_weight_kg")),
        submitted_at=now_s,
        pickup=_optional(document, "pickup", lambda value: _point(value, "pickup")),
        priority=_optional(document, "priority", _priority) or Priority.NORMAL,
        deadline_s=_optional(document, "deadline_s", _deadline_s),
        drone_class=_optional(document, "drone_class", _class_name),
        trace_context=trace_context,
    )


def is_uuid(text: str) -> bool:
    """Return whether ``text`` is a UUID in the form with four dashes, in upper or lower case."""
    return _UUID.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Return whether ``text`` can be a segment of a key in the store, as ids of orders and drones are."""
    return 0 < len(text) <= MAX_ID_CHARS and "/" not in text and text.isascii() and text.isprintable()


def canonical_id(text: str) -> str:
    """Return a UUID in lower case, and any other text unchanged.

    Clients write a UUID in upper or lower case; both mean the same order. Every door (JSON body, ``Idempotency-Key``,
    path of a URL, service, topic, ``fleetctl``) converts a message id to this form before it uses it. An order id is
    the customer's own text and is not changed.
    """
    return text.lower() if is_uuid(text) else text


def same_request(first: Order, second: Order) -> bool:
    """Return whether both request the same delivery. Time, trace and rounding for messages are ignored."""
    return _payload(first) == _payload(second) or _payload(_rounded(first)) == _payload(_rounded(second))


def _rounded(order: Order) -> Order:
    deadline_s = None if order.deadline_s is None else rounded_to_float32(order.deadline_s)
    return replace(order, package_weight_kg=rounded_to_float32(order.package_weight_kg), deadline_s=deadline_s)


def _payload(order: Order) -> tuple[object, ...]:
    return (
        order.message_id,
        order.order_id,
        order.destination,
        order.package_weight_kg,
        order.pickup,
        order.priority,
        order.deadline_s,
        order.drone_class,
    )


def rounded_to_float32(value: float) -> float:
    """Return the ``float32`` nearest to ``value``, as its shortest decimal: 1.2 stays 1.2.

    Admission rounds a number before it checks it, so that the leader and the drone see the same value, although
    messages have ``float32`` fields. A finite value beyond the range becomes infinite.
    """
    on_wire = _pack(value)
    if not math.isfinite(on_wire):
        return on_wire
    for digits in range(1, 10):  # nine digits distinguish any two values of float32
        decimal = float(f"{on_wire:.{digits}g}")
        if _pack(decimal) == on_wire:
            return decimal
    raise AssertionError(f"{value!r} has no decimal of 9 digits")


def _pack(value: float) -> float:
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def parse_message_id(value: object, field: str = "message_id") -> str:
    """Return ``value``, a UUID in canonical form, in lower case. Raises :class:`InvalidOrder`."""
    text = _text(value, field)
    if not is_uuid(text):
        raise InvalidOrder(field, "must be a UUID such as 123e4567-e89b-42d3-a456-426614174000", Code.BAD_FORMAT)
    return canonical_id(text)


def message_id_from_key(key: str) -> str:
    """Return the message id of an idempotency key. The same key always gives the same id.

    A key has 1 to 128 printable characters. A key that is a UUID *is* the message id, so that a client can repeat an
    order through another door. Raises :class:`InvalidOrder` for the field ``idempotency_key``.
    """
    field = "idempotency_key"
    text = _text(key, field)
    if not text:
        raise InvalidOrder(field, "must not be empty", Code.MISSING)
    if len(text) > MAX_KEY_LENGTH:
        raise InvalidOrder(field, f"must have at most {MAX_KEY_LENGTH} characters", Code.TOO_LONG)
    if not text.isprintable():
        raise InvalidOrder(field, "must contain printable characters only", Code.BAD_FORMAT)
    return canonical_id(text) if is_uuid(text) else str(uuid.uuid5(KEY_NAMESPACE, text))


def check_serviceable(order: Order, fleet: FleetSpec, capable: Callable[[FleetSpec, Order], bool]) -> None:
    """Raise :class:`InvalidOrder` if no drone of this fleet could ever fly the order. ``capable`` is the planner's."""
    classes = [c for c in fleet.classes if order.drone_class in (None, c.name)]
    if not classes:
        known = ", ".join(c.name for c in fleet.classes) or "none"
        raise InvalidOrder("drone_class", f"must be a class of this region: {known}", Code.UNKNOWN_CLASS)
    strongest_kg = max(c.max_payload_kg for c in classes)
    if order.package_weight_kg > strongest_kg:
        who = f"class {order.drone_class}" if order.drone_class else "the strongest class"
        raise InvalidOrder("package_weight_kg", f"{who} carries at most {strongest_kg:g} kg", Code.TOO_HEAVY)
    for field, point in (("destination", order.destination), ("pickup", order.pickup or fleet.depot)):
        away_m = _distance_m(fleet.depot, point)
        if away_m > fleet.service_radius_m:
            reach = f"the region serves up to {fleet.service_radius_m / 1000:g} km"
            raise InvalidOrder(field, f"{away_m / 1000:.1f} km from the depot; {reach}", Code.OUT_OF_AREA)
    blocked = blocked_way(fleet, order)
    if blocked:
        raise InvalidOrder(blocked.field, blocked.reason, Code.NO_FLY_ZONE)
    if not capable(fleet, order):
        text = "no drone that can carry this could fly there and back on a full battery and keep its reserve"
        raise InvalidOrder("destination", text, Code.BEYOND_ENERGY)


def _check_fields(document: object, field: str, known: frozenset[str]) -> None:
    if not isinstance(document, Mapping):
        raise InvalidOrder(field, f"must be an object, got {_kind(document)}", Code.WRONG_TYPE)
    for name in document:
        if name not in known:
            path = f"{field}.{_shown(name)}" if field else _shown(name)
            raise InvalidOrder(path, f"unknown field; known: {', '.join(sorted(known))}", Code.UNKNOWN_FIELD)


def _required(document: Mapping[str, object], name: str, parent: str = "") -> object:
    value = document.get(name)
    if value is None:
        raise InvalidOrder(f"{parent}{name}", "is required", Code.MISSING)
    return value


def _optional(document: Mapping[str, object], name: str, parse: Callable[[object], T]) -> T | None:
    value = document.get(name)
    return None if value is None else parse(value)


def _weight_kg(value: object) -> float:
    return _float32(value, "package_weight_kg", above=0.0, upto=MAX_WEIGHT_KG)


def _deadline_s(value: object) -> float:
    return _float32(value, "deadline_s", above=0.0, upto=MAX_DEADLINE_S)


def _order_id(value: object) -> str:
    text = _text(value, "order_id")
    if not text:
        raise InvalidOrder("order_id", "must not be empty", Code.MISSING)
    if len(text) > MAX_ORDER_ID_LENGTH:
        raise InvalidOrder("order_id", f"must have at most {MAX_ORDER_ID_LENGTH} characters", Code.TOO_LONG)
    # "." and ".." would disappear when a client or proxy normalises the path of a URL.
    if not _ORDER_ID.fullmatch(text) or text in (".", ".."):
        raise InvalidOrder("order_id", "must contain only letters, digits, '.', '_' and '-'", Code.BAD_FORMAT)
    return text


def _class_name(value: object) -> str:
    text = _text(value, "drone_class")
    if len(text) > MAX_CLASS_LENGTH:
        raise InvalidOrder("drone_class", f"must have at most {MAX_CLASS_LENGTH} characters", Code.TOO_LONG)
    if not _CLASS_NAME.fullmatch(text):
        raise InvalidOrder("drone_class", "must be a name: a letter, then letters, digits, '_' or '-'", Code.BAD_FORMAT)
    return text


def _priority(value: object) -> Priority:
    names = ", ".join(p.name.lower() for p in Priority)
    if isinstance(value, str):
        for priority in Priority:
            if value.upper() == priority.name:
                return priority
        raise InvalidOrder("priority", f"must be one of {names}", Code.BAD_FORMAT)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidOrder("priority", f"must be one of {names}, or its number, got {_kind(value)}", Code.WRONG_TYPE)
    if not Priority.LOW <= value <= Priority.URGENT:
        raise InvalidOrder("priority", f"must be {int(Priority.LOW)} to {int(Priority.URGENT)}", Code.OUT_OF_RANGE)
    return Priority(value)


def _point(value: object, field: str) -> GeoPoint:
    _check_fields(value, field, frozenset({"lat", "lon"}))
    assert isinstance(value, Mapping)
    lat, lon = _required(value, "lat", f"{field}."), _required(value, "lon", f"{field}.")
    return GeoPoint(
        lat_deg=_number(lat, f"{field}.lat", least=-90.0, upto=90.0),
        lon_deg=_number(lon, f"{field}.lon", least=-180.0, upto=180.0),
    )


def _number(value: object, field: str, *, upto: float, least: float = -math.inf, above: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidOrder(field, f"must be a number, got {_kind(value)}", Code.WRONG_TYPE)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidOrder(field, "must be finite", Code.NOT_FINITE)
    # Compare before converting: an integer may be too large for a float.
    if not (least <= value <= upto and value > above):
        bounds = f"above {above:g} and at most {upto:g}" if least == -math.inf else f"from {least:g} to {upto:g}"
        raise InvalidOrder(field, f"must be {bounds}", Code.OUT_OF_RANGE)
    return float(value)


def _float32(value: object, field: str, *, above: float, upto: float) -> float:
    """Return the number in the precision of ROS messages. The bounds hold before and after rounding."""
    number = rounded_to_float32(_number(value, field, above=above, upto=upto))
    if not above < number <= upto:
        reason = f"must be above {above:g} and at most {upto:g} in single precision"
        raise InvalidOrder(field, reason, Code.OUT_OF_RANGE)
    return number


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidOrder(field, f"must be a string, got {_kind(value)}", Code.WRONG_TYPE)
    return value


def _kind(value: object) -> str:
    """Return the JSON name of a value's type. The value itself is never shown: it may be huge, deeply nested or not
    encodable."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else "something else")


def _shown(name: object) -> str:
    text = name if isinstance(name, str) else _kind(name)
    return text[:MAX_ORDER_ID_LENGTH].encode("ascii", "backslashreplace").decode("ascii")


def _distance_m(first: GeoPoint, second: GeoPoint) -> float:
    """Return the great-circle distance by the haversine formula: ``planning.geo`` for one pair, without numpy."""
    lat1, lat2 = math.radians(first.lat_deg), math.radians(second.lat_deg)
    half_lat, half_lon = (lat2 - lat1) / 2, math.radians(math.remainder(second.lon_deg - first.lon_deg, 360.0)) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return 2.0 * _EARTH_MEAN_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))
