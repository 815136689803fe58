"""The witness: knows of a run what its history does not tell, such as who could hear a drone, for the judges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from ..core.types import Order, Phase
from ..planning.planner import AssignmentPlanner
from .drone import SimulatedDrone
from .environment import Environment
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
#: Longest time (s) for which a fault can trouble an attempt after it struck.
TROUBLES_FOR_S = 60.0

#: Stretches of time in which a drone was within reach: the leader's epoch, the first and the last sample (s).
Stretches = list[tuple[int, float, float]]


def within_s(conditions: Conditions, profile: Profile) -> float:
    """Return how long (s) leader and drone may take to act on a request under these conditions."""
    slow_s = 2.0 * conditions.message_delay_s + 2.0 * conditions.store_delay_s + conditions.watch_delay_s
    return AT_BEST_S + 2.0 * profile.state_period_s + slow_s + REPEATING_S[conditions.message_loss]


class Witness:
    """Implements :class:`~drone_orchestrator.verification.cancel_honoured.ServiceWitness` and
    :class:`~drone_orchestrator.verification.justified_end.EndWitness`.

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
        self._replicas = replicas
        self._drones = drones
        policy = environment.dispatch_policy()
        self.lost_grace_s, self.max_attempts = policy.lost_grace_s, policy.max_attempts
        self._rough = environment.conditions.message_loss > 0.0  # an attempt may fail by lost messages alone
        self._planner = AssignmentPlanner()
        self._served: dict[str, Stretches] = {id_: [] for id_ in (NO_DRONE, *drones)}
        self._heard: dict[str, Stretches] = {id_: [] for id_ in drones}
        self._sampled_s = 0.0
        self._ahead_s = 0.0  # the most by which the clock of a replica has been fast

    def sample(self) -> None:
        """Note which drones the leader can hear and serve now."""
        now_s, leader = self._environment.scheduler.now_s, self._leader()
        self._ahead_s = max(self._ahead_s, *(replica.clock.wall_error_s for replica in self._replicas.values()))
        if leader is not None:
            self._note(self._served[NO_DRONE], leader.epoch, now_s)
            for drone in self._drones.values():
                if drone.process.runs and not self._environment.network.is_cut(drone.id, leader.name):
                    self._note(self._heard[drone.id], leader.epoch, now_s)
                    if self._obeys(leader, drone):
                        self._note(self._served[drone.id], leader.epoch, now_s)
        self._sampled_s = now_s

    def _note(self, stretches: Stretches, epoch: int, now_s: float) -> None:
        if stretches and stretches[-1][0] == epoch and stretches[-1][2] == self._sampled_s:
            stretches[-1] = (epoch, stretches[-1][1], now_s)
        else:
            stretches.append((epoch, now_s, now_s))

    def _leader(self) -> SimulatedReplica | None:
        """Return the leader if it runs and reaches the store."""
        held, backend = self._recorder.view.leadership, self._environment.backend
        replica = self._replicas.get(held.holder) if held is not None else None
        if replica is None or held is None or not replica.process.runs or replica.epoch != held.epoch:
            return None
        # A transaction in flight may hold up what comes after it.
        return replica if backend.reachable(replica.name) and not backend.has_late() else None

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

    # --- EndWitness ---------------------------------------------------------------------------------------------------

    def is_past_deadline(self, order: Order, revision: int) -> bool:
        deadline_at = order.deadline_at
        return deadline_at is not None and WALL_START_S + self.committed_s(revision) + self._ahead_s >= deadline_at

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


def _longest_s(stretches: Stretches, from_s: float, until_s: float) -> float:
    """Return the longest time without interruption, between the two times, that is in one of the stretches."""
    return max((min(until_s, last_s) - max(from_s, first_s) for _, first_s, last_s in stretches), default=0.0)
