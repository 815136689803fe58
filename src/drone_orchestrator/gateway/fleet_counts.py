"""Order counts and lists for ``GET /fleet``, maintained incrementally as a fold of the projection."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..core.types import BreakerState, Entry, Kind, Saga, SagaStatus
from ..core.view import FleetView

#: A failed order is listed for this long (s).
FAILED_LISTED_S = 3600.0


class FleetCounts:
    """Orders by status, parked and recently failed orders, and open breakers.

    A fold of the gateway's projection; read it inside ``Projection.read`` only.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns wall time in s."""
        self._clock = clock
        self._statuses: dict[str, SagaStatus] = {}
        self._by_status: Counter[SagaStatus] = Counter()
        self.parked: dict[str, Saga] = {}
        self._failed: dict[str, Saga] = {}
        #: Start times (wall clock, s) of the lack of a leader and of each open breaker, as seen by this gateway.
        self.leaderless_since: float | None = None
        self.open_since: dict[str, float] = {}

    def load(self, view: FleetView) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`."""
        for message_id in [*self._statuses, *view.sagas, *view.inbox]:
            self._update_order(view, message_id)
        self._update_leader(view)
        for drone_id in [*self.open_since, *view.breakers]:
            self._update_breaker(view, drone_id)

    def apply(self, view: FleetView, fresh: Sequence[Entry]) -> None:
        """See :class:`~drone_orchestrator.runtime.projection.Fold`."""
        for entry in fresh:
            if entry.kind in (Kind.INBOX_ORDER, Kind.SAGA):
                self._update_order(view, entry.id)
            elif entry.kind is Kind.LEADER:
                self._update_leader(view)
            elif entry.kind is Kind.BREAKER:
                self._update_breaker(view, entry.id)

    def by_status(self) -> Mapping[SagaStatus, int]:
        """Return the number of orders by status."""
        return self._by_status

    def failed(self) -> list[Saga]:
        """Return the orders that failed within the last hour, the latest first."""
        after_s = self._clock() - FAILED_LISTED_S
        self._failed = {id_: saga for id_, saga in self._failed.items() if saga.updated_at > after_s}
        return sorted(self._failed.values(), key=lambda saga: -saga.updated_at)

    def _update_order(self, view: FleetView, message_id: str) -> None:
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

    def _update_leader(self, view: FleetView) -> None:
        if view.leadership is not None:
            self.leaderless_since = None
        elif self.leaderless_since is None:
            self.leaderless_since = self._clock()

    def _update_breaker(self, view: FleetView, drone_id: str) -> None:
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
