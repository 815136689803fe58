"""Orders that wait for a drone, stored so that planning finds the most urgent ones without scanning all of them.

Among orders of one priority the oldest is always the most urgent, so each lane keeps a row per priority, by age.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from ..planner import PlannedOrder
from ..types import Order, Priority


class WaitingOrders:
    """Orders by message id, each in a lane. The iteration order depends only on the calls made."""

    def __init__(self) -> None:
        self._orders: dict[str, tuple[str, Order]] = {}
        self._rows: dict[str, dict[Priority, list[tuple[float, str]]]] = {}
        self._not_begun: dict[str, dict[str, None]] = {}
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._orders

    @property
    def lanes(self) -> tuple[str, ...]:
        """All lanes in which an order has ever waited."""
        return tuple(self._rows)

    def add(self, order: Order, lane: str, *, begun: bool) -> None:
        """Add an order, or replace it if it already waits. ``begun``: it has a saga."""
        self.remove(order.message_id)
        self._orders[order.message_id] = (lane, order)
        self._open[lane] += order.drone_class is None
        row = self._rows.setdefault(lane, {}).setdefault(order.priority, [])
        insort(row, (order.submitted_at, order.message_id))
        if not begun:
            self._not_begun.setdefault(lane, {})[order.message_id] = None

    def remove(self, message_id: str) -> str:
        """Remove an order. Returns the lane in which it waited; empty if it did not."""
        if message_id not in self._orders:
            return ""
        lane, order = self._orders.pop(message_id)
        self._open[lane] -= order.drone_class is None
        row = self._rows[lane][order.priority]
        del row[bisect_left(row, (order.submitted_at, message_id))]
        self._not_begun.get(lane, {}).pop(message_id, None)
        return lane

    def any_open(self, lane: str) -> bool:
        """Return whether an order waits in ``lane`` that drones of other classes may also fly."""
        return self._open[lane] > 0

    def most_urgent(self, lane: str, most: int, wall_s: float) -> list[PlannedOrder]:
        """Return at most ``most`` orders of ``lane``, the most urgent first (:func:`~..planner.urgency`)."""
        rows = [self._planned(row, wall_s) for row in self._rows.get(lane, {}).values() if row]
        # Most orders have the same priority, and a single row is already sorted.
        merged = rows[0] if len(rows) == 1 else heapq.merge(*rows, key=_most_urgent_first)
        return list(islice(merged, most))

    def not_begun(self, lane: str, most: int) -> list[str]:
        """Return at most ``most`` orders of ``lane`` without a saga, in order of arrival."""
        return list(islice(self._not_begun.get(lane, {}), max(most, 0)))

    def _planned(self, row: list[tuple[float, str]], wall_s: float) -> Iterator[PlannedOrder]:
        for submitted_at, message_id in row:
            yield PlannedOrder(self._orders[message_id][1], max(0.0, wall_s - submitted_at))


def _most_urgent_first(waiting: PlannedOrder) -> tuple[float, float, str]:
    return -waiting.urgency, waiting.order.submitted_at, waiting.order.message_id
