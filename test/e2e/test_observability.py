"""A real Prometheus scrapes a real fleet: every documented metric exists, and alerts fire and clear."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_process import DEPLOY, Prometheus, eventually, quick_rules, tool

from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, find_etcd
from drone_orchestrator.bringup.fleet_config import load
from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions

METRIC_LABELS = {
    "orchestrator_requests_total": {"source", "result"},
    "drone_assignments_success_total": {"drone_class"},
    "drone_assignments_failure_total": {"drone_class", "reason"},
    "circuit_breaker_state": {"service"},
    "saga_status": {"status"},
    "leader_epoch": set(),
    "is_leader": set(),
    "failover_seconds_count": set(),
    "order_to_assignment_seconds_count": set(),
    "order_to_delivery_seconds_count": set(),
    "etcd_commit_seconds_count": set(),
    "lane_depth": {"drone_class"},
    "lane_rejections_total": {"drone_class"},
}
SCRAPE_LABELS = {"__name__", "instance", "job", "process", "agent_type", "region"}
RUNBOOKS = DEPLOY.parents[1] / "docs" / "runbooks.md"


# --- the files themselves -------------------------------------------------------------------------------------------


def run(*command: str | Path) -> None:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_and_alertmanager_accept_the_deployed_files() -> None:
    run(tool("promtool"), "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    run(tool("promtool"), "check", "rules", DEPLOY / "prometheus" / "alerts.yml")
    run(tool("amtool"), "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    run(tool("promtool"), "test", "rules", DEPLOY / "prometheus" / "alerts_test.yml")


def test_every_alert_has_a_summary_a_description_a_runbook_and_a_test() -> None:
    sections = {line[3:].strip().lower() for line in RUNBOOKS.read_text().splitlines() if line.startswith("## ")}
    tested = (DEPLOY / "prometheus" / "alerts_test.yml").read_text()
    for rule in quick_rules()["groups"][0]["rules"]:
        said = rule["annotations"]
        page, _, anchor = said["runbook_url"].partition("#")
        assert set(said) == {"summary", "description", "runbook_url"}
        assert (page, anchor) == ("docs/runbooks.md", rule["alert"].lower())
        assert anchor in sections, f"docs/runbooks.md has no section on {rule['alert']}"
        assert f"alertname: {rule['alert']}, exp_alerts: []" in tested, f"{rule['alert']} needs a test without it"


def metrics_of(expressions: str) -> set[str]:
    """Return the project's metrics named in a PromQL text."""
    from drone_orchestrator.telemetry.metrics import Metrics

    known = {family.name for family in Metrics("any", "any").registry.collect()}
    suffixes = ("", "_total", "_bucket", "_count", "_sum")
    return {name for name in known if any(f"{name}{suffix}{{" in expressions for suffix in suffixes)}


def test_the_dashboard_queries_metrics_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "drone_orchestrator.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    unknown = [each for each in asked if not metrics_of(each) and "process_resident" not in each]
    assert len(asked) > 20
    assert not unknown
    compose = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), volume


# --- a fleet --------------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet() -> Iterator[LocalFleet]:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    options = FleetOptions(drones=3, replicas=2, time_scale=20.0, http_port=0, drones_per_process=3)
    with LocalFleet(options) as running:
        yield running


class Shop:
    """A client that submits orders over HTTP."""

    def __init__(self, fleet: LocalFleet) -> None:
        self._fleet = fleet
        self._depot = load().depot

    def order(self, order_id: str, north_deg: float) -> None:
        """Submit an order for a place this far north of the depot, waiting for the gateway to come up."""
        destination = {"lat": self._depot.lat_deg + north_deg, "lon": self._depot.lon_deg}
        document = {"order_id": order_id, "destination": destination, "package_weight_kg": 0.5}

        def accepted() -> bool:
            try:
                return httpx.post(f"{self._fleet.url}/orders", json=document, timeout=30.0).status_code in (200, 202)
            except httpx.TransportError:
                return False

        eventually(accepted, lambda: self._fleet.last_line("order_gateway"))

    def status(self, order_id: str) -> str:
        return str(httpx.get(f"{self._fleet.url}/orders/{order_id}", timeout=30.0).json()["status"])

    def cancel(self, order_id: str) -> None:
        assert httpx.delete(f"{self._fleet.url}/orders/{order_id}", timeout=30.0).status_code == 202


def leader_of(prometheus: Prometheus) -> str:
    """Return the name of the process that leads, by its own metric."""
    leading = prometheus.series("is_leader == 1")
    return leading[0][0]["process"] if len(leading) == 1 else ""


def check_contract(prometheus: Prometheus) -> None:
    """Check that every documented metric exists, with its labels and plausible values.

    On a slow machine leadership may change more than once, and an order may need another attempt.
    """
    for name, labels in METRIC_LABELS.items():
        found = eventually(lambda name=name: prometheus.series(name), lambda name=name: f"there is no {name}")
        for series, value in found:
            assert set(series) - SCRAPE_LABELS == labels, f"{name}: {series}"
            assert series["region"] == "san_francisco"
            assert value >= 0.0
    values: dict[str, tuple[float, float]] = {
        'orchestrator_requests_total{result="accepted"}': (4, 4),
        "sum(drone_assignments_success_total)": (3, math.inf),
        'drone_assignments_failure_total{reason="customer_request"}': (1, 1),
        'max(saga_status{status="DELIVERED"})': (3, 3),
        "sum(is_leader)": (1, 1),
        "max(leader_epoch) - min(leader_epoch)": (0, 0),
        "count(leader_epoch)": (5, 5),  # both replicas, the monitor, two processes of drones
        "sum(failover_seconds_count)": (1, math.inf),
        "sum(failover_seconds_sum)": (0.001, math.inf),
        "sum(order_to_assignment_seconds_count)": (2, math.inf),  # without those of the killed leader
        "sum(etcd_commit_seconds_sum) / sum(etcd_commit_seconds_count)": (0.000001, math.inf),
        "max(circuit_breaker_state)": (0, 0),
        "max(lane_depth)": (0, 0),
        "sum(drones)": (3, 3),
    }
    for expression, (low, high) in values.items():
        # The latest scrape of a process may be older than the last event.
        eventually(
            lambda e=expression, low=low, high=high: low <= (prometheus.value(e) or 0.0) <= high,
            lambda e=expression: f"{e} is {prometheus.value(e)}",
        )


@pytest.mark.ros
@pytest.mark.etcd
@pytest.mark.slow
def test_a_fleet_has_every_metric_of_the_contract_and_an_outage_of_etcd_fires_alerts_that_clear(
    fleet: LocalFleet, tmp_path: Path
) -> None:
    shop = Shop(fleet)
    with Prometheus(tmp_path, fleet.targets_file) as prometheus:

        def wait(expression: str, why: str) -> None:
            eventually(lambda: prometheus.series(expression), lambda: f"{why}: {prometheus.series('up')}")

        def fires(alert: str, **labels: str) -> Any:
            return [each for each in prometheus.firing() if {"alertname": alert, **labels}.items() <= each.items()]

        wait("sum(is_leader) == 1", "there is no leader")
        first = eventually(lambda: leader_of(prometheus), lambda: "there is no leader")
        # A standby measures a failover only if it has heard the leader. It has by the time an order is delivered.
        shop.order("before", 0.002)
        eventually(lambda: shop.status("before") == "DELIVERED", lambda: shop.status("before"))
        fleet.kill(first, respawn_delay_s=0.5)
        wait("sum(failover_seconds_count) >= 1", "no failover was measured")
        for number in (1, 2):
            shop.order(f"near_{number}", 0.002 * number)
        shop.order("far", 0.03)
        eventually(lambda: shop.status("far") in ("DISPATCHED", "LOADING", "IN_TRANSIT"), lambda: shop.status("far"))
        shop.cancel("far")
        wait("sum(order_to_delivery_seconds_count) >= 2", "nothing was delivered")
        wait('sum(drone_assignments_failure_total{reason="customer_request"}) >= 1', "no order was compensated")
        wait("count(is_leader) == 2", "the first leader did not come back")
        check_contract(prometheus)
        eventually(lambda: not fires("BreakerOpen"), lambda: prometheus.series("circuit_breaker_state"))

        fleet.kill_etcd(0, respawn_delay_s=3600.0)  # until it is started below
        eventually(lambda: fires("BreakerOpen", service="etcd"), lambda: prometheus.series("circuit_breaker_state"))
        eventually(lambda: fires("NoLeader"), lambda: prometheus.series("is_leader"))
        fleet.etcd.start_member(0)
        eventually(lambda: not fires("BreakerOpen"), lambda: prometheus.series("circuit_breaker_state"))
        eventually(lambda: not fires("NoLeader"), lambda: prometheus.series("is_leader"))
