"""A whole region for tests of the core: replicas, real drone machines, packages, and a network that may lose anything.

Adds to ``World``: drones that fly by themselves, messages in flight, replicas that hang or receive the watch late, and
a person who answers parked orders truthfully. The full history is recorded, even across compactions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from aircraft import CUSTOMER, DEPOT, Aircraft, Packages
from world import COURIER, FLEET, Replica, World
from world import DEPOT as DEPOT_POINT

from drone_orchestrator.core.drone.events import (
    AnswerGoal,
    AskClearance,
    ClearanceAnswered,
    DroneEffect,
    DroneEvent,
    GoalRequested,
    LeaderHeard,
    LiftGrounding,
    RecallRequested,
)
from drone_orchestrator.core.leader.effects import (
    AnswerClearance,
    Campaign,
    Commit,
    Effect,
    KeepReservation,
    RecallGoal,
    SendGoal,
)
from drone_orchestrator.core.leader.events import (
    CampaignDone,
    ClearanceRequested,
    DroneHeard,
    Event,
    GoalAnswered,
    LeaseRefreshed,
    StoreChanged,
    ViewLoaded,
)
from drone_orchestrator.core.leader.orchestrator import Orchestrator
from drone_orchestrator.core.policies import BreakerPolicy, DispatchPolicy, ElectionPolicy
from drone_orchestrator.core.types import (
    AcknowledgeOutcome,
    CommandAction,
    LeaderRecord,
    OperatorCommand,
    Phase,
    Saga,
    StoreChange,
)
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.ports import StoreError
from drone_orchestrator.store import MemoryBackend, MemoryStore
from drone_orchestrator.verification.checker import check
from drone_orchestrator.verification.journals import journal_history
from drone_orchestrator.verification.records import CheckReport

#: Everything that takes minutes in the field takes seconds here.
POLICY = DispatchPolicy(
    retry_cap_s=1.0,
    recall_cap_s=2.0,
    max_recall_tries=4,
    lost_grace_s=30.0,
    breaker=BreakerPolicy(failures=2, open_s=2.0, open_cap_s=8.0),
)
STEP_S = 0.5


@dataclass
class Network:
    """Probabilities that a message is lost, duplicated, or late."""

    rng: random.Random = field(default_factory=lambda: random.Random(0))
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0


class Fleet(World):
    def __init__(
        self,
        replicas: int = 2,
        drones: int = 2,
        *,
        backend: MemoryBackend | None = None,
        policy: DispatchPolicy = POLICY,
    ) -> None:
        super().__init__(replicas=0, dispatch=policy)
        if backend is not None:
            self.backend = backend
            self.intake = MemoryStore(backend, "sf", "intake")
        self.history: list[StoreChange] = []
        MemoryStore(self.backend, "sf", "recorder").watch(0, self.history.append, lambda _: None)
        self.packages = Packages()
        self.drones = {f"drone_{n}": self._aircraft(f"drone_{n}") for n in range(1, drones + 1)}
        self.network = Network()
        self.on_their_way: list[Callable[[], None]] = []
        self.hanging: set[str] = set()
        self.hears_late: set[str] = set()
        self.led: dict[int, str] = {}  # epoch -> the only replica that may ever act on it
        self.late_decisions: list[str] = []  # by leaders whose lease could have expired
        self._valid_until_s: dict[str, float] = {}
        self._asked: dict[int, str] = {}
        self._replicas_made = 0
        for _ in range(replicas):
            self.another_replica()

    def _aircraft(self, drone_id: str) -> Aircraft:
        return Aircraft(drone_id, COURIER, DEPOT_POINT, self.packages)

    # --- replicas -----------------------------------------------------------------------------------------------

    def another_replica(self) -> Replica:
        self._replicas_made += 1
        return self.add_replica(f"replica_{self._replicas_made}")

    def add_replica(self, name: str) -> Replica:
        store = MemoryStore(self.backend, "sf", name, reservation_ttl_s=4.0)
        record = LeaderRecord(name, f"{name}-instance", 0.0)
        core = Orchestrator(record, FLEET, AssignmentPlanner(), election=ElectionPolicy(), dispatch=self.dispatch)
        replica = Replica(name, core, store)
        snapshot = store.snapshot()
        replica.inbox.append(ViewLoaded(snapshot))
        store.watch(
            snapshot.revision,
            lambda change: replica.inbox.append(StoreChanged(change)),
            lambda fresh: replica.inbox.append(ViewLoaded(fresh)),
        )
        self.replicas.append(replica)
        return replica

    def leaders(self) -> list[Replica]:
        return [r for r in self.replicas if r.core.role.value == "leader"]

    def run(self) -> None:
        for _ in range(400):
            busy = self.backend.pump("recorder") > 0
            for replica in list(self.replicas):
                if replica.name not in self.hears_late:
                    busy = self.backend.pump(replica.name) > 0 or busy
                if replica.name not in self.hanging:
                    busy = self.step_once(replica) or busy
            if not busy:
                return
        raise AssertionError("the world does not settle")

    def step_once(self, replica: Replica) -> bool:
        for event in replica.inbox:
            if isinstance(event, LeaseRefreshed) or (isinstance(event, CampaignDone) and event.epoch):
                policy = ElectionPolicy()
                valid_s = event.sent_mono_s + policy.lease_ttl_s - policy.safety_margin_s
                self._valid_until_s[replica.name] = max(valid_s, self._valid_until_s.get(replica.name, 0.0))
        return super().step_once(replica)

    def _carry_out(self, replica: Replica, effect: Effect) -> None:
        match effect:
            case SendGoal(drone_id=drone_id, order=order, attempt=attempt, epoch=epoch):
                self._decided(replica, epoch)
                self._post(lambda: self._to_drone(drone_id, GoalRequested(order, attempt, epoch), replica))
            case RecallGoal(drone_id, message_id, attempt, epoch):
                self._decided(replica, epoch)
                self._post(lambda: self._to_drone(drone_id, RecallRequested(message_id, attempt, epoch), replica))
            case AnswerClearance():
                answer = ClearanceAnswered(
                    effect.verdict, effect.epoch, effect.message_id, effect.attempt, effect.journal_id, effect.reason
                )
                drone_id = self._asked[effect.request_id]
                self._post(lambda: self._to_drone(drone_id, answer, replica))
            case AcknowledgeOutcome():
                heard = LeaderHeard(replica.core.epoch, (effect,))
                self._post(lambda: self._to_drone(effect.drone_id, heard, replica))
            case KeepReservation(drone_id):
                try:
                    replica.store.keep_reservations([drone_id])
                except StoreError:
                    return
            case Campaign(record, ttl_s, over_epoch, fleet, at):
                try:
                    epoch = replica.store.campaign(record, ttl_s, over_epoch, fleet, at)
                    replica.inbox.append(CampaignDone(epoch, self.mono_s))
                except StoreError as error:
                    replica.inbox.append(CampaignDone(0, self.mono_s, str(error)))
            case Commit():
                self._decided(replica, effect.epoch)
                super()._carry_out(replica, effect)
            case _:
                super()._carry_out(replica, effect)

    def _decided(self, replica: Replica, epoch: int) -> None:
        """Check that a leader's decision is within its lease, and that no other replica ever acts on its epoch."""
        assert self.led.setdefault(epoch, replica.name) == replica.name, f"two replicas act on epoch {epoch}"
        if self.mono_s >= self._valid_until_s.get(replica.name, 0.0):
            self.late_decisions.append(f"{replica.name}, {self.mono_s} s, {self._valid_until_s.get(replica.name)} s")

    # --- messages -----------------------------------------------------------------------------------------------

    def _post(self, deliver: Callable[[], None]) -> None:
        chance = self.network.rng.random()
        if chance < self.network.lost:
            return
        self.on_their_way += [deliver] * (2 if chance > 1.0 - self.network.doubled else 1)

    def deliver(self) -> None:
        """Deliver the messages that are due; the messages that they cause are in flight afterwards."""
        due, self.on_their_way = self.on_their_way, []
        for message in due:
            if self.network.rng.random() < self.network.late:
                self.on_their_way.append(message)
            else:
                message()

    def _to_replica(self, replica: Replica, event: Event) -> None:
        if replica in self.replicas:
            replica.inbox.append(event)

    def _to_drone(self, drone_id: str, event: DroneEvent, sender: Replica | None = None) -> None:
        drone = self.drones[drone_id]
        effects = drone.step(event, self.now)
        self._from_drone(drone, effects)
        for effect in effects:
            if isinstance(effect, AnswerGoal) and isinstance(event, GoalRequested) and sender is not None:
                answer = GoalAnswered(drone_id, event.order.message_id, event.attempt, effect.accepted)
                self._post(lambda answer=answer: self._to_replica(sender, answer))  # type: ignore[misc]

    def _from_drone(self, drone: Aircraft, effects: list[DroneEffect]) -> None:
        for effect in effects:
            if isinstance(effect, AskClearance):
                for replica in self.replicas:
                    request_id = len(self._asked) + 1
                    self._asked[request_id] = drone.drone_id
                    asked = ClearanceRequested(
                        request_id,
                        drone.drone_id,
                        effect.message_id,
                        effect.attempt,
                        effect.journal_id,
                        effect.highest_epoch,
                    )
                    self._post(lambda replica=replica, asked=asked: self._to_replica(replica, asked))  # type: ignore[misc]

    # --- time ---------------------------------------------------------------------------------------------------

    def fly(self, steps: int = 1, step_s: float = STEP_S) -> None:
        """Let time pass: drones fly and report, leaders are heard, messages arrive, replicas decide."""
        for _ in range(steps):
            self.mono_s += step_s
            for drone in self.drones.values():
                if drone.machine is None:
                    drone._fly()
                    continue
                self._from_drone(drone, drone.sense(self.now))
                report = drone.report(DEPOT_POINT, 550.0)
                for replica in self.replicas:
                    self._post(lambda replica=replica, report=report: self._to_replica(replica, DroneHeard(report)))  # type: ignore[misc]
            for leader in self.leaders():
                heard = LeaderHeard(leader.core.epoch)
                for drone_id in self.drones:
                    self._post(lambda drone_id=drone_id, heard=heard: self._to_drone(drone_id, heard))  # type: ignore[misc]
            self.deliver()
            self.run()
            self.deliver()
            self.run()

    # --- operators ----------------------------------------------------------------------------------------------

    def sagas(self) -> dict[str, Saga]:
        found = self.intake.snapshot().entries
        return {entry.id: entry.value for entry in found if isinstance(entry.value, Saga)}

    def answer_parked(self, message_id: str) -> bool:
        """Let a person find the package and report it; a drone that has it, or may load it, is grounded first."""
        drone = self.drones.get(self.packages.place(message_id))
        if drone is not None:
            if drone.machine is None or drone.machine.phase is not Phase.GROUNDED:
                drone.airframe.fault = "on_a_person_s_word"
                return False
            drone.remove_package()
        place = self.packages.place(message_id)
        action = {CUSTOMER: CommandAction.DELIVERED, DEPOT: CommandAction.RETURNED}.get(place, CommandAction.LOST)
        return self.intake.request_command(OperatorCommand(message_id, action, self.now.wall_s, "a person"))

    def lift(self, drone: Aircraft) -> None:
        drone.airframe.fault = ""
        self._to_drone(drone.drone_id, LiftGrounding())

    def calm_down(self, most_steps: int = 700) -> None:
        """Repair everything and answer parked orders until every order has ended and the inbox is empty."""
        self.network = Network()
        self.hanging.clear()
        self.hears_late.clear()
        self.backend.forget_faults()
        self.backend.deliver_late()
        self.wall_offset_s = 0.0
        if not self.replicas:
            self.another_replica()
        for drone in self.drones.values():
            if drone.machine is None:
                drone.start()
        for step in range(most_steps):
            self.fly()
            if step % 4 == 3 and self._operators_act():
                return
        raise AssertionError(f"the fleet does not settle: {self.sagas()} {self.packages}")

    def _operators_act(self) -> bool:
        """Answer parked orders and lift groundings. Return whether nothing is left to do."""
        open_sagas = [saga for saga in self.sagas().values() if not saga.status.is_terminal]
        for saga in open_sagas:
            if saga.parked:
                self.answer_parked(saga.message_id)
        wanted = {saga.drone_id for saga in open_sagas if saga.parked}
        for drone in self.drones.values():
            grounded = drone.machine is not None and drone.machine.phase is Phase.GROUNDED
            if grounded and drone.drone_id not in wanted:
                drone.remove_package()
                self._from_drone(drone, drone.sense(self.now))
                self.lift(drone)
        kinds = {entry.kind.value for entry in self.intake.snapshot().entries}
        idle = all(d.machine is not None and d.durable.goal is None for d in self.drones.values())
        return not open_sagas and idle and not any(kind.startswith(("inbox", "assignments")) for kind in kinds)

    # --- verdict ------------------------------------------------------------------------------------------------

    def verdict(self, *, complete: bool) -> CheckReport:
        self.backend.pump("recorder")
        journals = [
            journal_history(drone.drone_id, journal_id, entries)
            for drone in self.drones.values()
            for journal_id, entries in (*drone.journals, (drone.journal_id, drone.entries))
        ]
        return check(self.history, journals, complete=complete)
