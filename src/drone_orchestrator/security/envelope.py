"""Signed envelopes: authentication of orders that arrive over an open bus.

An envelope is signed with HMAC-SHA-256 under a shared key, over its *canonical form*: the netstrings
(``LENGTH:BYTES,`` with the length in decimal) of these fields, in this order, all UTF-8:

1. ``drone_orchestrator.envelope.v1``
2. ``key_id``
3. ``message_id``
4. ``type``
5. the timestamp as nanoseconds since 1970 UTC, in decimal
6. ``payload``, byte for byte as it is sent

The lengths make it unambiguous: no two envelopes have the same canonical form. The signature is lower-case hex.
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
#: Bound on ``message_id``, ``type`` and ``key_id``.
MAX_NAME_BYTES = 128


class Refusal(str, Enum):
    """Reason why an envelope is refused; the values are those of the metric's label ``result``."""

    MALFORMED = "malformed"  # a field is missing, or the payload is no JSON object
    OVERSIZED = "oversized"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"  # the signature does not match key and content
    STALE = "stale"  # signed too long ago, or in the future
    REPLAYED = "replayed"  # this envelope was seen before
    OVERLOADED = "overloaded"  # more envelopes within the window than the limit


class Refused(Exception):
    """Refusal of an envelope. ``refusal`` is for programs; the text is one line for people."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Envelope:
    """Envelope as sent. ``timestamp_ns``: time of signing, since 1970 UTC. Unsigned if ``signature`` is empty."""

    message_id: str
    type: str
    payload: str
    timestamp_ns: int
    key_id: str = ""
    signature: str = ""

    def canonical(self) -> bytes:
        """Return the signed bytes; see the module."""
        parts = (VERSION, self.key_id, self.message_id, self.type, str(self.timestamp_ns), self.payload)
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        return b"".join(b"%d:%s," % (len(part), part) for part in encoded)


def sign(envelope: Envelope, key_id: str, key: bytes) -> Envelope:
    """Return ``envelope`` signed under ``key``, which both sides know as ``key_id``."""
    named = replace(envelope, key_id=key_id, signature="")
    return replace(named, signature=_signature(named, key))


def _signature(envelope: Envelope, key: bytes) -> str:
    return hmac.new(key, envelope.canonical(), hashlib.sha256).hexdigest()


class Opener:
    """Verifier of envelopes. Not thread-safe.

    An envelope is valid once, within ``window_s`` before and after its timestamp. To repeat it, its sender signs it
    again with a new timestamp. With ``allow_unsigned``, envelopes without ``key_id`` and ``signature`` are accepted,
    too, so everyone on the bus can submit orders.
    """

    def __init__(self, keys: KeyRing, *, window_s: float = 30.0, allow_unsigned: bool = False) -> None:
        self._keys = keys
        self.allow_unsigned = allow_unsigned
        self._window = ReplayWindow(window_s)

    def open(self, envelope: Envelope, now_s: float) -> dict[str, Any]:
        """Return the payload of an envelope that is valid at ``now_s`` (wall clock). Raises :class:`Refused`.

        An envelope with a wrong signature is not remembered, so forgers cannot fill the memory.
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
            raise Refused(Refusal.FORGED, f"the signature does not match key {envelope.key_id!r}")

    def _check_time(self, envelope: Envelope, now_s: float, signed: bool) -> None:
        at_s = envelope.timestamp_ns * 1e-9
        if not self._window.covers(at_s, now_s):
            raise Refused(Refusal.STALE, f"signed {now_s - at_s:.1f} s ago, must be within {self._window.span_s:g} s")
        if not signed:
            return  # intake recognises the same order by its id
        if self._window.is_full(now_s):
            raise Refused(Refusal.OVERLOADED, "too many envelopes within the replay window")
        if not self._window.first_time(f"{envelope.key_id}/{envelope.signature}", at_s, now_s):
            raise Refused(Refusal.REPLAYED, "this envelope was seen before; sign a repetition anew")


def _check_shape(envelope: Envelope) -> None:
    names = {"message_id": envelope.message_id, "type": envelope.type, "key_id": envelope.key_id}
    for name, value in names.items():
        if len(value) > MAX_NAME_BYTES:
            raise Refused(Refusal.OVERSIZED, f"{name} must have at most {MAX_NAME_BYTES} characters, got {len(value)}")
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
        raise ValueError("a name occurs twice in an object")  # two readers could use different ones
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
