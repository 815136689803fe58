"""Injects faults: each kind that the seed has drawn strikes at random moments, and ends after a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ..core.reasons import GoalRefusal, RefusalCause
from ..core.types import Phase, SagaStatus
from .drone import SimulatedDrone
from .environment import Environment
from .recorder import PHASES, Recorder, phase_of
from .replica import SimulatedReplica
from .scheduler import SimulatedClock
from .users import OPERATOR, SimulatedShop

T = TypeVar("T")

#: Longest time (s) for which a replica hears no drone.
DEAF_FOR_S = 300.0
#: The same for a drone that does not get on, and the period (s) in which judges are told that it still troubles orders.
STUCK_FOR_S = 1500.0
TROUBLING_PERIOD_S = 20.0

#: How far a wall clock may be set (s), either way.
CLOCK_JUMPS_S = (0.5, 30.0, 3600.0)
#: Epoch of another fleet's leader. Its store has lived longer than any simulated one.
FOREIGN_EPOCH = 10**12
#: One reason for each cause of a refusal, but for the order's: a drone that finds fault with a good order lies.
REFUSALS = (GoalRefusal.STALE_EPOCH, GoalRefusal.TOO_HEAVY, GoalRefusal.BUSY, GoalRefusal.JOURNAL_UNUSABLE)
#: A drone refuses goals for up to this time (s): long enough for a breaker to open.
REFUSES_S = 120.0
#: A delayed request reaches the store within this time (s): no network keeps one for minutes.
LATEST_S = 20.0
#: A fault waits this long (s) for an order in the phase that was drawn for it, and looks this often (s). Left to chance
#: alone, faults would hardly ever meet the short phases.
PATIENCE_S = 20.0
SEEK_PERIOD_S = 0.1


class FaultInjector:
    """Injects the kinds of :data:`.profile.FAULTS` until :meth:`stop`.

    The method ``_<kind>`` strikes and returns its victim for the trace, or ``""`` if there was none.
    """

    def __init__(
        self,
        environment: Environment,
        recorder: Recorder,
        replicas: Mapping[str, SimulatedReplica],
        drones: Mapping[str, SimulatedDrone],
        shops: Sequence[SimulatedShop],
    ) -> None:
        self._environment = environment
        self._recorder = recorder
        self._replicas = replicas
        self._drones = drones
        self._store_clients = [*replicas, *(shop.name for shop in shops)]
        self._clocks: dict[str, SimulatedClock] = {
            **{replica.name: replica.clock for replica in replicas.values()},
            **{drone.id: drone.clock for drone in drones.values()},
            **{shop.name: shop.clock for shop in shops},
        }
        self._rng = environment.chance.of("fault")  # while a fault strikes: the stream of its kind
        self._wanted = ""  # while a fault strikes: the phase of an order that was drawn for it
        self._stopped = False
        for kind, period_s in environment.conditions.periods_s.items():
            self._plan(kind, period_s)

    def stop(self) -> None:
        self._stopped = True

    def _plan(self, kind: str, period_s: float) -> None:
        strike: Callable[[], str] = getattr(self, f"_{kind}")
        when, how = (self._environment.chance.of("fault", kind, name) for name in ("when", "how"))

        def act(wanted: str, patience_s: float) -> None:
            if self._stopped:
                return
            if patience_s > 0.0 and not self._recorder.phases[wanted]:
                self._environment.scheduler.after(SEEK_PERIOD_S, lambda: act(wanted, patience_s - SEEK_PERIOD_S))
                return
            self._rng, self._wanted = how, wanted
            target = strike()
            if target:
                self._environment.strike(kind, target)
                self._environment.met.update((kind, phase) for phase in self._phases_met(target))
            self._plan(kind, period_s)

        self._environment.scheduler.after(
            when.expovariate(1.0 / period_s), lambda: act(when.choice(PHASES), PATIENCE_S)
        )

    def _phases_met(self, victim: str) -> set[str]:
        """Return the phases of the orders that a fault meets: all open ones, but of the orders that have a drone only
        those of the victim if that is a drone."""
        self._recorder.record()
        view, drone_id = self._recorder.view, victim.partition(" ")[0]
        met = {SagaStatus.PENDING.value} if any(view.waiting()) else set()
        for stored in view.sagas.values():
            saga = stored.value
            if not saga.status.is_terminal and (drone_id not in self._drones or saga.drone_id in (None, drone_id)):
                met.add(phase_of(saga))
        return met

    def _later(self, longest_s: float, action: Callable[[], object]) -> None:
        self._environment.scheduler.after(self._rng.uniform(0.1, longest_s), action)

    # --- orchestrators ----------------------------------------------------------------------------------------------

    def _replica(self) -> SimulatedReplica | None:
        """Choose a running replica, most often the leader, because it has most to lose."""
        running = [r for r in self._replicas.values() if r.process.alive]
        leaders = [r for r in running if r.epoch]
        return self._one_of(leaders if leaders and self._rng.random() < 0.7 else running)

    def _one_of(self, candidates: Sequence[T]) -> T | None:
        return self._rng.choice(candidates) if candidates else None

    def _replica_crash(self) -> str:
        replica = self._replica()
        if replica is None:
            return ""
        replica.kill()
        self._later(20.0, replica.restart)
        return replica.name

    def _replica_stop(self) -> str:
        replica = self._replica()
        if replica is None or replica.process.hung:
            return ""
        replica.stop()
        self._later(20.0, replica.restart)
        return replica.name

    def _replica_hang(self) -> str:
        replica = self._replica()
        if replica is None or replica.process.hung:
            return ""
        process = replica.process
        process.hang()
        self._later(15.0, process.wake)
        return replica.name

    def _handover(self) -> str:
        leader = self._one_of([r for r in self._replicas.values() if r.process.runs and r.epoch])
        if leader is None:
            return ""
        process = leader.process
        leader.hand_over()
        self._later(30.0, lambda: process.do(leader.campaign_again))
        return leader.name

    def _watch_dead(self) -> str:
        """Let a replica's watch deliver nothing more, while its calls still work."""
        replica = self._replica()
        if replica is None:
            return ""
        self._environment.backend.kill_watches(replica.name)
        self._later(60.0, self._revive_watches)
        return replica.name

    def _revive_watches(self) -> None:
        self._environment.backend.revive_watches()
        for replica in self._replicas.values():
            replica.store_changed()

    def _replica_deaf(self) -> str:
        """Let a replica hear no drone, while the drones and the other replicas hear it."""
        replica = self._replica()
        if replica is None:
            return ""
        pairs = [(drone_id, replica.name) for drone_id in self._drones]
        for pair in pairs:
            self._environment.network.cut(*pair)
        self._later(DEAF_FOR_S, lambda: self._heal(pairs))
        return replica.name

    # --- network ------------------------------------------------------------------------------------------------------

    def _pairs(self) -> list[tuple[str, str]]:
        """Choose one to three machines and those that they are cut off from. Return the pairs."""
        drones, replicas = list(self._drones), list(self._replicas)
        inside = self._rng.sample(drones + replicas, self._rng.randint(1, 3))
        outside = replicas if self._rng.random() < 0.5 else [self._rng.choice(replicas)]
        return [(one, other) for one in inside for other in (*outside, *drones) if other not in inside]

    def _partition(self) -> str:
        return self._cut([pair for a, b in self._pairs() for pair in ((a, b), (b, a))])

    def _partition_one_way(self) -> str:
        pairs = self._pairs()
        return self._cut(pairs if self._rng.random() < 0.5 else [(b, a) for a, b in pairs])

    def _leader_unheard(self) -> str:
        """Make the leader mute or deaf: its messages to the drones are lost, or theirs to it."""
        leader = self._one_of([r for r in self._replicas.values() if r.process.runs and r.epoch])
        if leader is None:
            return ""
        pairs = [(leader.name, drone_id) for drone_id in self._drones]
        return self._cut(pairs if self._rng.random() < 0.5 else [(b, a) for a, b in pairs])

    def _cut(self, pairs: Sequence[tuple[str, str]]) -> str:
        network = self._environment.network
        for pair in pairs:
            network.cut(*pair)
        self._later(40.0, lambda: self._heal(pairs))
        return " ".join(sorted({a for a, _ in pairs}))

    def _heal(self, pairs: Sequence[tuple[str, str]]) -> None:
        for pair in pairs:
            self._environment.network.heal(*pair)

    # --- store --------------------------------------------------------------------------------------------------------

    def _client(self) -> str:
        """Choose a client of the store, most often the leader, because it has most to lose."""
        leaders = [r.name for r in self._replicas.values() if r.epoch]
        return self._rng.choice(leaders if leaders and self._rng.random() < 0.5 else self._store_clients)

    def _set_store_available(self, available: bool, client: str | None) -> None:
        """Connect ``client`` to the store, or cut it off. ``None``: every client but the recorder."""
        for name in [*self._store_clients, OPERATOR] if client is None else [client]:
            self._environment.backend.set_available(available, name)
        for replica in self._replicas.values():
            replica.store_changed()

    def _store_outage(self) -> str:
        self._set_store_available(False, None)
        self._later(15.0, lambda: self._set_store_available(True, None))
        return "all"

    def _store_outage_one_client(self) -> str:
        client = self._client()
        self._set_store_available(False, client)
        self._later(20.0, lambda: self._set_store_available(True, client))
        return client

    def _store_answer_lost(self) -> str:
        client = self._client()
        self._environment.backend.lose_answers(self._rng.randint(1, 3), applied=True, client=client)
        return client

    def _store_request_late(self) -> str:
        client = self._client()
        self._environment.backend.lose_answers(self._rng.randint(1, 3), applied=False, client=client)
        self._later(LATEST_S, self._deliver_late)
        return client

    def _deliver_late(self) -> None:
        """Deliver the delayed requests now. Requests delayed since then are delivered in the next round."""
        self._environment.backend.deliver_late()
        if self._environment.backend.has_late():
            self._environment.scheduler.after(LATEST_S, self._deliver_late)

    def _watch_broken(self) -> str:
        replica = self._replica()
        if replica is None:
            return ""
        self._environment.backend.break_watches(replica.name)
        replica.store_changed()
        return replica.name

    def _compaction(self) -> str:
        self._recorder.compact()
        return "now"

    def _lease_expired(self) -> str:
        if self._rng.random() < 0.5:
            # The hardest moment is just after a reservation was made: the leader may not know yet that it was.
            self._recorder.expires_next_reservation = True
            return "the next reservation"
        key = self._one_of(self._environment.backend.leased_keys())
        if key is None:
            return ""
        self._environment.backend.expire_lease_of(key)
        return key

    def _archive_full(self) -> str:
        if self._environment.conditions.retention_s is None:
            return ""
        self._environment.archive.full = True
        self._later(60.0, self._empty_archive)
        return "archive"

    def _empty_archive(self) -> None:
        self._environment.archive.full = False

    # --- clocks -------------------------------------------------------------------------------------------------------

    def _clock_jump(self) -> str:
        name = self._rng.choice(list(self._clocks))
        by_s = self._rng.choice((-1.0, 1.0)) * self._rng.uniform(0.0, self._rng.choice(CLOCK_JUMPS_S))
        self._clocks[name].wall_error_s += by_s
        return f"{name} {by_s:+.1f} s"

    # --- drones -------------------------------------------------------------------------------------------------------

    def _drone(self) -> SimulatedDrone | None:
        """Choose a drone whose program runs: one whose order is in the wanted phase, else most often a busy one."""
        running = [d for d in self._drones.values() if d.process.alive]
        sagas = (stored.value for stored in self._recorder.view.sagas.values())
        wanted = {saga.drone_id for saga in sagas if phase_of(saga) == self._wanted}
        there = [d for d in running if d.id in wanted]
        if there:
            return self._one_of(there)
        busy = [d for d in running if d.phase not in (Phase.IDLE, Phase.GROUNDED)]
        return self._one_of(busy if busy and self._rng.random() < 0.8 else running)

    def _foreign_leader(self) -> str:
        """Let a leader of another fleet, whose store has lived longer, command a drone."""
        drone = self._drone()
        if drone is None or not drone.hear_foreign_leader(FOREIGN_EPOCH):
            return ""
        return f"{drone.id} {drone.phase.name}"

    def _drone_crash(self) -> str:
        drone = self._drone()
        if drone is None:
            return ""
        phase = drone.phase.name
        drone.crash()
        return f"{drone.id} {phase}"

    def _drone_hang(self) -> str:
        drone = self._drone()
        if drone is None or drone.process.hung:
            return ""
        process = drone.process
        process.hang()
        self._later(40.0, process.wake)
        return f"{drone.id} {drone.phase.name}"

    def _drone_fault(self) -> str:
        drone = self._drone()
        if drone is None:
            return ""
        drone.flight.fault = "motor_failure"
        return f"{drone.id} {drone.phase.name}"

    def _drone_stuck(self) -> str:
        """Let a busy drone hover, or its loader jam, while its program works and is heard."""
        drone = self._drone()
        if drone is None or drone.flight.jammed or drone.phase in (Phase.IDLE, Phase.GROUNDED):
            return ""
        drone.flight.jammed = True
        self._keep_troubling(drone)
        self._later(STUCK_FOR_S, lambda: setattr(drone.flight, "jammed", False))
        return f"{drone.id} {drone.phase.name}"

    def _keep_troubling(self, drone: SimulatedDrone) -> None:
        if drone.flight.jammed:
            environment = self._environment
            environment.struck_s.append(environment.scheduler.now_s)
            environment.scheduler.after(TROUBLING_PERIOD_S, lambda: self._keep_troubling(drone))

    def _drone_refuses(self) -> str:
        """Let a drone refuse every goal for a while; so do all of its class if that is configured so."""
        drone = self._one_of([d for d in self._drones.values() if d.process.alive and d.refuses is None])
        if drone is None:
            return ""
        refusal = self._rng.choice(REFUSALS)
        is_class = refusal.cause is RefusalCause.CONFIGURATION
        refusing = [d for d in self._drones.values() if d is drone or (is_class and d.drone_class is drone.drone_class)]

        def set_refusal(refuses: GoalRefusal | None) -> None:
            for each in refusing:
                each.refuses = refuses

        set_refusal(refusal)
        self._environment.scheduler.after(self._rng.uniform(1.0, REFUSES_S), lambda: set_refusal(None))
        return f"{drone.id} {refusal}"

    def _drone_dead(self) -> str:
        """Kill a drone for good. One drone of each class stays, or some orders could never be flown."""
        drone = self._drone()
        if drone is None or sum(d.dead for d in self._drones.values()) >= self._environment.profile.max_dead_drones:
            return ""
        if sum(d.drone_class is drone.drone_class and not d.dead for d in self._drones.values()) < 2:
            return ""
        phase = drone.phase.name
        drone.dead = True
        drone.kill()
        drone.flight.break_off()
        drone.flight.hold()
        return f"{drone.id} {phase}"

    # --- journals -----------------------------------------------------------------------------------------------------

    def _journal_torn(self) -> str:
        drone = self._drone()
        if drone is None:
            return ""
        drone.disk.tear_next = True
        return drone.id

    def _journal_lost(self) -> str:
        drone = self._drone()
        if drone is None:
            return ""
        drone.crash()
        drone.disk.lose()
        return drone.id

    def _journal_damaged(self) -> str:
        drone = self._drone()
        if drone is None or not drone.disk.damage():
            return ""
        drone.crash()
        return drone.id
