"""Durable state of a drone: the fold of its journal.

The durable state changes only through ``apply``, so a running machine and a restarted one have the same state by
construction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..types import DeliveryOutcome, Order
from .events import (
    Acknowledged,
    Cleared,
    Closed,
    Dropping,
    Entry,
    EpochRaised,
    FleetJoined,
    GoalAccepted,
    Grounded,
    GroundingLifted,
    Loaded,
    Recalled,
    Unloading,
)

#: Number of closed goals remembered. The oldest acknowledged ones are forgotten first.
MAX_CLOSED = 256


class IllegalEntry(ValueError):
    """The journal entry does not follow from the state before it."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The current goal and its journalled progress."""

    order: Order
    attempt: int
    cleared: bool = False
    loaded: bool = False
    dropping: bool = False
    recalled: bool = False
    unloading: bool = False

    @property
    def message_id(self) -> str:
        return self.order.message_id

    @property
    def key(self) -> tuple[str, int]:
        return (self.order.message_id, self.attempt)


@dataclass(frozen=True, slots=True)
class DurableState:
    """Fold of the journal. ``closed`` maps message ids to their highest closed attempt, the oldest first.

    ``fleet_id``: the fleet that the drone belongs to; empty until it has met its first leader.
    """

    highest_epoch: int = 0
    goal: Goal | None = None
    outcomes: tuple[DeliveryOutcome, ...] = ()
    closed: tuple[tuple[str, int], ...] = ()
    grounded: str = ""
    fleet_id: str = ""

    def closed_attempt(self, message_id: str) -> int:
        """Return the highest closed attempt at the order; 0 if there is none."""
        return next((attempt for each, attempt in self.closed if each == message_id), 0)


def fold(entries: Iterable[Entry]) -> DurableState:
    """Return the state after all entries of a journal. Raises :class:`IllegalEntry`."""
    state = DurableState()
    for entry in entries:
        state = apply(state, entry)
    return state


def compact(state: DurableState) -> list[Entry]:
    """Return the shortest journal that folds to ``state``."""
    entries: list[Entry] = [FleetJoined(state.fleet_id)] if state.fleet_id else []
    if state.highest_epoch:
        entries.append(EpochRaised(state.highest_epoch))
    entries += [Acknowledged(message_id, attempt) for message_id, attempt in state.closed]
    entries += [Closed(o.message_id, o.attempt, o.outcome, o.at, o.reason) for o in state.outcomes]
    goal = state.goal
    if goal is not None:
        key = goal.key
        entries.append(GoalAccepted(goal.order, goal.attempt, state.highest_epoch))
        if goal.cleared:
            entries.append(Cleared(*key, state.highest_epoch))
        if goal.loaded:
            entries.append(Loaded(*key))
        if goal.dropping:
            entries.append(Dropping(*key))
        if goal.recalled:
            entries.append(Recalled(*key))
        if goal.unloading:
            entries.append(Unloading(*key))
    if state.grounded:
        entries.append(Grounded(state.grounded))
    return entries


def apply(state: DurableState, entry: Entry) -> DurableState:
    """Return ``state`` after ``entry``. Raises :class:`IllegalEntry` if it does not follow."""
    match entry:
        case FleetJoined():
            return _join(state, entry)
        case EpochRaised(epoch):
            return replace(state, highest_epoch=max(state.highest_epoch, epoch))
        case GoalAccepted(order, attempt, epoch):
            if state.goal is not None or attempt <= state.closed_attempt(order.message_id):
                raise IllegalEntry(f"{entry}: the drone is busy or the goal is closed")
            return replace(state, goal=Goal(order, attempt), highest_epoch=max(state.highest_epoch, epoch))
        case Closed(message_id, attempt, outcome, at, reason):
            ended = DeliveryOutcome(message_id, attempt, outcome, at=at, reason=reason)
            goal = None if state.goal is not None and state.goal.key == (message_id, attempt) else state.goal
            return _remember_closed(replace(state, goal=goal, outcomes=(*state.outcomes, ended)), message_id, attempt)
        case Acknowledged(message_id, attempt):
            left = tuple(o for o in state.outcomes if (o.message_id, o.attempt) != (message_id, attempt))
            return _remember_closed(replace(state, outcomes=left), message_id, attempt)
        case Grounded(reason):
            return replace(state, grounded=reason)
        case GroundingLifted():
            return replace(state, grounded="")
        case _:
            return _progress(state, entry)


def _join(state: DurableState, entry: FleetJoined) -> DurableState:
    if state.fleet_id == entry.fleet_id or not (state.fleet_id or entry.assigned):
        return replace(state, fleet_id=entry.fleet_id)
    if state.goal is not None:
        raise IllegalEntry(f"{entry}: the drone has a goal of fleet {state.fleet_id or 'that is not known'}")
    if not state.fleet_id:
        return replace(state, fleet_id=entry.fleet_id, highest_epoch=0)
    return replace(state, fleet_id=entry.fleet_id, highest_epoch=0, outcomes=())


def _progress(state: DurableState, entry: Cleared | Loaded | Dropping | Recalled | Unloading) -> DurableState:
    goal = state.goal
    if goal is None or goal.key != (entry.message_id, entry.attempt):
        raise IllegalEntry(f"{entry}: not the current goal")
    epoch = state.highest_epoch
    match entry:
        case Cleared():
            follows, after = not goal.cleared, replace(goal, cleared=True)
            epoch = max(epoch, entry.epoch)
        case Loaded():
            follows, after = goal.cleared and not goal.loaded, replace(goal, loaded=True)
        case Dropping():
            follows, after = goal.loaded and not goal.recalled, replace(goal, dropping=True)
        case Recalled():
            follows, after = goal.cleared and not goal.dropping, replace(goal, recalled=True)
        case Unloading():
            follows, after = goal.loaded and goal.recalled, replace(goal, unloading=True)
    if not follows:
        raise IllegalEntry(f"{entry} does not follow from {goal}")
    return replace(state, goal=after, highest_epoch=epoch)


def _remember_closed(state: DurableState, message_id: str, attempt: int) -> DurableState:
    known = state.closed_attempt(message_id)
    if known:
        closed = tuple((m, max(a, attempt) if m == message_id else a) for m, a in state.closed)
        return replace(state, closed=closed)
    closed = (*state.closed, (message_id, attempt))
    if len(closed) > MAX_CLOSED:
        reported = {outcome.message_id for outcome in state.outcomes}
        oldest = next((i for i, (m, _) in enumerate(closed) if m not in reported), 0)
        closed = closed[:oldest] + closed[oldest + 1 :]
    return replace(state, closed=closed)
