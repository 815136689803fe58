"""Reasons why an order waits without a drone, in a form that programs and people can read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from ..core.lanes import why_waiting
from ..core.planner import PlannedOrder, Planner
from ..core.policies import DRONE_SILENT_S
from ..core.types import BreakerState, DroneReport, FleetSpec, Order, Phase
from ..core.view import FleetView, OrderView
from ..core.zones import blocked_way
from .feasibility import is_available

#: The most drones that an explanation names.
MAX_DRONES = 20
#: An order that has waited for this long (s) for a reason that does not pass by itself is a finding.
TOLD_AFTER_S = 120.0


class WaitingCode(str, Enum):
    """Kind of reason. The values are part of ``GET /orders/{id}``."""

    NO_LEADER = "no_leader"
    BACKING_OFF = "backing_off"
    TOO_HEAVY = "too_heavy"
    NO_FLY_ZONE = "no_fly_zone"
    OUT_OF_RANGE = "out_of_range"
    NO_DRONE_OF_CLASS = "no_drone_of_class"
    ALL_BREAKERS_OPEN = "all_breakers_open"
    # about one drone
    DRONE_SILENT = "drone_silent"
    DRONE_GROUNDED = "drone_grounded"
    DRONE_BUSY = "drone_busy"
    BREAKER_OPEN = "breaker_open"
    LOW_ENERGY = "low_energy"
    IN_LINE = "in_line"

    @property
    def passes(self) -> bool:
        """True if the order goes on by itself when others have been served."""
        return self in (WaitingCode.BACKING_OFF, WaitingCode.DRONE_BUSY, WaitingCode.LOW_ENERGY, WaitingCode.IN_LINE)


@dataclass(frozen=True, slots=True)
class WaitingReason:
    """One reason. ``drone_id`` is ``None`` if it is not about a single drone."""

    code: WaitingCode
    detail: str
    drone_id: str | None = None


@dataclass(frozen=True, slots=True)
class KnownDrone:
    """A drone's last report, and its age (s)."""

    report: DroneReport
    age_s: float

    @property
    def is_silent(self) -> bool:
        return self.age_s > DRONE_SILENT_S


def reasons_for_waiting(
    fleet: FleetSpec, planner: Planner, order: OrderView, drones: Iterable[KnownDrone], view: FleetView, wall_s: float
) -> list[WaitingReason]:
    """Return why the ``PENDING`` order has no drone, the reasons of the whole fleet first. Never empty.

    Only drones of classes that could fly it are named, at most :data:`MAX_DRONES`.
    """
    found: list[WaitingReason] = []
    if view.leadership is None:
        found.append(WaitingReason(WaitingCode.NO_LEADER, "no replica leads: nothing is decided"))
    pause_s = order.saga.not_before - wall_s if order.saga is not None else 0.0
    if pause_s > 0.0:
        detail = f"attempt {order.saga.attempt if order.saga else 0} was undone; the next follows in {pause_s:.0f} s"
        found.append(WaitingReason(WaitingCode.BACKING_OFF, detail))
    able = [c.name for c in fleet.classes if planner.capable(replace(fleet, classes=(c,)), order.order)]
    if not able:
        return [*found, _beyond_every_class(fleet, order.order)]
    fit = sorted((d for d in drones if d.report.drone_class in able), key=lambda d: d.report.drone_id)
    absent = why_waiting(fleet, order.order, {d.report.drone_class for d in fit if not d.is_silent}, planner.capable)
    if absent is not None:
        found.append(WaitingReason(WaitingCode.NO_DRONE_OF_CLASS, absent))
    about = [_about(fleet, planner, order.order, drone, view, wall_s) for drone in fit]
    living = [reason for reason, drone in zip(about, fit, strict=True) if not drone.is_silent]
    if living and all(reason.code is WaitingCode.BREAKER_OPEN for reason in living):
        detail = "the breaker of every drone that could fly it is open: each has failed too often"
        found.append(WaitingReason(WaitingCode.ALL_BREAKERS_OPEN, detail))
    return [*found, *about[:MAX_DRONES]]


def as_sentence(reasons: Sequence[WaitingReason]) -> str:
    """Return the most important of the reasons that :func:`reasons_for_waiting` gives, for people."""
    first = reasons[0]
    return first.detail if first.drone_id is None else f"{first.drone_id} {first.detail}"


def _beyond_every_class(fleet: FleetSpec, order: Order) -> WaitingReason:
    wanted = [c for c in fleet.classes if order.drone_class in (None, c.name)]
    if not wanted:
        return WaitingReason(WaitingCode.NO_DRONE_OF_CLASS, f"this fleet has no drone class {order.drone_class}")
    most_kg = max(c.max_payload_kg for c in wanted)
    if order.package_weight_kg > most_kg:
        detail = f"{order.package_weight_kg:g} kg is too heavy for every drone that it may have: {most_kg:g} kg at most"
        return WaitingReason(WaitingCode.TOO_HEAVY, detail)
    if blocked_way(fleet, order):
        return WaitingReason(WaitingCode.NO_FLY_ZONE, "a no-fly zone is in its way")
    return WaitingReason(WaitingCode.OUT_OF_RANGE, "no drone class of this fleet can fly so far, even fully charged")


def _about(
    fleet: FleetSpec, planner: Planner, order: Order, drone: KnownDrone, view: FleetView, wall_s: float
) -> WaitingReason:
    """Return why this drone, of a class that could fly the order, does not have it."""
    code, detail = next(_obstacles(fleet, planner, order, drone, view, wall_s))
    return WaitingReason(code, detail, drone.report.drone_id)


def _obstacles(
    fleet: FleetSpec, planner: Planner, order: Order, drone: KnownDrone, view: FleetView, wall_s: float
) -> Iterator[tuple[WaitingCode, str]]:
    """Yield what keeps the drone from taking the order, the most lasting first."""
    report = drone.report
    if drone.is_silent:
        yield WaitingCode.DRONE_SILENT, f"has not been heard for {drone.age_s:.0f} s"
    if report.phase is Phase.GROUNDED:
        yield WaitingCode.DRONE_GROUNDED, "is grounded until a person has seen to it"
    held = view.reservations.get(report.drone_id)
    serves = held.value.message_id if held is not None else report.message_id
    if serves or not is_available(report):
        yield WaitingCode.DRONE_BUSY, f"has another order: {serves}" if serves else f"is {report.phase.name}"
    breaker = view.breaker_of(report.drone_id)
    open_s = breaker.open_until - wall_s if breaker is not None and breaker.state is BreakerState.OPEN else 0.0
    if open_s > 0.0:
        yield WaitingCode.BREAKER_OPEN, f"has failed too often: its breaker is open for {open_s:.0f} s"
    known = (report.energy_wh, report.position.lat_deg, report.position.lon_deg)
    if not all(map(math.isfinite, known)):
        yield WaitingCode.LOW_ENERGY, "does not report its place or its energy"
    if not planner.plan(fleet, [report], [PlannedOrder(order, 0.0)]):
        yield WaitingCode.LOW_ENERGY, f"has {report.energy_wh:.0f} Wh, which is not enough for it now"
    yield WaitingCode.IN_LINE, "is free: other orders come first, or the next planning round takes it"
