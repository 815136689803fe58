"""J7: a region without faults delivers every order that has time, and one whose faults are over soon works as well.

A history does not tell how fast a fleet can be. So a witness plays the same region, in which no fault ever struck, with
the orders that were left when the last fault ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..core.reasons import Reason
from ..core.types import Kind, Order, Saga, SagaStatus
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


#: Share of the rate without faults at which a backlog must at least be worked off.
LEAST_SHARE = 0.8
#: Smallest backlog that has a rate. With fewer orders, a single slow one decides.
LEAST_ORDERS = 8


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order of the backlog. ``cancelled_after_s``: when its cancellation was requested, from the last fault on."""

    order: Order
    cancelled_after_s: float | None = None


class DrainWitness(Protocol):
    """Knowledge of a run that its history does not have. All times are those of one clock (s)."""

    def calm_since_s(self) -> float | None:
        """Return when the last fault ended; ``None`` if the run was over before."""

    def committed_s(self, revision: int) -> float:
        """Return when the revision was made."""

    def is_gone(self, drone_id: str) -> bool:
        """Return whether the drone is lost for good."""

    def drains_within(self, backlog: Mapping[str, Waiting], within_s: float) -> bool:
        """Return whether the same region with the drones that are left, in which nothing ever failed, would have ended
        these orders in ``within_s``."""


class DrainRate:
    """Judge of the orders that were left when the last fault ended, by message id.

    Leader and drones have ``spare_s`` to find back to work. Orders with a request to cancel them are not counted, since
    they end without a flight. Neither are orders beside a lost drone, which may have their packages.
    """

    id = "J7"

    def __init__(self, witness: DrainWitness, spare_s: float) -> None:
        self._witness = witness
        self._spare_s = spare_s
        self._calm_since_s = witness.calm_since_s()
        self._open: dict[str, Order | Saga] = {}
        self._cancelled: set[str] = set()
        self._backlog: dict[str, Waiting] | None = None
        self._left: set[str] = set()
        self._last = 0  # revision in which the last order of the backlog has ended

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        since_s = self._calm_since_s
        if since_s is None:
            return
        after_s = self._witness.committed_s(step.revision) - since_s
        if self._backlog is None and after_s > 0.0:
            self._begin()
        for change in step.changes:
            if change.kind is Kind.INBOX_CANCEL and change.after is not None:
                self._cancel(change.id, after_s)
            elif change.kind is Kind.INBOX_ORDER and isinstance(change.after, Order):
                self._open[change.id] = change.after
            elif change.kind is Kind.SAGA and isinstance(change.after, Saga):
                self._saga_changed(change.after, step.revision)
        yield from ()

    def _begin(self) -> None:
        self._backlog = {}
        for message_id, record in self._open.items():
            drone_id = record.drone_id if isinstance(record, Saga) else None
            if message_id not in self._cancelled and not (drone_id and self._witness.is_gone(drone_id)):
                self._backlog[message_id] = Waiting(record.order if isinstance(record, Saga) else record)
        self._left = set(self._backlog)

    def _cancel(self, message_id: str, after_s: float) -> None:
        self._cancelled.add(message_id)
        waiting = (self._backlog or {}).get(message_id)
        if self._backlog is not None and waiting is not None and waiting.cancelled_after_s is None:
            self._backlog[message_id] = Waiting(waiting.order, after_s)

    def _saga_changed(self, saga: Saga, revision: int) -> None:
        message_id = saga.message_id
        if not saga.status.is_terminal:
            self._open[message_id] = saga
            return
        self._open.pop(message_id, None)
        if message_id in self._left:
            self._left.discard(message_id)
            self._last = revision

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Judge how long the backlog took."""
        backlog, since_s = self._backlog, self._calm_since_s
        if backlog is None or since_s is None or len(backlog) < LEAST_ORDERS:
            return
        until = replay.revision if self._left else self._last
        took_s = self._witness.committed_s(until) - since_s
        within_s = LEAST_SHARE * (took_s - self._spare_s)
        if within_s > 0.0 and self._witness.drains_within(backlog, within_s):
            text = f"{len(backlog)} orders, of which {len(self._left)} are left, have taken {took_s:.0f} s since the"
            text += f" last fault; a region without faults ends all of them in {within_s:.0f} s"
            yield Violation(self.id, text, (until,))
