"""Builds the one change of the store that a step of a saga is."""

from __future__ import annotations

from .. import saga as sagas
from ..types import Kind, Saga, SagaEvent
from ..view import FleetView
from .effects import BreakerChange, Consume, ReservationChange, Transition


def build(
    view: FleetView,
    events: tuple[SagaEvent, ...],
    reservation: ReservationChange | None,
    breaker: BreakerChange | None = None,
    base: Saga | None = None,
) -> Transition:
    """``events`` (at least one) on top of the saga as ``view`` has it; inbox entries that they answer leave with them.
    ``base``: the saga after all of them but the last, for whoever had to find out already.

    Raises :class:`~drone_orchestrator.core.saga.IllegalTransition` where they do not follow.
    """
    message_id = events[0].message_id
    saga = base or view.saga_of(message_id)
    for event in events[-1:] if base else events:
        saga = sagas.apply(saga, event)
    assert saga is not None
    consume: tuple[Consume, ...] = ()
    inbox, command = view.inbox.get(message_id), view.commands.get(message_id)
    if inbox is not None:
        consume = (Consume(Kind.INBOX_ORDER, message_id, inbox.mod_revision),)
    if saga.status.is_terminal:
        consume += requests(view, message_id)
    elif command is not None and events[-1].type in (sagas.RETRIED, sagas.RESOLVED):
        consume += (Consume(Kind.INBOX_COMMAND, message_id, command.mod_revision),)
    entry = view.sagas.get(message_id)
    return Transition(saga, events, entry.mod_revision if entry else 0, reservation, consume, breaker)


def requests(view: FleetView, message_id: str) -> tuple[Consume, ...]:
    """Whatever lies in the inbox about an order, besides the order itself."""
    tables = ((Kind.INBOX_CANCEL, view.cancels), (Kind.INBOX_COMMAND, view.commands))
    return tuple(
        Consume(kind, message_id, table[message_id].mod_revision) for kind, table in tables if message_id in table
    )
