"""Metrics of an orchestrator replica: an observer of its driver, its leader's heartbeats and its drones' reports.

The core knows nothing of metrics: the shells report what they do. The hot paths (one call per commit group, one per
turn) use series that were looked up in advance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import Counter

from ..core import saga as sagas
from ..core.changes import Fate, Transition
from ..core.leader.events import CommitDone
from ..core.planner import Pairing, PlannedOrder, Planner
from ..core.types import DroneReport, FleetSpec, Instant, Order, SagaEvent, SagaStatus
from .metrics import BREAKER_STATES, Metrics

#: Maximum number of reasons as label values, for flight stacks may add their own; the rest counts as ``other``.
MAX_REASONS = 64
UNKNOWN_CLASS = "unknown"
#: Steps of a delivery without trouble, by far the most frequent ones.
_GOES_WELL = frozenset(
    {sagas.ACCEPTED, sagas.ASSIGNED, sagas.GOAL_ACCEPTED, sagas.CLEARED, sagas.LOADED, sagas.DELIVERED}
)


@dataclass(frozen=True, slots=True)
class Committed:
    """A durable step of a saga: its ``events``, its ``order``, and when its transaction began and ended."""

    order: Order
    events: tuple[SagaEvent, ...]
    began_s: float  # wall clock
    ended_s: float


class Listener(Protocol):
    """A receiver of durable steps. Calls may come from any thread; those about one order come one after another."""

    def wants_all(self) -> bool:
        """Return whether it also wants the steps of deliveries without trouble. Called once per group."""

    def __call__(self, step: Committed) -> None: ...


class ReplicaTelemetry:
    """The metrics of a replica; a :class:`~drone_orchestrator.runtime.vitals.DriverObserver`.

    ``listeners`` get the durable steps.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        listeners: Sequence[Listener] = (),
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._listeners = tuple(listeners)
        self._mono = mono
        self._classes: dict[str, str] = {}
        self._successes: dict[str, Counter] = {}
        self._reasons: set[str] = set()
        self.archive_trouble = ""  # why ended orders cannot be archived at the moment
        self._alive_at_s: float | None = None  # when another leader was last heard
        self._commit = metrics.etcd_commit_seconds()
        self._assignment = metrics.order_to_assignment_seconds()
        self._delivery = metrics.order_to_delivery_seconds()
        self._failover = metrics.failover_seconds()
        self._turn = metrics.turn_seconds()
        self._turn_events = metrics.turn_events()
        self._lateness = metrics.loop_lateness_seconds()
        metrics.is_leader().set(0)

    # --- DriverObserver -----------------------------------------------------------------------------------------------

    def committed(self, done: Sequence[CommitDone], began: Instant, took_s: float) -> None:
        """See :meth:`~drone_orchestrator.runtime.vitals.DriverObserver.committed`."""
        self._commit.observe(took_s)
        ended_s = began.wall_s + took_s
        listeners = [each for each in self._listeners if each.wants_all()]
        assigned: dict[str, int] = {}
        for each in done:
            change = each.commit.change
            if each.fate is not Fate.SUCCEEDED or not isinstance(change, Transition):
                continue
            goes_well = True
            for event in change.events:
                if event.type == sagas.ASSIGNED:
                    drone_class = self._class_of(event.drone_id)
                    assigned[drone_class] = assigned.get(drone_class, 0) + 1
                    if event.attempt == 1:
                        # The gateway's clock may be ahead of this one: never observe a negative time.
                        self._assignment.observe(max(0.0, ended_s - change.saga.order.submitted_at))
                elif event.type == sagas.DELIVERED:
                    self._delivery.observe(max(0.0, ended_s - change.saga.order.submitted_at))
                elif event.type not in _GOES_WELL:
                    goes_well = False
                    self._count_failure(event)
            for listener in listeners if goes_well else self._listeners:
                listener(Committed(change.saga.order, change.events, began.wall_s, ended_s))
        for drone_class, number in assigned.items():
            self._success(drone_class).inc(number)

    def turned(self, events: int, took_s: float, late_s: float) -> None:
        """See :meth:`~drone_orchestrator.runtime.vitals.DriverObserver.turned`."""
        self._turn.observe(took_s)
        self._turn_events.set(events)
        if not events:
            self._lateness.observe(late_s)

    def archived(self, error: str) -> None:
        """See :meth:`~drone_orchestrator.runtime.vitals.DriverObserver.archived`."""
        self.archive_trouble = error

    def _success(self, drone_class: str) -> Counter:
        success = self._successes.get(drone_class)
        if success is None:
            success = self._successes[drone_class] = self._metrics.assignments_success(drone_class=drone_class)
        return success

    def _count_failure(self, event: SagaEvent) -> None:
        if event.type == sagas.ABANDONED or (
            event.type == sagas.FAILED and event.from_status is not SagaStatus.PENDING
        ):
            self._metrics.assignments_failure(
                drone_class=self._class_of(event.drone_id), reason=self._reason(event.reason)
            ).inc()

    def _class_of(self, drone_id: str | None) -> str:
        return self._classes.get(drone_id or "", UNKNOWN_CLASS)

    def _reason(self, reason: str | None) -> str:
        """Return ``reason`` as a label value. Their number is bounded, however many faults a flight stack names."""
        text = reason or "unspecified"
        if text not in self._reasons:
            if len(self._reasons) >= MAX_REASONS or not text.replace("_", "").isalnum() or len(text) > 64:
                return "other"
            self._reasons.add(text)
        return text

    # --- what the node hears ------------------------------------------------------------------------------------

    def drone_heard(self, report: DroneReport) -> None:
        """Remember the class of the drone that reported."""
        if self._classes.get(report.drone_id) != report.drone_class:
            self._classes[report.drone_id] = report.drone_class

    def leader_alive(self) -> None:
        """Record that another replica's heartbeat arrived."""
        self._alive_at_s = self._mono()

    def started_leading(self) -> None:
        """Record that this replica leads. Measure the failover if the previous leader was heard."""
        self._metrics.is_leader().set(1)
        if self._alive_at_s is not None:
            self._failover.observe(self._mono() - self._alive_at_s)
            self._alive_at_s = None

    def show(self, epoch: Callable[[], int], store_fails: Callable[[], bool], set_aside: Callable[[], int]) -> None:
        """Show the known leader's epoch, whether the store answers, and how many orders and drones are set aside,
        evaluated at each scrape."""
        self._metrics.set_aside().set_function(set_aside)
        self._metrics.leader_epoch().set_function(epoch)
        self._metrics.breaker_state(service="etcd").set_function(
            lambda: BREAKER_STATES["open" if store_fails() else "closed"]
        )

    def stopped_leading(self) -> None:
        """Record that this replica no longer leads, and so archives nothing."""
        self.archive_trouble = ""
        self._metrics.is_leader().set(0)


class TimedPlanner:
    """A planner that measures the duration of each call of ``planner``."""

    def __init__(self, planner: Planner, metrics: Metrics) -> None:
        self._planner = planner
        self._seconds: Any = metrics.planning_seconds()

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        """See :meth:`~drone_orchestrator.core.planner.Planner.plan`."""
        with self._seconds.time():
            return self._planner.plan(fleet, drones, orders)

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        """See :meth:`~drone_orchestrator.core.planner.Planner.capable`."""
        return self._planner.capable(fleet, order)
