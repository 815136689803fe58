"""Copies the histories of finished orders from the store to the archive, after verifying each."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.leader.effects import Archive, Ended
from ..core.leader.events import Archived
from ..core.saga import IllegalTransition, fold
from ..core.types import ArchivedOrder, Corrupt, SagaEvent
from ..ports import ArchiveUnavailable, OrderArchive, StoreError, StoreReader


class BrokenHistory(Exception):
    """The events do not lead to the saga: deleting them would destroy the evidence."""


def carry_out(effect: Archive, store: StoreReader, archive: OrderArchive) -> Archived:
    """Read, verify and archive the orders of one batch. Returns the answer for the core. Blocks on store and disk."""
    orders: list[ArchivedOrder] = []
    refused: list[tuple[str, str]] = []
    try:
        histories = store.histories([ended.saga.message_id for ended in effect.orders])
        for ended, history in zip(effect.orders, histories, strict=True):
            try:
                orders.append(_verified(ended, history))
            except BrokenHistory as error:
                if _is_there(ended, store):
                    refused.append((ended.saga.message_id, str(error)))
        if orders:
            archive.append(orders)
    except (StoreError, ArchiveUnavailable) as error:
        return Archived(effect, error=str(error))
    return Archived(effect, refused=tuple(refused))


def _is_there(ended: Ended, store: StoreReader) -> bool:
    """Return whether the order is still in the store. An unanswered deletion may have succeeded."""
    view = store.find(ended.saga.message_id)
    return view is not None and view.saga is not None and view.revision == ended.revision


def _verified(ended: Ended, history: Sequence[SagaEvent | Corrupt]) -> ArchivedOrder:
    """Return the order if its events lead to its saga. Raises :class:`BrokenHistory`."""
    events = tuple(event for event in history if isinstance(event, SagaEvent))
    for number, event in enumerate(history, 1):
        if isinstance(event, Corrupt):
            raise BrokenHistory(f"event {number} cannot be read: {event.reason}")
    try:
        folded = fold(events)
    except IllegalTransition as error:
        raise BrokenHistory(f"its events do not follow: {error}") from error
    if folded != ended.saga:
        raise BrokenHistory(f"its {len(events)} events do not lead to its saga")
    return ArchivedOrder(ended.saga, events, ended.revision, ended.age_s, ended.retention_s)
