"""Background threads that cannot die unseen.

Every thread of a program is one of two kinds:

* A :class:`Loop` heals. It repeats its step with back-off after an exception, and its :attr:`Loop.trouble` says why it
  fails at the moment.
* A :func:`vital` thread is one without which its process is useless. If it dies, or returns although nothing has asked
  it to, the process ends with an error, and a supervisor starts it again.

Deaths of all threads, also those of libraries, arrive in one place: :func:`deaths_reported`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..core.policies import backoff_s

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
#: An exception this soon (s) after the previous one belongs to the same series: back-off grows, and the log stays calm.
CALM_S = 30.0

log = logging.getLogger(__name__)


class ThreadDied(RuntimeError):
    """A thread ended by an exception, or without being asked to."""


class Loop:
    """Thread that calls ``step`` until :meth:`close`, or until ``step`` returns ``True``; ``period_s`` is the pause.

    A step that raises is repeated after a pause that grows with every failure. The first exception of a series is
    logged: in one line if its type is in ``expected``, else with a traceback.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], bool | None],
        *,
        period_s: float = 0.0,
        expected: tuple[type[Exception], ...] = (),
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        self.trouble = ""  # why the latest step failed; empty if it worked
        self._step = step
        self._period_s = period_s
        self._expected = expected
        self._longest_pause_s = longest_pause_s
        self._failures = 0
        self._failed_at_s = float("-inf")
        self._closing = threading.Event()
        self._thread = vital(name, self._run, may_end=lambda: True)

    @property
    def closing(self) -> bool:
        """Return whether the loop is to end."""
        return self._closing.is_set()

    def start(self) -> None:
        self._thread.start()

    def pause(self, seconds: float) -> bool:
        """Wait within a step; return ``True`` at once if the loop is to end."""
        return self._closing.wait(seconds)

    def stop(self) -> None:
        """Ask the loop to end, without waiting for the step under way."""
        self._closing.set()

    def close(self) -> None:
        """Stop, and wait for the step under way, unless it is the caller."""
        self.stop()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def works(self) -> None:
        """Note that the loop does its work. A step that never returns calls it; after other steps it is implied."""
        if self.trouble:
            self.trouble = ""
            log.info("%s works again", self._thread.name)

    def _run(self) -> None:
        while not self.closing:
            try:
                finished = self._step()
            except Exception as error:
                self._closing.wait(self._failed(error))
                continue
            self.works()
            if finished:
                return
            if self._period_s:
                self._closing.wait(self._period_s)

    def _failed(self, error: Exception) -> float:
        """Note a failure. Return the pause (s) before the next attempt."""
        name, now_s = self._thread.name, time.monotonic()
        if now_s - self._failed_at_s > CALM_S + LONGEST_PAUSE_S:
            self._failures = 0
        self._failures += 1
        self._failed_at_s = now_s
        self.trouble = describe(error)
        if self._failures == 1 and isinstance(error, self._expected):
            log.warning("%s fails, and is retried: %s", name, error)
        elif self._failures == 1:
            log.error("%s fails, and is retried: %s", name, self.trouble, exc_info=error)
        return backoff_s(self._failures, base_s=FIRST_PAUSE_S, cap_s=self._longest_pause_s, seed=name)


def vital(
    name: str, target: Callable[..., object], *args: object, may_end: Callable[[], bool] = lambda: False
) -> threading.Thread:
    """Return a daemon thread, not started yet, whose death ends the process.

    An exception of ``target`` is a death, and so is its return unless ``may_end()``. Both leave the thread as an
    exception, which :func:`deaths_reported` receives.
    """

    def run() -> None:
        try:
            target(*args)
        except Exception:
            raise
        except BaseException as error:  # threading ignores SystemExit
            raise ThreadDied(f"it was ended by {describe(error)}") from error
        if not may_end():
            raise ThreadDied("it returned although nothing had asked it to")

    return threading.Thread(target=run, name=name, daemon=True)


@contextmanager
def deaths_reported(on_death: Callable[[], None]) -> Iterator[None]:
    """Log the death of any thread of this process in one record, and call ``on_death`` on the dying thread."""
    before = threading.excepthook

    def report(dead: threading.ExceptHookArgs) -> None:
        name = dead.thread.name if dead.thread is not None else "a thread"
        error = dead.exc_value if dead.exc_value is not None else dead.exc_type()
        text = f"thread {name!r} died, so this process ends: {describe(error)}"
        log.critical("%s", text, exc_info=error)
        on_death()

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before


def describe(error: BaseException) -> str:
    """Return one line about ``error``, with its type."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
