"""Local copy of a region's state: a snapshot, then every change after it. Used by gateway, monitor and CLI."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..core.types import Entry, Snapshot, StoreChange
from ..core.view import FleetView
from ..ports import StoreError, StoreReader, WatchHandle
from .loops import Loop, describe

T = TypeVar("T")

#: A healthy watch proves every 2 to 4 s that it is alive. After this silence (s) the data counts as stale.
PROOF_WITHIN_S = 6.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """Age of a projection. ``stale_s`` is how long the store has not been followed, 0 if it is, ``None`` if the
    projection was never loaded. ``trouble`` says why it is not followed, as far as that is known."""

    revision: int
    stale_s: float | None
    trouble: str = ""

    @property
    def loaded(self) -> bool:
        return self.stale_s is not None


class Fold(Protocol):
    """Derived data, such as a count, kept in step with a projection's view. Called under the projection's lock, so it
    must be quick, and readers see both at the same revision."""

    def load(self, view: FleetView) -> None:
        """Start again from a view that was replaced by a snapshot."""

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """Follow one revision that was applied to the view; ``fresh`` is what it changed."""


class Projection:
    """A :class:`FleetView` that follows the store. If the store is unreachable, it retries with back-off.

    Reading it never calls the store. It therefore keeps serving while the store is away, and reports its age. That
    it is not stale rests on proof: the watch must show every few seconds that it is alive (see :class:`WatchHandle`).
    An exception, whether of the store, of a fold or of the ``listener``, makes it stale until it has loaded everything
    again, which it tries with back-off.

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
        self._trouble = ""
        self._loaded = threading.Event()
        self._watch: WatchHandle | None = None
        self._loop = Loop("projection", self._connect, expected=(StoreError,), longest_pause_s=2.0)

    def start(self) -> None:
        """Start following the store in the background."""
        self._loop.start()

    def close(self) -> None:
        """Stop following. The view stays readable."""
        self._loop.close()
        if self._watch is not None:
            self._watch.close()

    def wait_loaded(self, timeout_s: float) -> bool:
        """Wait for the first snapshot. Return ``False`` if it did not arrive within ``timeout_s``."""
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
            return Freshness(0, None, self._trouble)
        stale_s = 0.0 if self._lost_at_s is None else self._clock() - self._lost_at_s
        silent_s = self._watch.silent_s() if self._watch is not None else 0.0
        if silent_s > max(stale_s, PROOF_WITHIN_S):
            return Freshness(self._view.revision, silent_s, self._trouble or "the watch shows no sign of life")
        return Freshness(self._view.revision, stale_s, self._trouble)

    def _connect(self) -> bool:
        """Load a snapshot and begin to watch. Raises what the store and the folds raise."""
        try:
            snapshot = self._store.snapshot()
            self._load(snapshot)
            self._watch = self._store.watch(snapshot.revision, self._apply, self._load, self._on_health)
        except Exception as error:
            self._lose(error)
            raise
        return True

    def _load(self, snapshot: Snapshot) -> None:
        try:
            with self._lock:
                self._view.load(snapshot)
                for fold in self._folds:
                    fold.load(self._view)
                self._lost_at_s, self._trouble = None, ""
        except Exception as error:
            self._lose(error)
            raise
        self._loaded.set()

    def _apply(self, change: StoreChange) -> None:
        """Take in a change. An exception makes the watch start over with a snapshot."""
        try:
            with self._lock:
                fresh = self._view.apply(change)
                for fold in self._folds:
                    fold.apply(self._view, fresh)
            if self._listener:
                self._listener(change)
        except Exception as error:
            self._lose(error)
            raise

    def _lose(self, error: Exception) -> None:
        with self._lock:
            self._trouble = str(error) if isinstance(error, StoreError) and str(error) else describe(error)
            if self._lost_at_s is None:
                self._lost_at_s = self._clock()

    def _on_health(self, healthy: bool) -> None:
        with self._lock:
            if healthy:
                self._lost_at_s, self._trouble = None, ""
            elif self._lost_at_s is None:
                self._lost_at_s, self._trouble = self._clock(), "the connection to the store is lost"
