"""``saga_monitor``: publishes the store's contents as saga table, saga events, back-pressure and diagnostics.

It is a projection: killing it loses nothing, any number may run, and it never contacts the leader.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from drone_interfaces.msg import BackPressure, DroneState, SagaSummary, SagaTable
from drone_interfaces.msg import SagaEvent as SagaEventMsg
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from ...bringup.named_files import described_fleet
from ...core.lanes import Ledger, Level, Pressure, PressureGauge
from ...core.types import Saga, SagaEvent, SagaStatus, StoreChange
from ...core.view import FleetView, held_in
from ...planning.waiting import KnownDrone
from ...ros import command_line, executors, messages, names, observability, qos
from ...ros.diagnostics import Reporter
from ...ros.interface_watch import NetworkWatch, late_interfaces, usable_addresses
from ...ros.log_bridge import bridge
from ...ros.params import declare, keep_live
from ...ros.planner_plugins import load_planner
from ...ros.process import ConfigurationError, run_node, single_node
from ...ros.qos_watch import QosWatch
from ...runtime.probe import StoreProbe, look
from ...runtime.projection import Freshness, Projection
from ...store import EtcdStore
from ...telemetry import diagnostics, findings
from ...telemetry.diagnostics import Status
from ...telemetry.findings import Findings, LeaderClock
from ...telemetry.metrics import Metrics
from ...telemetry.region_metrics import OrderCounts, RegionMetrics
from ...telemetry.strangers import Strangers
from ...telemetry.waiting_orders import lasting_waits
from .fleet_markers import FleetMarkers
from .parameters import ABOUT, PARAMETERS

EVENT_BACKLOG = 10_000
#: Longest time (s) between two publications of back-pressure. A change of a lane's level is published at once.
PRESSURE_PERIOD_S = 5.0


class SagaMonitor(Node):
    """Publishes ``saga_table`` (latched), ``saga_events``, ``back_pressure`` (latched) and ``/diagnostics``."""

    def __init__(self, network: NetworkWatch | None = None) -> None:
        super().__init__("saga_monitor")
        self.values: dict[str, Any] = declare(self, PARAMETERS)
        bridge("drone_orchestrator", self.get_logger())
        self._events: collections.deque[tuple[SagaEvent, int]] = collections.deque(maxlen=EVENT_BACKLOG)
        self._following = threading.Event()  # set while a call of _follow is scheduled
        self._shown_revision = -1
        try:
            fleet = replace(described_fleet(self.values["fleet_config"]), region=self.values["region"])
            self._store = EtcdStore(self.values["etcd_endpoints"].split(","), self.values["region"])
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        self._planner = load_planner(self.values["planner"])
        ledger = Ledger(fleet, self._planner.capable)
        self._gauge = PressureGauge(fleet, ledger, time.monotonic())
        self._levels: tuple[Level, ...] = ()  # as last published
        self._pressed_at_s = 0.0
        counts, metrics = OrderCounts(), Metrics("saga_monitor", self.values["region"])
        self._projection = Projection(self._store, listener=self._on_change, folds=(ledger, counts))
        self._telemetry = RegionMetrics(
            metrics,
            self._projection,
            counts,
            ledger,
            fleet,
            stuck_after_s=lambda: self.values["stuck_after_s"],
            stale_after_s=lambda: self.values["stale_after_s"],
        )
        self._endpoint = observability.serve(metrics, self.values)
        self._fleet = fleet
        watch = QosWatch(self)

        def publisher(kind: type, topic: str, profile: QoSProfile) -> Publisher:
            return self.create_publisher(kind, topic, profile, **watch.publishing(topic, profile))

        self._table = publisher(SagaTable, names.SAGA_TABLE, qos.state())
        self._stream = publisher(SagaEventMsg, names.SAGA_EVENTS, qos.events())
        # One writer for all lanes. They are always published together, so the latched samples are one per lane.
        self._back_pressure = publisher(BackPressure, names.BACK_PRESSURE, qos.state(len(fleet.classes)))
        self._heard: dict[str, diagnostics.HeardDrone] = {}
        self._probe = StoreProbe(partial(look, self._store))
        self._strangers = Strangers(metrics)
        clock = LeaderClock()
        found = self._make_findings(metrics, watch, clock, network)
        self._reporter = Reporter(self, [watch.statuses, self._statuses], found)
        self._markers = FleetMarkers(
            self,
            fleet,
            self._projection,
            watch,
            is_away=self._is_stale,
            rate_hz=self.values["marker_rate_hz"],
            clock=clock,
            strangers=self._strangers,
            frame_id=self.values["frame_id"],
        )
        self._hear(watch)
        self._begin()

    def _begin(self) -> None:
        self._timer = self.create_timer(self.values["period_s"], self._publish)
        keep_live(self, PARAMETERS, self.values, apply=self._set_period)
        self._projection.start()
        self._probe.start()

    def _hear(self, watch: QosWatch) -> None:
        profile = qos.drone_states()
        self.create_subscription(
            DroneState,
            names.DRONE_STATES,
            self._on_state,
            profile,
            **watch.subscribing(names.DRONE_STATES, profile),
        )

    def _set_period(self, values: Mapping[str, Any]) -> None:
        self._timer.timer_period_ns = values["period_s"] * 1e9

    def destroy_node(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
        self._projection.close()
        self._probe.close()
        self._store.close()
        super().destroy_node()

    def _on_change(self, change: StoreChange) -> None:
        """Queue the events for the executor's thread. Called on the store's thread."""
        for entry in change.entries:
            if isinstance(entry.value, SagaEvent):
                self._events.append((entry.value, change.revision))
        if not self._following.is_set():
            self._following.set()
            if not executors.call_soon(self, self._follow):
                self._following.clear()  # the node does not spin yet: the timer will call _follow

    def _follow(self) -> None:
        """Publish events and level changes, which must not wait for the timer."""
        self._following.clear()
        waiting = [self._events.popleft() for _ in range(len(self._events))]
        orders = self._order_ids({event.message_id for event, _ in waiting}) if waiting else {}
        for event, revision in waiting:
            self._stream.publish(_event_msg(event, revision, orders.get(event.message_id, "")))
        self._publish_pressure()

    def _order_ids(self, message_ids: set[str]) -> dict[str, str]:
        """Return the customers' ids of those orders that are in the store."""

        def look(view: FleetView) -> dict[str, str]:
            sagas = ((each, view.sagas.get(each)) for each in message_ids)
            return {each: stored.value.order_id for each, stored in sagas if stored is not None}

        found, _ = self._projection.read(look)
        return found

    def _publish_pressure(self) -> tuple[Pressure, ...]:
        """Publish all lanes if a level has changed or the last publication is old. Return the lanes' pressures."""
        now_s = time.monotonic()
        pressures, freshness = self._projection.read(lambda view: self._gauge.read(now_s))
        if not freshness.loaded:
            return ()
        if self._is_stale(freshness):
            pressures = tuple(replace(pressure, level=Level.UNSPECIFIED) for pressure in pressures)
        levels = tuple(pressure.level for pressure in pressures)
        if levels != self._levels or now_s - self._pressed_at_s >= PRESSURE_PERIOD_S:
            self._levels, self._pressed_at_s = levels, now_s
            stamp = self.get_clock().now().to_msg()
            for pressure in pressures:
                self._back_pressure.publish(messages.pressure_to_msg(pressure, stamp))
        return pressures

    def _publish(self) -> None:
        self._telemetry.refresh()
        self._follow()
        (rows, counts), freshness = self._projection.read(self._rows)
        if freshness.loaded and freshness.revision != self._shown_revision:
            self._shown_revision = freshness.revision
            table = SagaTable(stamp=self.get_clock().now().to_msg(), revision=freshness.revision, sagas=rows)
            table.statuses, table.counts = [status.value for status in counts], list(counts.values())
            self._table.publish(table)

    def _rows(self, view: FleetView) -> tuple[list[SagaSummary], dict[SagaStatus, int]]:
        sagas = [stored.value for stored in view.sagas.values()]
        sagas.sort(key=lambda s: (s.status.is_terminal, -s.updated_at))
        return [_summary(saga) for saga in sagas[: self.values["table_rows"]]], view.counts()

    def _make_findings(
        self, metrics: Metrics, watch: QosWatch, clock: LeaderClock, network: NetworkWatch | None
    ) -> Findings:
        found = Findings(self.get_name(), self.values["region"], metrics)
        findings.watch_probe(found, lambda: self._probe.latest)
        found.watch(findings.STORE_NOT_FOLLOWED, findings.not_followed(self._projection.freshness))
        found.watch(findings.STORE_HELD, findings.held(lambda: self._projection.read(held_in)[0]))
        found.watch(findings.RECORDS_CORRUPT, findings.corrupt(self._corrupt))
        found.watch(findings.ORDERS_WAIT, self._waiting)
        found.watch(findings.CLOCK_SKEW, findings.about_self(clock.text))
        found.watch(findings.FOREIGN_FLEET, self._strangers.found)
        found.watch(findings.QOS_INCOMPATIBLE, watch.unfit)
        found.watch(findings.INTERFACE_MISSING, findings.about_self(partial(late_interfaces, self, network)))
        found.watch(findings.LOOP_FAILING, findings.about_self(partial(observability.trouble, self._endpoint)))
        return found

    def _waiting(self) -> Mapping[str, str]:
        now_s, wall_s = time.monotonic(), time.time()
        drones = [KnownDrone(heard.report, now_s - heard.at_s) for heard in self._heard.values()]
        found, _ = self._projection.read(lambda view: lasting_waits(view, self._fleet, self._planner, drones, wall_s))
        return found

    def _corrupt(self) -> list[str]:
        keys, _ = self._projection.read(lambda view: sorted(view.corrupt))
        return keys

    def _statuses(self) -> list[Status]:
        """Return the statuses of the fleet as a whole."""
        now_s, wall_s = time.monotonic(), time.time()

        def look(view: FleetView) -> list[Status]:
            self._strangers.follow(view.fleet)
            return [
                diagnostics.leader_status(view),
                diagnostics.saga_status(view, self.values["stuck_after_s"], wall_s),
                diagnostics.record_status(view),
                diagnostics.breaker_status(view, wall_s),
                *diagnostics.drone_statuses(view, self._heard, self._fleet, now_s, wall_s),
            ]

        found, freshness = self._projection.read(look)
        pressures = self._publish_pressure()
        store = diagnostics.store_status(
            freshness, self.values["stale_after_s"], self._probe.latest, self.values["etcd_endpoints"]
        )
        return [store, *found, *diagnostics.lane_statuses(pressures)]

    def _on_state(self, message: DroneState) -> None:
        if self._strangers.ignores("drone", message.drone_id, message.fleet_id, topic=names.DRONE_STATES):
            return
        try:
            report = messages.report_from_msg(message)
            names.check_drone_id(report.drone_id)
        except ValueError:
            return  # the orchestrators log the reason
        self._heard[report.drone_id] = diagnostics.HeardDrone(report, time.monotonic())
        self._markers.hear_drone(report, message.position.altitude_m)

    def _is_stale(self, freshness: Freshness) -> bool:
        return freshness.stale_s is not None and freshness.stale_s > self.values["stale_after_s"]


def _summary(saga: Saga) -> SagaSummary:
    return SagaSummary(
        message_id=saga.message_id,
        order_id=saga.order_id,
        status=saga.status.value,
        attempt=saga.attempt,
        drone_id=saga.drone_id or "",
        drone_class=saga.order.drone_class or "",
        reason=saga.reason or "",
        created_at=messages.time_to_msg(saga.created_at),
        updated_at=messages.time_to_msg(saga.updated_at),
    )


def _event_msg(event: SagaEvent, revision: int, order_id: str) -> SagaEventMsg:
    return SagaEventMsg(
        message_id=event.message_id,
        order_id=event.order.order_id if event.order is not None else order_id,
        sequence=event.n,
        type=event.type,
        from_status=event.from_status.value if event.from_status else "",
        to_status=event.to_status.value,
        attempt=event.attempt,
        drone_id=event.drone_id or "",
        epoch=event.epoch,
        reason=event.reason or "",
        stamp=messages.time_to_msg(event.at),
        revision=revision,
    )


def main() -> int:
    """Run the program; return its exit code, see :func:`~drone_orchestrator.ros.process.run_node`."""
    command_line.answer("saga_monitor", ABOUT, PARAMETERS)
    network = NetworkWatch(usable_addresses(), time.monotonic())
    return run_node(single_node(partial(SagaMonitor, network)), executor_type=executors.events)
