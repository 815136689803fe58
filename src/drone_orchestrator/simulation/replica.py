"""One orchestrator of the simulated region: real core, driver, planner and store client; simulated threads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..core.drone.events import AskClearance, ClearanceAnswered, LeaderHeard
from ..core.leader.effects import AnswerClearance, Heartbeat, RecallGoal, SendGoal
from ..core.leader.events import (
    ClearanceRequested,
    DroneHeard,
    GoalAnswered,
    GoalUnreachable,
    LeaderAlive,
    LeaderSilent,
    OperatorCampaign,
    OperatorResign,
)
from ..core.leader.orchestrator import Orchestrator
from ..core.policies import ElectionPolicy, RetentionPolicy
from ..core.types import AcknowledgeOutcome, DroneReport, LeaderRecord
from ..planning.planner import AssignmentPlanner
from ..runtime.acknowledgements import Acknowledgements
from ..runtime.driver import FULL_GROUP, Driver
from .cached import CachedStore
from .scheduler import Process, SimulatedClock
from .workers import SimulatedWorkers

if TYPE_CHECKING:
    from .world import World

PUBLISH_PERIOD_S = 2.0
HEARTBEAT_PERIOD_S = 1.0
#: A leader that is not heard for so long is suspected.
SILENT_S = 2.5
GOAL_TIMEOUT_S = 3.0
#: From how many steps on they go to the store beside others that are under way: mostly few, for a region is small here.
FULL_GROUPS = (1, 2, FULL_GROUP)


class Replica:
    """What the node around a driver does, as far as others can tell: it opens and closes the office, and passes on.

    ``start`` begins a new process under the same name, ``kill`` and ``stop`` (as on SIGTERM) end it.
    """

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.process = Process(world.scheduler)
        self.process.kill()
        self.retired = False
        self.epoch = 0  # of the office that is open, 0 for none
        self.clock = SimulatedClock(world.scheduler, world.rng.uniform(0.0, 1000.0))
        self._world = world
        self._starts = 0

    def start(self) -> None:
        world = self._world
        self._starts += 1
        self.process = Process(world.scheduler)
        self.retired, self.epoch = False, 0
        self._pump_due = False
        self._asked: dict[int, str] = {}
        self._acks = Acknowledgements()
        self._told: dict[str, LeaderHeard] = {}
        self._next_request = 1
        self._heartbeats_heard = 0
        ttl_s, retention_s = world.conditions.lease_ttl_s, world.conditions.retention_s
        self.store = CachedStore(
            world.backend,
            world.fleet.region,
            self.name,
            reservation_ttl_s=world.conditions.reservation_ttl_s,
            decoded=world.decoded,
        )
        self.core = Orchestrator(
            LeaderRecord(self.name, f"{self.name}-{self._starts}", 0.0),
            world.fleet,
            AssignmentPlanner(),
            election=ElectionPolicy(
                ttl_s,
                refresh_period_s=ttl_s / 5.0,
                safety_margin_s=ttl_s / 5.0,
                heartbeat_period_s=HEARTBEAT_PERIOD_S if world.conditions.heartbeats else None,
            ),
            dispatch=world.dispatch_policy(),
            retention=RetentionPolicy(retention_s) if retention_s is not None else None,
        )
        workers = SimulatedWorkers(
            world.scheduler, self.process, self.clock, world.rng, lambda: world.conditions, self._turn_delay_s
        )
        self.driver = Driver(
            self.core,
            self.store,
            self,
            world.logger(self.name),
            clock=self.clock,
            on_crash=self._on_crash,
            workers=workers,
            archive=world.archive,
            full_group=world.rng.choice(FULL_GROUPS),
        )
        self.driver.start()
        self.process.after(PUBLISH_PERIOD_S * world.rng.random(), self._publish_again)

    def _turn_delay_s(self) -> float:
        """A standby only listens: it may take more at a time."""
        profile = self._world.profile
        return profile.turn_delay_s if self.core.epoch else profile.standby_turn_delay_s

    def kill(self) -> None:
        self.process.kill()
        self.epoch = 0
        self.store.close()

    def stop(self) -> None:
        """End in good order: the office is handed back."""
        self.driver.stop()
        self.kill()

    def hand_over(self) -> None:
        """An operator deactivates the leader."""
        self.retired = True
        self.driver.post(OperatorResign())

    def campaign_again(self) -> None:
        self.retired = False
        self.driver.post(OperatorCampaign())

    def store_changed(self) -> None:
        """There may be something for the watch; it takes a while to get here."""
        if self.process.alive and not self._pump_due:
            self._pump_due = True
            delay_s = 0.001 + self._world.rng.random() * self._world.conditions.watch_delay_s
            self.process.after(delay_s, self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        self._world.backend.pump(self.name)

    def _on_crash(self, error: BaseException) -> None:
        self._world.defect(f"{self.name}: {error!r}", error)
        self.process.kill()

    # --- what drones say (on arrival) -----------------------------------------------------------------------------

    def drone_heard(self, report: DroneReport) -> None:
        self.process.do(lambda: self._drone_heard(report))

    def _drone_heard(self, report: DroneReport) -> None:
        self._acks.heard(report)
        self.driver.post(DroneHeard(report))

    def clearance_asked(self, drone_id: str, question: AskClearance) -> None:
        self.process.do(lambda: self._clearance_asked(drone_id, question))

    def heartbeat_heard(self, epoch: int) -> None:
        self.process.do(lambda: self._heartbeat_heard(epoch))

    def _heartbeat_heard(self, epoch: int) -> None:
        """What DDS liveliness does for a standby: tell of heartbeats that stop."""
        self._heartbeats_heard += 1
        heard = self._heartbeats_heard
        self.driver.post(LeaderAlive(epoch))

        def check() -> None:
            if heard == self._heartbeats_heard:
                self.driver.post(LeaderSilent(epoch))

        self.process.after(SILENT_S, check)

    def _clearance_asked(self, drone_id: str, asked: AskClearance) -> None:
        if not self.epoch:
            return  # only the leader offers the service
        request_id, self._next_request = self._next_request, self._next_request + 1
        self._asked[request_id] = drone_id
        self.driver.post(
            ClearanceRequested(
                request_id, drone_id, asked.message_id, asked.attempt, asked.journal_id, asked.highest_epoch
            )
        )

    # --- the fleet, as the driver sees it ---------------------------------------------------------------------------

    def send_goal(self, effect: SendGoal) -> None:
        if effect.epoch != self.epoch:
            return  # decided in another office
        key = (effect.drone_id, effect.order.message_id, effect.attempt)
        answered: list[bool] = []

        def answer(accepted: bool) -> None:
            if not answered:
                answered.append(accepted)
                self.driver.post(GoalAnswered(*key, accepted))

        def give_up() -> None:
            if not answered:
                answered.append(False)
                self.driver.post(GoalUnreachable(*key))

        drone, process, network = self._world.drones[effect.drone_id], self.process, self._world.network

        def reply(accepted: bool) -> None:
            network.send(effect.drone_id, self.name, lambda: process.do(lambda: answer(accepted)))

        network.send(self.name, effect.drone_id, lambda: drone.goal_requested(effect, reply))
        self.process.after(GOAL_TIMEOUT_S, give_up)

    def heartbeat(self, effect: Heartbeat) -> None:
        for other in self._world.replicas.values():
            if other is not self and other.process.alive:
                hear = partial(other.heartbeat_heard, effect.epoch)
                self._world.network.send(self.name, other.name, hear, topic="heartbeat")

    def recall(self, effect: RecallGoal) -> None:
        drone = self._world.drones[effect.drone_id]
        self._world.network.send(self.name, drone.id, lambda: drone.recalled(effect.message_id, effect.attempt))

    def answer_clearance(self, effect: AnswerClearance) -> None:
        drone_id = self._asked.pop(effect.request_id, None)
        if drone_id is None:
            return
        answer = ClearanceAnswered(
            effect.verdict, effect.epoch, effect.message_id, effect.attempt, effect.journal_id, effect.reason
        )
        self._world.network.send(self.name, drone_id, lambda: self._world.drones[drone_id].clearance_answered(answer))

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        if self._acks.add(effect):
            self._publish()

    def office_taken(self, epoch: int) -> None:
        self._world.trace(f"{self.name} leads with epoch {epoch}")
        self.epoch = epoch
        self._acks.clear()
        self._publish()

    def office_left(self, epoch: int, reason: str) -> None:
        self._world.trace(f"{self.name} leads no more: {reason}")
        if self.epoch == epoch:
            self.epoch = 0
            self._asked.clear()
            self._acks.clear()

    def _publish_again(self) -> None:
        self._told.clear()  # a message may have been lost: say everything once more
        self._publish()
        self.process.after(PUBLISH_PERIOD_S, self._publish_again)

    def _publish(self) -> None:
        """Tell each drone what of the leader's state concerns it, where that is news to it."""
        if not self.epoch:
            return
        for drone in self._world.drones.values():
            message = LeaderHeard(self.epoch, self._acks.of(drone.id))
            if self._told.get(drone.id) != message and not drone.knows(message):
                self._told[drone.id] = message
                self._tell(drone.id, message)

    def _tell(self, drone_id: str, message: LeaderHeard) -> None:
        drone = self._world.drones[drone_id]
        self._world.network.send(self.name, drone_id, lambda: drone.told(message), topic="leader")
