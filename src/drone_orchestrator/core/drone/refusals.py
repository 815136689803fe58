"""Refusals of goals: when a drone refuses one, and the list of recent ones that its state reports."""

from __future__ import annotations

from ..reasons import GoalRefusal, RefusedGoal
from ..types import DroneClass, Phase
from .events import GoalRequested
from .state import DurableState

#: A drone with this many unacknowledged outcomes accepts no more goals.
MAX_UNACKNOWLEDGED = 64
#: The most refusals that a drone reports.
MAX_REFUSALS = 8


def refusal_of(
    event: GoalRequested, durable: DurableState, phase: Phase, drone_class: DroneClass
) -> GoalRefusal | None:
    """Return why a drone in this state refuses the goal; ``None`` if it accepts."""
    order = event.order
    refusal = _of_leader(event, durable) or _of_goal(event, durable, phase)
    if refusal is not None or (durable.goal is not None and durable.goal.key == (order.message_id, event.attempt)):
        return refusal
    if not order.package_weight_kg > 0.0:
        return GoalRefusal.INVALID_ORDER
    if order.package_weight_kg > drone_class.max_payload_kg:
        return GoalRefusal.TOO_HEAVY
    if len(durable.outcomes) >= MAX_UNACKNOWLEDGED:
        return GoalRefusal.TOO_MANY_OUTCOMES
    return None


def _of_leader(event: GoalRequested, durable: DurableState) -> GoalRefusal | None:
    if event.attempt < 1 or event.epoch < 1:
        return GoalRefusal.INVALID
    if durable.fleet_id not in ("", event.fleet_id):
        return GoalRefusal.OTHER_FLEET
    if event.epoch < durable.highest_epoch:
        return GoalRefusal.STALE_EPOCH
    return GoalRefusal.CLOSED if event.attempt <= durable.closed_attempt(event.order.message_id) else None


def _of_goal(event: GoalRequested, durable: DurableState, phase: Phase) -> GoalRefusal | None:
    goal = durable.goal
    if goal is None:
        if phase in (Phase.IDLE, Phase.RETURNING):
            return None
        return GoalRefusal.GROUNDED if phase is Phase.GROUNDED else GoalRefusal.STARTING
    if goal.message_id != event.order.message_id:
        return GoalRefusal.BUSY
    if event.attempt < goal.attempt:
        return GoalRefusal.SUPERSEDED
    is_too_late = event.attempt > goal.attempt and phase not in (Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE)
    return GoalRefusal.BUSY if is_too_late else None


class Refusals:
    """Goals that the drone refused lately, oldest first. They are not journalled, and end with the process."""

    def __init__(self) -> None:
        self.recent: tuple[RefusedGoal, ...] = ()

    def add(self, message_id: str, attempt: int, epoch: int, refusal: GoalRefusal) -> None:
        """Add a refusal. It replaces an earlier one of the same goal."""
        refused = RefusedGoal(message_id, attempt, epoch, refusal.cause, refusal.value)
        if refused not in self.recent:
            self.forget(message_id, attempt)
            self.recent = (*self.recent, refused)[-MAX_REFUSALS:]

    def forget(self, message_id: str, attempt: int) -> None:
        """Forget the refusal of a goal, because the drone has accepted it since."""
        if self.recent:
            self.recent = tuple(r for r in self.recent if (r.message_id, r.attempt) != (message_id, attempt))
