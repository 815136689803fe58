"""Circuit breaker in front of the store, for components that can ask their clients to retry later.

``pybreaker`` keeps the count and the state. But it holds its lock during the guarded call, which would serialise all
requests, and it times an open circuit by the wall clock, which may jump. So here the calls run concurrently, only their
outcome goes to ``pybreaker``, and the monotonic clock decides when a trial call may close an open circuit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pybreaker

from ..ports import FateUnknown, StoreDenied, StoreUnavailable

T = TypeVar("T")

#: Errors that count as failures of the store. Any other error is the caller's fault.
FAILURES = (StoreUnavailable, FateUnknown, StoreDenied)

#: Disables pybreaker's own reset, which uses the wall clock.
_NEVER_S = 10 * 365 * 86400.0


class BreakerOpen(StoreUnavailable):
    """The store was not called, because recent calls failed repeatedly."""


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change

    def state_change(self, cb: pybreaker.CircuitBreaker, old_state: Any, new_state: Any) -> None:
        self._on_change(new_state.name)


class StoreBreaker:
    """Opens after ``fail_max`` consecutive failures. After ``reset_s`` one trial call passes; its success closes it."""

    def __init__(
        self,
        *,
        fail_max: int = 5,
        reset_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        name: str = "etcd",
        on_state: Callable[[str], None] = lambda state: None,
    ) -> None:
        """``on_state`` gets the current state at once, and then every change; see :attr:`state`."""
        self.reset_s = reset_s
        self.denied = ""  # why the store refused the latest call; empty if it did not
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
        """Change both bounds. They apply at once, even to an open breaker."""
        self._breaker.fail_max, self.reset_s = fail_max, reset_s

    @property
    def state(self) -> str:
        """``closed``, ``half-open`` or ``open``."""
        return str(self._breaker.current_state)

    def call(self, func: Callable[[], T]) -> T:
        """Return ``func()``, or raise :class:`BreakerOpen` at once. Only :data:`FAILURES` count as failures."""
        if self.state == pybreaker.STATE_CLOSED:
            return self._run(func)
        if not self._trial.acquire(blocking=False):
            raise BreakerOpen("the store failed repeatedly; one call is on trial")
        try:
            if self.state == pybreaker.STATE_OPEN:
                if self._clock() - self._opened_at_s < self.reset_s:
                    raise BreakerOpen("the store failed repeatedly; no calls are made for a while")
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
        self.denied = str(error) if isinstance(error, StoreDenied) else ""

        def outcome() -> None:
            if error is not None:
                raise error

        try:
            self._breaker.call(outcome)
        except (*FAILURES, pybreaker.CircuitBreakerError):
            # Either the error that was just raised, or a late outcome that an open circuit does not count.
            pass

    def _on_change(self, state: str) -> None:
        if state == pybreaker.STATE_OPEN:
            self._opened_at_s = self._clock()
        self._on_state(state)
