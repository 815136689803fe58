"""Bounds of the waits in an order's life, beside the transition table of :mod:`..saga`.

An order waits in a state for something: a drone, an answer, a flight. While what it waits for is not there, nothing
here applies: a silent drone, an absent store and a grounded drone have rules of their own. A bound limits the wait
*beside* it: the drone is heard and has the goal, the store takes commits, and still nothing happens. At the bound the
leader does what the state allows (:data:`WAITS`). If the package is still in the depot, the drone gets no order for a
while, so that another one delivers (:meth:`.blame.Blame.stalled`).

All times are the leader's, by its monotonic clock. A new leader counts from zero: a wait may take longer when leaders
change, but no clock of another machine can end it early.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..policies import DispatchPolicy
from ..types import DroneClass, DroneReport, FleetSpec, Instant, Phase, Saga, SagaStatus
from .blame import ASK_AGAIN_S, BENCH_CAP_S
from .memory import LeaderState, OrderMemory, Stay


class AtBound(str, Enum):
    """Consequence for an order whose wait has reached its bound."""

    EXPLAINED = "explained"  # it waits on, and its document says why
    RETRIED = "retried"  # its drone is recalled; the order waits for another one
    RECALLED = "recalled"  # its drone is recalled; the order is parked if the drone does not obey
    PARKED = "parked"  # a person decides


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait of an order in one status: for ``what``, and the consequence if it takes too long."""

    what: str
    at_bound: AtBound


#: One entry for each status that an order can stay in.
WAITS: dict[SagaStatus, Wait] = {
    SagaStatus.PENDING: Wait("a free drone that can fly it", AtBound.EXPLAINED),
    SagaStatus.ASSIGNED: Wait("its drone accepts the goal", AtBound.RETRIED),
    SagaStatus.DISPATCHED: Wait("its drone reaches the pickup and asks to load", AtBound.RETRIED),
    SagaStatus.LOADING: Wait("its drone has the package on board", AtBound.RECALLED),
    SagaStatus.IN_TRANSIT: Wait("its drone delivers", AtBound.PARKED),
    SagaStatus.COMPENSATING: Wait("its drone brings the package back", AtBound.PARKED),
}


@dataclass(frozen=True, slots=True)
class Bound:
    """Longest stay of a drone in one phase of its goal: ``fixed_s``, plus the longest flight of its class across the
    region ``flights`` times, plus its time to load or drop ``acts`` times."""

    fixed_s: float
    flights: float = 0.0
    acts: float = 0.0


#: The bounds are generous, since wind and detours around zones cost time. A drone that restarts flies to its place
#: again. Only a drone that asks to load needs nothing but an answer.
BOUNDS: dict[Phase, Bound] = {
    Phase.TO_PICKUP: Bound(120.0, flights=3.0),
    Phase.AWAITING_CLEARANCE: Bound(60.0),
    Phase.LOADING: Bound(240.0, acts=3.0),
    Phase.TO_DESTINATION: Bound(120.0, flights=3.0),
    Phase.DROPPING: Bound(240.0, flights=3.0, acts=3.0),
    Phase.BRINGING_BACK: Bound(240.0, flights=3.0, acts=3.0),
}
#: Bound of any other phase that a drone may report together with a goal.
OTHER_BOUND = Bound(240.0)
#: Longest stay (s) in any phase of a drone whose class the fleet does not have.
UNKNOWN_CLASS_S = 3600.0


def longest_wait_s(policy: DispatchPolicy) -> float:
    """Return how long (s) an order may wait while a drone of its lane, whose breaker is closed, could fly it.

    Until then the drone may be benched, its class may have refused the order, and the order may pause after an attempt.
    """
    return max(BENCH_CAP_S, ASK_AGAIN_S, policy.retry_cap_s) + policy.replan_period_s


def longest_stay_s(fleet: FleetSpec, drone_class: DroneClass, phase: Phase) -> float:
    """Return how long (s) a drone of this class may stay in ``phase`` with one goal."""
    bound = BOUNDS.get(phase, OTHER_BOUND)
    climb_s = 2.0 * drone_class.cruise_altitude_m / drone_class.climb_speed_mps
    flight_s = 2.0 * fleet.service_radius_m / drone_class.cruise_speed_mps + climb_s
    act_s = max(drone_class.load_time_s, drone_class.drop_time_s)
    return bound.fixed_s + bound.flights * flight_s + bound.acts * act_s


class Stays:
    """Measures how long drones stay in one phase of their goals."""

    def __init__(self, state: LeaderState, fleet: FleetSpec) -> None:
        self._state = state
        self._longest_s = {
            (each.name, phase): longest_stay_s(fleet, each, phase) for each in fleet.classes for phase in Phase
        }

    def is_over(self, saga: Saga, memory: OrderMemory, report: DroneReport, now: Instant) -> bool:
        """Return whether the drone, which is heard and carries the order, has stayed in its phase for too long.

        Call it at each report. A gap between two calls counts as one missing message at most: the drone was silent, the
        store was away, or this process did not run.
        """
        stay = memory.stay
        if stay is None or stay.phase is not report.phase or stay.event_count != saga.event_count:
            memory.stay = Stay(saga.event_count, report.phase, now.mono_s)
            return False
        stay.lasted_s += min(now.mono_s - stay.counted_at_s, self._state.policy.drone_silent_s)
        stay.counted_at_s = now.mono_s
        longest_s = self._longest_s.get((report.drone_class, report.phase), UNKNOWN_CLASS_S)
        return stay.lasted_s > longest_s
