"""What a leader keeps in mind between two looks at an order. It may be lost with the leader, and is not missed."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..types import DroneReport
from .events import ClearanceRequested
from .waiting_orders import Waiting


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
