"""Builds the one change of the store that a step of a saga is."""

from __future__ import annotations

from . import saga as sagas
from .effects import Consume, ReservationChange, Transition
from .types import Kind, SagaEvent
from .view import FleetView


def build(view: FleetView, events: tuple[SagaEvent, ...], reservation: ReservationChange | None) -> Transition:
    """``events`` (at least one) on top of the saga as ``view`` has it; inbox entries that they answer leave with them.

    Raises :class:`~drone_orchestrator.core.saga.IllegalTransition` where they do not follow.
    """
    message_id = events[0].message_id
    saga = view.saga_of(message_id)
    for event in events:
        saga = sagas.apply(saga, event)
    assert saga is not None
    consume = []
    inbox, cancel = view.inbox.get(message_id), view.cancels.get(message_id)
    if inbox is not None:
        consume.append(Consume(Kind.INBOX_ORDER, message_id, inbox.mod_revision))
    if cancel is not None and saga.status.is_terminal:
        consume.append(Consume(Kind.INBOX_CANCEL, message_id, cancel.mod_revision))
    entry = view.sagas.get(message_id)
    return Transition(saga, events, entry.mod_revision if entry else 0, reservation, tuple(consume))
