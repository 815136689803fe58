"""Tells a drone that was restarted from two drones with one id, such as a cloned disk.

Each process of a drone has a *boot id*, new at each start. A restart changes it once: A, then B for ever. Two processes
alternate: A, B, A, B. A single return to A proves nothing, because a message of the old process may arrive late.
"""

from __future__ import annotations

#: After a change of boot id, nothing is given to the drone for this long (s): if the old process lives, it will be
#: heard by then. Longer than the longest period of a drone's state messages (2 s).
SETTLE_S = 2.5
#: Returns to an earlier boot id that prove two processes: late messages of an old process cause at most two, because
#: its writer keeps one sample.
PROVING_RETURNS = 3
#: The returns must also be spread over this long (s), because late messages come in a burst.
PROVING_SPREAD_S = 1.0
#: A process that has not been heard for this long (s) is gone.
GONE_AFTER_S = 10.0


class Boots:
    """Boot ids heard for one drone id. All times are monotonic, in s."""

    __slots__ = ("_changed_at_s", "_current", "_earlier", "_first_return_s", "_returns")

    def __init__(self, boot_id: str) -> None:
        self._current = boot_id
        self._earlier: set[str] = set()
        self._changed_at_s = float("-inf")
        self._first_return_s = 0.0
        self._returns = 0

    def changed(self, boot_id: str, now_s: float) -> None:
        """Note that the drone reports another boot id than in its last message."""
        if now_s - self._changed_at_s > GONE_AFTER_S:
            self._earlier.clear()
            self._returns = 0
        if boot_id in self._earlier:
            if not self._returns:
                self._first_return_s = now_s
            self._returns += 1
        self._earlier.add(self._current)
        self._current, self._changed_at_s = boot_id, now_s

    def is_doubtful(self, now_s: float) -> bool:
        """Return whether another process may speak for this drone, too. Then nothing is given to either."""
        return now_s - self._changed_at_s <= SETTLE_S or self.are_two(now_s)

    def are_two(self, now_s: float) -> bool:
        """Return whether two processes speak for this drone."""
        if self._returns < PROVING_RETURNS or now_s - self._changed_at_s > GONE_AFTER_S:
            return False
        return now_s - self._first_return_s >= PROVING_SPREAD_S
