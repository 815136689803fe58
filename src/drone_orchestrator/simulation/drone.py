"""One drone of the simulated region: real machine, driver and journal format; simulated autopilot and disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from ..core.drone.events import (
    AnswerGoal,
    AskClearance,
    ClearanceAnswered,
    DroneEvent,
    GoalImpossible,
    GoalRequested,
    LeaderHeard,
    LiftGrounding,
    RecallRequested,
)
from ..core.leader.effects import SendGoal
from ..core.policies import DronePolicy
from ..core.reasons import GoalRefusal
from ..core.types import AcknowledgeOutcome, DeliveryOutcome, DroneClass, DroneReport, Phase, Verdict
from ..runtime.drone_driver import DroneDriver
from ..runtime.drone_journal import DroneJournal
from .disk import Died, Disk, MemoryJournal
from .environment import Environment
from .physics import SimulatedFlight
from .scheduler import Process, SimulatedClock

CLEARANCE_RETRY_S = 1.0
#: The most recent clearance answers that may be delivered a second time.
REMEMBERED_ANSWERS = 4
#: The fleet of a colleague in the same domain.
FOREIGN_FLEET = "a-colleague's-fleet"
#: Executor tick (s). News is published on the next one.
TICK_S = 0.1
SHORTEST_TICK_S = 0.01
#: Longest time (s) that a drone's program stays down after a crash.
RESTART_S = 20.0


class LeaderCandidate(Protocol):
    """A replica, as a drone reaches it over the network."""

    name: str
    process: Process
    epoch: int

    def drone_heard(self, report: DroneReport, stamp_s: float) -> None: ...

    def clearance_asked(self, drone_id: str, question: AskClearance) -> None: ...


class SimulatedDrone:
    """A drone and its program. The program does what the executor's node does: it ticks, publishes and answers.

    ``start``, ``kill`` and ``crash`` concern the program. A ``dead`` drone never starts again and stays where it is.
    """

    def __init__(
        self,
        environment: Environment,
        drone_id: str,
        drone_class: DroneClass,
        replicas: Mapping[str, LeaderCandidate],
    ) -> None:
        self.id = drone_id
        self.drone_class = drone_class
        self.dead = False
        self.refuses: GoalRefusal | None = None  # how it refuses every goal at the moment
        self.said: DroneReport | None = None  # the last report of its program
        self._boots = 0
        self._rng = environment.chance.of("drone", drone_id)
        self.process = Process(environment.scheduler)
        self.process.kill()
        self.disk = Disk(drone_id, environment.chance.of("disk", drone_id))
        self.clock = SimulatedClock(environment.scheduler, self._rng.uniform(0.0, 1000.0))
        self.flight = SimulatedFlight(
            drone_id,
            drone_class,
            environment.fleet.depot,
            environment.scheduler,
            environment.packages,
            self._cargo,
            self._require_on_disk,
        )
        self.driver: DroneDriver | None = None
        self._environment = environment
        self._replicas = replicas
        self._armed_s = float("inf")
        self._answers: deque[ClearanceAnswered] = deque(maxlen=REMEMBERED_ANSWERS)

    # --- program ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        environment = self._environment
        self._boots += 1
        self.said = None
        self.process = Process(environment.scheduler)
        self._armed_s = float("inf")
        journal = DroneJournal.recover(MemoryJournal(self.disk), self.id, environment.conditions.compact_above)
        if journal.damage is not None:
            environment.trace(f"{self.id}: {journal.damage.reason}")
        self.driver = DroneDriver(
            self.id,
            self.drone_class,
            environment.fleet.depot,
            journal,
            self.flight,
            self,
            policy=DronePolicy(CLEARANCE_RETRY_S),
            state_period_s=environment.profile.state_period_s,
            boot_id=f"{self.id}-{self._boots}",
            now=self.clock.now,
        )
        self._require_on_disk()
        self._arm(environment.scheduler.now_s + TICK_S * self._rng.random())

    def kill(self) -> None:
        """Kill the program. The autopilot continues, or breaks off what it was doing."""
        self.process.kill()
        self.driver = None
        if self._rng.random() < 0.5:
            self.flight.break_off()

    def crash(self) -> None:
        """Kill the program. It starts again after a while, unless the drone is dead by then."""
        self.kill()
        self._environment.scheduler.after(self._rng.uniform(0.5, RESTART_S), self._restart)

    def _restart(self) -> None:
        if not self.process.alive and not self.dead:
            self._environment.trace(f"{self.id} starts")
            self.start()

    @property
    def phase(self) -> Phase:
        return self.driver.phase if self.driver is not None else Phase.UNSPECIFIED

    @property
    def is_without_goal(self) -> bool:
        return self.driver is not None and self.driver.durable.goal is None

    @property
    def is_at_rest(self) -> bool:
        """``True`` if no goal is in progress and a leader has acknowledged every outcome."""
        return self.driver is not None and not self.driver.is_busy

    # --- messages, on arrival -----------------------------------------------------------------------------------------

    def goal_requested(self, effect: SendGoal, fleet_id: str, reply: Callable[[bool], None]) -> None:
        def deliver() -> None:
            key = (effect.attempt, effect.epoch)
            event: DroneEvent = GoalRequested(effect.order, *key, fleet_id)
            if self.refuses is not None:
                event = GoalImpossible(effect.order.message_id, *key, self.refuses)
            effects = self._step(event)
            for answer in effects:
                if isinstance(answer, AnswerGoal):
                    reply(answer.accepted)

        self.process.do(deliver)

    def recalled(self, message_id: str, attempt: int) -> None:
        def deliver() -> None:
            assert self.driver is not None
            # A cancel request carries no epoch: every client that knows the goal's id may recall it.
            self._step(RecallRequested(message_id, attempt, self.driver.durable.highest_epoch))

        self.process.do(deliver)

    def told(self, event: DroneEvent) -> None:
        self.process.do(lambda: self._step(event))

    def clearance_answered(self, answer: ClearanceAnswered) -> None:
        self._answers.append(answer)
        self.told(answer)

    def may_load(self, message_id: str) -> bool:
        """Return whether the drone still has a goal for the order and is not grounded."""
        goal = self.driver.durable.goal if self.driver is not None else None
        return goal is not None and goal.message_id == message_id and self.phase is not Phase.GROUNDED

    def knows(self, message: LeaderHeard) -> bool:
        """Return whether this message would change nothing, so that it need not be simulated."""
        if self.driver is None or message.acknowledged:
            return False
        durable = self.driver.durable
        return durable.highest_epoch >= message.epoch and durable.fleet_id == message.fleet_id

    def hear_foreign_leader(self, epoch: int) -> bool:
        """Let a leader of another fleet announce itself, acknowledge every outcome and grant clearance.

        Return ``False`` if the drone belongs to no fleet yet: it would join that one.
        """
        if self.driver is None or not self.driver.durable.fleet_id:
            return False
        durable, journal_id = self.driver.durable, self.driver.journal_id
        acks = [AcknowledgeOutcome(self.id, journal_id, o.message_id, o.attempt, o.outcome) for o in durable.outcomes]
        self.told(LeaderHeard(epoch, tuple(acks), FOREIGN_FLEET))
        if durable.goal is not None:
            self.told(ClearanceAnswered(Verdict.GRANTED, epoch, *durable.goal.key, journal_id, fleet_id=FOREIGN_FLEET))
        return True

    def lift_grounding(self) -> None:
        self.process.do(self._lift_grounding)

    def _lift_grounding(self) -> None:
        # The executor senses on every tick. The simulation skips ticks that change nothing, but here it matters.
        if self._sense():
            self._step(LiftGrounding())

    # --- Surroundings of the driver --------------------------------------------------------------------------------

    def ask_clearance(self, question: AskClearance) -> None:
        for replica in self._replicas.values():
            if replica.epoch:
                ask = partial(replica.clearance_asked, self.id, question)
                self._environment.network.send(self.id, replica.name, ask)

    def goal_ended(self, outcome: DeliveryOutcome) -> None:
        goal = f"{outcome.message_id}/{outcome.attempt}"
        self._environment.trace(f"{self.id}: {goal} {outcome.outcome.name} {outcome.reason}")

    def phase_changed(self, before: Phase, after: Phase) -> None:
        environment = self._environment
        environment.trace(f"{self.id}: {before.name} -> {after.name}")
        if after is Phase.DROPPING:
            environment.packages.begin_drop(self._cargo(), environment.scheduler.now_s)
        asks = after is Phase.AWAITING_CLEARANCE and bool(self._answers)
        if asks and self._rng.random() < environment.conditions.message_repeat:
            # The worst moment for an old answer to arrive again is while the drone waits for a new one.
            environment.faults["message_repeated"] += 1
            old = self._rng.choice(self._answers)
            environment.scheduler.after(self._rng.random() * CLEARANCE_RETRY_S, lambda: self.told(old))

    def notice(self, level: str, text: str) -> None:
        self._environment.trace(f"{self.id}: {level}: {text}")

    # --- inside -------------------------------------------------------------------------------------------------------

    def _cargo(self) -> str:
        assert self.driver is not None and self.driver.durable.goal is not None
        return self.driver.durable.goal.message_id

    def _step(self, event: DroneEvent) -> list[object]:
        """Step the driver with ``event`` and return the effects, or none if the program dies in this step."""
        driver = self.driver
        assert driver is not None
        before = driver.durable
        try:
            effects: list[object] = list(driver.step(event))
        except Died:
            self.crash()
            return []
        if driver.durable is not before:
            self._require_on_disk()
        if driver.durable is not before or effects:
            self._arm(self._environment.scheduler.now_s + TICK_S * self._rng.random())
        return effects

    def _arm(self, at_s: float) -> None:
        if at_s < self._armed_s:
            self._armed_s = at_s
            self.process.at(at_s, lambda: self._tick(at_s))

    def _tick(self, armed_s: float) -> None:
        if armed_s != self._armed_s or self.driver is None:
            return
        self._armed_s = float("inf")
        environment, driver = self._environment, self.driver
        if not self._sense():
            return
        report = driver.due_report()
        if report is not None:
            self._publish(report)
        due_s = min(self.flight.next_change_s() + SHORTEST_TICK_S, self.clock.at_mono(driver.next_deadline()))
        self._arm(max(environment.scheduler.now_s + SHORTEST_TICK_S, due_s))

    def _sense(self) -> bool:
        """Step the driver with the flight state. ``False`` if the program dies in this step."""
        driver = self.driver
        assert driver is not None
        before = driver.durable
        try:
            driver.sense(0.0)
        except Died:
            self.crash()
            return False
        if driver.durable is not before:
            self._require_on_disk()
        return True

    def _require_on_disk(self) -> None:
        """Report a violation if the drone goes by anything that a crash now would take from it."""
        assert self.driver is not None
        held, kept = self.driver.durable, self.disk.durable
        if held == kept:
            return
        if held.highest_epoch != kept.highest_epoch:
            text = f"{self.id} goes by epoch {held.highest_epoch}, and has {kept.highest_epoch} on disk"
            self._environment.wrong("I4", text)
        if held.goal != kept.goal or held.outcomes != kept.outcomes:
            self._environment.wrong("I5", f"{self.id} goes by {held.goal}, and has {kept.goal} on disk")

    def _publish(self, report: DroneReport) -> None:
        self.said = report
        for replica in self._replicas.values():
            if replica.process.alive:
                hear = partial(replica.drone_heard, report, self.clock.now().wall_s)
                self._environment.network.send(self.id, replica.name, hear, topic="state")
