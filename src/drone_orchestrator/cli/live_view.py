"""Live views: follow a fleet's store, and show it as a screen in a terminal or as lines elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import RenderableType
from rich.live import Live

from ..core.types import StoreChange
from ..core.view import FleetView
from ..ports import StoreReader, StoreUnavailable
from ..runtime.projection import Freshness, Projection
from ..store import EtcdStore
from .context import Target, open_store
from .output import Failure, Output

T = TypeVar("T")

_LOAD_TIMEOUT_S = 15.0
#: Maximum and minimum time between redraws (s). Ages change without any event.
_REDRAW_S = 1.0
_REST_S = 0.1


class Follower:
    """An up-to-date view of a store. :meth:`wait` returns when it changes."""

    def __init__(self, store: StoreReader) -> None:
        self.store = store
        self._changed = threading.Event()
        self._projection = Projection(store, listener=self._hear)

    def start(self) -> None:
        """Wait for the first snapshot. Raises :class:`Failure` if that takes too long."""
        self._projection.start()
        if not self._projection.wait_loaded(_LOAD_TIMEOUT_S):
            raise Failure(f"the store could not be read within {_LOAD_TIMEOUT_S:g} s")

    def close(self) -> None:
        self._projection.close()

    def look(self, select: Callable[[FleetView], T]) -> tuple[T, Freshness]:
        """Return ``select(view)`` at one revision, and its freshness."""
        return self._projection.read(select)

    def wait(self, timeout_s: float) -> bool:
        """Return whether anything has changed since the last call, or does within ``timeout_s``."""
        found = self._changed.wait(timeout_s)
        self._changed.clear()
        return found

    def _hear(self, change: StoreChange) -> None:
        self._changed.set()


@contextmanager
def following(target: Target) -> Iterator[Follower]:
    """Follow the region's store. Raises :class:`Failure` if it is unavailable now, not if it becomes so later."""
    # The screen shows whether the store is available; the log need not.
    logging.getLogger("drone_orchestrator.runtime.projection").setLevel(logging.ERROR)
    with open_store(target) as store:
        assert isinstance(store, EtcdStore)
        status = store.status()
        if not status["has_quorum"]:
            raise StoreUnavailable(str(status["detail"]))
        follower = Follower(store)
        try:
            follower.start()
            yield follower
        finally:
            follower.close()


def show(out: Output, follower: Follower, draw: Callable[[], RenderableType], lines: Callable[[], list[str]]) -> None:
    """Show changes until Ctrl-C. ``draw`` makes the screen; ``lines`` returns news for an output without one."""
    if out.as_json:
        raise Failure("a view that goes on has no last line for --json: leave one of the two out")
    if not out.console.is_terminal:
        while True:
            for line in lines():
                out.say(line)
            follower.wait(_REDRAW_S)
    with Live(draw(), console=out.console, screen=True, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            follower.wait(_REDRAW_S)
            live.update(draw(), refresh=True)
            time.sleep(_REST_S)  # limits the CPU that a busy fleet costs


def stale(freshness: Freshness) -> str:
    """Return a warning, or an empty string if the view is up to date."""
    if freshness.stale_s is None or freshness.stale_s == 0.0:
        return ""
    return f"[bold red]etcd is unavailable: this is the state of {freshness.stale_s:.0f} s ago[/bold red]"
