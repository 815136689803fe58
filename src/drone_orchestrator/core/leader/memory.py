"""In-memory state of the leader. It is never persisted: a new leader rebuilds what it needs from the store."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..policies import DispatchPolicy
from ..types import DroneReport, Instant, Order, Phase, Saga
from .boots import Boots
from .events import ClearanceRequested
from .waiting_orders import WaitingOrders


@dataclass(slots=True)
class Drone:
    """A drone as heard. ``boots`` is ``None`` while it has reported one boot id only."""

    report: DroneReport
    heard_at_s: float
    kept_at_s: float = float("-inf")
    recalled_at_s: float = float("-inf")
    breaker_pause: tuple[int, float] | None = None  # revision of the breaker, end by the monotonic clock
    boots: Boots | None = None

    def is_doubtful(self, now: Instant) -> bool:
        """Return whether two processes may speak for this drone, so that nothing is to be given to it."""
        return self.boots is not None and self.boots.is_doubtful(now.mono_s)


@dataclass(slots=True)
class Retry:
    """Tries to reach a drone about one attempt at an order, since ``began_s``. ``answered``: it said no at least once.
    """

    attempt: int
    tries: int = 0
    next_try_s: float = float("-inf")
    began_s: float = float("-inf")
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Bench:
    """A drone that gets no orders until ``until_s``, for the ``times``-th time in a row."""

    times: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Goals in a row that a drone has left unanswered: from when the first was sent until the last was given up
    (monotonic, s)."""

    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """A text about trouble for people, and when it happened last."""

    text: str
    at_s: float


@dataclass(slots=True)
class ClassRefusal:
    """Refusal of one order by the drones of a class: they are not asked until ``until_s``.

    ``drones``: those that find fault with the order itself (``is_final``).
    """

    drones: dict[str, None] = field(default_factory=dict)
    reason: str = ""
    until_s: float = float("-inf")
    is_final: bool = False


@dataclass(slots=True)
class Stay:
    """Time that a drone has spent in one phase of its goal while the order made no step (monotonic, s).

    ``event_count`` is that of the order's saga.
    """

    event_count: int
    phase: Phase
    counted_at_s: float
    lasted_s: float = 0.0


@dataclass(slots=True)
class OrderMemory:
    """In-memory notes about one order: tries so far, and pending waits.

    ``judged`` is the last record that was found free of contradictions. ``seen`` has the number of the order's newest
    event, and when (monotonic, s) this leader first examined the order after it; see :mod:`.after_loading`.
    ``refused_by`` has the classes that refused it, ``stalled_with`` the drones that did not get on with it.
    """

    judged: Saga | Order | None = None
    busy: bool = False
    failed_commits: int = 0
    goal: Retry | None = None
    recall: Retry | None = None
    clearance: ClearanceRequested | None = None
    grounded_since_s: float | None = None
    seen: tuple[int, float] | None = None
    unknown_since_s: float | None = None
    stay: Stay | None = None
    pause: tuple[int, float] | None = None  # number of the event it follows, end by the monotonic clock
    wake_at_s: float | None = None
    refused_by: dict[str, ClassRefusal] = field(default_factory=dict)
    stalled_with: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Term:
    """State of one term as leader.

    ``waiting``: orders that need a drone. ``accepting`` and ``reserving``: orders and drones of commits in flight, each
    with the lane of its order. Dictionaries stand in for sets because they iterate in insertion order.
    ``answered``: when the goal was sent that each drone answered last. ``unanswered``: the drones that have left goals
    unanswered since then. ``stalled``: drones that did not get on with their last order, and that order.
    """

    epoch: int
    began_at_s: float = float("-inf")
    orders: dict[str, OrderMemory] = field(default_factory=dict)
    waiting: WaitingOrders = field(default_factory=WaitingOrders)
    accepting: dict[str, str] = field(default_factory=dict)
    reserving: dict[str, str] = field(default_factory=dict)
    wakes: list[tuple[float, str]] = field(default_factory=list)
    plan_due: bool = True
    planned_at_s: float = float("-inf")
    store_failures: int = 0
    store_retry_at_s: float = float("-inf")
    commits_fail_s: tuple[float, float] | None = None  # first and last failure since a commit has succeeded
    told_late: dict[tuple[str, int], None] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    unanswered: dict[str, Unanswered] = field(default_factory=dict)
    stalled: dict[str, str] = field(default_factory=dict)
    benched: dict[str, Bench] = field(default_factory=dict)

    def of(self, message_id: str) -> OrderMemory:
        memory = self.orders.get(message_id)
        if memory is None:
            memory = self.orders[message_id] = OrderMemory()
        return memory


@dataclass(slots=True)
class LeaderState:
    """State shared by the parts of a leader, besides the view.

    All of them read the current policy and term here, so assigning a new one changes it for all at once. ``drones``
    lists every drone ever heard. It is kept up to date while this replica does not lead, so that a term starts warm.
    ``listens_since_s``: when this replica first followed the store, and so the drones. ``is_outdated``: another
    replica has a newer fleet description. ``keep_reservation_s``: how often leases of other leaders must be renewed.
    """

    policy: DispatchPolicy
    term: Term | None = None
    drones: dict[str, Drone] = field(default_factory=dict)
    listens_since_s: float = float("inf")
    is_outdated: bool = False
    keep_reservation_s: float = float("inf")

    @property
    def current_term(self) -> Term:
        """The current term. Reading it while this replica does not lead is a defect."""
        assert self.term is not None
        return self.term

    def is_silent(self, drone: Drone, now: Instant) -> bool:
        """Return whether the drone has not been heard recently."""
        return now.mono_s - drone.heard_at_s > self.policy.drone_silent_s
