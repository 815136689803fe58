"""The simulated region: puts the parts together, plays a seed out and judges the run.

A run has two phases. In the *safety* phase anything may fail at any time, and no invariant may break. In the *liveness*
phase nothing fails any more, and what has begun must end: every accepted order reaches a terminal state, its
reservation is gone, and its drone knows that its outcome is on record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from ..verification.bounded_stay import BoundedStay
from ..verification.cancel_honoured import CancelHonoured
from ..verification.checker import Invariant, check
from ..verification.fair_breaker import FairBreaker
from ..verification.goodput import DrainRate, Goodput, Waiting
from ..verification.journals import journal_history
from ..verification.justified_end import JustifiedEnd
from ..verification.office_held_usefully import OfficeHeldUsefully
from ..verification.park_with_cause import ParkWithCause
from ..verification.records import INVARIANTS, JUDGES, JournalHistory
from .backlog import least_time_s
from .drone import SimulatedDrone
from .environment import COURIER, HEAVY, Environment
from .faults import FaultInjector
from .office import OfficeLog
from .profile import FAULTS, Profile
from .recorder import PHASES, Recorder
from .replica import SimulatedReplica
from .scheduler import OutOfBounds
from .users import SimulatedOperator, SimulatedShop
from .witness import SAMPLING_PERIOD_S, Witness

PATTERN = (COURIER, COURIER, HEAVY)

#: The liveness phase checks this often (s) whether everything has ended.
DONE_PERIOD_S = 5.0
#: The most problems that a result lists.
MAX_PROBLEMS = 20
#: Time (s) that a region may lose after its last fault: drones come back with empty batteries and open breakers.
RECOVERY_S = 60.0
#: Time (s) in which a region finds a leader that hears its drones.
SETTLED_S = 5.0
#: An order whose deadline passed before the backlog began has this long (s) left: no order may have less than nothing.
LEAST_LEFT_S = 0.1


@dataclass(frozen=True, slots=True)
class SeedResult:
    """Result of one seed. ``problems`` has the first violations as text; ``invariants`` and ``judges`` count all.

    ``met`` counts how often each kind of fault met an order in each of its phases.
    """

    seed: int
    profile: str
    simulated_s: float
    events: int
    orders: int
    ended: dict[str, int]
    faults: dict[str, int]
    met: dict[str, dict[str, int]]
    invariants: dict[str, int]
    judges: dict[str, int]
    problems: tuple[str, ...]
    trace_hash: str

    @property
    def ok(self) -> bool:
        return not self.problems


class World:
    """One run. Call ``run`` once. With ``trace`` its environment keeps the events as lines."""

    def __init__(self, seed: int, profile: Profile, *, trace: bool = False) -> None:
        self.environment = environment = Environment(seed, profile, trace=trace)
        self.recorder = Recorder(environment)
        self.replicas: dict[str, SimulatedReplica] = {}
        self.drones: dict[str, SimulatedDrone] = {}
        for i in range(1, profile.replicas + 1):
            self.replicas[f"o{i}"] = SimulatedReplica(environment, f"o{i}", self.replicas, self.drones)
        for i in range(profile.drones):
            drone_class = PATTERN[i % len(PATTERN)]
            self.drones[f"d{i + 1}"] = SimulatedDrone(environment, f"d{i + 1}", drone_class, self.replicas)
        self.witness = Witness(environment, self.recorder, self.replicas, self.drones)
        self.office = OfficeLog(environment, self.recorder, self.replicas, self.drones)
        carriers = [drone.drone_class for drone in self.drones.values()]
        self.shops = (SimulatedShop(environment, "shop1", carriers), SimulatedShop(environment, "shop2", carriers))
        self._calm_since_s: float | None = None

    # --- the run ------------------------------------------------------------------------------------------------------

    def run(self) -> SeedResult:
        """Play the seed out and judge the run."""
        environment = self.environment
        try:
            self._start()
            self._place_orders()
            injector = FaultInjector(environment, self.recorder, self.replicas, self.drones, self.shops)
            environment.scheduler.run_until(environment.profile.safety_s)
            injector.stop()
            self._calm_down()
            self._wait_for_the_end()
        except OutOfBounds as error:
            environment.wrong("I3", str(error))
            self._calm_since_s = None  # a run that was broken off has no rate
        except Exception as error:
            environment.defect(repr(error), error)
            self._calm_since_s = None
        return self._judge()

    def _start(self) -> None:
        environment = self.environment
        scheduler, chance = environment.scheduler, environment.chance
        for replica in self.replicas.values():
            scheduler.after(chance.of("start", replica.name).random(), replica.start)
        for drone in self.drones.values():
            if not drone.dead:
                scheduler.after(chance.of("start", drone.id).random(), drone.start)
        SimulatedOperator(environment, self.recorder, self.drones)
        scheduler.after(SAMPLING_PERIOD_S, self._expire)

    def _place_orders(self) -> None:
        environment = self.environment
        scheduler, chance, profile = environment.scheduler, environment.chance, environment.profile
        for number in range(profile.orders):
            rng = chance.of("order", str(number), "placed")
            shop = rng.choice(self.shops)
            at_s = rng.uniform(1.0, 0.8 * profile.safety_s)
            scheduler.at(at_s, partial(shop.place, number))

    def _expire(self) -> None:
        self.environment.backend.pump("")  # expires leases; there is no such client to deliver to
        self.witness.sample()
        self.office.sample()
        self.environment.scheduler.after(SAMPLING_PERIOD_S, self._expire)

    def _calm_down(self) -> None:
        """Begin the liveness phase: undo every fault, and start everything again that is not dead for good."""
        environment = self.environment
        environment.trace("nothing fails any more")
        self._calm_since_s = environment.scheduler.now_s
        environment.is_calm = True
        environment.conditions = environment.conditions.calmed()
        environment.network.heal_all()
        environment.archive.full = False
        environment.backend.forget_faults()
        environment.backend.revive_watches()
        environment.backend.deliver_late()
        for replica in self.replicas.values():
            if not replica.process.alive:
                replica.start()
            elif replica.process.hung:
                replica.process.wake()
            if replica.retired:
                replica.process.do(replica.campaign_again)
            replica.store_changed()
        for drone in self.drones.values():
            drone.disk.tear_next = False
            drone.flight.jammed = False
            drone.refuses = None
            if drone.process.hung and drone.process.alive:
                drone.process.wake()
            if not drone.process.alive and not drone.dead:
                drone.start()

    def _wait_for_the_end(self) -> None:
        scheduler, profile = self.environment.scheduler, self.environment.profile
        end_s = profile.safety_s + profile.liveness_s
        while scheduler.now_s < end_s and self._unfinished():
            scheduler.run_until(scheduler.now_s + DONE_PERIOD_S)

    # --- DrainWitness -------------------------------------------------------------------------------------------------

    def calm_since_s(self) -> float | None:
        return self._calm_since_s

    def committed_s(self, revision: int) -> float:
        return self.recorder.committed_s(revision)

    def is_gone(self, drone_id: str) -> bool:
        return self.drones[drone_id].dead

    def drains_within(self, backlog: Mapping[str, Waiting], within_s: float) -> bool:
        environment, there = self.environment, [drone for drone in self.drones.values() if not drone.dead]
        flown = [w.order for w in backlog.values() if w.order.deadline_s is None and w.cancelled_after_s is None]
        if least_time_s(environment.fleet, [drone.drone_class for drone in there], flown) > within_s:
            return False
        twin = World(environment.seed, environment.profile.without_faults())
        for drone in self.drones.values():
            twin.drones[drone.id].dead = drone.dead
        left = [self._as_it_was(waiting) for waiting in backlog.values()]
        return twin._ends(left, within_s)

    def _as_it_was(self, waiting: Waiting) -> Waiting:
        """Return an order of the backlog with the time to its deadline that it had left when the last fault ended."""
        order = waiting.order
        if order.deadline_s is None or self._calm_since_s is None:
            return waiting
        age_s = self._calm_since_s - self.environment.packages.of(order.message_id).placed_s
        return replace(waiting, order=replace(order, deadline_s=max(LEAST_LEFT_S, order.deadline_s - age_s)))

    def _ends(self, backlog: list[Waiting], within_s: float) -> bool:
        """Play nothing but these orders, placed all at once, and return whether all have ended in ``within_s``."""
        scheduler, recorder = self.environment.scheduler, self.recorder
        self._start()
        scheduler.run_until(SETTLED_S)
        for waiting in backlog:
            self.shops[0].take(waiting.order, waiting.cancelled_after_s)
        end_s = SETTLED_S + within_s
        while scheduler.now_s < end_s:
            scheduler.run_until(min(end_s, scheduler.now_s + DONE_PERIOD_S))
            recorder.record()
            if all(waiting.order.message_id in recorder.ended for waiting in backlog):
                return True
        return False

    # --- judging ------------------------------------------------------------------------------------------------------

    def _unfinished(self) -> list[str]:
        """Return what has begun and not ended."""
        self.recorder.record()
        view, ended = self.recorder.view, self.recorder.ended
        left: list[str] = []
        for shop in self.shops:
            if shop.unanswered:
                left.append(f"{shop.unanswered} requests of {shop.name} were never answered")
            for message_id in shop.accepted:
                if message_id not in ended:
                    saga = view.saga_of(message_id)
                    where = "in no saga" if saga is None else f"{saga.status.value} with {saga.drone_id}, {saga.reason}"
                    left.append(f"order {message_id} has not ended: {where}")
        left += [f"{drone_id} is still reserved" for drone_id in view.reservations]
        left += [f"the request to cancel {message_id} was never answered" for message_id in view.cancels]
        left += [f"the decision about {message_id} was never carried out" for message_id in view.commands]
        left += [f"{key} cannot be read" for key in view.corrupt]
        for drone in self.drones.values():
            if not drone.dead and not drone.is_at_rest:
                left.append(f"{drone.id} is not done: {drone.phase.name}")
        return left

    def _judge(self) -> SeedResult:
        environment, recorder = self.environment, self.recorder
        left = self._unfinished()
        report = check(iter(recorder.history), self._journals(), complete=True, judges=self._judges())
        seen = [*environment.violations, *(("I3", text) for text in left)]
        seen += [("I5", text) for text in environment.packages.broken]
        invariants = Counter(report.invariants)
        invariants.update(invariant for invariant, _ in seen)
        problems = [f"{invariant} {text}" for invariant, text in seen]
        problems += [f"{v.invariant} {v.text} (revisions {v.revisions})" for v in report.violations]
        for change in recorder.history:
            environment.hash_in(repr(change))
        for journal in self._journals():
            environment.hash_in(repr(journal))
        view, ended = recorder.view, recorder.ended
        going_on = [s for m in view.sagas if (s := view.saga_of(m)) is not None and m not in ended]
        statuses = Counter(saga.status.value for saga in (*ended.values(), *going_on))
        return SeedResult(
            seed=environment.seed,
            profile=environment.profile.name,
            simulated_s=environment.scheduler.now_s,
            events=environment.scheduler.events,
            orders=report.orders,
            ended=dict(sorted(statuses.items())),
            faults=dict(sorted(environment.faults.items())),
            met={
                kind: {phase: environment.met[kind, phase] for phase in PHASES}
                for kind in environment.faults
                if kind in FAULTS
            },
            invariants={key: invariants[key] for key in INVARIANTS},
            judges={key: report.judges.get(key, 0) for key in JUDGES},
            problems=tuple(problems[:MAX_PROBLEMS]),
            trace_hash=environment.trace_hash,
        )

    def _judges(self) -> list[Invariant]:
        spare_s = self.environment.profile.calm_spare_s
        calm = [Goodput(spare_s)] if spare_s is not None else []
        witness = self.witness
        cancels = CancelHonoured(witness, witness.within_s)
        policy = self.environment.dispatch_policy()
        stays = BoundedStay(witness, self.environment.fleet, policy, witness.within_s)
        office = OfficeHeldUsefully(self.office, witness.within_s)
        rates: list[Invariant] = [*calm, DrainRate(self, RECOVERY_S + witness.within_s)]
        return [JustifiedEnd(witness), cancels, stays, FairBreaker(witness), ParkWithCause(witness), *rates, office]

    def _journals(self) -> list[JournalHistory]:
        return [
            journal_history(drone.id, identity, entries)
            for drone in self.drones.values()
            for identity, entries in drone.disk.written.items()
        ]
