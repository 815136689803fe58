"""What a reader of the store counts of a region: a fold that keeps in step with its projection, and its metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from ..core.lanes import Ledger
from ..core.types import Breaker, BreakerState, Entry, FleetSpec, Kind, LeaderRecord, Order, Saga, SagaStatus
from ..core.view import FleetView
from ..runtime.projection import Projection
from .metrics import BREAKER_STATES, Metrics

_STATES = {
    BreakerState.CLOSED: BREAKER_STATES["closed"],
    BreakerState.HALF_OPEN: BREAKER_STATES["half-open"],
    BreakerState.OPEN: BREAKER_STATES["open"],
}
#: Why an order can have failed. Series of these are there from the start, at 0, so that an alert sees the first one.
FAILURE_REASONS = (
    "attempts_exhausted",
    "deadline_exceeded",
    "drone_grounded_with_package",
    "drone_lost_with_package",
    "journal_lost_with_package",
    "no_capable_drone",
    "package_missing",
)
OTHER = "other"


class Census:
    """A :class:`~drone_orchestrator.runtime.projection.Fold`: sagas by status, without counting all of them again."""

    def __init__(self) -> None:
        self.by_status: Counter[SagaStatus] = Counter()
        self.failed: Counter[str] = Counter()
        self.active: dict[str, Saga] = {}
        self._sagas: dict[str, tuple[SagaStatus, str]] = {}

    def load(self, view: FleetView) -> None:
        """The view was replaced by a snapshot."""
        self.by_status.clear()
        self.failed.clear()
        self.active.clear()
        self._sagas.clear()
        for message_id in view.sagas:
            self._look(view, message_id)

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """One revision was applied to the view."""
        for entry in fresh:
            if entry.kind is Kind.SAGA:
                self._look(view, entry.id)

    def _look(self, view: FleetView, message_id: str) -> None:
        before = self._sagas.pop(message_id, None)
        if before is not None:
            self._add(*before, -1)
        entry = view.sagas.get(message_id)
        saga = entry.value if entry is not None and isinstance(entry.value, Saga) else None
        if saga is not None and not saga.status.is_terminal:
            self.active[message_id] = saga
        else:
            self.active.pop(message_id, None)
        if saga is not None:
            reason = saga.reason if saga.reason in FAILURE_REASONS else OTHER
            self._sagas[message_id] = (saga.status, reason or OTHER)
            self._add(*self._sagas[message_id], 1)

    def _add(self, status: SagaStatus, reason: str, number: int) -> None:
        self.by_status[status] += number
        if status is SagaStatus.FAILED:
            self.failed[reason] += number


class RegionTelemetry:
    """Shows a region in ``metrics``: what ``projection`` holds, with ``census`` and ``ledger`` among its folds.

    Times are of the wall clock, in seconds. An order without a change for ``stuck_after_s()`` counts as stuck; the
    store counts as away when nothing was heard of it for ``stale_after_s()``.
    """

    def __init__(
        self,
        metrics: Metrics,
        projection: Projection,
        census: Census,
        ledger: Ledger,
        fleet: FleetSpec,
        *,
        stuck_after_s: Callable[[], float],
        stale_after_s: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._projection = projection
        self._census = census
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
        """Bring the series up to date; to be called before each scrape, or about once a second."""
        metrics = self._metrics
        _, freshness = self._projection.read(self._look)
        stale_s = freshness.stale_s
        away = stale_s is None or stale_s > self._stale_after_s()
        metrics.breaker_state(service="etcd").set(BREAKER_STATES["open" if away else "closed"])
        if stale_s is not None:
            metrics.store_stale_seconds().set(stale_s)

    def _look(self, view: FleetView) -> None:
        metrics, census, now_s = self._metrics, self._census, self._wall()
        counts = dict(census.by_status)
        counts[SagaStatus.PENDING] = counts.get(SagaStatus.PENDING, 0) + len(view.inbox)
        metrics.set_saga_status(counts)
        for reason in (*FAILURE_REASONS, OTHER):
            metrics.saga_failed(reason=reason).set(census.failed[reason])
        active, limit_s = census.active.values(), self._stuck_after_s()
        waiting = [entry.value.submitted_at for entry in view.inbox.values() if isinstance(entry.value, Order)]
        changed_at = [s.updated_at for s in active] + waiting
        metrics.orders_stuck().set(sum(1 for at_s in changed_at if now_s - at_s > limit_s))
        metrics.orders_parked().set(sum(1 for s in active if s.parked))
        oldest_s = min([s.order.submitted_at for s in active] + waiting, default=now_s)
        metrics.oldest_order_seconds().set(max(0.0, now_s - oldest_s))
        metrics.records_corrupt().set(len(view.corrupt))
        leads = view.leader is not None and isinstance(view.leader.value, LeaderRecord)
        metrics.leader_present().set(int(leads))
        metrics.leader_epoch().set(view.leader.mod_revision if leads and view.leader is not None else 0)
        self._show_breakers(view)

    def _show_breakers(self, view: FleetView) -> None:
        """Every drone's that has ever tripped or failed: who has no record has a closed one."""
        living = {id_: entry.value for id_, entry in view.breakers.items() if isinstance(entry.value, Breaker)}
        for drone_id in self._breakers - living.keys():
            self._metrics.breaker_state(service=drone_id).set(_STATES[BreakerState.CLOSED])
        for drone_id, breaker in living.items():
            self._metrics.breaker_state(service=drone_id).set(_STATES[breaker.state])
        self._breakers |= living.keys()
