"""Vocabulary of the core: orders, drones, sagas, store records. Immutable values, units last in names."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

from .reasons import Reason, RefusedGoal


class SagaStatus(str, Enum):
    """Status of an order. The values are those in etcd, HTTP and ROS."""

    PENDING = "PENDING"  # accepted; no drone yet, or waiting for its next attempt
    ASSIGNED = "ASSIGNED"  # a drone is reserved for it
    DISPATCHED = "DISPATCHED"  # the drone has accepted the goal; the package is in the depot
    LOADING = "LOADING"  # clearance is committed: from now on the package may be on board
    IN_TRANSIT = "IN_TRANSIT"  # the drone has reported the package on board
    COMPENSATING = "COMPENSATING"  # steps are being undone, in reverse order
    DELIVERED = "DELIVERED"  # terminal
    CANCELLED = "CANCELLED"  # terminal
    FAILED = "FAILED"  # terminal, with a reason; an alert is raised

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def package_may_be_out(self) -> bool:
        """True if the package may have left its depot (it cannot before ``LOADING`` is committed)."""
        return self in (SagaStatus.LOADING, SagaStatus.IN_TRANSIT)


TERMINAL = frozenset({SagaStatus.DELIVERED, SagaStatus.CANCELLED, SagaStatus.FAILED})


class Priority(IntEnum):
    """Priority of an order. Zero is unset on the wire and never stored."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    URGENT = 4


class Phase(IntEnum):
    """Phase of a drone. The numbers are those of ``drone_interfaces/msg/DroneState``."""

    UNSPECIFIED = 0
    IDLE = 1
    TO_PICKUP = 2
    AWAITING_CLEARANCE = 3
    LOADING = 4
    TO_DESTINATION = 5
    DROPPING = 6
    RETURNING = 7  # flies back to the depot, empty
    BRINGING_BACK = 8  # recalled; flies back with the package
    GROUNDED = 9


class Outcome(IntEnum):
    """Outcome of a goal, reported by the drone. The numbers are those of ``drone_interfaces/msg/DeliveryOutcome``."""

    UNSPECIFIED = 0
    DELIVERED = 1
    NOT_LOADED = 2  # goal closed; the package never left the depot with this drone
    RETURNED = 3  # the package was brought back
    FAULT_BEFORE_LOADING = 4
    PACKAGE_MISSING = 5  # a person let the drone fly again; the drone cannot say where the package is


class BreakerState(str, Enum):
    """State of a drone's breaker, which decides whether the drone gets orders."""

    CLOSED = "closed"
    OPEN = "open"  # no orders until a pause has passed: the drone failed too often
    HALF_OPEN = "half_open"  # one order at a time, until one has succeeded


class CommandAction(str, Enum):
    """A person's decision about a parked order."""

    RETRY = "retry"  # retry the compensation
    RETURNED = "returned"  # the package is back in its depot
    DELIVERED = "delivered"  # the customer has it
    LOST = "lost"  # it cannot be found


class Verdict(IntEnum):
    """The leader's answer to a request for clearance; numbers of ``drone_interfaces/srv/RequestClearance``."""

    UNSPECIFIED = 0
    GRANTED = 1
    ASK_AGAIN = 2
    NOT_LEADER = 3
    REFUSED = 4  # final


@dataclass(frozen=True, slots=True)
class Instant:
    """A reading of both clocks. Deadlines and leases use ``mono_s`` only; ``wall_s`` is for records and people."""

    mono_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """WGS 84 position in degrees."""

    lat_deg: float
    lon_deg: float


@dataclass(frozen=True, slots=True)
class Order:
    """An order as submitted. ``pickup`` ``None``: the region's depot. ``deadline_s`` counts from submission."""

    message_id: str
    order_id: str
    destination: GeoPoint
    package_weight_kg: float
    submitted_at: float
    pickup: GeoPoint | None = None
    priority: Priority = Priority.NORMAL
    deadline_s: float | None = None
    drone_class: str | None = None
    trace_context: str = ""
    unknown: str = field(default="", compare=False, repr=False)

    @property
    def deadline_at(self) -> float | None:
        """Wall clock time, in s, after which the order is useless; ``None`` without a deadline."""
        return None if self.deadline_s is None else self.submitted_at + self.deadline_s


@dataclass(frozen=True, slots=True)
class Saga:
    """The stored state of one order: the fold of its events (invariant I6).

    ``target``, while ``COMPENSATING``, is the status it leads to. ``parked``: the compensation itself has failed, and a
    person must decide (:class:`OperatorCommand`). ``not_before`` (wall clock, s) ends the back-off of a ``PENDING``
    saga. ``journal_id`` names the drone's journal that got clearance. ``excused`` attempts do not count.
    """

    message_id: str
    order: Order
    status: SagaStatus
    created_at: float
    updated_at: float
    attempt: int = 0
    drone_id: str | None = None
    epoch: int = 0
    reason: str | None = None
    journal_id: str | None = None
    target: SagaStatus | None = None
    not_before: float = 0.0
    event_count: int = 0
    parked: bool = False
    excused: int = 0
    unknown: str = field(default="", compare=False, repr=False)

    @property
    def order_id(self) -> str:
        return self.order.order_id


@dataclass(frozen=True, slots=True)
class SagaEvent:
    """One immutable step in an order's life, stored as ``events/<message_id>/<n>`` with the state it led to.

    ``type`` is a trigger of :data:`~.saga.TRANSITIONS`; ``order`` is on the first event only, ``excused`` the saga's.
    """

    message_id: str
    n: int
    type: str
    at: float
    epoch: int
    to_status: SagaStatus
    from_status: SagaStatus | None = None
    attempt: int = 0
    drone_id: str | None = None
    reason: str | None = None
    journal_id: str | None = None
    target: SagaStatus | None = None
    not_before: float = 0.0
    order: Order | None = None
    excused: int = 0
    unknown: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ArchivedOrder:
    """A finished order as it was in the store: its saga at ``revision`` and all its events, oldest first. It had ended
    at least ``age_s`` ago, and was to stay for ``retention_s``; 0: not recorded."""

    saga: Saga
    events: tuple[SagaEvent, ...]
    revision: int
    age_s: float = 0.0
    retention_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """``assignments/<drone_id>``: the drone is taken. Leased until clearance, permanent (``leased`` false) after it."""

    drone_id: str
    message_id: str
    attempt: int
    epoch: int
    leased: bool
    unknown: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """``inbox/cancels/<message_id>``: a request to cancel the order."""

    message_id: str
    requested_at: float
    reason: str = Reason.CUSTOMER_REQUEST.value


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """``inbox/commands/<message_id>``: a person's decision about a parked order; ``by`` names the person."""

    message_id: str
    action: CommandAction
    requested_at: float
    by: str = ""


@dataclass(frozen=True, slots=True)
class Breaker:
    """``breakers/<drone_id>``: the drone's recent record.

    ``failures``: consecutive failures since the last success. ``trips``: consecutive openings; each lasts longer than
    the one before, and ends at ``open_until`` (wall clock, s). A drone without a record has a closed breaker.
    """

    drone_id: str
    state: BreakerState
    epoch: int
    failures: int = 0
    trips: int = 0
    open_until: float = 0.0
    unknown: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LeaderRecord:
    """The value of the leader key. Its epoch is ``epoch_of(generation, mod revision of the key)``."""

    holder: str  # name of the orchestrator, e.g. "orchestrator_a"
    instance_id: str  # unique per process start
    since: float  # wall clock, s
    generation: int = 0  # of the fleet when it was elected


@dataclass(frozen=True, slots=True)
class FleetIdentity:
    """The value of the key ``fleet``, which the first leader creates: the identity of the fleet and of its store.

    ``fleet_id`` is a UUID and never changes. ``generation`` is 0 until a backup is restored, and grows with each
    restore: a leader's epoch is ``epoch_of(generation, mod revision of its key)``. ``held`` says why no leader may
    command, until a person lifts it. ``log_lead``: lead of the store's log when it was accepted, 0 at most.
    """

    fleet_id: str
    generation: int = 0
    held: str = ""
    log_lead: int = 0
    unknown: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LeaderNote:
    """``notes/<id>``: base of what a leader writes down for its successors. ``epoch`` is the writer's."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A value in the store that could not be decoded. It is set aside and reported; no decision uses it."""

    raw: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """An outcome that a drone reports until a leader has acknowledged it."""

    message_id: str
    attempt: int
    outcome: Outcome
    at: float = 0.0
    reason: str = ""

    @property
    def why(self) -> str:
        """The drone's reason; the name of the outcome if it gave none."""
        return self.reason or self.outcome.name.lower()


@dataclass(frozen=True, slots=True)
class AcknowledgeOutcome:
    """Acknowledgement that the drone's outcome is on record."""

    drone_id: str
    journal_id: str
    message_id: str
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class DroneReport:
    """A drone's report about itself (``drone_states``).

    ``fleet_id``: its fleet, empty until it has met its first leader. ``boot_id``: its running process. Both are empty
    if the drone is of an older version.
    """

    drone_id: str
    drone_class: str
    journal_id: str
    highest_epoch: int
    phase: Phase
    position: GeoPoint
    energy_wh: float
    message_id: str | None = None
    attempt: int = 0
    package_on_board: bool = False
    outcomes: tuple[DeliveryOutcome, ...] = ()
    fleet_id: str = ""
    boot_id: str = ""
    refusals: tuple[RefusedGoal, ...] = ()
    grounded_reason: str = ""  # why its phase is GROUNDED

    def carries(self, saga: Saga) -> bool:
        """Return whether the drone's current goal is the saga's current attempt."""
        return self.message_id == saga.message_id and self.attempt == saga.attempt

    def outcome_of(self, saga: Saga) -> DeliveryOutcome | None:
        """Return the outcome that the drone reports for the saga's current attempt, if any."""
        key = (saga.message_id, saga.attempt)
        return next((o for o in self.outcomes if (o.message_id, o.attempt) == key), None)


@dataclass(frozen=True, slots=True)
class DroneClass:
    """Capabilities of the drones of one class, and the bounds of its lane (:mod:`drone_orchestrator.core.lanes`).

    Power is in W at cruise; the energy model is that of :mod:`drone_orchestrator.planning.energy`. In the lane, at most
    ``max_waiting`` orders wait and ``max_in_flight`` are between assignment and end. Each gateway accepts up to
    ``intake_rate_per_s``, and ``intake_burst`` at once. At most ``lend_fraction`` of the drones serve other lanes at a
    time.
    """

    name: str
    max_payload_kg: float
    cruise_speed_mps: float
    climb_speed_mps: float
    cruise_altitude_m: float
    battery_wh: float
    empty_mass_kg: float
    hover_power_w: float  # at empty mass, at rest
    reserve_fraction: float = 0.2
    charge_power_w: float = 600.0
    load_time_s: float = 10.0
    drop_time_s: float = 5.0
    max_waiting: int = 1000
    max_in_flight: int = 1000
    intake_rate_per_s: float = 200.0
    intake_burst: int = 400
    lend_fraction: float = 0.5


@dataclass(frozen=True, slots=True)
class NoFlyZone:
    """Ground that drones must not fly over: a simple polygon of at least three ``corners``, listed in order around it.

    :mod:`drone_orchestrator.core.zones` validates it and checks orders against it.
    """

    name: str
    corners: tuple[GeoPoint, ...]


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """Description of a region for all decisions: depot, service radius, drone classes, no-fly zones."""

    region: str
    depot: GeoPoint
    service_radius_m: float
    classes: tuple[DroneClass, ...]
    no_fly_zones: tuple[NoFlyZone, ...] = ()

    def drone_class(self, name: str) -> DroneClass | None:
        return next((c for c in self.classes if c.name == name), None)


class Kind(str, Enum):
    """The kinds of keys below a region's prefix."""

    INBOX_ORDER = "inbox/orders"
    INBOX_CANCEL = "inbox/cancels"
    INBOX_COMMAND = "inbox/commands"
    LEADER = "leader"
    FLEET = "fleet"
    SAGA = "sagas"
    ORDER_INDEX = "orders"
    ASSIGNMENT = "assignments"
    EVENT = "events"
    BREAKER = "breakers"
    NOTE = "notes"
    OTHER = "other"


_Request = Order | CancelRequest | OperatorCommand
_Lead = LeaderRecord | LeaderNote | FleetIdentity
Value = _Request | _Lead | Saga | Reservation | SagaEvent | Breaker | str | Corrupt


class Entry(NamedTuple):
    """One key as of ``mod_revision``. ``value`` ``None`` means that the key was deleted (or its lease expired).

    ``id`` is the part of the key after the kind: ``""`` for ``leader`` and ``fleet``, ``<message_id>/<n>`` for events.
    The value of an ``ORDER_INDEX`` entry is the message id, a ``str``. A named tuple, because a busy leader creates ten
    thousand a second.
    """

    kind: Kind
    id: str
    value: Value | None
    mod_revision: int


@dataclass(frozen=True, slots=True)
class StoreChange:
    """All keys that one revision of the store changed. A transaction is never seen in part."""

    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All existing keys of a region at ``revision``. Events are left out (``history`` reads them).

    ``breach`` says why the store is not the one it was before; empty if nothing shows that. ``log_lead``: see
    :class:`FleetIdentity`.
    """

    revision: int
    entries: tuple[Entry, ...] = field(default=())
    breach: str = ""
    log_lead: int = 0
