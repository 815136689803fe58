"""JSON of stored records: by orjson if it is installed, else by Python's own module.

Both write and read the same text. orjson is several times as fast. Python's module handles the cases that orjson cannot
handle or handles differently: numbers outside JSON, text outside UTF-8, integers of more than 64 bits. (The two differ
only in the maximum nesting of a document, about a thousand levels, which no record reaches.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, NoReturn

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]


class NotANumber(ValueError):
    """A constant such as ``NaN``, which Python's JSON accepts and the store does not."""


def dump(document: Mapping[str, Any], numbers: float) -> bytes:
    """Return ``document`` as compact JSON in UTF-8. Raises ``ValueError`` for a number outside JSON.

    ``numbers`` is the sum of all its floats, which is finite if each of them is.
    """
    if orjson is not None and isfinite(numbers):  # orjson would write NaN and infinity as null
        try:
            # A copy, because the original keeps a buffer of some thousand bytes alive.
            return bytes(memoryview(orjson.dumps(document)))
        except TypeError:
            pass
    return _ENCODER.encode(document).encode("ascii")


def load(raw: bytes) -> object:
    """Parse ``raw``. Raises ``ValueError`` or ``RecursionError`` if it is not JSON in UTF-8."""
    return _DECODER.decode(raw.decode("utf-8"))


def load_fast(raw: bytes) -> object:
    """Parse ``raw`` faster than :func:`load`. Raises ``ValueError`` even for some text that :func:`load` can parse.

    An integer of more than 64 bits becomes a float.
    """
    return _load_fast(raw)


def _refuse_constant(name: str) -> NoReturn:
    raise NotANumber(f"{name} is not a number that can be stored")


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_load_fast: Callable[[bytes], object] = load if orjson is None else orjson.loads
