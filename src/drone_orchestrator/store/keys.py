"""Keys of one region: from ``(kind, id)`` to key and back.

Ids are checked whenever a key is built. The intake validates them as well, but a key with an extra slash would belong
to another record, so such ids are always refused here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.admission import MAX_ID_CHARS, is_id
from ..core.leader import configuration, led_time
from ..core.types import Kind
from ..ports import StoreError

ROOT = "/drone_orchestrator/"
_EVENT_DIGITS = 6
_MAX_EVENTS = 10**_EVENT_DIGITS - 1
_PLAIN_KINDS = (
    Kind.INBOX_ORDER,
    Kind.INBOX_CANCEL,
    Kind.INBOX_COMMAND,
    Kind.SAGA,
    Kind.ORDER_INDEX,
    Kind.ASSIGNMENT,
    Kind.BREAKER,
    Kind.NOTE,
)
_SINGLE_KINDS = (Kind.LEADER, Kind.FLEET)
_SINGLE = {kind.value: kind for kind in _SINGLE_KINDS}
_PLAIN = {kind.value: kind for kind in _PLAIN_KINDS}
#: Ids of the notes that this program knows. Others, of a later version, are left alone.
_NOTES = frozenset({led_time.NOTE, configuration.NOTE})


class InvalidId(StoreError, ValueError):
    """An id or region name that cannot be part of a key."""


def check_id(text: str, what: str = "id") -> str:
    """Return ``text`` if it can be a segment of a key. Raises :class:`InvalidId` otherwise."""
    if isinstance(text, str) and is_id(text):
        return text
    if not isinstance(text, str) or not text:
        raise InvalidId(f"{what} must not be empty")
    if len(text) > MAX_ID_CHARS:
        raise InvalidId(f"{what} must have at most {MAX_ID_CHARS} characters, got {len(text)}")
    raise InvalidId(f"{what} must be printable ASCII without '/', got {text!r}")


def event_id(message_id: str, n: int) -> str:
    """Return ``<message_id>/<n>``, the number padded so that keys sort like numbers."""
    if not 1 <= n <= _MAX_EVENTS:
        raise InvalidId(f"event number must be in 1..{_MAX_EVENTS}, got {n}")
    return f"{check_id(message_id, 'message_id')}/{n:0{_EVENT_DIGITS}d}"


def range_end(prefix: str) -> str:
    """Return the first key after all that start with ``prefix`` (which ends in a character below ``~``)."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys below ``/drone_orchestrator/<region>/``."""

    region: str
    prefix: str = field(init=False, repr=False, compare=False)
    _below: dict[Kind, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"{ROOT}{check_id(self.region, 'region')}/")
        object.__setattr__(self, "_below", {kind: f"{self.prefix}{kind.value}/" for kind in Kind})

    @property
    def leader(self) -> str:
        return f"{self.prefix}{Kind.LEADER.value}"

    @property
    def fleet(self) -> str:
        return f"{self.prefix}{Kind.FLEET.value}"

    def of(self, kind: Kind, id_: str) -> str:
        """Return the key of one record. Raises :class:`InvalidId` for an id that does not fit the kind."""
        if kind in _SINGLE_KINDS:
            if id_:
                raise InvalidId(f"the id of the key {kind.value!r} must be empty, got {id_!r}")
            return self.prefix + kind.value
        if kind is Kind.EVENT:
            message_id, _, n = id_.rpartition("/")
            if not n.isascii() or not n.isdigit() or event_id(message_id, int(n)) != id_:
                raise InvalidId(f"event id must be <message_id>/<six digits>, got {id_!r}")
            return self._below[kind] + id_
        if kind not in _PLAIN_KINDS or (kind is Kind.NOTE and id_ not in _NOTES):
            raise InvalidId(f"records of kind {kind.value!r} with id {id_!r} have no key")
        return self._below[kind] + check_id(id_)

    def inbox_order(self, message_id: str) -> str:
        return self._below[Kind.INBOX_ORDER] + check_id(message_id)

    def inbox_cancel(self, message_id: str) -> str:
        return self._below[Kind.INBOX_CANCEL] + check_id(message_id)

    def inbox_command(self, message_id: str) -> str:
        return self._below[Kind.INBOX_COMMAND] + check_id(message_id)

    def saga(self, message_id: str) -> str:
        return self._below[Kind.SAGA] + check_id(message_id)

    def order_index(self, order_id: str) -> str:
        return self._below[Kind.ORDER_INDEX] + check_id(order_id)

    def assignment(self, drone_id: str) -> str:
        return self._below[Kind.ASSIGNMENT] + check_id(drone_id)

    def event(self, message_id: str, n: int) -> str:
        return self._below[Kind.EVENT] + event_id(message_id, n)

    def events_of(self, message_id: str) -> str:
        """Return the prefix of all events of one order."""
        return f"{self._below[Kind.EVENT]}{check_id(message_id, 'message_id')}/"

    def below(self, kind: Kind) -> str:
        """Return the prefix of all records of ``kind``."""
        return self._below[kind]

    def all_keys(self) -> tuple[tuple[str, str], ...]:
        """Return the region as one span ``(first, end)``."""
        return ((self.prefix, range_end(self.prefix)),)

    def all_but_events(self) -> tuple[tuple[str, str], ...]:
        """Return the region as spans ``(first, end)`` without the events."""
        events = self._below[Kind.EVENT]
        return ((self.prefix, events), (range_end(events), range_end(self.prefix)))

    def parse(self, key: str) -> tuple[Kind, str]:
        """Return kind and id of a key of this region; ``(OTHER, rest)`` for an unknown kind of key."""
        if not key.startswith(self.prefix):
            raise InvalidId(f"key must start with {self.prefix}, got {key!r}")
        rest = key[len(self.prefix) :]
        # Only the id of an event has a slash.
        head, _, id_ = rest.rpartition("/")
        kind = _PLAIN.get(head)
        if kind is not None and is_id(id_) and (kind is not Kind.NOTE or id_ in _NOTES):
            return kind, id_
        if rest in _SINGLE:
            return _SINGLE[rest], ""
        id_ = key[len(self._below[Kind.EVENT]) :]
        if key.startswith(self._below[Kind.EVENT]) and _is_event_id(id_):
            return Kind.EVENT, id_
        return Kind.OTHER, rest


def _is_event_id(id_: str) -> bool:
    """Return whether :meth:`Keys.of` accepts the id of an event."""
    message_id, slash, n = id_.rpartition("/")
    in_form = bool(slash) and len(n) == _EVENT_DIGITS and n.isascii() and n.isdigit() and int(n) > 0
    return in_form and is_id(message_id)
