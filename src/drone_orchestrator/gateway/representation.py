"""JSON representation of orders, and the pages of a listing."""

from __future__ import annotations

import base64
import binascii
import heapq
import json
from collections.abc import Callable, Collection
from typing import Any

from ..core.types import Order, SagaStatus
from ..core.view import FleetView, OrderView
from ..runtime.projection import Freshness
from ..store.codec import order_to_dict
from .problems import Problem

#: Position of an order in a listing. It never changes, because the time of submission does not.
Place = tuple[float, str]


def order_json(view: OrderView) -> dict[str, Any]:
    """Return one order as JSON. Times are Unix time in s; ``created_at`` is the time of submission."""
    order, saga = view.order, view.saga
    return {
        "message_id": order.message_id,
        "order_id": order.order_id,
        "status": view.status.value,
        "parked": view.parked,
        "attempt": saga.attempt if saga else 0,
        "drone_id": saga.drone_id if saga else None,
        "reason": saga.reason if saga else None,
        "order": order_to_dict(order),
        "created_at": order.submitted_at,
        "updated_at": view.updated_at,
        "cancel_requested": view.cancel_requested,
    }


def select_orders(
    statuses: Collection[SagaStatus], text: str, after: Place | None, limit: int, newest: bool = False
) -> Callable[[FleetView], list[OrderView]]:
    """Select the first ``limit + 1`` orders after ``after``, oldest or ``newest`` first.

    ``text`` is part of the order's ids, in capitals or not.
    """
    part = text.lower()

    def wanted(each: OrderView) -> bool:
        if statuses and each.status not in statuses:
            return False
        if part and part not in each.order.order_id.lower() and part not in each.order.message_id.lower():
            return False
        place = _place(each.order)
        return after is None or (place < after if newest else place > after)

    def select(view: FleetView) -> list[OrderView]:
        first = heapq.nlargest if newest else heapq.nsmallest
        return first(limit + 1, filter(wanted, view.orders()), key=lambda each: _place(each.order))

    return select


def page_json(found: list[OrderView], limit: int, freshness: Freshness) -> dict[str, Any]:
    """Return a page of at most ``limit`` orders and the cursor of the next page, ``null`` on the last page."""
    page = found[:limit]
    cursor = encode_cursor(_place(page[-1].order)) if len(found) > limit else None
    return {"orders": [order_json(each) for each in page], "next_cursor": cursor, **freshness_json(freshness)}


def freshness_json(freshness: Freshness) -> dict[str, Any]:
    return {"revision": freshness.revision, "stale_s": freshness.stale_s}


def encode_cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Place:
    """Read the inverse of :func:`encode_cursor`. Raises :class:`Problem` for a malformed cursor."""
    try:
        at_s, message_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(at_s, float) and isinstance(message_id, str):
            return at_s, message_id
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass  # reported below, like a cursor of the wrong shape
    raise Problem(422, "bad_cursor", "must be the next_cursor of a listing", field="cursor")


def _place(order: Order) -> Place:
    return order.submitted_at, order.message_id
