"""One orchestrator of the simulated region: real core, driver, planner and store client; simulated threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from ..core.drone.events import AskClearance, ClearanceAnswered, LeaderHeard
from ..core.leader.effects import AnswerClearance, Heartbeat, RecallGoal, SendGoal, SetAside
from ..core.leader.events import (
    ClearanceRequested,
    ClockHeard,
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
from ..core.saga import Contradiction
from ..core.types import AcknowledgeOutcome, DroneReport, LeaderRecord
from ..planning.planner import AssignmentPlanner
from ..runtime.acknowledgements import Acknowledgements
from ..runtime.driver import FULL_GROUP, Driver
from .cached import CachedStore
from .environment import Environment
from .scheduler import Process, SimulatedClock
from .workers import SimulatedWorkers

PUBLISH_PERIOD_S = 2.0
HEARTBEAT_PERIOD_S = 1.0
#: Suspect a leader that is not heard for this long (s).
SILENT_S = 2.5
GOAL_TIMEOUT_S = 3.0
#: Sizes of a full group of commits to draw from. Mostly small, because a simulated region is small.
FULL_GROUPS = (1, 2, FULL_GROUP)


class GoalTarget(Protocol):
    """A drone, as a replica reaches it over the network."""

    id: str

    def goal_requested(self, effect: SendGoal, fleet_id: str, reply: Callable[[bool], None]) -> None: ...

    def recalled(self, message_id: str, attempt: int) -> None: ...

    def told(self, event: LeaderHeard) -> None: ...

    def clearance_answered(self, answer: ClearanceAnswered) -> None: ...

    def knows(self, message: LeaderHeard) -> bool: ...


class SimulatedReplica:
    """An orchestrator process. It does what the node around a driver does, as far as drones and replicas can tell.

    ``start`` begins a new process under the same name; ``kill``, and ``stop`` (as on SIGTERM), end it.
    """

    def __init__(
        self,
        environment: Environment,
        name: str,
        replicas: Mapping[str, SimulatedReplica],
        drones: Mapping[str, GoalTarget],
    ) -> None:
        self.name = name
        self._rng = environment.chance.of("replica", name)
        self._watch_rng = environment.chance.of("replica", name, "watch")
        self.process = Process(environment.scheduler)
        self.process.kill()
        self.retired = False
        self.epoch = 0  # fencing token while it leads, else 0
        self.clock = SimulatedClock(environment.scheduler, self._rng.uniform(0.0, 1000.0))
        self._environment = environment
        self._replicas = replicas
        self._drones = drones
        self._starts = 0
        environment.on_store_change(self.store_changed)

    def start(self) -> None:
        environment = self._environment
        self._starts += 1
        self.process = Process(environment.scheduler)
        self.retired, self.epoch = False, 0
        self._pump_due = False
        self._asked: dict[int, str] = {}
        self._acks = Acknowledgements()
        self._told: dict[str, LeaderHeard] = {}
        self._next_request = 1
        self._heartbeats_heard = 0
        ttl_s, retention_s = environment.conditions.lease_ttl_s, environment.conditions.retention_s
        self.store = CachedStore(
            environment.backend,
            environment.fleet.region,
            self.name,
            reservation_ttl_s=environment.conditions.reservation_ttl_s,
            decoded=environment.decoded,
        )
        self.core = Orchestrator(
            LeaderRecord(self.name, f"{self.name}-{self._starts}", 0.0),
            environment.fleet,
            AssignmentPlanner(),
            election=ElectionPolicy(
                ttl_s,
                refresh_period_s=ttl_s / 5.0,
                safety_margin_s=ttl_s / 5.0,
                heartbeat_period_s=HEARTBEAT_PERIOD_S if environment.conditions.heartbeats else None,
            ),
            dispatch=environment.dispatch_policy(),
            retention=RetentionPolicy(retention_s) if retention_s is not None else None,
        )
        workers = SimulatedWorkers(
            environment.scheduler,
            self.process,
            self.clock,
            environment.chance.of("replica", self.name, "workers"),
            lambda: environment.conditions,
            self._turn_delay_s,
        )
        self.driver = Driver(
            self.core,
            self.store,
            self,
            environment.logger(self.name),
            clock=self.clock,
            on_crash=self._on_crash,
            on_set_aside=self._on_set_aside,
            workers=workers,
            archive=environment.archive,
            full_group=self._rng.choice(FULL_GROUPS),
        )
        self.driver.start()
        self.process.after(PUBLISH_PERIOD_S * self._rng.random(), self._publish_again)

    def restart(self) -> None:
        """Start again after a crash or a stop, unless it runs already."""
        if not self.process.alive:
            self._environment.trace(f"{self.name} starts")
            self.start()

    def _turn_delay_s(self) -> float:
        """Return the longest delay of a turn. A standby only listens, so it may take more events at a time."""
        profile = self._environment.profile
        return profile.turn_delay_s if self.core.epoch else profile.standby_turn_delay_s

    def kill(self) -> None:
        self.process.kill()
        self.epoch = 0
        self.store.close()

    def stop(self) -> None:
        """End cleanly: resign if this replica leads."""
        self.driver.stop()
        self.kill()

    def hand_over(self) -> None:
        """Hand leadership over, as an operator does."""
        self.retired = True
        self.driver.post(OperatorResign())

    def campaign_again(self) -> None:
        self.retired = False
        self.driver.post(OperatorCampaign())

    def store_changed(self) -> None:
        """Note that the watch may have something to deliver. It arrives after a delay."""
        if self.process.alive and not self._pump_due:
            self._pump_due = True
            delay_s = 0.001 + self._watch_rng.random() * self._environment.conditions.watch_delay_s
            self.process.after(delay_s, self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        self._environment.backend.pump(self.name)

    def _on_crash(self, error: BaseException) -> None:
        self._environment.defect(f"{self.name}: {error!r}", error)
        self.process.kill()

    def _on_set_aside(self, effect: SetAside) -> None:
        """Report that something was set aside: a contradictory record breaks I3, any other error is a defect."""
        text = f"{self.name} sets {effect.what} aside: {effect.error!r}"
        if isinstance(effect.error, Contradiction):
            self._environment.wrong("I3", text)
        else:
            self._environment.defect(text, effect.error)

    # --- messages, on arrival ------------------------------------------------------------------------------------

    def drone_heard(self, report: DroneReport, stamp_s: float) -> None:
        self.process.do(lambda: self._drone_heard(report, stamp_s))

    def _drone_heard(self, report: DroneReport, stamp_s: float) -> None:
        self._acks.heard(report)
        self.driver.post(DroneHeard(report))
        self.driver.post(ClockHeard(report.drone_id, stamp_s))

    def clearance_asked(self, drone_id: str, question: AskClearance) -> None:
        self.process.do(lambda: self._clearance_asked(drone_id, question))

    def heartbeat_heard(self, epoch: int) -> None:
        self.process.do(lambda: self._heartbeat_heard(epoch))

    def _heartbeat_heard(self, epoch: int) -> None:
        """Report a heartbeat, and the silence if no other follows, as DDS liveliness does."""
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

    @property
    def _fleet_id(self) -> str:
        fleet = self.core.view.fleet
        return fleet.fleet_id if fleet is not None else ""

    # --- Fleet of the driver -----------------------------------------------------------------------------------

    def send_goal(self, effect: SendGoal) -> None:
        if effect.epoch != self.epoch:
            return  # decided in another epoch
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

        drone, process, network = self._drones[effect.drone_id], self.process, self._environment.network

        def reply(accepted: bool) -> None:
            network.send(effect.drone_id, self.name, lambda: process.do(lambda: answer(accepted)))

        fleet_id = self._fleet_id
        network.send(self.name, effect.drone_id, lambda: drone.goal_requested(effect, fleet_id, reply))
        self.process.after(GOAL_TIMEOUT_S, give_up)

    def heartbeat(self, effect: Heartbeat) -> None:
        for other in self._replicas.values():
            if other is not self and other.process.alive:
                hear = partial(other.heartbeat_heard, effect.epoch)
                self._environment.network.send(self.name, other.name, hear, topic="heartbeat")

    def recall(self, effect: RecallGoal) -> None:
        drone = self._drones[effect.drone_id]
        self._environment.network.send(self.name, drone.id, lambda: drone.recalled(effect.message_id, effect.attempt))

    def answer_clearance(self, effect: AnswerClearance) -> None:
        drone_id = self._asked.pop(effect.request_id, None)
        if drone_id is None:
            return
        answer = ClearanceAnswered(
            effect.verdict,
            effect.epoch,
            effect.message_id,
            effect.attempt,
            effect.journal_id,
            effect.reason,
            self._fleet_id,
        )
        self._environment.network.send(self.name, drone_id, lambda: self._drones[drone_id].clearance_answered(answer))

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        if self._acks.add(effect):
            self._publish()

    def start_leading(self, epoch: int) -> None:
        self._environment.trace(f"{self.name} leads with epoch {epoch}")
        self.epoch = epoch
        self._acks.clear()
        self._publish()

    def stop_leading(self, epoch: int, reason: str) -> None:
        self._environment.trace(f"{self.name} leads no more: {reason}")
        if self.epoch == epoch:
            self.epoch = 0
            self._asked.clear()
            self._acks.clear()

    def _publish_again(self) -> None:
        self._told.clear()  # a message may have been lost: repeat everything
        self._publish()
        self.process.after(PUBLISH_PERIOD_S, self._publish_again)

    def _publish(self) -> None:
        """Send each drone the part of the leader's state that concerns it, if that is news."""
        if not self.epoch:
            return
        for drone in self._drones.values():
            message = LeaderHeard(self.epoch, self._acks.of(drone.id), self._fleet_id)
            if self._told.get(drone.id) != message and not drone.knows(message):
                self._told[drone.id] = message
                self._tell(drone.id, message)

    def _tell(self, drone_id: str, message: LeaderHeard) -> None:
        drone = self._drones[drone_id]
        self._environment.network.send(self.name, drone_id, lambda: drone.told(message), topic="leader")
