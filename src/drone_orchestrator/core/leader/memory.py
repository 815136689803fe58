"""What a leader keeps in mind between two looks at an order. It may be lost with the leader, and is not missed."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..types import DroneReport
from .breakers import BreakerPolicy
from .events import ClearanceRequested
from .waiting_orders import Waiting


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """Bounds and periods of the leader's decisions; durations in s. Raises ``ValueError`` where they contradict.

    ``plan_orders``, ``plan_drones`` and ``accept_orders`` bound what one round of planning looks at and takes in, per
    lane. A lane none of whose drones was heard for ``desertion_s`` may borrow without bound.
    """

    max_attempts: int = 10
    retry_base_s: float = 0.2
    retry_cap_s: float = 10.0
    goal_retry_s: float = 1.0
    max_goal_tries: int = 5
    recall_retry_s: float = 1.0
    recall_cap_s: float = 30.0
    max_recall_tries: int = 20
    commit_retry_s: float = 0.1
    commit_cap_s: float = 2.0
    drone_fresh_s: float = 3.0
    keep_reservation_s: float = 1.0
    lost_grace_s: float = 1800.0
    desertion_s: float = 10.0
    replan_period_s: float = 1.0
    plan_orders: int = 256
    plan_drones: int = 512
    accept_orders: int = 64
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)

    def __post_init__(self) -> None:
        tries = (self.max_attempts, self.max_goal_tries, self.max_recall_tries)
        if min(*tries, self.plan_orders, self.plan_drones, self.accept_orders) < 1:
            raise ValueError("max_attempts, max_*_tries, plan_orders, plan_drones, accept_orders must be at least 1")
        retries = (self.retry_base_s, self.goal_retry_s, self.recall_retry_s, self.commit_retry_s)
        if min(*retries, self.keep_reservation_s) <= 0.0:
            raise ValueError("periods must be positive")
        caps = ((self.retry_base_s, self.retry_cap_s), (self.recall_retry_s, self.recall_cap_s))
        if any(cap < base for base, cap in (*caps, (self.commit_retry_s, self.commit_cap_s))):
            raise ValueError("retry_cap_s, recall_cap_s and commit_cap_s must not be below what they cap")


@dataclass(slots=True)
class Drone:
    report: DroneReport
    heard_at_s: float
    kept_at_s: float = float("-inf")
    recalled_at_s: float = float("-inf")
    breaker_pause: tuple[int, float] | None = None  # revision of the breaker, end by the monotonic clock


@dataclass(slots=True)
class Retry:
    """Tries at telling a drone something about one attempt of an order."""

    attempt: int
    tries: int = 0
    next_try_s: float = float("-inf")


@dataclass(slots=True)
class Agenda:
    """What one order waits for in this leader's memory. Lost with the leader, and not missed."""

    busy: bool = False
    failed_commits: int = 0
    goal: Retry | None = None
    recall: Retry | None = None
    clearance: ClearanceRequested | None = None
    grounded_since_s: float | None = None
    silent_since_s: float | None = None
    ignorant_since_s: float | None = None
    pause: tuple[int, float] | None = None  # number of the event it follows, end by the monotonic clock
    wake_at_s: float | None = None


@dataclass(slots=True)
class Office:
    """One leadership. ``waiting``: orders that a drone may be sought for; ``accepting`` and ``reserving``: orders and
    drones in commits under way, with the lanes of the orders. Dictionaries instead of sets, because their order is
    always that of insertion."""

    epoch: int
    taken_at_s: float = float("-inf")
    agenda: dict[str, Agenda] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=Waiting)
    accepting: dict[str, str] = field(default_factory=dict)
    reserving: dict[str, str] = field(default_factory=dict)
    wakes: list[tuple[float, str]] = field(default_factory=list)
    plan_due: bool = True
    planned_at_s: float = float("-inf")
    store_failures: int = 0
    store_retry_at_s: float = float("-inf")
    told_late: dict[tuple[str, int], None] = field(default_factory=dict)

    def of(self, message_id: str) -> Agenda:
        agenda = self.agenda.get(message_id)
        if agenda is None:
            agenda = self.agenda[message_id] = Agenda()
        return agenda
