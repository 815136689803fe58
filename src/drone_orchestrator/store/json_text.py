"""JSON of the records in the store: by orjson where it is installed, else by Python's own module.

What can be written and read is the same with both. orjson is several times as fast, and what it cannot do, or does
differently, is left to Python's: numbers that JSON has not, text that UTF-8 has not, integers of more than 64 bits.
(Only what is nested about a thousand deep, which no record is, meets another limit with each.)
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
    """A constant such as ``NaN``, which Python's JSON has and the store has not."""


def dump(document: Mapping[str, Any], numbers: float) -> bytes:
    """``document`` without blanks, in UTF-8. Raises ``ValueError`` for a number that JSON has not.

    ``numbers``: the sum of all floats in it, which tells at once whether each of them is finite.
    """
    if orjson is not None and isfinite(numbers):  # orjson would write others as null
        try:
            # A copy, for orjson's own keeps a buffer of some thousand bytes as long as it lives.
            return bytes(memoryview(orjson.dumps(document)))
        except TypeError:
            pass
    return _ENCODER.encode(document).encode("ascii")


def load(raw: bytes) -> object:
    """What ``raw`` says. Raises ``ValueError`` or ``RecursionError`` where it is not JSON in UTF-8."""
    return _DECODER.decode(raw.decode("utf-8"))


def load_fast(raw: bytes) -> object:
    """The same in a fraction of the time, or ``ValueError`` where :func:`load` may see more in it.

    An integer of more than 64 bits becomes a float.
    """
    return _load_fast(raw)


def _refuse_constant(name: str) -> NoReturn:
    raise NotANumber(f"{name} is not a number that can be stored")


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_load_fast: Callable[[bytes], object] = load if orjson is None else orjson.loads
