"""Strategies for everything that a store holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from drone_orchestrator.core.leader.led_time import NOTE, LedTime
from drone_orchestrator.core.saga import TRANSITIONS
from drone_orchestrator.core.types import (
    Breaker,
    BreakerState,
    CancelRequest,
    CommandAction,
    FleetIdentity,
    GeoPoint,
    Kind,
    LeaderRecord,
    OperatorCommand,
    Order,
    Priority,
    Reservation,
    Saga,
    SagaEvent,
    SagaStatus,
    Value,
)
from drone_orchestrator.core.view import GENERATIONS

EVENT_TYPES = sorted({type_ for _, type_ in TRANSITIONS})

ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/"), min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**62)
texts = st.text(st.characters(exclude_categories=()), max_size=12)  # surrogates and control characters, too
optional = st.none() | texts
statuses = st.sampled_from(SagaStatus)
points = st.builds(GeoPoint, numbers, numbers)


def orders(message_ids: st.SearchStrategy[str] = ids) -> st.SearchStrategy[Order]:
    return st.builds(
        Order,
        message_id=message_ids,
        order_id=ids,
        destination=points,
        package_weight_kg=numbers,
        submitted_at=numbers,
        pickup=st.none() | points,
        priority=st.sampled_from(Priority),
        deadline_s=st.none() | numbers,
        drone_class=optional,
        trace_context=texts,
    )


def sagas(message_ids: st.SearchStrategy[str] = ids) -> st.SearchStrategy[Saga]:
    return orders(message_ids).flatmap(
        lambda order: st.builds(
            Saga,
            message_id=st.just(order.message_id),
            order=st.just(order),
            status=statuses,
            created_at=numbers,
            updated_at=numbers,
            attempt=counts,
            drone_id=optional,
            epoch=counts,
            reason=optional,
            journal_id=optional,
            target=st.none() | statuses,
            not_before=numbers,
            event_count=counts,
            parked=st.booleans(),
        )
    )


def events(
    message_ids: st.SearchStrategy[str] = ids, types: st.SearchStrategy[str] = texts
) -> st.SearchStrategy[SagaEvent]:
    return message_ids.flatmap(
        lambda message_id: st.builds(
            SagaEvent,
            message_id=st.just(message_id),
            n=st.integers(1, 999_999),
            type=types,
            at=numbers,
            epoch=counts,
            to_status=statuses,
            from_status=st.none() | statuses,
            attempt=counts,
            drone_id=optional,
            reason=optional,
            journal_id=optional,
            target=st.none() | statuses,
            not_before=numbers,
            order=st.none() | orders(st.just(message_id)),
        )
    )


breakers = st.builds(
    Breaker,
    drone_id=ids,
    state=st.sampled_from(BreakerState),
    epoch=counts,
    failures=counts,
    trips=counts,
    open_until=numbers,
)


led_times = st.builds(
    lambda epoch, marks: LedTime(epoch, tuple(zip(*map(sorted, (marks.keys(), marks.values())), strict=True))),
    counts,
    st.dictionaries(counts, st.floats(0.0, 1e12), max_size=5),
)


#: The records of each kind, and the id in their key.
RECORDS: dict[Kind, tuple[st.SearchStrategy[Any], Callable[[Any], str]]] = {
    Kind.INBOX_ORDER: (orders(), lambda order: order.message_id),
    Kind.INBOX_CANCEL: (st.builds(CancelRequest, ids, numbers, texts), lambda request: request.message_id),
    Kind.INBOX_COMMAND: (
        st.builds(OperatorCommand, ids, st.sampled_from(CommandAction), numbers, texts),
        lambda command: command.message_id,
    ),
    Kind.SAGA: (sagas(), lambda saga: saga.message_id),
    Kind.EVENT: (events(), lambda event: f"{event.message_id}/{event.n:06d}"),
    Kind.ASSIGNMENT: (st.builds(Reservation, ids, ids, counts, counts, st.booleans()), lambda held: held.drone_id),
    Kind.BREAKER: (breakers, lambda breaker: breaker.drone_id),
    Kind.LEADER: (st.builds(LeaderRecord, texts, texts, numbers), lambda _: ""),
    Kind.FLEET: (st.builds(FleetIdentity, texts, st.integers(0, GENERATIONS - 1)), lambda _: ""),
    Kind.ORDER_INDEX: (ids, lambda _: "ORD-1"),
    Kind.NOTE: (led_times, lambda _: NOTE),
}


def entries_of(kind: Kind) -> st.SearchStrategy[tuple[Kind, str, Value]]:
    """Return a strategy for ``(kind, id in the key, record)``."""
    values, id_of = RECORDS[kind]
    return values.map(lambda value: (kind, id_of(value), value))


entries = st.sampled_from(sorted(RECORDS)).flatmap(entries_of)
