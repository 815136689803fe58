"""Signed envelopes: an order that came over an open bus, and that must be somebody's word.

An envelope is signed with HMAC-SHA-256 under a key that both sides hold, over its *canonical form*: the netstrings
(``LENGTH:BYTES,`` with the length in decimal) of these, in this order, all UTF-8:

1. ``drone_orchestrator.envelope.v1``
2. ``key_id``
3. ``message_id``
4. ``type``
5. the timestamp as nanoseconds since 1970 UTC, in decimal
6. ``payload``, byte for byte as it is sent

Lengths make it unambiguous: no two different envelopes have one canonical form. The signature is lower-case hex.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from .keys import KeyRing
from .replay import ReplayWindow

VERSION = "drone_orchestrator.envelope.v1"
MAX_PAYLOAD_BYTES = 64 * 1024
#: ``message_id``, ``type`` and ``key_id``; whatever is longer is junk.
MAX_NAME_BYTES = 128


class Refusal(str, Enum):
    """Why an envelope is not opened; the values are those of the label ``result`` of the metric."""

    MALFORMED = "malformed"  # a field is missing, or the payload is no JSON object
    OVERSIZED = "oversized"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"  # the signature is not that of this key over this content
    STALE = "stale"  # signed too long ago, or in the future
    REPLAYED = "replayed"  # this very envelope was seen before
    OVERLOADED = "overloaded"  # more envelopes within the window than can be remembered


class Refused(Exception):
    """The envelope is not opened. ``refusal`` is for programs; the text is one line for people."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is sent. ``timestamp_ns``: when it was signed, since 1970 UTC. Without a ``signature``: unsigned."""

    message_id: str
    type: str
    payload: str
    timestamp_ns: int
    key_id: str = ""
    signature: str = ""

    def canonical(self) -> bytes:
        """The bytes that are signed; see the module."""
        parts = (VERSION, self.key_id, self.message_id, self.type, str(self.timestamp_ns), self.payload)
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        return b"".join(b"%d:%s," % (len(part), part) for part in encoded)


def sign(envelope: Envelope, key_id: str, key: bytes) -> Envelope:
    """``envelope`` signed under ``key``, which both sides know as ``key_id``."""
    named = replace(envelope, key_id=key_id, signature="")
    return replace(named, signature=_signature(named, key))


def _signature(envelope: Envelope, key: bytes) -> str:
    return hmac.new(key, envelope.canonical(), hashlib.sha256).hexdigest()


class Opener:
    """Checks envelopes and gives their payloads. Not thread-safe.

    An envelope counts within ``window_s`` of its timestamp, to either side, and once; a sender that repeats itself
    signs again with a fresh timestamp. With ``allow_unsigned`` one without ``key_id`` and ``signature`` is opened too,
    and anybody on the bus can make orders.
    """

    def __init__(self, keys: KeyRing, *, window_s: float = 30.0, allow_unsigned: bool = False) -> None:
        self._keys = keys
        self.allow_unsigned = allow_unsigned
        self._window = ReplayWindow(window_s)

    def open(self, envelope: Envelope, now_s: float) -> dict[str, Any]:
        """The payload of an envelope that is in order at ``now_s`` (wall clock). Raises :class:`Refused`.

        Nothing is remembered of an envelope whose signature does not fit, so forgers cannot fill the memory.
        """
        _check_shape(envelope)
        signed = bool(envelope.key_id or envelope.signature)
        if signed:
            self._check_signature(envelope)
        elif not self.allow_unsigned:
            raise Refused(Refusal.UNSIGNED, "the envelope is not signed")
        self._check_time(envelope, now_s, signed)
        return _payload(envelope.payload)

    def _check_signature(self, envelope: Envelope) -> None:
        key = self._keys.get(envelope.key_id)
        if key is None:
            raise Refused(Refusal.UNKNOWN_KEY, f"there is no key {envelope.key_id!r}")
        wanted = _signature(envelope, key).encode()
        if not hmac.compare_digest(wanted, envelope.signature.encode("utf-8", "surrogatepass")):
            raise Refused(Refusal.FORGED, f"the signature is not one of key {envelope.key_id!r}")

    def _check_time(self, envelope: Envelope, now_s: float, signed: bool) -> None:
        at_s = envelope.timestamp_ns * 1e-9
        if not self._window.covers(at_s, now_s):
            raise Refused(Refusal.STALE, f"signed {now_s - at_s:.1f} s ago, {self._window.span_s:g} s are allowed")
        if not signed:
            return  # intake knows the same order again by its id
        if self._window.is_full(now_s):
            raise Refused(Refusal.OVERLOADED, "too many envelopes within the replay window")
        if not self._window.first_time(f"{envelope.key_id}/{envelope.signature}", at_s, now_s):
            raise Refused(Refusal.REPLAYED, "this envelope was seen before; sign a repetition anew")


def _check_shape(envelope: Envelope) -> None:
    names = {"message_id": envelope.message_id, "type": envelope.type, "key_id": envelope.key_id}
    for name, value in names.items():
        if len(value) > MAX_NAME_BYTES:
            raise Refused(Refusal.OVERSIZED, f"{name} has {len(value)} characters, {MAX_NAME_BYTES} are allowed")
    if len(envelope.payload) > MAX_PAYLOAD_BYTES or _size(envelope.payload) > MAX_PAYLOAD_BYTES:
        raise Refused(Refusal.OVERSIZED, f"the payload is larger than {MAX_PAYLOAD_BYTES} bytes")
    missing = [name for name in ("message_id", "type") if not names[name]]
    missing += [] if envelope.payload else ["payload"]
    missing += [] if envelope.timestamp_ns > 0 else ["timestamp"]
    if missing:
        raise Refused(Refusal.MALFORMED, f"{missing[0]} is unset")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _payload(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(Refusal.MALFORMED, f"the payload is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused(Refusal.MALFORMED, "the payload is not a JSON object")
    return found


def _once_each(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in an object")  # two readers could take different ones
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
