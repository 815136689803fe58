"""Collects the input of a planning round: free drones and waiting orders per lane, within all bounds."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator

from ..lanes import Ledger
from ..planner import drop_dominated, energy_rank
from ..reasons import OUT_OF_SERVICE
from ..saga import Contradiction, contradiction
from ..types import Breaker, BreakerState, DroneReport, FleetSpec, GeoPoint, Instant, Kind, Phase, Reservation
from ..view import FleetView, Stored
from . import breakers
from .lane_sharing import LaneRound
from .memory import Bench, Drone, LeaderState, Term
from .set_aside import Aside

NOT_BENCHED = Bench(0, -math.inf)
#: Interval (s) between counts of live drones; not every planning round.
CENSUS_PERIOD_S = 0.25

_Place = tuple[str, GeoPoint]  # class of drones, position
_Rank = tuple[float, str]  # energy, negative; drone id


class Roster:
    """Lists free drones by place, and drones that serve another lane.

    It reads the view and the drones' reports, and changes only its notes on the pauses of breakers. It updates only
    drones that were touched, so the cost of a planning round depends on the changes, not on the size of the fleet.
    """

    def __init__(self, view: FleetView, state: LeaderState, fleet: FleetSpec, ledger: Ledger, aside: Aside) -> None:
        self._view = view
        self._state = state
        self._fleet = fleet
        self._ledger = ledger
        self._aside = aside
        self._touched: dict[str, None] = {}
        self._free: dict[str, tuple[_Place, _Rank]] = {}
        self._places: dict[_Place, list[_Rank]] = {}  # free drones at each place, the most energy first
        self._lent: dict[str, str] = {}  # drone that serves another lane -> its class
        self._living: dict[str, int] = {}
        self._manned: frozenset[str] = frozenset()
        self._counted_at_s = -math.inf
        self._counted = 0

    def touch(self, drone_id: str) -> None:
        """Mark the drone for an update: it, its reservation or its breaker may have changed."""
        self._touched[drone_id] = None

    def touch_all(self) -> None:
        """Mark all drones for an update."""
        known = (*self._state.drones, *self._view.reservations, *self._free, *self._lent)
        self._touched.update(dict.fromkeys(known))

    def lanes(self, term: Term, now: Instant) -> list[LaneRound]:
        """Return the supply and demand of each lane, including commits in flight."""
        for drone_id in self._touched:
            try:
                self._update(drone_id, term)
                if drone_id in self._free:
                    # The pause of its breaker starts when the breaker is first seen, not when the drone is needed.
                    self._is_barred(self._state.drones[drone_id], now)
            except Exception as error:
                self._aside.put_drone(drone_id, error)
        self._touched.clear()
        self._count(now)
        free = self._able(len(term.waiting), now)
        lent = Counter(self._lent.values())
        reserving = Counter(term.reserving.values())
        settled = term.began_at_s <= now.mono_s - self._state.policy.desertion_s
        lanes: list[LaneRound] = []
        for drone_class in self._fleet.classes:
            name = drone_class.name
            allowed = math.floor(drone_class.lend_fraction * self._living.get(name, 0))
            # Skip lanes without a candidate drone: they may be the flooded ones.
            wanted = name in free or (bool(free) and term.waiting.any_open(name))
            orders = term.waiting.most_urgent(name, self._state.policy.plan_orders, now.wall_s) if wanted else []
            lanes.append(
                LaneRound(
                    drone_class,
                    self._fittest(free.get(name, [])),
                    orders,
                    room=drone_class.max_in_flight - self._ledger.in_flight(name) - reserving[name],
                    lendable=max(0, allowed - lent[name]),
                    deserted=settled and name not in self._manned,
                )
            )
        return lanes

    def _able(self, orders: int, now: Instant) -> dict[str, list[DroneReport]]:
        """Return the drones that could take one of ``orders`` orders, by class, without dominated ones."""
        able: dict[str, list[DroneReport]] = {}
        for (drone_class, _), row in self._places.items():
            here = list(drop_dominated(self._ready(row, now), orders))
            if here:
                able.setdefault(drone_class, []).extend(here)
        return able

    def _ready(self, row: list[_Rank], now: Instant) -> Iterator[DroneReport]:
        state = self._state
        for _, drone_id in row:
            drone = state.drones[drone_id]
            if self._aside.is_drone_aside(drone_id) or state.is_silent(drone, now):
                continue
            if not self._is_barred(drone, now) and not drone.is_doubtful(now):
                yield drone.report

    def _fittest(self, free: list[DroneReport]) -> list[DroneReport]:
        """Return the free drones with the most energy, as many as one planning round considers."""
        most = self._state.policy.plan_drones
        if len(free) <= most:
            return free
        return heapq.nsmallest(most, free, key=energy_rank)

    def _update(self, drone_id: str, term: Term) -> None:
        """Update whether the drone is free (ignoring conditions that depend on time), and whose order it serves."""
        self._lent.pop(drone_id, None)
        drone, served = self._state.drones.get(drone_id), term.reserving.get(drone_id)
        if drone is None:
            self._keep(drone_id, None)
            return
        held = self._view.reservations.get(drone_id)
        if held is not None:
            served = self._ledger.lane(held.value.message_id) or ""
        report = drone.report
        breaker = self._view.breakers.get(drone_id)
        if held is not None or breaker is not None:
            wrong = self._contradiction(held, breaker)
            if wrong:
                self._keep(drone_id, None)
                raise Contradiction(wrong)
        if served is not None and served != report.drone_class:
            self._lent[drone_id] = report.drone_class
        taken = served is not None or self._view.is_corrupt(drone_id, (Kind.ASSIGNMENT, Kind.BREAKER))
        # A sum is finite only if all are.
        known = math.isfinite(report.energy_wh + report.position.lat_deg + report.position.lon_deg)
        free = not taken and known and is_free(report)
        self._keep(drone_id, ((report.drone_class, report.position), energy_rank(report)) if free else None)

    def _contradiction(self, held: Stored[Reservation] | None, breaker: Stored[Breaker] | None) -> str:
        """Return what is wrong with a drone's reservation or breaker; empty if nothing is."""
        wrong = contradiction(breaker.value) if breaker is not None else ""
        if held is None or wrong:
            return wrong
        if not self._view.has_order(held.value.message_id):
            return f"it is reserved for {held.value.message_id}, which the store does not have"
        return contradiction(held.value)

    def _keep(self, drone_id: str, free: tuple[_Place, _Rank] | None) -> None:
        """Store the drone's place and rank while it is free; ``None``: it is not free."""
        known = self._free.get(drone_id)
        if known == free:
            return
        if known is not None:
            place, rank = known
            row = self._places[place]
            del row[bisect_left(row, rank)]
            if not row:
                del self._places[place]
            del self._free[drone_id]
        if free is not None:
            place, rank = free
            insort(self._places.setdefault(place, []), rank)
            self._free[drone_id] = free

    def _count(self, now: Instant) -> None:
        """Count live drones, and the lanes that have any, at most once per period unless a drone is new."""
        drones, is_silent = self._state.drones, self._state.is_silent
        if now.mono_s < self._counted_at_s + CENSUS_PERIOD_S and len(drones) == self._counted:
            return
        self._counted_at_s, self._counted = now.mono_s, len(drones)
        heard_since_s = now.mono_s - self._state.policy.desertion_s
        serving = [d for d in drones.values() if d.report.grounded_reason != OUT_OF_SERVICE]
        self._manned = frozenset(d.report.drone_class for d in serving if d.heard_at_s > heard_since_s)
        self._living = Counter(d.report.drone_class for d in serving if not is_silent(d, now))

    def _is_barred(self, drone: Drone, now: Instant) -> bool:
        """Return whether the drone is benched, or its breaker open and the pause not over, by the monotonic clock."""
        benched = self._state.current_term.benched
        if benched and now.mono_s < benched.get(drone.report.drone_id, NOT_BENCHED).until_s:
            return True
        stored = self._view.breakers.get(drone.report.drone_id)
        if stored is None or stored.value.state is not BreakerState.OPEN:
            return False
        breaker = stored.value
        if drone.breaker_pause is None or drone.breaker_pause[0] != stored.mod_revision:
            # Cap the pause by this policy: the leader that opened the breaker may have had a wrong clock.
            longest_s = breakers.pause_s(breaker.trips, breaker.drone_id, self._state.policy.breaker)
            pause_s = min(max(breaker.open_until - now.wall_s, 0.0), longest_s)
            drone.breaker_pause = (stored.mod_revision, now.mono_s + pause_s)
        return now.mono_s < drone.breaker_pause[1]


def is_free(report: DroneReport) -> bool:
    return report.phase in (Phase.IDLE, Phase.RETURNING) and not report.message_id and not report.package_on_board
