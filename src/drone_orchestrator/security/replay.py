"""The replay window: inside it, each envelope is accepted once; outside it, none is accepted.

The window follows the wall clock, which somebody may set back over envelopes that were already forgotten. So nothing is
accepted from before the last envelope that was forgotten.
"""

from __future__ import annotations

import heapq

#: About 20 MB at worst.
MAX_REMEMBERED = 100_000


class ReplayWindow:
    """Memory of what was seen within a window. Times are of one wall clock (s); marks must be authentic."""

    def __init__(self, span_s: float, max_remembered: int = MAX_REMEMBERED) -> None:
        """Raises ``ValueError`` for a span that is not positive."""
        if not span_s > 0.0:
            raise ValueError(f"a replay window must be longer than 0 s, got {span_s:g}")
        self.span_s = span_s
        self._max = max_remembered
        self._seen: set[str] = set()
        self._times: list[tuple[float, str]] = []  # a heap of (time, mark)
        self._forgotten_until_s = float("-inf")

    def covers(self, at_s: float, now_s: float) -> bool:
        """Return True if ``at_s`` is within the window around ``now_s``, past or future, because clocks differ.

        It is not if an envelope of that time or later was forgotten: then the clock was set back since.
        """
        self._forget(now_s)
        return abs(now_s - at_s) <= self.span_s and at_s > self._forgotten_until_s

    def is_full(self, now_s: float) -> bool:
        """Return True if no more marks fit. Forgetting one instead would let a replay through."""
        self._forget(now_s)
        return len(self._seen) >= self._max

    def first_time(self, mark: str, at_s: float, now_s: float) -> bool:
        """Return True if ``mark``, of time ``at_s``, is new. It is remembered while the window covers it."""
        self._forget(now_s)
        if mark in self._seen:
            return False
        self._seen.add(mark)
        heapq.heappush(self._times, (at_s, mark))
        return True

    def _forget(self, now_s: float) -> None:
        while self._times and self._times[0][0] + self.span_s < now_s:
            at_s, mark = heapq.heappop(self._times)
            self._seen.discard(mark)
            self._forgotten_until_s = max(self._forgotten_until_s, at_s)
