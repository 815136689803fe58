"""Record of the times in which a drone was free, and a leader could have given it an order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.lanes import lane_of
from ..core.leader.roster import is_free
from ..core.types import BreakerState, DroneReport, Order
from ..planning.planner import AssignmentPlanner
from ..planning.single import soonest
from .drone import SimulatedDrone
from .environment import Environment
from .recorder import Recorder


@dataclass(slots=True)
class _Stretch:
    """Time in which a drone was free under one leader. ``reports``: what it said, each with the time of the sample."""

    epoch: int
    until_s: float
    reports: list[tuple[float, DroneReport]] = field(default_factory=list)


class IdleDrones:
    """Knows how long each order could have had a free drone of its lane. Call ``sample`` at a regular interval."""

    def __init__(self, environment: Environment, recorder: Recorder, drones: Mapping[str, SimulatedDrone]) -> None:
        self._fleet = environment.fleet
        self._recorder = recorder
        self._drones = drones
        self._planner = AssignmentPlanner()
        self._now: dict[str, _Stretch] = {}
        self._stretches: dict[str, list[_Stretch]] = {drone_id: [] for drone_id in drones}

    def sample(self, within_reach: Mapping[str, int], now_s: float) -> None:
        """Note which drones are free. ``within_reach``: those that a leader hears and commands, with its epoch."""
        for drone_id, drone in self._drones.items():
            epoch, report = within_reach.get(drone_id), drone.said
            if epoch is None or report is None or not self._is_free(drone, report):
                self._now.pop(drone_id, None)
                continue
            stretch = self._now.get(drone_id)
            if stretch is None or stretch.epoch != epoch:
                stretch = self._now[drone_id] = _Stretch(epoch, now_s)
                self._stretches[drone_id].append(stretch)
            stretch.until_s = now_s
            if not stretch.reports or stretch.reports[-1][1] is not report:
                stretch.reports.append((now_s, report))

    def longest(self, order: Order, from_s: float, until_s: float, least_s: float) -> tuple[float, str]:
        """Return the longest time (s) without interruption for which a free drone could fly the order, and that drone.

        Only times of more than ``least_s`` are looked for.
        """
        lane = lane_of(self._fleet, order, self._planner.capable)
        found = (0.0, "")
        for drone_id, stretches in self._stretches.items():
            if self._drones[drone_id].drone_class.name != lane:
                continue
            for stretch in stretches:
                if min(until_s, stretch.until_s) - max(from_s, stretch.reports[0][0]) > least_s:
                    found = max(found, (self._able_s(stretch, order, from_s, until_s), drone_id))
        return found

    def _is_free(self, drone: SimulatedDrone, report: DroneReport) -> bool:
        view, breaker = self._recorder.view, self._recorder.view.breakers.get(drone.id)
        is_barred = breaker is not None and breaker.value.state is BreakerState.OPEN
        is_known = report.phase is drone.phase and drone.is_without_goal
        return is_free(report) and is_known and not is_barred and drone.id not in view.reservations

    def _able_s(self, stretch: _Stretch, order: Order, from_s: float, until_s: float) -> float:
        """Return the longest part of a stretch in which the drone had the energy to fly the order."""
        longest_s, since_s = 0.0, None
        ends = [at_s for at_s, _ in stretch.reports[1:]] + [stretch.until_s]
        for (at_s, report), end_s in zip(stretch.reports, ends, strict=True):
            if soonest(self._fleet, (report,), order) is None:
                since_s = None
                continue
            since_s = max(at_s, from_s) if since_s is None else since_s
            longest_s = max(longest_s, min(end_s, until_s) - since_s)
        return longest_s
