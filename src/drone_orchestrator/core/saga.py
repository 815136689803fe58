"""The saga of one order as a transition table, and the fold from events to state.

:data:`TRANSITIONS` alone defines which step may follow which. ``apply`` refuses everything else, so an illegal step
cannot reach the store. ``next_event`` creates a saga's next event. State changes only by applying an event, which makes
a history replayable (invariant I6).
"""

from __future__ import annotations

from collections.abc import Iterable

from .admission import is_id
from .types import Breaker, Order, Reservation, Saga, SagaEvent, SagaStatus

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


class Contradiction(ValueError):
    """A stored record contradicts itself."""


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
    excuse: bool = False,
) -> SagaEvent:
    """Return the next event of ``saga``; ``drone_id`` and ``journal_id`` default to the saga's.

    ``excuse``: the attempt ends with this event, and does not count.
    """
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
        excused=saga.excused + excuse,
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
        excused=event.excused,
        unknown=saga.unknown,
    )


def fold(events: Iterable[SagaEvent]) -> Saga | None:
    """Return the state after a history; ``None`` for an empty one."""
    saga: Saga | None = None
    for event in events:
        saga = apply(saga, event)
    return saga


_WITH_DRONE = frozenset({S.ASSIGNED, S.DISPATCHED, S.LOADING, S.IN_TRANSIT, S.COMPENSATING})
_UNDONE_TO = frozenset({S.PENDING, S.CANCELLED, S.FAILED})
#: Bounds of numbers in records, far above all that occur: messages carry an attempt as uint32, a weight as float32.
MAX_ATTEMPT = 2**31
MAX_COUNT = 2**62
MAX_WEIGHT_KG = 3e38
MAX_TIME_S = 1e11


def contradiction(record: object, sound: Saga | Order | None = None) -> str:
    """Return what contradicts itself in a stored record, so that no history leads to it; empty if nothing does.

    Decisions rely on what is checked here. Such a record is as useless as one that cannot be parsed.
    Limits of the fleet are not judged: the leader fails an order that cannot be flown.
    ``sound``: a record without contradictions. The order that it shares with ``record`` is not judged again.
    """
    if isinstance(record, Saga):
        known = sound.order if isinstance(sound, Saga) else sound
        return _wrong_in_saga(record) or ("" if record.order is known else _wrong_in_order(record.order))
    if isinstance(record, Order):
        return "" if record is sound else _wrong_in_order(record)
    counts: tuple[int, ...] = ()
    if isinstance(record, Reservation):
        counts = (record.epoch, record.attempt)
    elif isinstance(record, Breaker):
        counts = (record.epoch, record.failures, record.trips)
    return "" if not counts or _are_counts(*counts) else "a number is out of range"


def _wrong_in_saga(saga: Saga) -> str:
    status = saga.status
    if not _are_counts(saga.epoch, saga.event_count, saga.attempt) or saga.attempt > MAX_ATTEMPT:
        return "a number is out of range"
    if not 0 <= saga.excused <= saga.attempt:
        return f"{saga.excused} of {saga.attempt} attempts cannot be excused"
    if 0 < saga.event_count <= saga.attempt:
        return f"{saga.event_count} events cannot have led to attempt {saga.attempt}"
    if saga.drone_id is not None and not is_id(saga.drone_id):
        return "drone_id is no id"
    if status in _WITH_DRONE and not (saga.drone_id and saga.attempt):
        return f"{status.value} without a drone or an attempt"
    if status.package_may_be_out and not saga.journal_id:
        return f"{status.value} without the journal that was cleared to load"
    if status is S.COMPENSATING:
        return "" if saga.target in _UNDONE_TO else f"COMPENSATING to {_name(saga.target)}"
    if saga.target is not None or saga.parked:
        return f"{status.value} with a target, or parked: only COMPENSATING can be"
    return ""


def _wrong_in_order(order: Order) -> str:
    if not is_id(order.order_id):
        return "order_id is no id"
    for point in (order.destination, order.pickup):
        if point is not None and not (-90.0 <= point.lat_deg <= 90.0 and -180.0 <= point.lon_deg <= 180.0):
            return "a position is not on Earth"
    if not 0.0 <= order.package_weight_kg <= MAX_WEIGHT_KG:
        return "package_weight_kg is out of range"
    if not -MAX_TIME_S <= order.submitted_at <= MAX_TIME_S or not 0.0 <= (order.deadline_s or 0.0) <= MAX_TIME_S:
        return "submitted_at or deadline_s is out of range"
    if not (order.drone_class or "").isascii() or not order.trace_context.isascii():
        return "drone_class or trace_context is not ASCII"
    return ""


def _are_counts(*numbers: int) -> bool:
    return min(numbers) >= 0 and max(numbers) <= MAX_COUNT


def _name(status: SagaStatus | None) -> str:
    return status.value if status else "(none)"
