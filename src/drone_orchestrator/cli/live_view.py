"""Following a fleet's store while a command runs, and showing it: a screen in a terminal, lines elsewhere."""

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
#: A screen is drawn at least so often, for what changes by itself (ages), and at most so often.
_REDRAW_S = 1.0
_REST_S = 0.1


class Follower:
    """A store and an up-to-date view of it; :meth:`wait` returns when something changed."""

    def __init__(self, store: StoreReader) -> None:
        self.store = store
        self._changed = threading.Event()
        self._projection = Projection(store, listener=self._hear)

    def start(self) -> None:
        """Return when the first snapshot is there. Raises :class:`Failure` where that takes too long."""
        self._projection.start()
        if not self._projection.wait_loaded(_LOAD_TIMEOUT_S):
            raise Failure(f"the store could not be read within {_LOAD_TIMEOUT_S:g} s")

    def close(self) -> None:
        self._projection.close()

    def look(self, select: Callable[[FleetView], T]) -> tuple[T, Freshness]:
        """``select(view)`` at one revision, and how fresh that is."""
        return self._projection.read(select)

    def wait(self, timeout_s: float) -> bool:
        """Whether something changed since the last call, or does so within ``timeout_s``."""
        found = self._changed.wait(timeout_s)
        self._changed.clear()
        return found

    def _hear(self, change: StoreChange) -> None:
        self._changed.set()


@contextmanager
def following(target: Target) -> Iterator[Follower]:
    """The region's store, followed. One that is away now is a :class:`Failure`; one that goes away later is not."""
    # What the projection has to say about a store that comes and goes is on the screen.
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
    """Show what changes until Ctrl-C. ``draw`` makes the screen; ``lines`` says what is new, where there is none."""
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
            time.sleep(_REST_S)  # so that a busy fleet costs no core


def stale(freshness: Freshness) -> str:
    """A warning, empty where the view is up to date."""
    if freshness.stale_s is None or freshness.stale_s == 0.0:
        return ""
    return f"[bold red]etcd is away: this is how it was {freshness.stale_s:.0f} s ago[/bold red]"
