"""Limits on the orders that a gateway lets into each lane, so that a flood for one drone class does not affect others.

Each lane has two limits: the rate of new orders (a token bucket) and the number of waiting orders. Waiting orders are
counted in the gateway's projection of the store. An order that this gateway has accepted, and that the projection does
not show yet, holds a *place*. So a burst cannot exceed the limit while the projection lags behind.

Gateways share no state. With several gateways, the rate of a lane is the sum of theirs, and its queue can exceed the
limit by the orders that the other gateways accept within the lag of their projections (some milliseconds), at most by
their limits on requests in flight. Before its first snapshot (``/readyz`` reports it) a gateway counts only its own
orders.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core.lanes import Drain, Ledger, lane_of
from ..core.types import Entry, FleetSpec, Kind, Order
from ..core.view import FleetView
from .token_bucket import TokenBucket


@dataclass(eq=False, slots=True)
class Place:
    """Place held in a lane for one order until the projection shows the order.

    Repeated requests for the same order share one place. ``lane`` is empty for an order that is counted already.
    """

    message_id: str
    lane: str = ""
    requests: int = 1
    committed: bool = False


@dataclass(frozen=True, slots=True)
class LaneClosed:
    """Refusal of an order by its lane. ``code`` is for programs, ``reason`` for people."""

    lane: str
    code: str
    reason: str
    retry_after_s: float


class Bulkheads:
    """The lanes of one gateway. Thread-safe; a fold of the gateway's projection."""

    def __init__(
        self,
        fleet: FleetSpec,
        capable: Callable[[FleetSpec, Order], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``capable`` is the planner's. ``clock`` is monotonic, in seconds."""
        self._fleet = fleet
        self._capable = capable
        self._clock = clock
        self._lock = threading.Lock()
        self._ledger = Ledger(fleet, capable)
        self._places: dict[str, Place] = {}
        self._held: Counter[str] = Counter()
        now_s = clock()
        self._buckets = {c.name: TokenBucket(c.intake_rate_per_s, c.intake_burst, now_s) for c in fleet.classes}
        self._drains = {c.name: Drain(now_s) for c in fleet.classes}

    @property
    def lanes(self) -> tuple[str, ...]:
        return tuple(c.name for c in self._fleet.classes)

    def enter(self, order: Order) -> Place | LaneClosed:
        """Hold a place for ``order`` and return it; give it back with :meth:`leave`. Return the refusal otherwise.

        An order that is already counted is a repeat. It needs no further place, however full its lane is.
        """
        lane = lane_of(self._fleet, order, self._capable)
        with self._lock:
            if self._ledger.lane(order.message_id) is not None:
                return Place(order.message_id)
            place = self._places.get(order.message_id)
            if place is not None:
                place.requests += 1
                return place
            closed = self._closed(lane)
            if closed is not None:
                return closed
            place = Place(order.message_id, lane)
            self._places[order.message_id] = place
            self._held[lane] += 1
            return place

    def leave(self, place: Place, *, committed: bool) -> None:
        """End the request that holds ``place``. ``committed``: the request has put the order into the store.

        The place of a committed order is kept until the projection shows the order. A request of unknown fate gives up
        its place: if it was carried out after all, the projection will show the order.
        """
        with self._lock:
            place.requests -= 1
            place.committed |= committed
            if place.requests or place.committed or self._places.get(place.message_id) is not place:
                return
            self._give_up(place)
            self._buckets[place.lane].give_back()

    def depth(self, lane: str) -> int:
        """Return the number of waiting orders in ``lane``, including those that hold a place."""
        with self._lock:
            return self._depth(lane)

    def load_of(self, lane: str) -> tuple[int, int]:
        """Return the numbers of orders in ``lane`` that wait (as :meth:`depth`) and that are in flight."""
        with self._lock:
            return self._depth(lane), self._ledger.in_flight(lane)

    def load(self, view: FleetView) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`. Places of requests in flight are kept."""
        with self._lock:
            self._ledger.load(view)
            for place in list(self._places.values()):
                if place.committed or view.order_of(place.message_id) is not None:
                    self._give_up(place)
            self._note_drain()

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`."""
        with self._lock:
            self._ledger.apply(view, fresh)
            for entry in fresh:
                if entry.kind in (Kind.INBOX_ORDER, Kind.SAGA) and entry.id in self._places:
                    self._give_up(self._places[entry.id])
            self._note_drain()

    def _closed(self, lane: str) -> LaneClosed | None:
        """Take a token, or return why the lane is closed. Raises ``KeyError`` for an unknown lane."""
        now_s, bucket = self._clock(), self._buckets[lane]
        drone_class = next(c for c in self._fleet.classes if c.name == lane)
        depth, bound = self._depth(lane), drone_class.max_waiting
        if depth >= bound:
            retry_after_s = self._drains[lane].retry_after_s(depth, bound, self._ledger.drained(lane), now_s)
            return LaneClosed(lane, "lane_full", f"lane {lane} is full: {depth} orders wait in it", retry_after_s)
        wait_s = bucket.take(now_s)
        if wait_s == 0.0:
            return None
        reason = f"lane {lane} takes {drone_class.intake_rate_per_s:g} new orders a second"
        return LaneClosed(lane, "lane_rate", reason, wait_s)

    def _depth(self, lane: str) -> int:
        return self._ledger.waiting(lane) + self._held[lane]

    def _give_up(self, place: Place) -> None:
        del self._places[place.message_id]
        self._held[place.lane] -= 1

    def _note_drain(self) -> None:
        now_s = self._clock()
        for lane, drain in self._drains.items():
            drain.note(self._ledger.drained(lane), now_s)
