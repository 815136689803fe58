"""What a leader keeps in mind between two looks at an order. It may be lost with the leader, and is not missed."""

from __future__ import annotations

from dataclasses import dataclass, field

from .events import ClearanceRequested
from .types import DroneReport


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """Bounds and periods of the leader's decisions; durations in s. Raises ``ValueError`` where they contradict."""

    max_attempts: int = 10
    retry_base_s: float = 0.2
    retry_cap_s: float = 10.0
    goal_retry_s: float = 1.0
    max_goal_tries: int = 5
    recall_retry_s: float = 1.0
    commit_retry_s: float = 0.1
    drone_fresh_s: float = 3.0
    keep_reservation_s: float = 1.0
    lost_grace_s: float = 1800.0
    replan_period_s: float = 1.0
    plan_orders: int = 256

    def __post_init__(self) -> None:
        if min(self.max_attempts, self.max_goal_tries, self.plan_orders) < 1:
            raise ValueError("max_attempts, max_goal_tries and plan_orders must be at least 1")
        retries = (self.retry_base_s, self.goal_retry_s, self.recall_retry_s, self.commit_retry_s)
        if min(*retries, self.keep_reservation_s) <= 0.0 or self.retry_cap_s < self.retry_base_s:
            raise ValueError("periods must be positive, and retry_cap_s not below retry_base_s")


@dataclass(slots=True)
class Drone:
    report: DroneReport
    heard_at_s: float
    kept_at_s: float = float("-inf")


@dataclass(slots=True)
class Goal:
    attempt: int
    tries: int = 0
    next_try_s: float = float("-inf")


@dataclass(slots=True)
class Agenda:
    """What one order waits for in this leader's memory. Lost with the leader, and not missed."""

    busy: bool = False
    goal: Goal | None = None
    recall_at_s: float = float("-inf")
    clearance: ClearanceRequested | None = None
    out_of_action_since_s: float | None = None
    pause: tuple[int, float] | None = None  # number of the event it follows, end by the monotonic clock
    wake_at_s: float | None = None


@dataclass(slots=True)
class Office:
    epoch: int
    agenda: dict[str, Agenda] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    reserving: set[str] = field(default_factory=set)
    wakes: list[tuple[float, str]] = field(default_factory=list)
    plan_due: bool = True
    planned_at_s: float = float("-inf")

    def of(self, message_id: str) -> Agenda:
        return self.agenda.setdefault(message_id, Agenda())
