"""Every metric of the project, defined once: names, help, labels and buckets.

Each process makes one :class:`Metrics` and passes it to the parts that count. Calling a family with its labels returns
the series: ``metrics.requests(source="http", result="accepted").inc()``. The labels ``agent_type`` and ``region`` are
filled in. A process exposes only the series it has used, so a sum over processes counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from ..core.types import SagaStatus

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

#: Values of ``circuit_breaker_state`` by ``pybreaker``'s state names.
BREAKER_STATES: Mapping[str, int] = {"closed": 0, "half-open": 1, "open": 2}

#: Bucket bounds in seconds. A commit takes about a millisecond, a failover tenths of a second up to the lease TTL, an
#: assignment milliseconds or as long as the queue, a delivery minutes. A turn of a loop should take almost no time.
COMMIT_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FAILOVER_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
ASSIGNMENT_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
TURN_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
PHASE_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
DELIVERY_BUCKETS_S = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0, 7200.0)

M = TypeVar("M", bound=MetricWrapperBase)


class Family(Generic[M]):
    """A metric with the common labels filled in; call it with the other labels to get a series."""

    def __init__(self, metric: M, common: Mapping[str, str]) -> None:
        self._metric = metric
        self._common = common

    def __call__(self, **labels: str) -> M:
        """Return the series of ``labels``. Raises ``ValueError`` for a label that the metric does not have."""
        return self._metric.labels(**self._common, **labels)


class Metrics:
    """The metrics of one process, in their own registry. Thread-safe."""

    def __init__(self, agent_type: str, region: str) -> None:
        """``agent_type`` is the kind of process, e.g. ``"orchestrator"`` or ``"order_gateway"``."""
        # The documented series suffice; a "_created" companion of each would double their number.
        prometheus_client.disable_created_metrics()
        self.registry = CollectorRegistry()
        self._common = {"agent_type": agent_type, "region": region}
        ProcessCollector(registry=self.registry)

        self.requests = self._counter(
            "orchestrator_requests", "Submitted orders by intake and result.", "source", "result"
        )
        self.assignments_success = self._counter(
            "drone_assignments_success", "Orders assigned to a drone and committed.", "drone_class"
        )
        self.assignments_failure = self._counter(
            "drone_assignments_failure", "Attempts that had to be compensated.", "drone_class", "reason"
        )
        self.breaker_state = self._gauge(
            "circuit_breaker_state", "0 closed, 1 half-open (one call on trial), 2 open.", "service"
        )
        self.saga_status = self._gauge("saga_status", "Orders in the store by status.", "status")
        self.leader_epoch = self._gauge("leader_epoch", "Epoch of the leader known to this process.")
        self.is_leader = self._gauge("is_leader", "1 if this process leads, else 0.")
        self.failover_seconds = self._histogram(
            "failover_seconds",
            "Time from the last heartbeat of a leader to the term of the next.",
            FAILOVER_BUCKETS_S,
        )
        self.order_to_assignment_seconds = self._histogram(
            "order_to_assignment_seconds", "Time from acceptance to the first assignment.", ASSIGNMENT_BUCKETS_S
        )
        self.order_to_delivery_seconds = self._histogram(
            "order_to_delivery_seconds", "Time from acceptance to delivery.", DELIVERY_BUCKETS_S
        )
        self.etcd_commit_seconds = self._histogram(
            "etcd_commit_seconds", "Duration of a transaction with the store.", COMMIT_BUCKETS_S
        )
        self.lane_depth = self._gauge(
            "lane_depth",
            "Orders waiting in a lane; each process shows all of them.",
            "drone_class",
        )
        self.finding_active = self._gauge(
            "finding_active", "Things of this kind that are wrong with this process now.", "finding", "severity"
        )
        self.foreign_messages = self._counter(
            "foreign_messages", "Messages of other fleets, which this process ignores.", "topic"
        )
        self.lane_rejections = self._counter("lane_rejections", "Orders refused by a full lane.", "drone_class")
        self._define_loop()
        self._define_region()
        self._define_drones()

    def _define_loop(self) -> None:
        """Define the metrics of a process's loop, which everything else waits for."""
        self.planning_seconds = self._histogram(
            "planning_seconds", "One call of the planner: a lane in one round of planning.", TURN_BUCKETS_S
        )
        self.turn_seconds = self._histogram(
            "turn_seconds", "One turn of the leader's loop, from its events to its effects.", TURN_BUCKETS_S
        )
        self.store_used_bytes = self._gauge("store_used_bytes", "Bytes that the store uses of its quota.")
        self.store_quota_bytes = self._gauge("store_quota_bytes", "Quota of the store, as this process was told.")
        self.set_aside = self._gauge("set_aside", "Orders and drones set aside because deciding about them raised.")
        self.turn_events = self._gauge("turn_events", "Events in the queue at the last turn.")
        self.loop_lateness_seconds = self._histogram(
            "loop_lateness_seconds", "Delay of the loop's wake-up after a deadline.", TURN_BUCKETS_S
        )

    def _define_region(self) -> None:
        """Define the metrics of the whole region, which the monitor derives from the store."""
        self.leader_present = self._gauge("leader_present", "1 if the store has a leader, else 0.")
        self.saga_failed = self._gauge("saga_failed", "Failed orders in the store by reason.", "reason")
        self.orders_stuck = self._gauge("orders_stuck", "Active orders unchanged for longer than the limit.")
        self.orders_parked = self._gauge("orders_parked", "Orders whose compensation failed: a person must decide.")
        self.oldest_order_seconds = self._gauge("oldest_order_seconds", "Age of the oldest order that has not ended.")
        self.lane_bound = self._gauge("lane_bound", "Maximum number of orders waiting in a lane.", "drone_class")
        self.records_corrupt = self._gauge("records_corrupt", "Unreadable or contradictory values in the store.")
        self.store_stale_seconds = self._gauge("store_stale_seconds", "Time since the store was heard; 0: connected.")

    def _define_drones(self) -> None:
        """Define the metrics of the drones of a process."""
        self.drones = self._gauge("drones", "Drones of this process by phase.", "drone_class", "phase")
        self.drone_energy = self._gauge("drone_energy_fraction", "Battery charge, 0 to 1.", "drone")
        self.drone_phase_seconds = self._histogram(
            "drone_phase_seconds",
            "Time a drone spent in a phase that it has left.",
            PHASE_BUCKETS_S,
            "phase",
        )
        self.drone_outcomes = self._counter("drone_outcomes", "Finished goals by outcome.", "outcome")
        self.goals_refused = self._counter(
            "drone_goals_refused", "Goals that drones refused, by cause and reason.", "cause", "reason"
        )
        self.leader_silence_seconds = self._gauge(
            "leader_silence_seconds", "Time since this process heard a leader, which reports at least once a second."
        )

    def set_saga_status(self, counts: Mapping[SagaStatus, int]) -> None:
        """Set ``saga_status`` for every status, to 0 if it is not in ``counts``."""
        for status in SagaStatus:
            self.saga_status(status=status.value).set(counts.get(status, 0))

    def show_breaker(self, service: str) -> Callable[[str], None]:
        """Return a function that sets ``circuit_breaker_state`` of ``service`` to a state of :data:`BREAKER_STATES`."""
        gauge = self.breaker_state(service=service)
        return lambda state: gauge.set(BREAKER_STATES[state])

    def render(self) -> bytes:
        """Return all series as Prometheus text, of content type :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_: str, *labels: str) -> Family[Counter]:
        return Family(Counter(name, help_, (*self._common, *labels), registry=self.registry), self._common)

    def _gauge(self, name: str, help_: str, *labels: str) -> Family[Gauge]:
        return Family(Gauge(name, help_, (*self._common, *labels), registry=self.registry), self._common)

    def _histogram(self, name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Family[Histogram]:
        histogram = Histogram(name, help_, (*self._common, *labels), registry=self.registry, buckets=buckets)
        return Family(histogram, self._common)
