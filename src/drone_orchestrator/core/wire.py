"""Numbers as messages carry them.

``Order.msg`` has ``float32`` fields, while JSON, the store and the core calculate in double precision. Admission rounds
a number before it judges it, so that the intake, the leader and the drone all see the same value.
"""

from __future__ import annotations

import math
import struct

_FLOAT32 = struct.Struct("<f")
#: This many significant digits tell any two values of ``float32`` apart.
_MAX_DIGITS = 9


def rounded_to_float32(value: float) -> float:
    """Return the ``float32`` next to ``value``, as its shortest decimal: 1.2 stays 1.2.

    The result survives any number of conversions. A finite value beyond the range becomes infinite.
    """
    on_wire = _pack(value)
    if not math.isfinite(on_wire):
        return on_wire
    for digits in range(1, _MAX_DIGITS + 1):
        decimal = float(f"{on_wire:.{digits}g}")
        if _pack(decimal) == on_wire:
            return decimal
    raise AssertionError(f"{value!r} has no decimal of {_MAX_DIGITS} digits")


def _pack(value: float) -> float:
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
