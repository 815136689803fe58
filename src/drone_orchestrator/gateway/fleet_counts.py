"""Counts and lists of the fleet's orders, in step with the projection, so that nobody must go through all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..core.types import BreakerState, Entry, Kind, Saga, SagaStatus
from ..core.view import FleetView

#: How long (s) an order that has failed is news.
FAILED_IS_NEWS_S = 3600.0


class FleetCounts:
    """A fold of the gateway's projection; read it inside ``Projection.read`` only."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives wall time in seconds."""
        self._clock = clock
        self._statuses: dict[str, SagaStatus] = {}
        self._by_status: Counter[SagaStatus] = Counter()
        self.parked: dict[str, Saga] = {}
        self._failed: dict[str, Saga] = {}
        #: Since when (wall clock, s) there has been no leader, and each breaker open; as far as this gateway saw it.
        self.leaderless_since: float | None = None
        self.open_since: dict[str, float] = {}

    def load(self, view: FleetView) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`."""
        for message_id in [*self._statuses, *view.sagas, *view.inbox]:
            self._look(view, message_id)
        self._look_at_leader(view)
        for drone_id in [*self.open_since, *view.breakers]:
            self._look_at_breaker(view, drone_id)

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`."""
        for entry in fresh:
            if entry.kind in (Kind.INBOX_ORDER, Kind.SAGA):
                self._look(view, entry.id)
            elif entry.kind is Kind.LEADER:
                self._look_at_leader(view)
            elif entry.kind is Kind.BREAKER:
                self._look_at_breaker(view, entry.id)

    def by_status(self) -> Mapping[SagaStatus, int]:
        """How many orders stand where."""
        return self._by_status

    def failed(self) -> list[Saga]:
        """Orders that have failed within the last hour, the latest first."""
        after_s = self._clock() - FAILED_IS_NEWS_S
        self._failed = {id_: saga for id_, saga in self._failed.items() if saga.updated_at > after_s}
        return sorted(self._failed.values(), key=lambda saga: -saga.updated_at)

    def _look(self, view: FleetView, message_id: str) -> None:
        order = view.order_view(message_id)
        before = self._statuses.pop(message_id, None)
        if before is not None:
            self._by_status[before] -= 1
        if order is not None:
            self._statuses[message_id] = order.status
            self._by_status[order.status] += 1
        saga = order.saga if order is not None else None
        _keep(self.parked, message_id, saga if saga and saga.parked else None)
        _keep(self._failed, message_id, saga if saga and saga.status is SagaStatus.FAILED else None)

    def _look_at_leader(self, view: FleetView) -> None:
        if view.leadership is not None:
            self.leaderless_since = None
        elif self.leaderless_since is None:
            self.leaderless_since = self._clock()

    def _look_at_breaker(self, view: FleetView, drone_id: str) -> None:
        breaker = view.breaker_of(drone_id)
        if breaker is None or breaker.state is not BreakerState.OPEN:
            self.open_since.pop(drone_id, None)
        else:
            self.open_since.setdefault(drone_id, self._clock())


def _keep(table: dict[str, Saga], message_id: str, saga: Saga | None) -> None:
    if saga is not None:
        table[message_id] = saga
    else:
        table.pop(message_id, None)
