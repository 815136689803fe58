"""Time that is left until an order's deadline, by more than one reading of one clock.

A replica that saw the order arrive counts by its own monotonic clock from then on; no wall clock can make it late. Only
for an order that was in the store when the replica began does it compare the submission time with its wall clock, and
only while other machines confirm that clock. Otherwise it counts from when it first saw the order. So a deadline may be
missed by as much as the order is older, but no order fails before its time because a clock is wrong.
"""

from __future__ import annotations

from ..types import Instant, Order, Saga
from ..view import FleetView
from .wall_clock import WallClock

#: An order with a deadline that no other clock confirms is looked at again after this time (s).
CONFIRMED_LATER_S = 10.0
#: Orders that have ended may stay in memory up to this number.
SPARE = 1000


class Deadlines:
    """When each open order with a deadline was first seen. Followed by standbys, too."""

    def __init__(self, view: FleetView, clock: WallClock) -> None:
        self._view = view
        self._clock = clock
        # Message id -> first seen (monotonic), whether it just arrived, and the stamp of intake: an id that was given
        # back may name a new order.
        self._seen: dict[str, tuple[float, bool, float]] = {}
        self._prune_above = SPARE

    def arrived(self, message_id: str, now: Instant) -> None:
        """Note an order that the watch has just delivered, unless it was seen before."""
        self._note(message_id, now, arrived=True)

    def loaded(self, now: Instant) -> None:
        """Note all open orders of a snapshot that were not seen before; forget those that are gone."""
        for message_id in (*self._view.sagas, *self._view.inbox):
            self._note(message_id, now, arrived=False)
        self._prune()

    def _note(self, message_id: str, now: Instant, *, arrived: bool) -> None:
        order = self._open_order(message_id)
        if order is None or order.deadline_s is None:
            return
        known = self._seen.get(message_id)
        if known is not None and known[2] == order.submitted_at:
            return
        self._seen[message_id] = (now.mono_s, arrived and message_id not in self._view.sagas, order.submitted_at)
        if len(self._seen) > self._prune_above:
            self._prune()

    def _prune(self) -> None:
        """Forget orders that have ended. Called so rarely that it costs each order next to nothing."""
        self._seen = {id_: seen for id_, seen in self._seen.items() if self._open_order(id_) is not None}
        self._prune_above = 2 * len(self._seen) + SPARE

    def _open_order(self, message_id: str) -> Order | None:
        saga = self._view.saga_of(message_id)
        return self._view.order_of(message_id) if saga is None or not saga.status.is_terminal else None

    def look_again_s(self, order: Order, saga: Saga | None, now: Instant) -> float | None:
        """Return when (s from now) the order may become late; ``None`` without a deadline."""
        left_s = self.left_s(order, saga, now)
        if left_s is None or self._seen[order.message_id][1] or self._clock.is_confirmed(now):
            return left_s
        return min(left_s, CONFIRMED_LATER_S)  # other clocks may confirm the wall clock by then

    def left_s(self, order: Order, saga: Saga | None, now: Instant) -> float | None:
        """Return how long (s) the order may still wait; ``None`` without a deadline."""
        if order.deadline_s is None:
            return None
        known = self._seen.get(order.message_id)
        if known is None or known[2] != order.submitted_at:
            known = self._seen[order.message_id] = (now.mono_s, False, order.submitted_at)
        seen_s, arrived, _ = known
        age_s = now.mono_s - seen_s
        if not arrived and self._clock.is_confirmed(now):
            age_s = max(age_s, now.wall_s - _submitted_at(order, saga))
        return order.deadline_s - age_s


def _submitted_at(order: Order, saga: Saga | None) -> float:
    """Return the later one of the stamps of intake and leader: one wrong clock makes no order older."""
    return order.submitted_at if saga is None else max(order.submitted_at, saga.created_at)
