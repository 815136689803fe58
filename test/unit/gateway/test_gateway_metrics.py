"""The metrics registry: the names that dashboards and alerts rely on."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from drone_orchestrator.core.types import SagaStatus
from drone_orchestrator.telemetry.metrics import Metrics


def touch_all(metrics: Metrics) -> None:
    metrics.requests(source="http", result="accepted").inc()
    metrics.assignments_success(drone_class="light").inc()
    metrics.assignments_failure(drone_class="light", reason="drone_silent").inc()
    metrics.breaker_state(service="etcd").set(2)
    metrics.set_saga_status({SagaStatus.PENDING: 3})
    metrics.leader_epoch().set(7)
    metrics.is_leader().set(1)
    metrics.failover_seconds().observe(0.4)
    metrics.order_to_assignment_seconds().observe(0.02)
    metrics.order_to_delivery_seconds().observe(300.0)
    metrics.etcd_commit_seconds().observe(0.001)
    metrics.lane_depth(drone_class="light").set(1)
    metrics.lane_rejections(drone_class="light").inc()


def test_every_metric_of_the_contract_exists_with_its_labels() -> None:
    metrics = Metrics("orchestrator", "test")
    touch_all(metrics)

    samples = [s for family in text_string_to_metric_families(metrics.render().decode()) for s in family.samples]
    own = {s.name: set(s.labels) - {"agent_type", "region", "le"} for s in samples if "agent_type" in s.labels}
    histograms = ("failover", "order_to_assignment", "order_to_delivery", "etcd_commit")

    assert own == {
        "orchestrator_requests_total": {"source", "result"},
        "drone_assignments_success_total": {"drone_class"},
        "drone_assignments_failure_total": {"drone_class", "reason"},
        "circuit_breaker_state": {"service"},
        "saga_status": {"status"},
        "leader_epoch": set(),
        "is_leader": set(),
        "lane_depth": {"drone_class"},
        "lane_rejections_total": {"drone_class"},
        **{f"{name}_seconds_{part}": set() for name in histograms for part in ("bucket", "count", "sum")},
    }
    common = {(s.labels["agent_type"], s.labels["region"]) for s in samples if "agent_type" in s.labels}
    assert common == {("orchestrator", "test")}


def test_saga_status_has_every_status_with_zero_for_those_without_orders() -> None:
    metrics = Metrics("orchestrator", "test")
    metrics.set_saga_status({SagaStatus.PENDING: 3})
    metrics.set_saga_status({SagaStatus.DELIVERED: 3})

    def value(status: SagaStatus) -> float | None:
        labels = {"agent_type": "orchestrator", "region": "test", "status": status.value}
        return metrics.registry.get_sample_value("saga_status", labels)

    assert {status: value(status) for status in SagaStatus} == {
        status: 3.0 if status is SagaStatus.DELIVERED else 0.0 for status in SagaStatus
    }


def test_an_extra_or_missing_label_is_an_error() -> None:
    metrics = Metrics("orchestrator", "test")

    with pytest.raises(ValueError):
        metrics.requests(source="http")
    with pytest.raises(ValueError):
        metrics.leader_epoch(colour="red")


def test_two_processes_in_one_interpreter_do_not_share_series() -> None:
    first, second = Metrics("orchestrator", "test"), Metrics("orchestrator", "test")
    first.leader_epoch().set(7)

    assert b"leader_epoch{" not in second.render()
