"""A small synchronous world for tests of the core: replicas on the in-memory store, and scripted drones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from drone_orchestrator.core.leader.configuration import Configuration
from drone_orchestrator.core.leader.effects import (
    Archive,
    Campaign,
    Commit,
    Compact,
    Effect,
    FollowAgain,
    HoldFleet,
    KeepReservation,
    RefreshLease,
    Resign,
    SendGoal,
    SetAside,
)
from drone_orchestrator.core.leader.events import (
    CampaignDone,
    ClearanceRequested,
    CommitDone,
    DroneHeard,
    Event,
    GoalAnswered,
    LeaseLost,
    LeaseRefreshed,
    StoreChanged,
    Tick,
    ViewLoaded,
)
from drone_orchestrator.core.leader.orchestrator import Orchestrator
from drone_orchestrator.core.policies import DispatchPolicy, ElectionPolicy, RetentionPolicy
from drone_orchestrator.core.types import (
    ArchivedOrder,
    DroneClass,
    DroneReport,
    FleetSpec,
    GeoPoint,
    Instant,
    LeaderRecord,
    Order,
    Phase,
    Saga,
)
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.ports import ArchiveUnavailable, StoreError, WatchHandle
from drone_orchestrator.runtime import archive as archives
from drone_orchestrator.store import MemoryBackend, MemoryStore

DEPOT = GeoPoint(37.7577, -122.3876)
COURIER = DroneClass("courier", 3.0, 20.0, 5.0, 60.0, 550.0, 6.0, 700.0)
FLEET = FleetSpec("sf", DEPOT, 8000.0, (COURIER,))


def make_order(number: int = 1, **changes: object) -> Order:
    order = Order(f"m{number}", f"ORD-{number}", GeoPoint(37.7749, -122.4194), 2.3, submitted_at=1000.0)
    return replace(order, **changes)  # type: ignore[arg-type]


def make_report(drone_id: str = "drone_1", **changes: object) -> DroneReport:
    report = DroneReport(drone_id, "courier", f"journal-of-{drone_id}", 0, Phase.IDLE, DEPOT, 550.0)
    return replace(report, **changes)  # type: ignore[arg-type]


@dataclass
class Replica:
    """One orchestrator with its own store client; ``sent`` holds its outgoing effects, in order."""

    name: str
    core: Orchestrator
    store: MemoryStore
    inbox: list[Event] = field(default_factory=list)
    watch: WatchHandle | None = None
    sent: list[Effect] = field(default_factory=list)
    alive: bool = True

    def take(self, kind: type) -> list[Effect]:
        """Return the effects of ``kind`` since the last call."""
        found = [effect for effect in self.sent if isinstance(effect, kind)]
        self.sent = [effect for effect in self.sent if not isinstance(effect, kind)]
        return found


class ArchiveInMemory:
    """An archive that keeps orders in memory, and refuses them while ``failure`` is set."""

    def __init__(self) -> None:
        self.orders: list[ArchivedOrder] = []
        self.batches: list[int] = []
        self.failure = ""

    def append(self, orders: Sequence[ArchivedOrder]) -> None:
        if self.failure:
            raise ArchiveUnavailable(self.failure)
        self.orders += orders
        self.batches.append(len(orders))

    def close(self) -> None: ...


class World:
    """Replicas, store and clock. ``run`` carries out everything that is due; ``advance`` moves the clock first."""

    def __init__(
        self,
        replicas: int = 1,
        dispatch: DispatchPolicy | None = None,
        retention: RetentionPolicy | None = None,
        election: ElectionPolicy | None = None,
    ) -> None:
        self.mono_s = 0.0
        self.wall_offset_s = 0.0
        self.backend = MemoryBackend(lambda: self.mono_s, threaded=False)
        self.intake = MemoryStore(self.backend, "sf", "intake")
        self.replicas: list[Replica] = []
        self.dispatch = dispatch or DispatchPolicy()
        self.election = election or ElectionPolicy()
        self.retention = retention
        self.archive = ArchiveInMemory()
        self.takes_bad_records = False
        self.watches_can_be_made = True
        self.set_aside: list[SetAside] = []
        for index in range(replicas):
            self.add_replica(f"orchestrator_{index}")

    @property
    def now(self) -> Instant:
        return Instant(self.mono_s, 1000.0 + self.mono_s + self.wall_offset_s)

    def add_replica(
        self,
        name: str,
        *,
        fleet: FleetSpec | None = None,
        configuration: Configuration | None = None,
        reservation_ttl_s: float = 10.0,
    ) -> Replica:
        store = MemoryStore(self.backend, "sf", name, reservation_ttl_s=reservation_ttl_s)
        record = LeaderRecord(name, f"{name}-instance", 0.0)
        core = Orchestrator(
            record,
            fleet or FLEET,
            AssignmentPlanner(),
            election=self.election,
            dispatch=self.dispatch,
            retention=self.retention,
            configuration=configuration,
        )
        replica = Replica(name, core, store)
        self.follow(replica)
        self.replicas.append(replica)
        return replica

    def follow(self, replica: Replica) -> None:
        """Let the replica follow the store from a snapshot, with a new watch."""
        if replica.watch is not None:
            replica.watch.close()
        snapshot = replica.store.snapshot()
        replica.inbox.append(ViewLoaded(snapshot))
        replica.watch = replica.store.watch(
            snapshot.revision,
            lambda change: replica.inbox.append(StoreChanged(change)),
            lambda fresh: replica.inbox.append(ViewLoaded(fresh)),
        )

    @property
    def leader(self) -> Replica:
        return next(r for r in self.replicas if r.alive and r.core.role.value == "leader")

    def crash(self, replica: Replica) -> None:
        replica.alive = False
        self.replicas.remove(replica)

    def advance(self, seconds: float) -> None:
        self.mono_s += seconds
        self.run()

    def pass_time(self, seconds: float, *, hear: Iterable[DroneReport] = (), step_s: float = 0.5) -> None:
        """Let time pass in steps, hearing the drones at each."""
        reports = list(hear)
        for _ in range(round(seconds / step_s)):
            for report in reports:
                self.hear(report)
            self.advance(step_s)

    def hear(self, *reports: DroneReport) -> None:
        for replica in self.replicas:
            replica.inbox += [DroneHeard(report) for report in reports]

    def tell(self, *events: Event) -> None:
        """Deliver events to the leader alone."""
        self.leader.inbox += events
        self.run()

    def ask_clearance(self, request_id: int, drone_id: str, order: Order, attempt: int, journal: str = "") -> None:
        journal = journal or f"journal-of-{drone_id}"
        self.tell(ClearanceRequested(request_id, drone_id, order.message_id, attempt, journal, 0))

    def accept_goals(self) -> list[SendGoal]:
        """Let every goal that the leader has sent be accepted by its drone."""
        goals = [g for g in self.leader.take(SendGoal) if isinstance(g, SendGoal)]
        self.tell(*(GoalAnswered(g.drone_id, g.order.message_id, g.attempt, True) for g in goals))
        return goals

    def run(self) -> None:
        """Step every replica until nothing more happens at this instant."""
        for _ in range(200):
            busy = self.backend.pump() > 0
            for replica in list(self.replicas):
                busy = self.step_once(replica) or busy
            if not busy:
                return
        raise AssertionError("the world does not settle")

    def saga(self, order: Order) -> Saga:
        view = self.intake.find(order.message_id)
        assert view is not None and view.saga is not None, f"{order.message_id} has no saga"
        return view.saga

    def step_once(self, replica: Replica) -> bool:
        events, replica.inbox = replica.inbox or [Tick()], []
        effects = replica.core.step(events, self.now)
        for effect in effects:
            self._carry_out(replica, effect)
        return bool(effects) or bool(replica.inbox)

    def _carry_out(self, replica: Replica, effect: Effect) -> None:
        store, inbox = replica.store, replica.inbox
        match effect:
            case Commit():
                result = store.commit(effect.epoch, [effect.change])[0]
                inbox.append(CommitDone(effect, result.fate, result.revision, result.error))
            case Compact():
                store.compact(effect.revision)
            case Archive():
                inbox.append(archives.carry_out(effect, store, self.archive))
            case Campaign() | RefreshLease() | HoldFleet() | Resign():
                self._elect(replica, effect)
            case FollowAgain():
                if self.watches_can_be_made:
                    self.follow(replica)
            case KeepReservation():
                store.keep_reservations([effect.drone_id])
            case SetAside():
                if not self.takes_bad_records:
                    raise AssertionError(f"{effect.what} is set aside") from effect.error
                self.set_aside.append(effect)
            case _:
                replica.sent.append(effect)

    def _elect(self, replica: Replica, effect: Campaign | RefreshLease | HoldFleet | Resign) -> None:
        store, inbox = replica.store, replica.inbox
        match effect:
            case Campaign():
                try:
                    fleet = (effect.fleet, effect.fleet_revision)
                    epoch = store.campaign(effect.record, effect.ttl_s, effect.over_epoch, *fleet)
                    inbox.append(CampaignDone(epoch, self.mono_s))
                except StoreError as error:
                    inbox.append(CampaignDone(0, self.mono_s, str(error)))
            case RefreshLease():
                try:
                    alive = store.refresh_lease(effect.epoch)
                except StoreError:
                    return
                silent_s = replica.watch.silent_s() if replica.watch is not None else 0.0
                refreshed = LeaseRefreshed(effect.epoch, self.mono_s, silent_s)
                inbox.append(refreshed if alive else LeaseLost(effect.epoch))
            case HoldFleet() | Resign():
                _write(store, effect)


def _write(store: MemoryStore, effect: HoldFleet | Resign) -> None:
    with suppress(StoreError):
        if isinstance(effect, Resign):
            store.resign(effect.epoch)
        else:
            store.hold(effect.fleet, effect.revision, effect.epoch)
