"""The witness: knows when each drone was within the reach of a working leader, for the judges of a run."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.types import Phase
from .drone import SimulatedDrone
from .environment import Environment
from .profile import Conditions, Profile
from .recorder import Recorder
from .replica import SimulatedReplica

#: Stands for the drone of an order that has none.
NO_DRONE = ""
#: Time (s) that leader and drone need to act on a request if no message is lost or slow: until a new leader has heard
#: the drone, and until a recall that crossed a restart is repeated.
AT_BEST_S = 5.0
#: The same, for each chance of a message to be lost: several recalls in a row may be.
REPEATING_S = {0.0: 0.0, 0.02: 4.0, 0.2: 15.0}


def within_s(conditions: Conditions, profile: Profile) -> float:
    """Return how long (s) leader and drone may take to act on a request under these conditions."""
    slow_s = 2.0 * conditions.message_delay_s + 2.0 * conditions.store_delay_s + conditions.watch_delay_s
    return AT_BEST_S + 2.0 * profile.state_period_s + slow_s + REPEATING_S[conditions.message_loss]


class Witness:
    """Implements :class:`~drone_orchestrator.verification.cancel_honoured.ServiceWitness`.

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
        #: Drone -> stretches of (epoch, first sample, last sample) in which the leader of the epoch could serve it.
        self._served: dict[str, list[tuple[int, float, float]]] = {id_: [] for id_ in (NO_DRONE, *drones)}
        self._sampled_s = 0.0

    def sample(self) -> None:
        """Note which drones the leader can serve now."""
        now_s, leader = self._environment.scheduler.now_s, self._leader()
        for drone_id, stretches in self._served.items():
            if leader is None or (drone_id != NO_DRONE and not self._reaches(leader, self._drones[drone_id])):
                continue
            if stretches and stretches[-1][0] == leader.epoch and stretches[-1][2] == self._sampled_s:
                stretches[-1] = (leader.epoch, stretches[-1][1], now_s)
            else:
                stretches.append((leader.epoch, now_s, now_s))
        self._sampled_s = now_s

    def _leader(self) -> SimulatedReplica | None:
        """Return the leader if it runs and reaches the store."""
        held, backend = self._recorder.view.leadership, self._environment.backend
        replica = self._replicas.get(held.holder) if held is not None else None
        if replica is None or held is None or not replica.process.runs or replica.epoch != held.epoch:
            return None
        # A transaction in flight may hold up what comes after it.
        return replica if backend.reachable(replica.name) and not backend.has_late() else None

    def _reaches(self, leader: SimulatedReplica, drone: SimulatedDrone) -> bool:
        network = self._environment.network
        if not drone.process.runs or drone.phase in (Phase.UNSPECIFIED, Phase.GROUNDED):
            return False
        return not network.is_cut(leader.name, drone.id) and not network.is_cut(drone.id, leader.name)

    # --- ServiceWitness -----------------------------------------------------------------------------------------------

    def committed_s(self, revision: int) -> float:
        return self._recorder.committed_s(revision)

    def drop_began_s(self, message_id: str) -> float | None:
        return self._environment.packages.of(message_id).drop_began_s

    def served_s(self, drone_id: str | None, from_s: float, until_s: float) -> float:
        stretches = self._served[drone_id or NO_DRONE]
        return max((min(until_s, last_s) - max(from_s, first_s) for _, first_s, last_s in stretches), default=0.0)
