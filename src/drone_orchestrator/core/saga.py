"""The saga of one order as a transition table, and the fold from events to state.

:data:`TRANSITIONS` alone defines which step may follow which. ``apply`` refuses everything else, so an illegal step
cannot reach the store. ``next_event`` creates a saga's next event. State changes only by applying an event, which makes
a history replayable (invariant I6).
"""

from __future__ import annotations

from collections.abc import Iterable

from .types import Order, Saga, SagaEvent, SagaStatus

S = SagaStatus

ACCEPTED = "accepted"
ASSIGNED = "assigned"
GOAL_ACCEPTED = "goal_accepted"
CLEARED = "cleared"
LOADED = "loaded"
DELIVERED = "delivered"
ABANDONED = "abandoned"
COMPENSATED = "compensated"
CANCELLED = "cancelled"
FAILED = "failed"
PARKED = "parked"
RETRIED = "retried"
RESOLVED = "resolved"

#: ``(status, event type) -> statuses it may lead to``. ``None`` is the status of a saga that does not exist yet.
TRANSITIONS: dict[tuple[SagaStatus | None, str], frozenset[SagaStatus]] = {
    (None, ACCEPTED): frozenset({S.PENDING}),
    (S.PENDING, ASSIGNED): frozenset({S.ASSIGNED}),
    (S.PENDING, CANCELLED): frozenset({S.CANCELLED}),
    (S.PENDING, FAILED): frozenset({S.FAILED}),
    (S.ASSIGNED, GOAL_ACCEPTED): frozenset({S.DISPATCHED}),
    # A request for clearance proves that the goal was accepted, even if the acceptance itself was lost.
    (S.ASSIGNED, CLEARED): frozenset({S.LOADING}),
    (S.DISPATCHED, CLEARED): frozenset({S.LOADING}),
    (S.LOADING, LOADED): frozenset({S.IN_TRANSIT}),
    (S.LOADING, DELIVERED): frozenset({S.DELIVERED}),
    (S.IN_TRANSIT, DELIVERED): frozenset({S.DELIVERED}),
    (S.ASSIGNED, ABANDONED): frozenset({S.COMPENSATING}),
    (S.DISPATCHED, ABANDONED): frozenset({S.COMPENSATING}),
    (S.LOADING, ABANDONED): frozenset({S.COMPENSATING}),
    (S.IN_TRANSIT, ABANDONED): frozenset({S.COMPENSATING}),
    (S.COMPENSATING, COMPENSATED): frozenset({S.PENDING, S.CANCELLED, S.FAILED}),
    # The drone had dropped the package before the recall reached it.
    (S.COMPENSATING, DELIVERED): frozenset({S.DELIVERED}),
    # The package cannot be found: an alert is raised.
    (S.LOADING, FAILED): frozenset({S.FAILED}),
    (S.IN_TRANSIT, FAILED): frozenset({S.FAILED}),
    (S.COMPENSATING, FAILED): frozenset({S.FAILED}),
    # The compensation has failed, too. A person decides: retry it, or state where the package is.
    (S.COMPENSATING, PARKED): frozenset({S.COMPENSATING}),
    (S.COMPENSATING, RETRIED): frozenset({S.COMPENSATING}),
    (S.COMPENSATING, RESOLVED): frozenset({S.PENDING, S.CANCELLED, S.FAILED, S.DELIVERED}),
}


class IllegalTransition(ValueError):
    """The event does not fit the saga: wrong status, wrong number, or of another order."""


def begin(order: Order, *, now_s: float, epoch: int) -> SagaEvent:
    """Return the first event of an order's saga."""
    return SagaEvent(order.message_id, 1, ACCEPTED, now_s, epoch, S.PENDING, order=order)


def next_event(
    saga: Saga,
    type_: str,
    to_status: SagaStatus,
    *,
    now_s: float,
    epoch: int,
    drone_id: str | None = None,
    reason: str | None = None,
    journal_id: str | None = None,
    target: SagaStatus | None = None,
    not_before: float = 0.0,
) -> SagaEvent:
    """Return the next event of ``saga``; ``drone_id`` and ``journal_id`` default to the saga's."""
    attempt = saga.attempt + 1 if type_ == ASSIGNED else saga.attempt
    return SagaEvent(
        message_id=saga.message_id,
        n=saga.event_count + 1,
        type=type_,
        at=now_s,
        epoch=epoch,
        from_status=saga.status,
        to_status=to_status,
        attempt=attempt,
        drone_id=drone_id or saga.drone_id,
        reason=reason,
        journal_id=journal_id or saga.journal_id,
        target=target,
        not_before=not_before,
    )


def apply(saga: Saga | None, event: SagaEvent) -> Saga:
    """Return ``saga`` after ``event``. Raises :class:`IllegalTransition` if the table does not allow it."""
    status = saga.status if saga else None
    if event.to_status not in TRANSITIONS.get((status, event.type), ()):
        raise IllegalTransition(f"{event.message_id}: {event.type} from {_name(status)} to {event.to_status.value}")
    if event.from_status not in (None, status):
        raise IllegalTransition(f"{event.message_id}: event {event.n} claims to follow {_name(event.from_status)}")
    if saga is None:
        if event.order is None or event.n != 1 or event.order.message_id != event.message_id:
            raise IllegalTransition(f"{event.message_id}: the first event must be number 1 and carry its order")
        at = event.at
        return Saga(event.message_id, event.order, event.to_status, at, at, epoch=event.epoch, event_count=1)
    expected_attempt = saga.attempt + 1 if event.type == ASSIGNED else saga.attempt
    if event.message_id != saga.message_id or event.n != saga.event_count + 1 or event.attempt != expected_attempt:
        raise IllegalTransition(f"{saga.message_id}: event {event.n} (attempt {event.attempt}) does not follow")
    if event.type in (RETRIED, RESOLVED) and not saga.parked:
        raise IllegalTransition(f"{saga.message_id}: {event.type}, but it is not parked")
    keeps_drone = event.to_status not in (S.PENDING, S.CANCELLED)
    # Field by field, because `dataclasses.replace` takes longer than all of the above.
    return Saga(
        message_id=saga.message_id,
        order=saga.order,
        status=event.to_status,
        created_at=saga.created_at,
        updated_at=event.at,
        attempt=event.attempt,
        drone_id=event.drone_id if keeps_drone else None,
        epoch=event.epoch,
        reason=event.reason,
        journal_id=event.journal_id if keeps_drone and event.type != ASSIGNED else None,
        target=event.target,
        not_before=event.not_before,
        event_count=event.n,
        parked=event.type == PARKED,
    )


def fold(events: Iterable[SagaEvent]) -> Saga | None:
    """Return the state after a history; ``None`` for an empty one."""
    saga: Saga | None = None
    for event in events:
        saga = apply(saga, event)
    return saga


def _name(status: SagaStatus | None) -> str:
    return status.value if status else "(none)"
