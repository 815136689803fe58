"""Who could fly what now: the drones that are free, the orders that wait, lane by lane, within every bound."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping

from . import breakers
from .agenda import DispatchPolicy, Drone, Office
from .allotment import Lane
from .lanes import Ledger
from .planner import PlannedOrder
from .types import BreakerState, DroneReport, FleetSpec, Instant, Kind, Phase, Reservation
from .view import FleetView

#: An order that waits so long presses as much as a fresh one of twice its priority.
AGEING_S = 300.0


class Roster:
    """Reads the view and what was heard of the drones; changes nothing but what it notes of breakers' pauses."""

    def __init__(
        self, view: FleetView, fleet: FleetSpec, policy: DispatchPolicy, ledger: Ledger, drones: Mapping[str, Drone]
    ) -> None:
        self._view = view
        self._fleet = fleet
        self._policy = policy
        self._ledger = ledger
        self._drones = drones

    def lanes(self, office: Office, now: Instant) -> list[Lane]:
        """What each lane has and wants, counting what is still on its way to the store."""
        living: dict[str, int] = {}
        free: dict[str, list[DroneReport]] = {}
        heard_since_s = now.mono_s - self._policy.desertion_s
        manned = {d.report.drone_class for d in self._drones.values() if d.heard_at_s > heard_since_s}
        for drone in self._drones.values():
            name = drone.report.drone_class
            if not self.is_silent(drone, now):
                living[name] = living.get(name, 0) + 1
                if self._is_available(drone, office, now):
                    free.setdefault(name, []).append(drone.report)
        lent = self._lent(office)
        waiting = self._pressing(office, now) if free else {}
        reserving = list(office.reserving.values())
        lanes: list[Lane] = []
        for drone_class in self._fleet.classes:
            name = drone_class.name
            allowed = math.floor(drone_class.lend_fraction * living.get(name, 0))
            lanes.append(
                Lane(
                    drone_class,
                    free.get(name, []),
                    waiting.get(name, []),
                    room=drone_class.max_in_flight - self._ledger.in_flight(name) - reserving.count(name),
                    lendable=max(0, allowed - lent.get(name, 0)),
                    deserted=name not in manned and office.taken_at_s <= heard_since_s,
                )
            )
        return lanes

    def _lent(self, office: Office) -> dict[str, int]:
        """How many drones of each class serve another lane now."""
        served = dict(office.reserving)
        for drone_id, entry in self._view.reservations.items():
            if isinstance(entry.value, Reservation):
                served[drone_id] = self._ledger.lane(entry.value.message_id) or ""
        lent: dict[str, int] = {}
        for drone_id, lane in served.items():
            drone = self._drones.get(drone_id)
            if drone is not None and drone.report.drone_class != lane:
                lent[drone.report.drone_class] = lent.get(drone.report.drone_class, 0) + 1
        return lent

    def _pressing(self, office: Office, now: Instant) -> dict[str, list[PlannedOrder]]:
        """The most pressing orders of each lane, bounded: what the planner chooses from. Age presses too: nobody
        starves."""
        lanes: dict[str, list[PlannedOrder]] = {}
        for message_id, lane in office.waiting.items():
            order = self._view.order_of(message_id)
            if order is not None:
                lanes.setdefault(lane, []).append(PlannedOrder(order, max(0.0, now.wall_s - order.submitted_at)))
        return {
            name: heapq.nsmallest(self._policy.plan_orders, waiting, key=_pressure) for name, waiting in lanes.items()
        }

    def _is_available(self, drone: Drone, office: Office, now: Instant) -> bool:
        report = drone.report
        unreadable = (f"{kind.value}/{report.drone_id}" for kind in (Kind.ASSIGNMENT, Kind.BREAKER))
        return (
            is_free(report)
            and report.drone_id not in self._view.reservations
            and report.drone_id not in office.reserving
            and not any(name in self._view.corrupt for name in unreadable)
            and not self._is_barred(drone, now)
        )

    def _is_barred(self, drone: Drone, now: Instant) -> bool:
        """Whether the drone's breaker is open, and its pause not over by the monotonic clock."""
        entry = self._view.breakers.get(drone.report.drone_id)
        breaker = self._view.breaker_of(drone.report.drone_id)
        if entry is None or breaker is None or breaker.state is not BreakerState.OPEN:
            return False
        if drone.breaker_pause is None or drone.breaker_pause[0] != entry.mod_revision:
            # Whatever the clock of the leader that opened it said, no pause is longer than the policy's.
            longest_s = breakers.pause_s(breaker.trips, breaker.drone_id, self._policy.breaker)
            pause_s = min(max(breaker.open_until - now.wall_s, 0.0), longest_s)
            drone.breaker_pause = (entry.mod_revision, now.mono_s + pause_s)
        return now.mono_s < drone.breaker_pause[1]

    def is_silent(self, drone: Drone, now: Instant) -> bool:
        return now.mono_s - drone.heard_at_s > self._policy.drone_fresh_s


def is_free(report: DroneReport) -> bool:
    return report.phase in (Phase.IDLE, Phase.RETURNING) and not report.message_id and not report.package_on_board


def _pressure(waiting: PlannedOrder) -> tuple[float, str]:
    """What presses most comes first."""
    return -waiting.order.priority * (1.0 + waiting.age_s / AGEING_S), waiting.order.message_id
