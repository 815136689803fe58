"""The simulated region: puts the parts together, lets a seed play out, and judges what came of it.

A run has two phases. In the *safety* phase everything may fail at any time, and nothing wrong may happen. In the
*liveness* phase nothing fails any more, and what has begun must end: every order that was accepted reaches a terminal
state, its reservation is gone, and its drone knows that its outcome is on record.
"""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from ..core.policies import BreakerPolicy, DispatchPolicy
from ..core.saga import CLEARED
from ..core.types import (
    DroneClass,
    Entry,
    FleetSpec,
    GeoPoint,
    Kind,
    Reservation,
    Saga,
    SagaEvent,
    SagaStatus,
    StoreChange,
)
from ..core.view import FleetView
from ..store import MemoryBackend
from ..verification.checker import check
from ..verification.journals import journal_history
from ..verification.records import INVARIANTS, JournalHistory
from .archive import MemoryArchive
from .cached import CachedStore
from .drone import Drone
from .faults import Injector
from .network import Network
from .physics import Packages
from .profile import Conditions, Profile
from .replica import Replica
from .scheduler import OutOfBounds, Scheduler, SimulatedClock
from .users import OPERATOR, Operator, Shop

REGION = "simulated"
DEPOT = GeoPoint(37.7577, -122.3876)
#: Quick to load and to charge: what takes long in a delivery is of no interest here.
COURIER = DroneClass(
    "courier", 3.0, 25.0, 8.0, 40.0, 550.0, 6.0, 700.0, charge_power_w=20_000.0, load_time_s=4.0, drop_time_s=2.0
)
HEAVY = DroneClass(
    "heavy", 8.0, 20.0, 6.0, 40.0, 2400.0, 14.0, 2000.0, charge_power_w=40_000.0, load_time_s=6.0, drop_time_s=3.0
)
PATTERN = (COURIER, COURIER, HEAVY)

#: Leases run out at their time, give or take this (s).
EXPIRY_PERIOD_S = 0.5
#: So often (s) the liveness phase asks whether all is done.
DONE_PERIOD_S = 5.0
#: The store's first change makes this revision of it.
FIRST_REVISION = 2
#: A reservation whose lease runs out at once does so within this (s).
EXPIRES_WITHIN_S = 0.3
#: Longest that a drone's program stays down after a crash (s).
RESTART_S = 20.0
#: A report lists so many problems.
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a seed. ``problems`` has the first violations as text, ``invariants`` counts all of them."""

    seed: int
    profile: str
    simulated_s: float
    events: int
    orders: int
    ended: dict[str, int]
    faults: dict[str, int]
    invariants: dict[str, int]
    problems: tuple[str, ...]
    trace_hash: str

    @property
    def ok(self) -> bool:
        return not self.problems


class _TraceHandler(logging.Handler):
    def __init__(self, trace: Callable[[str], None]) -> None:
        super().__init__()
        self._write = trace

    def emit(self, record: logging.LogRecord) -> None:
        self._write(f"{record.name}: {record.levelname.lower()}: {record.getMessage()}")


class World:
    """One run. ``run`` once. With ``trace`` what happens is kept as ``lines``, else it is only hashed."""

    def __init__(self, seed: int, profile: Profile, *, trace: bool = False) -> None:
        self.seed = seed
        self.profile = profile
        self.rng = Random(f"{profile.name}/{seed}")
        self.conditions = Conditions.draw(profile, self.rng)
        self.faults: Counter[str] = Counter()
        self._lines: list[tuple[float, str]] = []
        self._committed_s: list[float] = []  # when each revision was made, from revision 2 on
        self.is_calm = False
        self.scheduler = Scheduler(profile.max_events)
        self.network = Network(self.scheduler, self.rng, lambda: self.conditions, self.faults)
        self.fleet = FleetSpec(REGION, DEPOT, profile.service_radius_m, (COURIER, HEAVY))
        self.packages = Packages(DEPOT, self._may_take)
        self.expires_next_reservation = False
        self._cleared: dict[str, str] = {}  # order -> drone that holds a clearance
        self.backend = MemoryBackend(lambda: self.scheduler.now_s, threaded=False, on_change=self._store_changed)
        self.archive = MemoryArchive()
        self._trace = trace
        self._digest = hashlib.blake2b(digest_size=16)
        self._wrong: list[tuple[str, str]] = []
        self.decoded: dict[tuple[str, int], Entry] = {}
        self._recorder = CachedStore(self.backend, REGION, "recorder", decoded=self.decoded)
        self._recorded = 0
        self._record_due = False
        self._history: list[StoreChange] = []
        self._view = FleetView()
        self._ended: dict[str, Saga] = {}
        self._untrue: set[str] = set()  # orders that were caught lying already
        self.replicas = {name: Replica(self, name) for name in (f"o{i}" for i in range(1, profile.replicas + 1))}
        self.drones = {
            name: Drone(self, name, PATTERN[i % len(PATTERN)])
            for i, name in enumerate(f"d{i}" for i in range(1, profile.drones + 1))
        }
        self.shops = (Shop(self, "shop1"), Shop(self, "shop2"))
        self.clocks: dict[str, SimulatedClock] = {
            **{replica.name: replica.clock for replica in self.replicas.values()},
            **{drone.id: drone.clock for drone in self.drones.values()},
            **{shop.name: shop.clock for shop in self.shops},
        }

    # --- the run ------------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """Play the seed out, and judge it."""
        try:
            self._begin()
            injector = Injector(self)
            self.scheduler.run_until(self.profile.safety_s)
            injector.stop()
            self._calm_down()
            self._wait_for_the_end()
        except OutOfBounds as error:
            self.wrong("I3", str(error))
        except Exception as error:
            self.defect(repr(error), error)
        return self._judge()

    def dispatch_policy(self) -> DispatchPolicy:
        ttl_s = self.conditions.reservation_ttl_s
        return DispatchPolicy(
            lost_grace_s=self.profile.lost_grace_s,
            keep_reservation_s=ttl_s / 5.0,
            drone_fresh_s=3.0 * self.profile.state_period_s,
            replan_period_s=2.0,
            max_attempts=50,
            max_recall_tries=5,
            recall_cap_s=6.0,
            breaker=BreakerPolicy(open_s=10.0, open_cap_s=60.0),
        )

    def _begin(self) -> None:
        for replica in self.replicas.values():
            self.scheduler.after(self.rng.random(), replica.start)
        for drone in self.drones.values():
            self.scheduler.after(self.rng.random(), drone.start)
        Operator(self)
        self.scheduler.after(EXPIRY_PERIOD_S, self._expire)
        for number in range(self.profile.orders):
            shop = self.rng.choice(self.shops)
            at_s = self.rng.uniform(1.0, 0.8 * self.profile.safety_s)
            self.scheduler.at(at_s, partial(shop.place, number))

    def _expire(self) -> None:
        self.backend.pump("")  # expires leases; there is no such client to deliver to
        self.scheduler.after(EXPIRY_PERIOD_S, self._expire)

    def _calm_down(self) -> None:
        """Nothing fails any more, and all that is not dead for good runs again."""
        self.trace("nothing fails any more")
        self.is_calm = True
        self.conditions = self.conditions.calmed()
        self.network.heal_all()
        self.empty_archive()
        self.backend.forget_faults()
        self.backend.deliver_late()
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
            if drone.process.hung and drone.process.alive:
                drone.process.wake()
            if not drone.process.alive and not drone.dead:
                drone.start()

    def _wait_for_the_end(self) -> None:
        end_s = self.profile.safety_s + self.profile.liveness_s
        while self.scheduler.now_s < end_s and self._unfinished():
            self.scheduler.run_until(self.scheduler.now_s + DONE_PERIOD_S)

    # --- what the parts ask for ---------------------------------------------------------------------------------------

    def trace(self, text: str) -> None:
        """Something worth telling: part of the run's hash, and kept if the run is traced."""
        self._digest.update(f"{self.scheduler.now_s:9.3f} {text}".encode())
        self._note(text)

    def _note(self, text: str) -> None:
        if self._trace:
            self._lines.append((self.scheduler.now_s, text))

    @property
    def lines(self) -> list[str]:
        """The trace so far: one line for each thing that happened, and for each key that was changed."""
        return [f"{at_s:9.3f} {text}" for at_s, text in sorted(self._lines, key=lambda line: line[0])]

    def logger(self, name: str) -> logging.Logger:
        """For a part that logs: into the trace, where there is one."""
        logger = logging.Logger(name)
        if self._trace:
            logger.addHandler(_TraceHandler(self._note))
        else:
            logger.setLevel(logging.CRITICAL + 1)
        return logger

    def wrong(self, invariant: str, text: str) -> None:
        """Something that must never happen has happened."""
        self.trace(f"WRONG {invariant} {text}")
        self._wrong.append((invariant, text))

    def defect(self, text: str, error: BaseException) -> None:
        """An exception where there must be none: the order that it was about may be lost (I3)."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        at = "".join(f" at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in where)
        self.wrong("I3", f"defect: {text}{at}")

    def restart_replica(self, replica: Replica) -> None:
        if not replica.process.alive:
            self.trace(f"{replica.name} starts")
            replica.start()

    def drone_died(self, drone: Drone) -> None:
        """The drone's program has died; somebody starts it again."""
        drone.kill()
        self.scheduler.after(self.rng.uniform(0.5, RESTART_S), lambda: self._restart_drone(drone))

    def _restart_drone(self, drone: Drone) -> None:
        if not drone.process.alive and not drone.dead:
            self.trace(f"{drone.id} starts")
            drone.start()

    def store_clients(self) -> list[str]:
        """Names of the store's clients that faults may hit."""
        return [*self.replicas, *(shop.name for shop in self.shops)]

    def set_store_available(self, available: bool, client: str | None) -> None:
        """Cut a client off from the store, or let it back; ``None``: everybody. The recorder is no program."""
        everybody = [*self.replicas, *(shop.name for shop in self.shops), OPERATOR]
        for name in everybody if client is None else [client]:
            self.backend.set_available(available, name)
        for replica in self.replicas.values():
            replica.store_changed()

    def empty_archive(self) -> None:
        """Somebody has made room."""
        self.archive.full = False

    def compact(self) -> None:
        self._record()
        self.backend.compact()

    def parked(self) -> list[Saga]:
        """Orders whose compensation waits for a person, as the store says."""
        self._record()
        return [stored.value for stored in self._view.sagas.values() if stored.value.parked]

    def _store_changed(self) -> None:
        self._committed_s.append(self.scheduler.now_s)
        if not self._record_due:
            # At this very instant, but not within the store's own call.
            self._record_due = True
            self.scheduler.after(0.0, self._record)
        for replica in self.replicas.values():
            replica.store_changed()

    def _record(self) -> None:
        """Take down what the store has seen since, before it may forget it."""
        self._record_due = False
        for change in self._recorder.history(self._recorded):
            self._history.append(change)
            self._recorded = change.revision
            self._view.apply(change)
            for entry in change.entries:
                if isinstance(entry.value, SagaEvent) and entry.value.type == CLEARED:
                    self._cleared[entry.value.message_id] = entry.value.drone_id or ""
                elif isinstance(entry.value, Reservation) and entry.value.leased and self.expires_next_reservation:
                    self.expires_next_reservation = False
                    self.scheduler.after(
                        self.rng.random() * EXPIRES_WITHIN_S, partial(self._expire_reservation, entry.id)
                    )
                if entry.kind is Kind.SAGA:
                    self._note_end(entry)
                    self._hold_against_truth(entry)
            if self._trace:
                self._trace_change(change)

    def _expire_reservation(self, drone_id: str) -> None:
        key = self._recorder.keys.assignment(drone_id)
        if not self.is_calm and key in self.backend.leased_keys():
            self.backend.expire_lease_of(key)

    def _may_take(self, message_id: str, drone_id: str) -> bool:
        """Whether the store says, now, that the drone was cleared to load the order's package."""
        self._record()
        return self._cleared.get(message_id) == drone_id

    def _note_end(self, entry: Entry) -> None:
        if isinstance(entry.value, Saga):
            if entry.value.status.is_terminal:
                self._ended[entry.id] = entry.value
            return
        archived = self.archive.orders.get(entry.id)
        if archived is None or archived.saga != self._ended.get(entry.id):
            self.wrong("I3", f"order {entry.id} left the store without having been archived as it ended")

    def _hold_against_truth(self, entry: Entry) -> None:
        """What a saga says about its package must be so when it says it."""
        saga = entry.value
        if isinstance(saga, Saga) and saga.status is SagaStatus.PENDING:
            self._cleared.pop(saga.message_id, None)  # that attempt is over
        if not isinstance(saga, Saga) or saga.message_id in self._untrue:
            return
        text = self.packages.contradiction(saga)
        if text:
            self._untrue.add(saga.message_id)
            self.wrong("I5", text)

    def _trace_change(self, change: StoreChange) -> None:
        for entry in change.entries:
            value = entry.value
            what = "gone" if value is None else type(value).__name__
            if isinstance(value, Saga):
                what = f"{value.status.value} {value.drone_id} {value.reason}"
            text = f"  store {change.revision}: {entry.kind.value}/{entry.id} {what}"
            self._lines.append((self._committed_s[change.revision - FIRST_REVISION], text))

    # --- judging ------------------------------------------------------------------------------------------------------

    def _unfinished(self) -> list[str]:
        """What has begun and not ended."""
        self._record()
        left: list[str] = []
        for shop in self.shops:
            if shop.unanswered:
                left.append(f"{shop.unanswered} requests of {shop.name} were never answered")
            for message_id in shop.accepted:
                if message_id not in self._ended:
                    saga = self._view.saga_of(message_id)
                    where = "in no saga" if saga is None else f"{saga.status.value} with {saga.drone_id}, {saga.reason}"
                    left.append(f"order {message_id} has not ended: {where}")
        left += [f"{drone_id} is still reserved" for drone_id in self._view.reservations]
        left += [f"a wish to cancel {message_id} was never answered" for message_id in self._view.cancels]
        left += [f"a decision about {message_id} was never carried out" for message_id in self._view.commands]
        for drone in self.drones.values():
            if not drone.dead and not drone.is_at_rest:
                left.append(f"{drone.id} is not done: {drone.phase.name}")
        return left

    def _judge(self) -> Result:
        left = self._unfinished()
        report = check(iter(self._history), self._journals(), complete=True)
        seen = [*self._wrong, *(("I3", text) for text in left)]
        seen += [("I5", text) for text in self.packages.broken]
        invariants = Counter(report.invariants)
        invariants.update(invariant for invariant, _ in seen)
        problems = [f"{invariant} {text}" for invariant, text in seen]
        problems += [f"{v.invariant} {v.text} (revisions {v.revisions})" for v in report.violations]
        for change in self._history:
            self._digest.update(repr(change).encode())
        for journal in self._journals():
            self._digest.update(repr(journal).encode())
        going_on = [s for m in self._view.sagas if (s := self._view.saga_of(m)) is not None and m not in self._ended]
        statuses = Counter(saga.status.value for saga in (*self._ended.values(), *going_on))
        return Result(
            seed=self.seed,
            profile=self.profile.name,
            simulated_s=self.scheduler.now_s,
            events=self.scheduler.events,
            orders=report.orders,
            ended=dict(sorted(statuses.items())),
            faults=dict(sorted(self.faults.items())),
            invariants={key: invariants[key] for key in INVARIANTS},
            problems=tuple(problems[:MAX_PROBLEMS]),
            trace_hash=self._digest.hexdigest(),
        )

    def _journals(self) -> list[JournalHistory]:
        return [
            journal_history(drone.id, identity, entries)
            for drone in self.drones.values()
            for identity, entries in drone.disk.written.items()
        ]
