"""Remembers what was seen within a window of time: nothing counts twice in it, and nothing outside it at all."""

from __future__ import annotations

import heapq

#: Some 20 MB at worst.
MAX_REMEMBERED = 100_000


class ReplayWindow:
    """Times are seconds of one wall clock. Whoever asks has checked the authenticity of what is remembered here."""

    def __init__(self, span_s: float, max_remembered: int = MAX_REMEMBERED) -> None:
        """Raises ``ValueError`` for a span that is not positive."""
        if not span_s > 0.0:
            raise ValueError(f"a replay window of {span_s:g} s cannot be")
        self.span_s = span_s
        self._max = max_remembered
        self._seen: set[str] = set()
        self._ends: list[tuple[float, str]] = []  # a heap: until when to remember what

    def covers(self, at_s: float, now_s: float) -> bool:
        """Whether ``at_s`` is near enough to ``now_s``; clocks differ, so the future counts like the past."""
        return abs(now_s - at_s) <= self.span_s

    def is_full(self, now_s: float) -> bool:
        """Whether nothing more can be remembered now. Forgetting instead would let a replay through."""
        self._forget(now_s)
        return len(self._seen) >= self._max

    def first_time(self, mark: str, at_s: float, now_s: float) -> bool:
        """Whether ``mark``, of time ``at_s``, is new; it is remembered for as long as the window covers it."""
        self._forget(now_s)
        if mark in self._seen:
            return False
        self._seen.add(mark)
        heapq.heappush(self._ends, (at_s + self.span_s, mark))
        return True

    def _forget(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] < now_s:
            self._seen.discard(heapq.heappop(self._ends)[1])
