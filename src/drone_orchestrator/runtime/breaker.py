"""The circuit breaker around the store, for those who can say "later" to whoever asks them.

``pybreaker`` keeps count and state, but it holds its lock while the guarded call runs, which would put all requests in
one file, and it times an open circuit by the wall clock, which may jump. So here calls run beside each other and only
their outcome is told to the breaker; the way back, one call on trial, is timed by the monotonic clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pybreaker

from ..ports import FateUnknown, StoreDenied, StoreUnavailable

T = TypeVar("T")

#: What tells of a store in trouble; any other error is the caller's own and says nothing against the store.
FAILURES = (StoreUnavailable, FateUnknown, StoreDenied)

#: The pybreaker's own way back, by the wall clock, is never to be taken.
_NEVER_S = 10 * 365 * 86400.0


class BreakerOpen(StoreUnavailable):
    """The store was not asked, because it failed just before."""


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change

    def state_change(self, cb: pybreaker.CircuitBreaker, old_state: Any, new_state: Any) -> None:
        self._on_change(new_state.name)


class StoreBreaker:
    """Opens after ``fail_max`` failures in a row; after ``reset_s`` one call may try, and its success closes it."""

    def __init__(
        self,
        *,
        fail_max: int = 5,
        reset_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        name: str = "etcd",
        on_state: Callable[[str], None] = lambda state: None,
    ) -> None:
        """``on_state`` hears the present state at once, and then every change; see :attr:`state`."""
        self.reset_s = reset_s
        self._clock = clock
        self._opened_at_s = 0.0
        self._on_state = on_state
        self._trial = threading.Lock()
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=fail_max,
            reset_timeout=_NEVER_S,
            listeners=[_Listener(self._on_change)],
            throw_new_error_on_trip=False,
            name=name,
        )
        self._on_state(self.state)

    def tune(self, fail_max: int, reset_s: float) -> None:
        """Other bounds hold from now on, also for a breaker that is open."""
        self._breaker.fail_max, self.reset_s = fail_max, reset_s

    @property
    def state(self) -> str:
        """``closed``, ``half-open`` or ``open``."""
        return str(self._breaker.current_state)

    def call(self, func: Callable[[], T]) -> T:
        """``func()``, or :class:`BreakerOpen` at once. Only :data:`FAILURES` count against the store."""
        if self.state == pybreaker.STATE_CLOSED:
            return self._run(func)
        if not self._trial.acquire(blocking=False):
            raise BreakerOpen("the store failed repeatedly; one call is on trial")
        try:
            if self.state == pybreaker.STATE_OPEN:
                if self._clock() - self._opened_at_s < self.reset_s:
                    raise BreakerOpen("the store failed repeatedly; it is left alone for a while")
                self._breaker.half_open()
            return self._run(func)
        finally:
            self._trial.release()

    def _run(self, func: Callable[[], T]) -> T:
        try:
            result = func()
        except FAILURES as error:
            self._tell(error)
            raise
        self._tell(None)
        return result

    def _tell(self, error: Exception | None) -> None:
        def outcome() -> None:
            if error is not None:
                raise error

        try:
            self._breaker.call(outcome)
        except (*FAILURES, pybreaker.CircuitBreakerError):
            # Our own error come back, or a late outcome that an open circuit does not count. The caller has its result.
            pass

    def _on_change(self, state: str) -> None:
        if state == pybreaker.STATE_OPEN:
            self._opened_at_s = self._clock()
        self._on_state(state)
