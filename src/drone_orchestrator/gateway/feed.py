"""Recent events as a resumable stream for many clients.

The feed is a fold of the gateway's projection. It sees every change after its first snapshot and keeps the latest ones
in a bounded ring. The state of a client is a single revision, so many or slow clients cost no memory. A client that
falls behind the ring must read the store's history or start over.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.types import Entry, Kind, LeaderRecord, Saga, SagaEvent
from ..core.view import FleetView, epoch_in

#: Maximum number of events in the ring.
RING_EVENTS = 8192


@dataclass(frozen=True, slots=True)
class Item:
    """One event: its name and its data as JSON text; ``message_id`` is empty if it concerns no order."""

    name: str
    data: str
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """All events of one store revision; they happened together."""

    revision: int
    items: tuple[Item, ...]


class Feed:
    """The ring of recent events. Thread-safe; only the projection calls ``load`` and ``apply``."""

    def __init__(self, ring_events: int = RING_EVENTS) -> None:
        self._ring_events = ring_events
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._events = 0
        self._floor = self._head = 0
        self._listener: Callable[[], None] = lambda: None

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change, on the projection's thread; it must return quickly."""
        self._listener = listener

    @property
    def head(self) -> int:
        """The revision up to which the feed is complete; 0 before the first snapshot."""
        return self._head

    def since(self, revision: int, limit: int) -> tuple[list[Batch], int] | None:
        """Return up to ``limit`` batches after ``revision``, oldest first, and the revision that they reach.

        Return ``None`` if the ring does not go back that far.
        """
        with self._lock:
            if revision < self._floor:
                return None
            first = bisect_right(self._batches, revision, key=lambda batch: batch.revision)
            found = self._batches[first : first + limit]
            complete = first + limit >= len(self._batches)
            return found, max(revision, self._head) if complete else found[-1].revision

    def load(self, view: FleetView) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`. Changes skipped by the snapshot are lost here."""
        with self._lock:
            self._batches, self._events = [], 0
            self._floor = self._head = view.revision
        self._listener()

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`."""
        items = items_of(fresh, view)
        with self._lock:
            self._head = view.revision
            if items:
                self._batches.append(Batch(view.revision, items))
                self._events += len(items)
                if self._events > self._ring_events:
                    self._trim()
        self._listener()

    def _trim(self) -> None:
        """Drop the oldest quarter at once, so that not every event trims."""
        drop, dropped = 0, 0
        while dropped < self._ring_events // 4 and drop < len(self._batches) - 1:
            dropped += len(self._batches[drop].items)
            drop += 1
        if drop:
            self._floor = self._batches[drop - 1].revision
            del self._batches[:drop]
            self._events -= dropped


def items_of(entries: Iterable[Entry], view: FleetView | None = None) -> tuple[Item, ...]:
    """Return the events in the changes of one revision; those of an order are in sequence.

    A stored event has no order id. It comes from the saga written in the same revision, else from ``view``.
    """
    entries = list(entries)
    orders = {entry.id: entry.value.order for entry in entries if isinstance(entry.value, Saga)}
    events = [(entry.value, entry.mod_revision) for entry in entries if isinstance(entry.value, SagaEvent)]
    events.sort(key=lambda each: (each[0].message_id, each[0].n))
    items = []
    for event, revision in events:
        order = event.order or orders.get(event.message_id) or (view.order_of(event.message_id) if view else None)
        document = saga_event_json(event, order.order_id if order else None, revision)
        items.append(Item("saga", _text(document), event.message_id))
    items += [Item("leader", _text(_leader(entry))) for entry in entries if entry.kind is Kind.LEADER]
    return tuple(items)


def saga_event_json(event: SagaEvent, order_id: str | None, revision: int | None = None) -> dict[str, Any]:
    """Return a step of an order as JSON; ``revision`` is that of its commit, ``None`` if unknown."""
    return {
        "message_id": event.message_id,
        "order_id": order_id,
        "sequence": event.n,
        "type": event.type,
        "from_status": event.from_status.value if event.from_status else None,
        "to_status": event.to_status.value,
        "attempt": event.attempt,
        "drone_id": event.drone_id,
        "epoch": event.epoch,
        "reason": event.reason,
        "at": event.at,
        "revision": revision,
    }


def _leader(entry: Entry) -> dict[str, Any]:
    if not isinstance(entry.value, LeaderRecord):
        return {"holder": None}
    return {"holder": entry.value.holder, "epoch": epoch_in(entry), "since": entry.value.since}


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
