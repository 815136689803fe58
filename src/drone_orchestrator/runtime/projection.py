"""Local copy of a region's state: a snapshot, then every change after it. Used by gateway, monitor and CLI."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeVar

from ..core.policies import backoff_s
from ..core.types import Entry, Snapshot, StoreChange
from ..core.view import FleetView
from ..ports import StoreError, StoreReader, WatchHandle

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Age of a projection. ``stale_s`` is how long the store has been away, 0 if it is there, ``None`` if the
    projection was never loaded."""

    revision: int
    stale_s: float | None

    @property
    def loaded(self) -> bool:
        return self.stale_s is not None


class Fold(Protocol):
    """Derived data, such as a count, kept in step with a projection's view. Called under the projection's lock: it must
    be quick, and readers see both at the same revision."""

    def load(self, view: FleetView) -> None:
        """Start again from a view that a snapshot has replaced."""

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """Follow one revision that was applied to the view; ``fresh`` is what it changed."""


class Projection:
    """A :class:`FleetView` that follows the store. Waits, with back-off, for a store that is not there yet.

    Reading it never calls the store. It therefore keeps serving while the store is away, and says how stale it is.
    ``listener`` gets every change after the first snapshot, on the store's thread. After a gap in the watch
    (compaction) it misses what the new snapshot skipped; ``folds`` miss nothing.
    """

    def __init__(
        self,
        store: StoreReader,
        *,
        listener: Callable[[StoreChange], None] | None = None,
        folds: Sequence[Fold] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._listener = listener
        self._folds = tuple(folds)
        self._clock = clock
        self._lock = threading.Lock()
        self._view = FleetView()
        self._lost_at_s: float | None = None
        self._loaded = threading.Event()
        self._closing = threading.Event()
        self._watch: WatchHandle | None = None
        self._thread = threading.Thread(target=self._connect, name="projection", daemon=True)

    def start(self) -> None:
        """Start following the store, in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop following. What was read stays readable."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._watch is not None:
            self._watch.close()

    def wait_loaded(self, timeout_s: float) -> bool:
        """Wait for the first snapshot. ``False`` if it was not there within ``timeout_s``."""
        return self._loaded.wait(timeout_s)

    def freshness(self) -> Freshness:
        with self._lock:
            return self._freshness()

    def read(self, select: Callable[[FleetView], T]) -> tuple[T, Freshness]:
        """Return ``select(view)`` at one revision, and its freshness. ``select`` must be quick and keep no part."""
        with self._lock:
            return select(self._view), self._freshness()

    def _freshness(self) -> Freshness:
        if not self._loaded.is_set():
            return Freshness(0, None)
        stale_s = 0.0 if self._lost_at_s is None else self._clock() - self._lost_at_s
        return Freshness(self._view.revision, stale_s)

    def _connect(self) -> None:
        for attempt in count(1):
            try:
                snapshot = self._store.snapshot()
                self._load(snapshot)
                self._watch = self._store.watch(snapshot.revision, self._apply, self._load, self._on_health)
                return
            except StoreError as error:
                self._on_health(False)
                if attempt == 1:
                    log.warning("the store cannot be reached, retrying: %s", error)
            if self._closing.wait(backoff_s(attempt, base_s=0.2, cap_s=2.0, seed="projection")):
                return

    def _load(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._view.load(snapshot)
            for fold in self._folds:
                fold.load(self._view)
            self._lost_at_s = None
        self._loaded.set()

    def _apply(self, change: StoreChange) -> None:
        with self._lock:
            fresh = self._view.apply(change)
            for fold in self._folds:
                fold.apply(self._view, fresh)
        if self._listener:
            self._listener(change)

    def _on_health(self, healthy: bool) -> None:
        with self._lock:
            if healthy:
                self._lost_at_s = None
            elif self._lost_at_s is None:
                self._lost_at_s = self._clock()
