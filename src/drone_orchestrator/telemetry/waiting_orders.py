"""Finding about orders that wait for a reason that does not pass by itself."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from ..core.planner import Planner
from ..core.types import FleetSpec, SagaStatus
from ..core.view import FleetView, OrderView
from ..planning.waiting import TOLD_AFTER_S, KnownDrone, WaitingCode, as_sentence, reasons_for_waiting

#: The orders that are examined, the one that waits longest first.
MOST_EXAMINED = 20


def lasting_waits(
    view: FleetView, fleet: FleetSpec, planner: Planner, drones: Sequence[KnownDrone], wall_s: float
) -> Mapping[str, str]:
    """Return a sentence about the orders that have waited for :data:`~..planning.waiting.TOLD_AFTER_S`, by the code of
    the reason. Orders that only wait for their turn are left out."""
    late = (each for each in view.orders() if _waits(each) and wall_s - each.updated_at >= TOLD_AFTER_S)
    found: dict[str, list[str]] = {}
    for order in heapq.nsmallest(MOST_EXAMINED, late, key=lambda each: (each.updated_at, each.order.message_id)):
        reasons = reasons_for_waiting(fleet, planner, order, drones, view, wall_s)
        if reasons[0].code is WaitingCode.NO_LEADER or any(reason.code.passes for reason in reasons):
            continue
        text = f"order {order.order.order_id} has waited for {wall_s - order.updated_at:.0f} s: {as_sentence(reasons)}"
        found.setdefault(reasons[0].code.value, []).append(text)
    return {
        code: texts[0] + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else "") for code, texts in found.items()
    }


def _waits(order: OrderView) -> bool:
    return order.status is SagaStatus.PENDING and not order.cancel_requested
