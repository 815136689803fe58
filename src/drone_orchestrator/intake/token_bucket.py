"""The token bucket behind both rate limits: on new orders of a lane, and on the requests of one client."""

from __future__ import annotations


class TokenBucket:
    """Allows ``rate_per_s`` on average and ``burst`` at once. Not thread-safe.

    Its balance may be negative, down to ``-burst``. A clock that goes backwards neither adds nor removes tokens.
    """

    __slots__ = ("_burst", "_filled_at_s", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Return the time until there is a token, 0.0 if there is one now."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._filled_at_s) * self._rate_per_s)
        self._filled_at_s = now_s
        return max(0.0, (1.0 - self._tokens) / self._rate_per_s)

    def take(self, now_s: float) -> float:
        """Take a token and return 0.0. If there is none, return the time until there is one."""
        wait_s = self.wait_s(now_s)
        if wait_s == 0.0:
            self._tokens -= 1.0
        return wait_s

    def charge(self, tokens: float) -> None:
        """Take ``tokens``, even if that makes the balance negative."""
        self._tokens = max(-self._burst, self._tokens - tokens)

    def give_back(self) -> None:
        """Put back a token that was taken but not used."""
        self._tokens = min(self._burst, self._tokens + 1.0)
