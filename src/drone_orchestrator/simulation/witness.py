"""The witness: knows of a run what its history does not tell, such as who could hear a drone, for the judges."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping

from ..core.leader.wall_clock import TOLERANCE_S
from ..core.reasons import RefusalCause
from ..core.types import Order, Phase, Saga
from ..planning.planner import AssignmentPlanner
from .drone import SimulatedDrone
from .environment import Environment
from .idle import IdleDrones
from .leadership import Leadership
from .profile import Conditions, Profile
from .recorder import Recorder
from .replica import SimulatedReplica
from .scheduler import WALL_START_S

#: Stands for the drone of an order that has none.
NO_DRONE = ""
#: Time (s) that leader and drone need to act on a request if no message is lost or slow: until a new leader has heard
#: the drone, and until a recall that crossed a restart is repeated.
AT_BEST_S = 5.0
#: The same, for each chance of a message to be lost: several recalls in a row may be.
REPEATING_S = {0.0: 0.0, 0.02: 4.0, 0.2: 15.0}
#: Interval (s) between samples, and precision with which leases expire.
SAMPLING_PERIOD_S = 0.5
#: Longest time (s) for which a fault can trouble an attempt after it struck.
TROUBLES_FOR_S = 60.0

#: If no clock is wrong, every leader knows of a deadline that passed this long (s) ago: it may count from when a leader
#: began the order.
SURELY_LATE_S = 60.0
#: If more messages than this share are lost, a drone may seem to be at fault by that alone.
MILD_LOSS = 0.02

#: Stretches of time in which a drone was within reach: the leader's epoch, the first and the last sample (s).
Stretches = list[tuple[int, float, float]]


def within_s(conditions: Conditions, profile: Profile) -> float:
    """Return how long (s) leader and drone may take to act on a request under these conditions."""
    slow_s = 2.0 * conditions.message_delay_s + 2.0 * conditions.store_delay_s + conditions.watch_delay_s
    return AT_BEST_S + 2.0 * profile.state_period_s + slow_s + REPEATING_S[conditions.message_loss]


class Witness:
    """Implements :class:`~drone_orchestrator.verification.cancel_honoured.ServiceWitness`,
    :class:`~drone_orchestrator.verification.justified_end.EndWitness`,
    :class:`~drone_orchestrator.verification.fair_breaker.FaultWitness` and
    :class:`~drone_orchestrator.verification.park_with_cause.ParkWitness`.

    Call ``sample`` at a regular interval.
    """

    def __init__(
        self,
        environment: Environment,
        recorder: Recorder,
        replicas: Mapping[str, SimulatedReplica],
        drones: Mapping[str, SimulatedDrone],
    ) -> None:
        self.within_s = within_s(environment.conditions, environment.profile)
        self._environment = environment
        self._recorder = recorder
        self._leadership = Leadership(environment, recorder, replicas)
        self._idle = IdleDrones(environment, recorder, drones)
        self._drones = drones
        policy = environment.dispatch_policy()
        self.lost_grace_s, self.max_attempts = policy.lost_grace_s, policy.max_attempts
        self._rough = environment.conditions.message_loss > 0.0  # an attempt may fail by lost messages alone
        self._clocks_are_right = "clock_jump" not in environment.conditions.periods_s
        self._planner = AssignmentPlanner()
        self._served: dict[str, Stretches] = {id_: [] for id_ in (NO_DRONE, *drones)}
        self._heard: dict[str, Stretches] = {id_: [] for id_ in drones}
        self._grounded_s: dict[str, list[float]] = {id_: [] for id_ in drones}  # samples
        self._at_fault_s: dict[str, list[float]] = {id_: [] for id_ in drones}  # samples
        self._very_rough = environment.conditions.message_loss > MILD_LOSS
        self._parkings: dict[tuple[str, int], tuple[str, bool]] = {}  # newest journal; is the package on board?
        recorder.on_parked = self._note_parking
        self._sampled_s = 0.0

    def sample(self) -> None:
        """Note which drones the leader can hear and serve now."""
        now_s, leader = self._environment.scheduler.now_s, self._leadership.acting()
        obeying: dict[str, int] = {}  # drones that the leader hears and commands, with its epoch
        for drone in self._drones.values():
            if drone.phase is Phase.GROUNDED:
                self._grounded_s[drone.id].append(now_s)
        for drone_id in self._at_fault():
            self._at_fault_s[drone_id].append(now_s)
        if leader is not None:
            self._note(self._served[NO_DRONE], leader.epoch, now_s)
            for drone in self._drones.values():
                if drone.process.runs and not self._environment.network.is_cut(drone.id, leader.name):
                    self._note(self._heard[drone.id], leader.epoch, now_s)
                    if self._obeys(leader, drone):
                        self._note(self._served[drone.id], leader.epoch, now_s)
                        obeying[drone.id] = leader.epoch
            if self._environment.backend.is_blind(leader.name):
                obeying.clear()  # it may not know that the order, or the drone, is there to be given
        self._idle.sample(obeying, now_s)
        self._sampled_s = now_s

    def _note(self, stretches: Stretches, epoch: int, now_s: float) -> None:
        if stretches and stretches[-1][0] == epoch and stretches[-1][2] == self._sampled_s:
            stretches[-1] = (epoch, stretches[-1][1], now_s)
        else:
            stretches.append((epoch, now_s, now_s))

    def _note_parking(self, saga: Saga, revision: int) -> None:
        drone = self._drones[saga.drone_id or ""]
        on_board = self._environment.packages.of(saga.message_id).carrier == drone.id
        self._parkings[saga.message_id, revision] = (next(reversed(drone.disk.written)), on_board)

    def _at_fault(self) -> list[str]:
        """Return the drones with which something is wrong now. A link is the drone's own if most others are whole."""
        network, leader = self._environment.network, self._leadership.holder
        unheard = {id_ for id_ in self._drones if network.is_cut(id_, leader)}
        unreached = {id_ for id_ in self._drones if network.is_cut(leader, id_)}
        own = [cut for cut in (unheard, unheard | unreached) if 2 * len(cut) <= len(self._drones)]
        links: set[str] = set().union(*own)
        return [id_ for id_, drone in self._drones.items() if id_ in links or _is_at_fault(drone)]

    def _obeys(self, leader: SimulatedReplica, drone: SimulatedDrone) -> bool:
        is_well = drone.phase not in (Phase.UNSPECIFIED, Phase.GROUNDED)
        return is_well and not self._environment.network.is_cut(leader.name, drone.id)

    # --- ServiceWitness -----------------------------------------------------------------------------------------------

    def committed_s(self, revision: int) -> float:
        return self._recorder.committed_s(revision)

    def drop_began_s(self, message_id: str) -> float | None:
        return self._environment.packages.of(message_id).drop_began_s

    def served_s(self, drone_id: str | None, from_s: float, until_s: float) -> float:
        return _longest_s(self._served[drone_id or NO_DRONE], from_s, until_s)

    def idle_s(self, order: Order, from_s: float, until_s: float, least_s: float) -> tuple[float, str]:
        return self._idle.longest(order, from_s, until_s, least_s)

    # --- EndWitness ---------------------------------------------------------------------------------------------------

    def may_be_late(self, saga: Saga, revision: int) -> bool:
        order = saga.order
        if self._late_s(order, revision) >= -TOLERANCE_S:
            return True
        stamped_s = max(order.submitted_at, saga.created_at) - WALL_START_S
        by_stamps_s = self.committed_s(revision) - stamped_s - (order.deadline_s or math.inf)
        return by_stamps_s >= -TOLERANCE_S

    def must_be_late(self, order: Order, revision: int) -> bool:
        return self._clocks_are_right and self._late_s(order, revision) > SURELY_LATE_S + self.within_s

    def _late_s(self, order: Order, revision: int) -> float:
        """Return for how long the deadline has passed, by the true time."""
        if order.deadline_s is None:
            return -math.inf
        return self.committed_s(revision) - self._environment.packages.of(order.message_id).placed_s - order.deadline_s

    def can_be_flown(self, order: Order) -> bool:
        return bool(self._planner.capable(self._environment.fleet, order))

    def was_heard(self, drone_id: str, revision: int) -> bool:
        until_s = self.committed_s(revision)
        return _longest_s(self._heard[drone_id], until_s - self.lost_grace_s, until_s) >= self.within_s

    def was_troubled(self, first: int, last: int) -> bool:
        if self._rough:
            return True
        struck_s, from_s = self._environment.struck_s, self.committed_s(first) - TROUBLES_FOR_S
        at = bisect_left(struck_s, from_s)
        return at < len(struck_s) and struck_s[at] <= self.committed_s(last)

    # --- FaultWitness -------------------------------------------------------------------------------------------------

    def was_at_fault(self, drone_id: str, first: int, last: int) -> bool:
        if self._very_rough:
            return True
        samples_s, from_s = self._at_fault_s[drone_id], self.committed_s(first) - SAMPLING_PERIOD_S
        at = bisect_left(samples_s, from_s)
        return at < len(samples_s) and samples_s[at] <= self.committed_s(last) + SAMPLING_PERIOD_S

    # --- ParkWitness --------------------------------------------------------------------------------------------------

    def was_grounded(self, drone_id: str, revision: int) -> bool:
        """Half of the grace is enough: reports may be lost, and its program may have restarted meanwhile."""
        until_s = self.committed_s(revision)
        from_s = until_s - self.lost_grace_s - self.within_s
        samples = sum(from_s <= at_s <= until_s for at_s in self._grounded_s[drone_id])
        return samples * SAMPLING_PERIOD_S >= self.lost_grace_s / 2.0

    def newest_journal(self, message_id: str, revision: int) -> str:
        return self._parkings[message_id, revision][0]

    def was_on_board(self, message_id: str, revision: int) -> bool:
        return self._parkings[message_id, revision][1]


def _is_at_fault(drone: SimulatedDrone) -> bool:
    refuses = drone.refuses is not None and drone.refuses.cause is RefusalCause.DRONE
    is_stuck = drone.flight.jammed
    return not drone.process.runs or drone.phase in (Phase.UNSPECIFIED, Phase.GROUNDED) or refuses or is_stuck


def _longest_s(stretches: Stretches, from_s: float, until_s: float) -> float:
    """Return the longest time without interruption, between the two times, that is in one of the stretches."""
    return max((min(until_s, last_s) - max(from_s, first_s) for _, first_s, last_s in stretches), default=0.0)
