"""J7: a region without faults delivers every order that has time and is not cancelled."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.reasons import Reason
from ..core.types import Kind, Saga, SagaStatus
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay


class Goodput:
    """Judge of a history in which nothing failed.

    An order with less than ``spare_s`` until its deadline may miss it; every other order is delivered, or cancelled on
    request.
    """

    id = "J7"

    def __init__(self, spare_s: float) -> None:
        self._spare_s = spare_s
        self._cancelled: set[str] = set()

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for change in step.changes:
            if change.kind is Kind.INBOX_CANCEL and change.after is not None:
                self._cancelled.add(change.id)
            elif change.kind is Kind.SAGA and isinstance(change.after, Saga) and change.after.status.is_terminal:
                yield from self._ended(change.after, step.revision)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield nothing: every end is judged when it is recorded, and I3 reports orders that have not ended."""
        yield from ()

    def _ended(self, saga: Saga, revision: int) -> Iterator[Violation]:
        cancelled = saga.message_id in self._cancelled
        self._cancelled.discard(saga.message_id)
        deadline_s = saga.order.deadline_s
        in_a_hurry = deadline_s is not None and deadline_s < self._spare_s
        match saga.status:
            case SagaStatus.CANCELLED if cancelled:
                return
            case SagaStatus.FAILED if in_a_hurry and saga.reason == Reason.DEADLINE_EXCEEDED:
                return
            case SagaStatus.DELIVERED:
                return
        text = f"nothing failed, but order {saga.message_id} ended {saga.status.value} ({saga.reason})"
        yield Violation(self.id, text, (revision,))
