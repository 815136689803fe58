"""Settings of Python's cyclic garbage collector for processes with many long-lived and many new objects."""

from __future__ import annotations

import gc

#: Container allocations between two collections of the youngest generation. With Python's default of 700, a busy leader
#: collects a thousand times a second, and full collections take longest when it is busiest.
YOUNG = 50_000
#: Collections of one generation between two of the next older one.
OLDER = 20


def calm() -> None:
    """Collect rarely, and never examine the current objects again. Call it once all permanent objects exist.

    Cycles are rare here: reference counting frees nearly everything, so this delays the release of little memory.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
