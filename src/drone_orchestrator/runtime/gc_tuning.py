"""Python's cyclic garbage collector, in processes that keep much and make much."""

from __future__ import annotations

import gc

#: New containers between two looks at the youngest generation. Python's own 700 has a busy leader look a thousand times
#: a second, and the rarer looks at everything that it keeps take longest just when it has most to do.
YOUNG = 50_000
#: Looks at one generation between two at the next older one.
OLDER = 20


def calm() -> None:
    """Collect rarely, and never again what lives now. Call it when a process has made what it keeps for ever.

    Cycles are rare here, nearly everything dies by its reference count; so little is kept longer by this.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
