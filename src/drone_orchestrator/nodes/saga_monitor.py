"""``saga_monitor``: shows what the store says, and nothing else: saga table, saga events, back-pressure, diagnostics.

It is a projection: killing it loses nothing, any number may run, and it never asks the leader.
"""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from drone_interfaces.msg import BackPressure, SagaSummary, SagaTable
from drone_interfaces.msg import SagaEvent as SagaEventMsg
from rclpy.node import Node

from ..bringup import fleet_config
from ..core.lanes import Ledger, Level, Pressure, PressureGauge
from ..core.types import LeaderRecord, Saga, SagaEvent, SagaStatus, StoreChange
from ..core.view import FleetView
from ..runtime.projection import Freshness, Projection
from ..store import EtcdStore
from ..telemetry.census import Census, RegionTelemetry
from ..telemetry.metrics import Metrics
from . import convert, names, qos, telemetry
from .params import LOG_LEVEL, Param, declare, keep_live
from .planners import PLANNER_GROUP, load_planner
from .process import ConfigurationError, run_node
from .ros_logging import bridge

PARAMETERS = (
    Param("region", "san_francisco", "shard that is shown: part of every key in the store"),
    Param("etcd_endpoints", os.environ.get("ETCD_ENDPOINTS", "127.0.0.1:2379"), "host:port, several with commas"),
    Param("fleet_config", "", "path of the fleet description; empty: the one that comes with the package"),
    Param("planner", "assignment", f"entry point of the group {PLANNER_GROUP}; says which lane an order is in"),
    Param(
        "table_rows",
        200,
        "rows of the saga table: active orders first, then the latest that ended",
        "",
        1,
        10000,
        read_only=False,
    ),
    Param(
        "period_s", 1.0, "period of diagnostics, and shortest one of the saga table", "s", 0.1, 60.0, read_only=False
    ),
    Param(
        "stuck_after_s",
        600.0,
        "an active order without a change for so long is reported",
        "s",
        1.0,
        86400.0,
        read_only=False,
    ),
    Param(
        "stale_after_s",
        3.0,
        "the store counts as away when nothing was heard for so long",
        "s",
        0.5,
        60.0,
        read_only=False,
    ),
    LOG_LEVEL,
    *telemetry.PARAMETERS,
)
EVENT_BACKLOG = 10_000
#: Back-pressure is published at once when a lane's level changes, and else after so long, in step with ``period_s``.
PRESSURE_PERIOD_S = 5.0


class SagaMonitor(Node):
    """Publishes ``saga_table`` (latched), ``saga_events``, ``back_pressure`` (latched) and ``/diagnostics``."""

    def __init__(self) -> None:
        super().__init__("saga_monitor")
        self.values: dict[str, Any] = declare(self, PARAMETERS)
        bridge("drone_orchestrator", self.get_logger())
        self._events: collections.deque[tuple[SagaEvent, int]] = collections.deque(maxlen=EVENT_BACKLOG)
        self._shown_revision = -1
        try:
            fleet = replace(fleet_config.load(self.values["fleet_config"]), region=self.values["region"])
            self._store = EtcdStore(self.values["etcd_endpoints"].split(","), self.values["region"])
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        ledger = Ledger(fleet, load_planner(self.values["planner"]).capable)
        self._gauge = PressureGauge(fleet, ledger, time.monotonic())
        self._levels: tuple[Level, ...] = ()  # as last published
        self._pressed_at_s = 0.0
        census, metrics = Census(), Metrics("saga_monitor", self.values["region"])
        self._projection = Projection(self._store, listener=self._on_change, folds=(ledger, census))
        self._telemetry = RegionTelemetry(
            metrics,
            self._projection,
            census,
            ledger,
            fleet,
            stuck_after_s=lambda: self.values["stuck_after_s"],
            stale_after_s=lambda: self.values["stale_after_s"],
        )
        self._endpoint = telemetry.serve(metrics, self.values)
        self._table = self.create_publisher(SagaTable, names.SAGA_TABLE, qos.state(), **qos.options())
        self._stream = self.create_publisher(SagaEventMsg, names.SAGA_EVENTS, qos.events(), **qos.options())
        # One writer for all lanes, which are always published together: its last samples are one of each.
        self._back_pressure = self.create_publisher(
            BackPressure, names.BACK_PRESSURE, qos.state(len(fleet.classes)), **qos.options()
        )
        self._diagnostics = self.create_publisher(
            DiagnosticArray, names.DIAGNOSTICS, qos.diagnostics(), **qos.options()
        )
        self._guard = self.create_guard_condition(self._follow)
        self._timer = self.create_timer(self.values["period_s"], self._publish)
        keep_live(self, PARAMETERS, self.values, apply=self._set_period)
        self._projection.start()

    def _set_period(self, values: Mapping[str, Any]) -> None:
        self._timer.timer_period_ns = values["period_s"] * 1e9

    def destroy_node(self) -> None:
        if self._endpoint is not None:
            self._endpoint.close()
        self._projection.close()
        self._store.close()
        super().destroy_node()

    def _on_change(self, change: StoreChange) -> None:
        """On the store's thread: keep the events for the executor's."""
        for entry in change.entries:
            if isinstance(entry.value, SagaEvent):
                self._events.append((entry.value, change.revision))
        self._guard.trigger()

    def _follow(self) -> None:
        """What must be shown as it happens."""
        while self._events:
            self._stream.publish(_event_msg(*self._events.popleft()))
        self._publish_pressure()

    def _publish_pressure(self) -> tuple[Pressure, ...]:
        """Tell of every lane where one's level is new, or nothing was told for a while. The lanes as they are."""
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
                self._back_pressure.publish(convert.pressure_to_msg(pressure, stamp))
        return pressures

    def _publish(self) -> None:
        self._telemetry.refresh()
        pressures = self._publish_pressure()
        (rows, counts, statuses), freshness = self._projection.read(self._look)
        if freshness.loaded and freshness.revision != self._shown_revision:
            self._shown_revision = freshness.revision
            table = SagaTable(stamp=self.get_clock().now().to_msg(), revision=freshness.revision, sagas=rows)
            table.statuses, table.counts = list(counts), list(counts.values())
            self._table.publish(table)
        array = DiagnosticArray(status=[self._store_status(freshness), *statuses, _lane_status(pressures)])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _look(self, view: FleetView) -> tuple[list[SagaSummary], dict[str, int], list[DiagnosticStatus]]:
        sagas = [entry.value for entry in view.sagas.values() if isinstance(entry.value, Saga)]
        counts = {status.value: 0 for status in SagaStatus}
        for saga in sagas:
            counts[saga.status.value] += 1
        counts[SagaStatus.PENDING.value] += len(view.inbox)
        sagas.sort(key=lambda s: (s.status.is_terminal, -s.updated_at))
        rows = [_summary(saga) for saga in sagas[: self.values["table_rows"]]]
        return rows, counts, [_leader_status(view), self._saga_status(view, sagas, counts), _corrupt_status(view)]

    def _is_stale(self, freshness: Freshness) -> bool:
        return freshness.stale_s is not None and freshness.stale_s > self.values["stale_after_s"]

    def _store_status(self, freshness: Freshness) -> DiagnosticStatus:
        values = {"revision": freshness.revision, "endpoints": self.values["etcd_endpoints"]}
        if freshness.stale_s is None:
            return _status("etcd", DiagnosticStatus.ERROR, "never reached; check etcd_endpoints", values)
        if self._is_stale(freshness):
            text = f"degraded: not heard for {freshness.stale_s:.0f} s; drones finish what they carry"
            return _status("etcd", DiagnosticStatus.ERROR, text, values)
        return _status("etcd", DiagnosticStatus.OK, "following", values)

    def _saga_status(self, view: FleetView, sagas: list[Saga], counts: dict[str, int]) -> DiagnosticStatus:
        now = time.time()
        limit_s = self.values["stuck_after_s"]
        stuck = [s.order_id for s in sagas if not s.status.is_terminal and now - s.updated_at > limit_s]
        parked = [s.order_id for s in sagas if s.parked]
        values: dict[str, object] = {**counts, "inbox": len(view.inbox)}
        values |= {"stuck": ", ".join(stuck[:20]), "parked": ", ".join(parked[:20])}
        if parked:
            text = f"{len(parked)} parked: a person must decide; see `fleetctl order list --parked`"
            return _status("sagas", DiagnosticStatus.ERROR, text, values)
        if counts[SagaStatus.FAILED.value]:
            return _status("sagas", DiagnosticStatus.ERROR, f"{counts[SagaStatus.FAILED.value]} failed", values)
        if stuck:
            text = f"{len(stuck)} without a change for {limit_s:.0f} s; see `fleetctl events ID`"
            return _status("sagas", DiagnosticStatus.WARN, text, values)
        return _status("sagas", DiagnosticStatus.OK, "all moving", values)


def _leader_status(view: FleetView) -> DiagnosticStatus:
    record = view.leader.value if view.leader is not None else None
    if view.leader is None or not isinstance(record, LeaderRecord):
        return _status("leader", DiagnosticStatus.ERROR, "none: orders are accepted, nothing is decided", {})
    values = {"epoch": view.leader.mod_revision, "instance": record.instance_id}
    return _status("leader", DiagnosticStatus.OK, record.holder, values)


def _lane_status(pressures: tuple[Pressure, ...]) -> DiagnosticStatus:
    values: dict[str, object] = {
        p.lane: f"{p.level.name}: {p.waiting} of {p.bound} wait, {p.in_flight} in flight" for p in pressures
    }
    full = [p.lane for p in pressures if p.level is Level.FULL]
    if full:
        return _status("lanes", DiagnosticStatus.WARN, f"full, refusing orders: {', '.join(full)}", values)
    return _status("lanes", DiagnosticStatus.OK, "none is full", values)


def _corrupt_status(view: FleetView) -> DiagnosticStatus:
    if not view.corrupt:
        return _status("records", DiagnosticStatus.OK, "all readable", {})
    names_ = ", ".join(sorted(view.corrupt)[:20])
    text = "unreadable values are set aside; mend or remove them, then run `fleetctl audit`"
    return _status("records", DiagnosticStatus.ERROR, text, {"keys": names_})


def _status(name: str, level: bytes, text: str, values: dict[str, object]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(
        name=f"drone_orchestrator: {name}", level=level, message=text, hardware_id="fleet", values=pairs
    )


def _summary(saga: Saga) -> SagaSummary:
    return SagaSummary(
        message_id=saga.message_id,
        order_id=saga.order_id,
        status=saga.status.value,
        attempt=saga.attempt,
        drone_id=saga.drone_id or "",
        drone_class=saga.order.drone_class or "",
        reason=saga.reason or "",
        created_at=convert.time_to_msg(saga.created_at),
        updated_at=convert.time_to_msg(saga.updated_at),
    )


def _event_msg(event: SagaEvent, revision: int) -> SagaEventMsg:
    return SagaEventMsg(
        message_id=event.message_id,
        sequence=event.n,
        type=event.type,
        from_status=event.from_status.value if event.from_status else "",
        to_status=event.to_status.value,
        attempt=event.attempt,
        drone_id=event.drone_id or "",
        epoch=event.epoch,
        reason=event.reason or "",
        stamp=convert.time_to_msg(event.at),
        revision=revision,
    )


class _Application:
    def __init__(self) -> None:
        self._node = SagaMonitor()
        self.nodes = (self._node,)

    def close(self) -> None:
        self._node.destroy_node()


def main() -> None:
    raise SystemExit(run_node(_Application))


if __name__ == "__main__":
    main()
