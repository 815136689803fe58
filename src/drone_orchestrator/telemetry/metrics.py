"""Every metric of the project, defined once: names, help, labels and buckets.

Each process makes one :class:`Metrics` and passes it to what counts. A family is called with its labels and gives the
series: ``metrics.requests(source="http", result="accepted").inc()``. The common labels ``agent_type`` and ``region``
are filled in. A process exposes only the series it has touched, so that a sum over processes counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from ..core.types import SagaStatus

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

#: Value of ``circuit_breaker_state`` by the name that ``pybreaker`` gives the state.
BREAKER_STATES: Mapping[str, int] = {"closed": 0, "half-open": 1, "open": 2}

#: Bucket bounds in seconds. Commits take about a millisecond, fail-overs tenths of a second to the lease's length,
#: assignments milliseconds to a long queue, deliveries minutes; a turn of a loop should take no time worth mention.
COMMIT_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FAILOVER_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
ASSIGNMENT_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
TURN_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
PHASE_BUCKETS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
DELIVERY_BUCKETS_S = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0, 7200.0)

M = TypeVar("M", bound=MetricWrapperBase)


class Family(Generic[M]):
    """One metric with the common labels filled in; call it with the others to get the series."""

    def __init__(self, metric: M, common: Mapping[str, str]) -> None:
        self._metric = metric
        self._common = common

    def __call__(self, **labels: str) -> M:
        """The series of ``labels``; raises ``ValueError`` for labels that the metric does not have."""
        return self._metric.labels(**self._common, **labels)


class Metrics:
    """The metrics of one process, in a registry of its own. Thread-safe."""

    def __init__(self, agent_type: str, region: str) -> None:
        """``agent_type`` is the kind of process, e.g. ``"orchestrator"`` or ``"order_gateway"``."""
        # The contract names the series; a "_created" companion of each would only double them.
        prometheus_client.disable_created_metrics()
        self.registry = CollectorRegistry()
        self._common = {"agent_type": agent_type, "region": region}
        ProcessCollector(registry=self.registry)

        self.requests = self._counter(
            "orchestrator_requests", "Orders handed in, by intake and by what was answered.", "source", "result"
        )
        self.assignments_success = self._counter(
            "drone_assignments_success", "Orders that were committed to a drone.", "drone_class"
        )
        self.assignments_failure = self._counter(
            "drone_assignments_failure", "Attempts that had to be compensated.", "drone_class", "reason"
        )
        self.breaker_state = self._gauge(
            "circuit_breaker_state", "0 closed, 1 half-open (one call on trial), 2 open.", "service"
        )
        self.saga_status = self._gauge("saga_status", "Orders in the store by status.", "status")
        self.leader_epoch = self._gauge("leader_epoch", "Epoch of the leader that this process knows of.")
        self.is_leader = self._gauge("is_leader", "1 where this process leads, else 0.")
        self.failover_seconds = self._histogram(
            "failover_seconds", "From the old leader's last sign of life to the new one in office.", FAILOVER_BUCKETS_S
        )
        self.order_to_assignment_seconds = self._histogram(
            "order_to_assignment_seconds", "From acceptance to the first assignment.", ASSIGNMENT_BUCKETS_S
        )
        self.order_to_delivery_seconds = self._histogram(
            "order_to_delivery_seconds", "From acceptance to delivery.", DELIVERY_BUCKETS_S
        )
        self.etcd_commit_seconds = self._histogram(
            "etcd_commit_seconds", "Duration of a transaction with the store.", COMMIT_BUCKETS_S
        )
        self.lane_depth = self._gauge(
            "lane_depth", "Orders waiting in a lane, as this process sees it; each sees all of them.", "drone_class"
        )
        self.lane_rejections = self._counter("lane_rejections", "Orders refused by a full lane.", "drone_class")
        self._define_loop()
        self._define_region()
        self._define_drones()

    def _define_loop(self) -> None:
        """How the loop of a process is doing, which everything else waits for."""
        self.planning_seconds = self._histogram(
            "planning_seconds", "One call of the planner: a lane in one round of planning.", TURN_BUCKETS_S
        )
        self.turn_seconds = self._histogram(
            "turn_seconds", "One turn of the deciding loop, from its events to its effects.", TURN_BUCKETS_S
        )
        self.turn_events = self._gauge("turn_events", "Events that the last turn found in its queue.")
        self.loop_lateness_seconds = self._histogram(
            "loop_lateness_seconds", "How late the loop woke for something that was due.", TURN_BUCKETS_S
        )

    def _define_region(self) -> None:
        """What the monitor reads off the store about the whole region."""
        self.leader_present = self._gauge("leader_present", "1 where the store has a leader, else 0.")
        self.saga_failed = self._gauge("saga_failed", "Failed orders in the store by reason.", "reason")
        self.orders_stuck = self._gauge("orders_stuck", "Active orders without a change for longer than allowed.")
        self.orders_parked = self._gauge("orders_parked", "Orders whose undoing has failed: a person must decide.")
        self.oldest_order_seconds = self._gauge("oldest_order_seconds", "Age of the oldest order that has not ended.")
        self.lane_bound = self._gauge("lane_bound", "Orders that a lane lets wait at most.", "drone_class")
        self.records_corrupt = self._gauge("records_corrupt", "Values in the store that cannot be read.")
        self.store_stale_seconds = self._gauge("store_stale_seconds", "Time since the store was heard; 0: it is.")

    def _define_drones(self) -> None:
        """What the drones of a process say of themselves."""
        self.drones = self._gauge("drones", "Drones of this process by phase.", "drone_class", "phase")
        self.drone_energy = self._gauge("drone_energy_fraction", "Charge of the battery, 0 to 1.", "drone")
        self.drone_phase_seconds = self._histogram(
            "drone_phase_seconds", "Time that a drone was in a phase, which it has left.", PHASE_BUCKETS_S, "phase"
        )
        self.drone_outcomes = self._counter("drone_outcomes", "Goals that have ended, by how.", "outcome")
        self.leader_silence_seconds = self._gauge(
            "leader_silence_seconds", "Time since this process heard a leader, who speaks once a second at least."
        )

    def set_saga_status(self, counts: Mapping[SagaStatus, int]) -> None:
        """Set ``saga_status`` for every status; one that is not in ``counts`` is 0."""
        for status in SagaStatus:
            self.saga_status(status=status.value).set(counts.get(status, 0))

    def show_breaker(self, service: str) -> Callable[[str], None]:
        """Sets ``circuit_breaker_state`` to the state that it is called with; see :data:`BREAKER_STATES`."""
        gauge = self.breaker_state(service=service)
        return lambda state: gauge.set(BREAKER_STATES[state])

    def render(self) -> bytes:
        """The Prometheus text of all series, of content type :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_: str, *labels: str) -> Family[Counter]:
        return Family(Counter(name, help_, (*self._common, *labels), registry=self.registry), self._common)

    def _gauge(self, name: str, help_: str, *labels: str) -> Family[Gauge]:
        return Family(Gauge(name, help_, (*self._common, *labels), registry=self.registry), self._common)

    def _histogram(self, name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Family[Histogram]:
        histogram = Histogram(name, help_, (*self._common, *labels), registry=self.registry, buckets=buckets)
        return Family(histogram, self._common)
