"""The body of ``GET /fleet``: the stored state of the fleet, merged with the live states of its drones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..core.lanes import Level, level_of, unmanned
from ..core.policies import DRONE_SILENT_S
from ..core.reasons import OUT_OF_SERVICE
from ..core.types import Breaker, BreakerState, FleetSpec, GeoPoint, Phase, Reservation, SagaStatus
from ..core.view import CurrentLeader, FleetView
from ..intake.bulkheads import Bulkheads
from ..runtime.breaker import StoreBreaker
from ..runtime.projection import Freshness
from ..telemetry.findings import STORE_NOT_FOLLOWED, Findings, HeardFindings
from .fleet_counts import FleetCounts
from .live_drones import LiveDrone, LiveDrones
from .representation import freshness_json

#: The store counts as unreachable after this silence (s).
AWAY_AFTER_S = 3.0
#: Maximum number of alerts of one kind.
MAX_ALERTS_PER_CODE = 50

_BREAKER_NAMES = {BreakerState.CLOSED: "closed", BreakerState.HALF_OPEN: "half-open", BreakerState.OPEN: "open"}
Json = dict[str, Any]


class FleetDocument:
    """Builds the body from the gateway's sources, each of which is thread-safe."""

    def __init__(
        self,
        fleet: FleetSpec,
        counts: FleetCounts,
        bulkheads: Bulkheads,
        breaker: StoreBreaker,
        live: LiveDrones,
        findings: tuple[Findings, HeardFindings],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``counts`` and ``bulkheads`` must be folds of the projection; ``clock`` returns wall time (s).

        ``findings`` are those of this process and those that others report.
        """
        self._findings, self._heard_findings = findings
        self._fleet = fleet
        self._counts = counts
        self._bulkheads = bulkheads
        self._breaker = breaker
        self._live = live
        self._clock = clock
        self._full_since: dict[str, float] = {}
        self._unmanned_since: dict[str, float] = {}
        self._began = clock()

    def select(self, view: FleetView) -> Json:
        """Select the part that depends on the store, inside ``Projection.read``; :meth:`finish` completes it."""
        live = {drone.drone_id: (drone, age_s) for drone, age_s in self._live.drones()}
        reserved = {id_: held.value for id_, held in view.reservations.items()}
        by_status = self._counts.by_status()
        ids = sorted({*live, *reserved, *view.breakers})
        drones = [self._drone(view, id_, live.get(id_), reserved.get(id_)) for id_ in ids]
        tried = [row for row in drones if row["drone_id"] in view.breakers]
        failed = [{"service": row["drone_id"], "state": row["breaker"]} for row in tried]
        lanes = [self._lane(name) for name in self._bulkheads.lanes]
        return {
            "region": self._fleet.region,
            "depot": _point(self._fleet.depot),
            "service_radius_m": self._fleet.service_radius_m,
            "no_fly_zones": [
                {"name": zone.name, "polygon": [_point(corner) for corner in zone.corners]}
                for zone in self._fleet.no_fly_zones
            ],
            "leader": leader_json(view.leadership),
            "drones": drones,
            "lanes": lanes,
            "breakers": [{"service": "etcd", "state": self._breaker.state}, *failed],
            "orders": {status.value: by_status.get(status, 0) for status in SagaStatus},
            "alerts": [
                *self._of_orders(),
                *self._of_breakers(),
                *self._of_lanes(lanes),
                *self._of_classes(lanes),
                *self._of_drones(drones),
            ],
        }

    def finish(self, selected: Json, freshness: Freshness) -> Json:
        """Return the body: add the freshness and the alerts that follow from it."""
        stale_s = freshness.stale_s or 0.0
        now_s = self._clock()
        first = []
        if stale_s > AWAY_AFTER_S or self._breaker.state == "open":
            text = (
                f"the store has not been heard for {stale_s:.0f} s: what is shown is as old, and orders are turned away"
            )
            text += f" ({freshness.trouble})" if freshness.trouble else ""
            first.append(_alert("store_unreachable", "critical", text, now_s - stale_s, "etcd"))
        if selected["leader"] is None:
            text = "no replica leads: orders are accepted, nothing is decided"
            since = self._counts.leaderless_since or now_s
            first.append(_alert("no_leader", "critical", text, since, self._fleet.region))
        # While the store is away, every process reports that it does not follow it: one alert is enough.
        known = {STORE_NOT_FOLLOWED.name} if first and first[0]["code"] == "store_unreachable" else set()
        reported = [each for each in self._of_findings() if each["code"] not in known]
        return {**selected, "alerts": [*first, *reported, *selected["alerts"]], **freshness_json(freshness)}

    def _of_findings(self) -> Iterator[Json]:
        """Yield an alert for each finding; one that several processes report only once, as its first one says it."""
        known = set()
        own = (("", each) for each in self._findings.open)
        for process, found in [*own, *self._heard_findings.open()][:MAX_ALERTS_PER_CODE]:
            key = found.name, found.subject
            if key in known:
                continue
            known.add(key)
            text = f"{process or found.subject}: {found.text}"
            yield _alert(found.name, found.severity, text, found.since, found.subject)

    def _drone(
        self, view: FleetView, drone_id: str, heard: tuple[LiveDrone, float] | None, held: Reservation | None
    ) -> Json:
        live, age_s = heard or (None, None)
        message_id = (live.message_id if live else None) or (held.message_id if held else None)
        order = view.order_of(message_id) if message_id else None
        breaker: Breaker | None = view.breaker_of(drone_id)
        drone_class = self._fleet.drone_class(live.drone_class) if live else None
        fraction = None
        if live is not None and live.energy_wh is not None and drone_class is not None:
            fraction = round(min(1.0, live.energy_wh / drone_class.battery_wh), 4)
        position = None
        if live is not None and live.position is not None:
            position = {**_point(live.position), "altitude_m": live.altitude_m}
        return {
            "drone_id": drone_id,
            "drone_class": (live.drone_class or None) if live else None,
            "phase": live.phase.name if live else Phase.UNSPECIFIED.name,
            "grounded_reason": (live.grounded_reason or None) if live else None,
            "position": position,
            "heading_rad": live.heading_rad if live else None,
            "energy_fraction": fraction,
            "package_on_board": live.package_on_board if live else False,
            "message_id": message_id,
            "order_id": order.order_id if order else None,
            "destination": _point(order.destination) if order else None,
            "breaker": _BREAKER_NAMES[breaker.state if breaker else BreakerState.CLOSED],
            "heard_s": None if age_s is None else round(age_s, 3),
            "attempt": held.attempt if held else None,
            "epoch": held.epoch if held else None,
            "leased": held.leased if held else None,
        }

    def _lane(self, name: str) -> Json:
        drone_class = self._fleet.drone_class(name)
        assert drone_class is not None
        waiting, in_flight = self._bulkheads.load_of(name)
        level = level_of(waiting, drone_class.max_waiting)
        return {
            "drone_class": name,
            "waiting": waiting,
            "in_flight": in_flight,
            "bound": drone_class.max_waiting,
            "level": level.name,
        }

    def _of_orders(self) -> Iterator[Json]:
        parked = sorted(self._counts.parked.values(), key=lambda saga: saga.updated_at)
        for saga in parked[:MAX_ALERTS_PER_CODE]:
            text = f"order {saga.order_id} is parked and waits for a decision: {saga.reason or 'no reason given'}"
            yield _alert("order_parked", "critical", text, saga.updated_at, saga.message_id)
        for saga in self._counts.failed()[:MAX_ALERTS_PER_CODE]:
            text = f"order {saga.order_id} has failed: {saga.reason or 'no reason given'}"
            yield _alert("order_failed", "warning", text, saga.updated_at, saga.message_id)

    def _of_breakers(self) -> Iterator[Json]:
        for drone_id, since in sorted(self._counts.open_since.items())[:MAX_ALERTS_PER_CODE]:
            text = f"{drone_id} failed repeatedly and gets no orders for a while"
            yield _alert("breaker_open", "warning", text, since, drone_id)

    def _of_lanes(self, lanes: list[Json]) -> Iterator[Json]:
        full = {lane["drone_class"] for lane in lanes if lane["level"] == Level.FULL.name}
        self._full_since = {lane: self._full_since.get(lane, self._clock()) for lane in sorted(full)}
        for lane, since in self._full_since.items():
            yield _alert("lane_full", "warning", f"lane {lane} is full: its orders are turned away", since, lane)

    def _of_classes(self, lanes: list[Json]) -> Iterator[Json]:
        """Yield an alert for each class whose orders wait while none of its drones is heard."""
        heard = [drone for drone, age_s in self._live.drones() if age_s <= DRONE_SILENT_S]
        living = {drone.drone_class for drone in heard if drone.grounded_reason != OUT_OF_SERVICE}
        waiting = {lane["drone_class"] for lane in lanes if lane["waiting"]}
        now_s = self._clock()
        lacking = unmanned(self._fleet, living) if now_s - self._began > DRONE_SILENT_S else {}
        found = {name: text for name, text in lacking.items() if name in waiting}
        self._unmanned_since = {name: self._unmanned_since.get(name, now_s) for name in found}
        for name, text in found.items():
            yield _alert("class_unmanned", "warning", text, self._unmanned_since[name], name)

    def _of_drones(self, drones: list[Json]) -> Iterator[Json]:
        listening_s = self._clock() - self._began
        silent = []
        for row in drones:
            age_s = row["heard_s"] if row["heard_s"] is not None else listening_s
            if age_s > DRONE_SILENT_S and (row["heard_s"] is not None or row["epoch"] is not None):
                silent.append((row, age_s))
        for row, age_s in silent[:MAX_ALERTS_PER_CODE]:
            carrying = row["package_on_board"] or row["leased"] is False
            text = f"{row['drone_id']} has not been heard for {age_s:.0f} s"
            text += ", and may have a package on board" if carrying else ""
            since = self._clock() - age_s
            yield _alert("drone_silent", "critical" if carrying else "warning", text, since, row["drone_id"])


def leader_json(leader: CurrentLeader | None) -> Json | None:
    """Return the leader as in the body; ``None`` if there is none."""
    if leader is None:
        return None
    return {
        "holder": leader.holder,
        "instance_id": leader.instance_id,
        "epoch": leader.epoch,
        "since": leader.since,
    }


def _point(point: GeoPoint) -> Json:
    return {"lat": point.lat_deg, "lon": point.lon_deg}


def _alert(code: str, severity: str, summary: str, since: float, subject: str) -> Json:
    return {"code": code, "severity": severity, "summary": summary, "since": since, "subject": subject}
