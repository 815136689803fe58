"""Trust in this replica's wall clock, judged by its monotonic clock and by stamps of other machines.

No decision that ends an order may rest on one reading of one clock. A wall clock that somebody sets shows beside the
monotonic clock, which nobody can set. One that is wrong from the start shows beside the clocks of drones and gateways.
"""

from __future__ import annotations

from ..types import Instant

#: Clocks that differ by more than this (s), the way of a message included, do not agree.
TOLERANCE_S = 5.0
#: A stamp says something about a clock for this long (s).
STAMP_FOR_S = 120.0
#: A step of this replica's wall clock stays visible for this long (s).
STEP_SHOWN_S = 600.0


class WallClock:
    """This replica's wall clock, beside the latest stamp of each other machine that was heard."""

    def __init__(self) -> None:
        self._others: dict[str, tuple[float, float]] = {}  # source -> its wall clock less our monotonic one, heard at
        self._offset_s: float | None = None  # own wall clock less the monotonic one, at the last look
        # A new leader asks for thousands of orders in one step, and each answer looks at all drones.
        self._judged: tuple[Instant, bool] | None = None
        self._step: tuple[float, float] | None = None  # by how much it was set, when (monotonic)

    def heard(self, source: str, stamp_s: float, now: Instant) -> None:
        """Note the wall clock of another machine: a message that has just arrived is stamped ``stamp_s``."""
        self._others[source] = (stamp_s - now.mono_s, now.mono_s)
        self._judged = None

    def is_confirmed(self, now: Instant) -> bool:
        """Return whether most clocks, at least one of them on another machine, agree with the wall clock."""
        if self._judged is not None and self._judged[0] == now:
            return self._judged[1]
        others = self._recent(now)
        agreeing = sum(1 for ahead_s in others if abs(ahead_s) <= TOLERANCE_S)
        verdict = agreeing > 0 and 2 * (agreeing + 1) > len(others) + 1
        self._judged = (now, verdict)
        return verdict

    def trouble(self, now: Instant) -> str:
        """Return what is wrong with the wall clock, empty if nothing is. Ask regularly; another thread may do so."""
        own_s = now.wall_s - now.mono_s
        if self._offset_s is not None and abs(own_s - self._offset_s) > TOLERANCE_S:
            self._step = (own_s - self._offset_s, now.mono_s)
        self._offset_s = own_s
        others = self._recent(now)
        apart = sorted(ahead_s for ahead_s in others if abs(ahead_s) > TOLERANCE_S)
        if 2 * len(apart) > len(others):
            middle_s = apart[len(apart) // 2]
            where = "ahead of" if middle_s < 0.0 else "behind"
            return f"this machine's clock is {abs(middle_s):.0f} s {where} {len(apart)} of {len(others)} others"
        if self._step is not None and now.mono_s - self._step[1] <= STEP_SHOWN_S:
            return f"this machine's clock was set by {self._step[0]:+.0f} s"
        return ""

    def _recent(self, now: Instant) -> list[float]:
        """Return how far (s) each other clock is ahead of the wall clock."""
        own_s = now.wall_s - now.mono_s
        known = tuple(self._others.values())
        return [offset_s - own_s for offset_s, at_s in known if now.mono_s - at_s <= STAMP_FOR_S]
