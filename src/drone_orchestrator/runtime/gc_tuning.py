"""Settings of Python's cyclic garbage collector for processes that keep and create many objects."""

from __future__ import annotations

import gc

#: Container allocations between two collections of the youngest generation. With Python's default of 700, a busy leader
#: collects a thousand times a second, and full collections take longest just when it is busiest.
YOUNG = 50_000
#: Collections of one generation between two of the next older one.
OLDER = 20


def calm() -> None:
    """Collect rarely, and never again what is alive now. Call it when a process has created what it keeps forever.

    Cycles are rare here: reference counts free nearly everything, so this keeps little alive for longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
