"""Metrics of a whole region, derived from the store: a fold of a projection, and the gauges that it feeds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from ..core.lanes import Ledger
from ..core.reasons import Consequence, GoalRefusal, Reason, RefusalCause
from ..core.types import BreakerState, CommandAction, Entry, FleetSpec, Kind, SagaStatus
from ..core.view import FleetView, OrderView
from ..runtime.projection import Projection
from .metrics import BREAKER_STATES, Metrics

_STATES = {
    BreakerState.CLOSED: BREAKER_STATES["closed"],
    BreakerState.HALF_OPEN: BREAKER_STATES["half-open"],
    BreakerState.OPEN: BREAKER_STATES["open"],
}
#: A person declared the package lost; the stored reason also names that person.
LOST = CommandAction.LOST.value
OTHER = "other"
#: Series of these exist from the start, at 0, so that an alert sees the first failure.
FAILURE_REASONS = (
    *(reason.value for reason in Reason.that(Consequence.FAILS)),
    *(refusal.value for refusal in GoalRefusal.of(RefusalCause.ORDER)),
    LOST,
)


def failure_reason(reason: str | None) -> str:
    """Return the label under which a failed order is counted: one of ``FAILURE_REASONS``, or ``OTHER``."""
    if reason is None:
        return OTHER
    if reason.startswith(f"{LOST} by "):
        return LOST
    return reason if reason in FAILURE_REASONS else OTHER


class OrderCounts:
    """Orders by status and failures by reason, counted incrementally: a fold of a projection.

    See :class:`~drone_orchestrator.runtime.projection.Fold`.
    """

    def __init__(self) -> None:
        self.by_status: Counter[SagaStatus] = Counter()
        self.failed: Counter[str] = Counter()
        self.active: dict[str, OrderView] = {}
        self._orders: dict[str, tuple[SagaStatus, str]] = {}

    def load(self, view: FleetView) -> None:
        """Count the orders of a new snapshot."""
        for message_id in [*self._orders, *view.sagas, *view.inbox]:
            self._count(view, message_id)

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """Count the orders that one revision changed."""
        for entry in fresh:
            if entry.kind in (Kind.SAGA, Kind.INBOX_ORDER):
                self._count(view, entry.id)

    def _count(self, view: FleetView, message_id: str) -> None:
        before = self._orders.pop(message_id, None)
        if before is not None:
            self._add(*before, -1)
        order = view.order_view(message_id)
        if order is not None and not order.status.is_terminal:
            self.active[message_id] = order
        else:
            self.active.pop(message_id, None)
        if order is not None:
            reason = order.saga.reason if order.saga is not None else None
            counted = order.status, failure_reason(reason)
            self._orders[message_id] = counted
            self._add(*counted, 1)

    def _add(self, status: SagaStatus, reason: str, number: int) -> None:
        self.by_status[status] += number
        if status is SagaStatus.FAILED:
            self.failed[reason] += number


class RegionMetrics:
    """The gauges of a region in ``metrics``, set from ``projection``, of which ``counts`` and ``ledger`` are folds.

    Times are wall clock, in s. An order unchanged for ``stuck_after_s()`` counts as stuck; the store counts as
    unreachable after ``stale_after_s()`` of silence.
    """

    def __init__(
        self,
        metrics: Metrics,
        projection: Projection,
        counts: OrderCounts,
        ledger: Ledger,
        fleet: FleetSpec,
        *,
        stuck_after_s: Callable[[], float],
        stale_after_s: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._projection = projection
        self._counts = counts
        self._ledger = ledger
        self._stuck_after_s = stuck_after_s
        self._stale_after_s = stale_after_s
        self._wall = wall
        self._breakers: set[str] = set()
        for drone_class in fleet.classes:
            name = drone_class.name
            metrics.lane_bound(drone_class=name).set(drone_class.max_waiting)
            metrics.lane_depth(drone_class=name).set_function(partial(ledger.waiting, name))

    def refresh(self) -> None:
        """Update the gauges. Call it before each scrape or about once a second."""
        metrics = self._metrics
        _, freshness = self._projection.read(self._look)
        stale_s = freshness.stale_s
        away = stale_s is None or stale_s > self._stale_after_s()
        metrics.breaker_state(service="etcd").set(BREAKER_STATES["open" if away else "closed"])
        if stale_s is not None:
            metrics.store_stale_seconds().set(stale_s)

    def _look(self, view: FleetView) -> None:
        metrics, counts, now_s = self._metrics, self._counts, self._wall()
        metrics.set_saga_status(counts.by_status)
        for reason in (*FAILURE_REASONS, OTHER):
            metrics.saga_failed(reason=reason).set(counts.failed[reason])
        active, limit_s = counts.active.values(), self._stuck_after_s()
        metrics.orders_stuck().set(sum(1 for each in active if now_s - each.updated_at > limit_s))
        metrics.orders_parked().set(sum(1 for each in active if each.parked))
        oldest_s = min((each.order.submitted_at for each in active), default=now_s)
        metrics.oldest_order_seconds().set(max(0.0, now_s - oldest_s))
        metrics.records_corrupt().set(len(view.corrupt) + len(view.contradictions()))
        leader = view.leadership
        metrics.leader_present().set(int(leader is not None))
        metrics.leader_epoch().set(leader.epoch if leader is not None else 0)
        self._show_breakers(view)

    def _show_breakers(self, view: FleetView) -> None:
        """Show the breakers of all drones that ever had a record; without a record a breaker is closed."""
        living = {id_: stored.value for id_, stored in view.breakers.items()}
        for drone_id in self._breakers - living.keys():
            self._metrics.breaker_state(service=drone_id).set(_STATES[BreakerState.CLOSED])
        for drone_id, breaker in living.items():
            self._metrics.breaker_state(service=drone_id).set(_STATES[breaker.state])
        self._breakers |= living.keys()
