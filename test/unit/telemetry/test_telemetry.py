"""Metrics, traces and logs of all programs, compared with the events that cause them."""

from __future__ import annotations

import json
import logging
import urllib.request
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from world import COURIER, FLEET, make_order, make_report

from drone_orchestrator.bringup.plan import FleetOptions, processes
from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.changes import Change, Fate, Release, Reserve, Transition
from drone_orchestrator.core.lanes import Ledger
from drone_orchestrator.core.leader.effects import Commit
from drone_orchestrator.core.leader.events import CommitDone
from drone_orchestrator.core.reasons import Consequence, Reason
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    DeliveryOutcome,
    Entry,
    Instant,
    Kind,
    LeaderRecord,
    Order,
    Outcome,
    Phase,
    Saga,
    SagaEvent,
    SagaStatus,
    Snapshot,
    StoreChange,
)
from drone_orchestrator.core.view import FleetView
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.runtime.projection import Freshness
from drone_orchestrator.telemetry import logs, tracer_setup, tracing
from drone_orchestrator.telemetry.drone_metrics import HostTelemetry
from drone_orchestrator.telemetry.endpoint import EndpointTaken, MetricsEndpoint
from drone_orchestrator.telemetry.metrics import Metrics
from drone_orchestrator.telemetry.order_traces import OrderTraces
from drone_orchestrator.telemetry.region_metrics import OrderCounts, RegionMetrics, failure_reason
from drone_orchestrator.telemetry.replica_metrics import MAX_REASONS, Committed, ReplicaTelemetry

S = SagaStatus
ROOT = f"00-{'a' * 32}-{'b' * 16}-01"


def samples(metrics: Metrics) -> dict[str, float]:
    """Return the values by ``name{label=value,…}``, without the common labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for s in family.samples:
            labels = {k: v for k, v in sorted(s.labels.items()) if k not in ("agent_type", "region")}
            inside = ",".join(f"{k}={v}" for k, v in labels.items())
            found[f"{s.name}{{{inside}}}" if inside else s.name] = s.value
    return found


class Life:
    """The steps of one order, as a leader commits them."""

    def __init__(self, order: Order) -> None:
        self.saga: Saga = sagas.apply(None, sagas.begin(order, now_s=order.submitted_at, epoch=5))

    def step(self, type_: str, to: SagaStatus, at: float, fate: Fate = Fate.SUCCEEDED, **more: Any) -> CommitDone:
        event: SagaEvent = sagas.next_event(self.saga, type_, to, now_s=at, epoch=5, **more)
        self.saga = sagas.apply(self.saga, event)
        held = Reserve("drone_1") if type_ == sagas.ASSIGNED else None
        if type_ == sagas.COMPENSATED:
            held = Release("drone_1", 0)
        change: Change = Transition(self.saga, (event,), 1, held)
        return CommitDone(Commit(1, 5, change), fate, 7)


def at(wall_s: float) -> Instant:
    return Instant(1000.0 + wall_s, wall_s)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test", "here")


def test_a_replica_counts_durable_steps_only(metrics: Metrics) -> None:
    replica = ReplicaTelemetry(metrics)
    replica.drone_heard(make_report("drone_1"))
    life = Life(make_order(submitted_at=100.0))

    replica.committed(
        [life.step(sagas.ASSIGNED, S.ASSIGNED, 101.0, Fate.CONFLICT, drone_id="drone_1")], at(101.0), 0.002
    )
    assert "drone_assignments_success_total{drone_class=courier}" not in samples(metrics)

    life = Life(make_order(submitted_at=100.0))
    replica.committed([life.step(sagas.ASSIGNED, S.ASSIGNED, 102.0, drone_id="drone_1")], at(102.0), 0.5)
    for type_, to in ((sagas.GOAL_ACCEPTED, S.DISPATCHED), (sagas.CLEARED, S.LOADING), (sagas.DELIVERED, S.DELIVERED)):
        replica.committed([life.step(type_, to, 160.0)], at(160.0), 0.0)

    seen = samples(metrics)
    assert seen["drone_assignments_success_total{drone_class=courier}"] == 1
    assert seen["order_to_assignment_seconds_sum"] == 2.5  # counted when the commit is confirmed
    assert seen["order_to_delivery_seconds_sum"] == 60.0
    assert seen["etcd_commit_seconds_count"] == 5


def test_an_abandoned_attempt_is_counted_as_a_failure_with_its_reason(metrics: Metrics) -> None:
    replica = ReplicaTelemetry(metrics)
    replica.drone_heard(make_report("drone_1"))
    life = Life(make_order(submitted_at=100.0))
    again = [
        life.step(sagas.ASSIGNED, S.ASSIGNED, 101.0, drone_id="drone_1"),
        life.step(sagas.ABANDONED, S.COMPENSATING, 102.0, reason="reservation_expired", target=S.PENDING),
        life.step(sagas.COMPENSATED, S.PENDING, 103.0),
        life.step(sagas.ASSIGNED, S.ASSIGNED, 110.0, drone_id="drone_1"),
    ]
    replica.committed(again, at(111.0), 0.0)

    seen = samples(metrics)
    assert seen["drone_assignments_failure_total{drone_class=courier,reason=reservation_expired}"] == 1
    assert seen["drone_assignments_success_total{drone_class=courier}"] == 2
    assert seen["order_to_assignment_seconds_count"] == 1  # the first assignment only


def test_reasons_from_flight_plugins_cannot_fill_the_registry(metrics: Metrics) -> None:
    replica = ReplicaTelemetry(metrics)
    for number in range(MAX_REASONS + 20):
        life = Life(make_order())
        life.step(sagas.ASSIGNED, S.ASSIGNED, 1.0, drone_id="drone_1")
        failed = life.step(sagas.ABANDONED, S.COMPENSATING, 2.0, reason=f"fault_{number}", target=S.PENDING)
        replica.committed([failed], at(3.0), 0.0)

    reasons = [name for name in samples(metrics) if name.startswith("drone_assignments_failure_total")]
    assert len(reasons) == MAX_REASONS + 1
    assert samples(metrics)["drone_assignments_failure_total{drone_class=unknown,reason=other}"] == 20


def test_a_failover_counts_from_the_last_heartbeat_of_the_previous_leader(metrics: Metrics) -> None:
    now = [50.0]
    replica = ReplicaTelemetry(metrics, mono=lambda: now[0])
    replica.started_leading()  # the first leader ever: it replaces none
    assert samples(metrics)["failover_seconds_count"] == 0
    replica.stopped_leading()
    replica.leader_alive()
    now[0] = 50.7
    replica.started_leading()

    seen = samples(metrics)
    assert (seen["failover_seconds_count"], seen["is_leader"]) == (1, 1)
    assert seen["failover_seconds_sum"] == pytest.approx(0.7)


def test_turns_report_their_queue_and_lateness(metrics: Metrics) -> None:
    replica = ReplicaTelemetry(metrics)
    replica.turned(12, 0.004, 0.0)
    assert samples(metrics)["turn_events"] == 12
    replica.turned(0, 0.001, 0.3)
    seen = samples(metrics)
    assert (seen["turn_seconds_count"], seen["loop_lateness_seconds_count"]) == (2, 1)
    assert seen["loop_lateness_seconds_sum"] == pytest.approx(0.3)


class Held:
    """A projection with a given view."""

    def __init__(self, stale_s: float | None = 0.0) -> None:
        self.view, self.stale_s = FleetView(), stale_s

    def read(self, select: Any) -> Any:
        return select(self.view), Freshness(self.view.revision, self.stale_s)


def region(metrics: Metrics, held: Held, now_s: float = 1000.0) -> tuple[RegionMetrics, OrderCounts, Ledger]:
    counts, ledger = OrderCounts(), Ledger(FLEET, AssignmentPlanner().capable)
    shown = RegionMetrics(
        metrics,
        held,
        counts,
        ledger,
        FLEET,
        stuck_after_s=lambda: 60.0,
        stale_after_s=lambda: 3.0,
        wall=lambda: now_s,  # type: ignore[arg-type]
    )
    return shown, counts, ledger


def saga_at(number: int, status: SagaStatus, at_s: float, reason: str = "") -> Saga:
    order = make_order(number, submitted_at=at_s)
    return Saga(order.message_id, order, status, at_s, at_s, reason=reason or None)


def test_every_reason_to_fail_has_a_series_from_the_start(metrics: Metrics) -> None:
    held = Held()
    shown, _, _ = region(metrics, held)
    held.view.load(Snapshot(1, ()))
    shown.refresh()
    series = {name: value for name, value in samples(metrics).items() if name.startswith("saga_failed{")}
    reasons = {*(reason.value for reason in Reason.that(Consequence.FAILS)), "invalid_order", "lost", "other"}
    assert series == {f"saga_failed{{reason={reason}}}": 0 for reason in reasons}


@pytest.mark.parametrize(
    ("reason", "counted"),
    [("no_fly_zone", "no_fly_zone"), ("lost by anna", "lost"), ("journal_lost_with_package", "other"), (None, "other")],
)
def test_a_failed_order_is_counted_by_its_reason(reason: str | None, counted: str) -> None:
    assert failure_reason(reason) == counted


def test_the_monitors_metrics_agree_with_the_store(metrics: Metrics) -> None:
    held = Held()
    shown, counts, ledger = region(metrics, held)
    fresh, old = saga_at(1, S.IN_TRANSIT, 990.0), saga_at(2, S.DISPATCHED, 900.0)
    lost = saga_at(3, S.FAILED, 980.0, "drone_lost_with_package")
    waiting = make_order(4, submitted_at=700.0)
    breaker = Breaker("drone_7", BreakerState.OPEN, 5)
    entries = [Entry(Kind.SAGA, s.message_id, s, 10 + i) for i, s in enumerate((fresh, old, lost))]
    entries += [
        Entry(Kind.INBOX_ORDER, waiting.message_id, waiting, 20),
        Entry(Kind.BREAKER, "drone_7", breaker, 21),
        Entry(Kind.LEADER, "", LeaderRecord("orchestrator_a", "i", 0.0), 9),
    ]
    held.view.load(Snapshot(30, tuple(entries)))
    counts.load(held.view)
    ledger.load(held.view)
    shown.refresh()

    seen = samples(metrics)
    assert seen["saga_status{status=IN_TRANSIT}"] == 1
    assert seen["saga_status{status=PENDING}"] == 1  # in the inbox
    assert seen["saga_failed{reason=drone_lost_with_package}"] == 1
    assert seen["saga_failed{reason=no_capable_drone}"] == 0
    assert seen["orders_stuck"] == 2  # the one in the inbox, and the one dispatched long ago
    assert seen["oldest_order_seconds"] == 300.0
    assert seen["circuit_breaker_state{service=drone_7}"] == 2
    assert seen["circuit_breaker_state{service=etcd}"] == 0
    assert (seen["leader_present"], seen["leader_epoch"]) == (1, 9)
    assert seen["lane_depth{drone_class=courier}"] == 1

    delivered = replace(fresh, status=S.DELIVERED)
    news = [Entry(Kind.SAGA, fresh.message_id, delivered, 31), Entry(Kind.BREAKER, "drone_7", None, 31)]
    news.append(Entry(Kind.LEADER, "", None, 31))
    counts.apply(held.view, held.view.apply(StoreChange(31, tuple(news))))
    shown.refresh()
    seen = samples(metrics)
    assert (seen["saga_status{status=IN_TRANSIT}"], seen["saga_status{status=DELIVERED}"]) == (0, 1)
    assert seen["circuit_breaker_state{service=drone_7}"] == 0  # a breaker without a record is closed
    assert (seen["leader_present"], seen["leader_epoch"]) == (0, 0)


@pytest.mark.parametrize(("stale_s", "state"), [(0.0, 0), (2.0, 0), (4.0, 2), (None, 2)])
def test_the_monitors_breaker_opens_when_its_view_is_stale(metrics: Metrics, stale_s: float | None, state: int) -> None:
    shown, _, _ = region(metrics, Held(stale_s))
    shown.refresh()
    assert samples(metrics)["circuit_breaker_state{service=etcd}"] == state


def test_a_metrics_port_in_use_is_a_one_line_error(metrics: Metrics) -> None:
    first = MetricsEndpoint(metrics.registry, "127.0.0.1", 0)
    with pytest.raises(EndpointTaken, match=f"metrics_port {first.port}: Address already in use") as refused:
        MetricsEndpoint(metrics.registry, "127.0.0.1", first.port)
    assert "\n" not in str(refused.value)

    metrics.is_leader().set(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{first.port}/metrics", timeout=5) as answer:
        assert b'is_leader{agent_type="test",region="here"} 1.0' in answer.read()
    first.close()
    MetricsEndpoint(metrics.registry, "127.0.0.1", first.port).close()  # the port was released


def test_every_process_except_the_gateway_has_its_own_metrics_port() -> None:
    specs = processes(FleetOptions(drones=4, metrics_port=9400))
    ports = [spec.parameters.get("metrics_port") for spec in specs]
    assert ports == [9400 + i for i in range(len(specs) - 1)] + [None]
    assert specs[-1].role == "gateway"
    assert all("metrics_port" not in spec.parameters for spec in processes(FleetOptions()))


# --- traces -----------------------------------------------------------------------------------------------------------


class RecordingTracer(tracing.NoTracer):
    """A tracer that records all spans."""

    enabled = True

    def __init__(self) -> None:
        self.spans: dict[str, dict[str, Any]] = {}

    def span(self, name: str, parent: str, **rest: Any) -> None:
        assert name not in self.spans, f"{name} is recorded twice"
        self.spans[name] = {"parent": parent, **rest}


@pytest.mark.parametrize(
    "text", ["", "junk", f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'0' * 16}-01", ROOT.upper()]
)
def test_an_invalid_traceparent_has_no_ids(text: str) -> None:
    assert tracing.ids_of(text) is None
    assert tracing.derived(text, "m", 1, "dispatch") == ""


def test_derived_contexts_keep_the_trace_and_differ_by_attempt_and_name() -> None:
    made = {tracing.derived(ROOT, "m", attempt, name) for attempt in (1, 2) for name in ("dispatch", "delivery")}
    assert len(made) == 4
    assert {tracing.ids_of(each)[0] for each in made} == {"a" * 32}  # type: ignore[index]
    assert all(each.endswith("-01") for each in made)


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER must be .*'zipkin'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "must be grpc"),
    ],
)
def test_an_invalid_exporter_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], word: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(tracer_setup.TracingError, match=word):
        tracer_setup.from_environment("s", "i", "r")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_tracing_is_off_by_default(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not tracer_setup.from_environment("s", "i", "r").enabled


def test_a_leader_that_takes_over_continues_the_trace() -> None:
    order = make_order(submitted_at=100.0, trace_context=ROOT)
    life, first = Life(order), RecordingTracer()
    before = OrderTraces(first, "orchestrator_a")
    assigned = life.step(sagas.ASSIGNED, S.ASSIGNED, 103.0, drone_id="drone_1").commit.change
    assert isinstance(assigned, Transition)
    before(Committed(order, assigned.events, 103.0, 103.1))
    assert (first.spans["queue wait"]["began_s"], first.spans["queue wait"]["ended_s"]) == (100.0, 103.1)
    assert first.spans["assign"]["parent"] == first.spans["queue wait"]["own"]

    second, view = RecordingTracer(), FleetView()
    view.load(Snapshot(9, (Entry(Kind.SAGA, order.message_id, life.saga, 9),)))
    successor = OrderTraces(second, "orchestrator_b")
    successor.take_over(view)
    accepted = life.step(sagas.GOAL_ACCEPTED, S.DISPATCHED, 110.0).commit.change
    assert isinstance(accepted, Transition)
    successor(Committed(order, accepted.events, 110.0, 110.2))

    dispatch = second.spans["dispatch"]
    assert (dispatch["parent"], dispatch["began_s"], dispatch["ended_s"]) == (ROOT, 103.0, 110.2)
    assert dispatch["own"] == tracing.derived(ROOT, order.message_id, 1, "dispatch")
    assert dispatch["attributes"]["drone"] == "drone_1"


def test_an_order_without_a_context_is_not_traced() -> None:
    told, life = RecordingTracer(), Life(make_order(submitted_at=100.0))
    assigned = life.step(sagas.ASSIGNED, S.ASSIGNED, 103.0, drone_id="drone_1").commit.change
    assert isinstance(assigned, Transition)
    OrderTraces(told, "orchestrator_a")(Committed(life.saga.order, assigned.events, 103.0, 103.1))
    assert not told.spans


def test_a_drone_records_its_phases_below_the_dispatch_span(metrics: Metrics) -> None:
    now, told = [0.0], RecordingTracer()
    host = HostTelemetry(metrics, COURIER, told, 0.1, mono=lambda: now[0], wall=lambda: 100.0 + now[0])
    drone, order = host.drone("drone_1"), make_order(trace_context=ROOT)
    drone.begin(Phase.IDLE, None, 0, 0)
    drone.phase_changed(Phase.TO_PICKUP)
    drone.goal_accepted(order, 1, 5)
    for after_s, phase in (
        (2, Phase.AWAITING_CLEARANCE),
        (3, Phase.LOADING),
        (5, Phase.TO_DESTINATION),
        (9, Phase.DROPPING),
    ):
        now[0] = after_s
        drone.phase_changed(phase)
    now[0] = 10.0
    outcome = DeliveryOutcome(order.message_id, 1, Outcome.DELIVERED)
    drone.goal_ended(outcome)
    drone.phase_changed(Phase.RETURNING)
    drone.acknowledged([(order.message_id, 1)])
    now[0] = 11.0
    drone.acknowledged([])

    delivery = tracing.derived(ROOT, order.message_id, 1, "delivery")
    lasted = {name: (span["began_s"] - 100.0, span["ended_s"] - 100.0) for name, span in told.spans.items()}
    assert lasted == {
        "fly to pickup": (0, 2),
        "clearance": (2, 3),
        "load": (3, 5),
        "fly to destination": (5, 9),
        "drop": (9, 10),
        "delivery": (0, 10),
        "outcome acknowledged": (10, 11),
    }
    assert told.spans.pop("delivery")["parent"] == tracing.derived(ROOT, order.message_id, 1, "dispatch")
    assert {span["parent"] for span in told.spans.values()} == {delivery}
    seen = samples(metrics)
    assert seen["drones{drone_class=courier,phase=returning}"] == 1
    assert seen["drones{drone_class=courier,phase=dropping}"] == 0
    assert seen["drone_phase_seconds_sum{phase=to_destination}"] == 4.0
    assert seen["drone_outcomes_total{outcome=delivered}"] == 1
    drone.end()
    assert samples(metrics)["drones{drone_class=courier,phase=returning}"] == 0


def test_a_restarted_drone_marks_its_span_as_resumed(metrics: Metrics) -> None:
    told, order = RecordingTracer(), make_order(trace_context=ROOT)
    drone = HostTelemetry(metrics, COURIER, told, 0.1, mono=lambda: 0.0, wall=lambda: 7.0).drone("drone_1")
    drone.begin(Phase.TO_DESTINATION, order, 2, 5)
    drone.phase_changed(Phase.DROPPING)

    span = told.spans["fly to destination"]
    assert span["attributes"]["resumed"] is True
    assert span["parent"] == tracing.derived(ROOT, order.message_id, 2, "delivery")


# --- logs -------------------------------------------------------------------------------------------------------------


class Page(logging.Handler):
    """A handler that keeps records in their JSON form."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.JsonFormatter())
        self.said: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(json.loads(self.format(record)))


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def log(page: Page) -> logging.Logger:
    logger = logging.Logger("test")
    logger.addHandler(page)
    return logger


def test_an_abandoned_attempt_is_logged_with_its_ids(log: logging.Logger, page: Page) -> None:
    order = make_order(submitted_at=100.0, trace_context=ROOT)
    life = Life(order)
    steps = [
        life.step(sagas.ASSIGNED, S.ASSIGNED, 101.0, drone_id="drone_1"),
        life.step(sagas.ABANDONED, S.COMPENSATING, 102.0, reason="reservation_expired", target=S.PENDING),
    ]
    replica = ReplicaTelemetry(Metrics("test", "here"), listeners=[logs.OrderLog(log, lambda: False)])
    replica.committed(steps, at(102.0), 0.0)

    (said,) = page.said  # steps without trouble are not logged
    assert said["message"] == f"{order.order_id} abandoned, now COMPENSATING (drone_1): reservation_expired"
    assert {k: said[k] for k in ("level", "order_id", "message_id", "drone", "attempt", "epoch", "reason")} == {
        "level": "warning",
        "order_id": order.order_id,
        "message_id": order.message_id,
        "drone": "drone_1",
        "attempt": 1,
        "epoch": 5,
        "reason": "reservation_expired",
    }
    assert (said["trace_id"], said["span_id"]) == ("a" * 32, "b" * 16)


def test_every_step_is_logged_at_debug_level(log: logging.Logger, page: Page) -> None:
    life = Life(make_order())
    replica = ReplicaTelemetry(Metrics("test", "here"), listeners=[logs.OrderLog(log, lambda: True)])
    replica.committed([life.step(sagas.ASSIGNED, S.ASSIGNED, 101.0, drone_id="drone_1")], at(101.0), 0.0)
    assert [said["level"] for said in page.said] == ["debug"]


def test_fields_of_logger_and_record_are_merged(log: logging.Logger, page: Page) -> None:
    logs.FieldLogger(log, drone="drone_1").info("as %s", "ever", extra={"epoch": 3})
    said = page.said[0]
    assert (said["message"], said["drone"], said["epoch"]) == ("as ever", "drone_1", 3)


def test_an_exception_is_one_json_line_with_its_request(log: logging.Logger, page: Page) -> None:
    with tracing.activated(RecordingTracer(), ROOT):
        try:
            raise ValueError("first\nsecond")
        except ValueError as error:
            log.error("it broke", exc_info=error)
    said = page.said[0]
    assert "ValueError: first\nsecond" in said["exception"]
    assert said["trace_id"] == "a" * 32
