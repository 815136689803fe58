"""Builds histories of a store by hand: good ones by the rules of ``core.saga``, bad ones by breaking a rule."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.types import (
    ArchivedOrder,
    Entry,
    GeoPoint,
    Kind,
    LeaderRecord,
    Order,
    Reservation,
    Saga,
    SagaEvent,
    SagaStatus,
    StoreChange,
    Value,
)

S = SagaStatus


def order(message_id: str = "m1", order_id: str | None = None, **fields: Any) -> Order:
    return Order(message_id, order_id or f"order-{message_id}", GeoPoint(47.4, 8.5), 1.0, 100.0, **fields)


@dataclass
class History:
    """A history in the making: each method writes the next revision. Call ``leader()`` first: its epoch is 1."""

    changes: list[StoreChange] = field(default_factory=list)
    sagas: dict[str, Saga] = field(default_factory=dict)
    living: dict[tuple[Kind, str], Entry] = field(default_factory=dict)
    epoch: int = 0

    @property
    def revision(self) -> int:
        return self.changes[-1].revision if self.changes else 0

    def write(self, *puts: tuple[Kind, str, Value | None]) -> int:
        """Write any keys at the next revision, valid or not."""
        revision = self.revision + 1
        entries = tuple(Entry(kind, key, value, revision) for kind, key, value in puts)
        for entry in entries:
            self.living.pop((entry.kind, entry.id), None)
            if entry.value is not None:
                self.living[entry.kind, entry.id] = entry
        self.changes.append(StoreChange(revision, entries))
        return revision

    def leader(self, name: str = "orchestrator_a") -> None:
        self.epoch = self.write((Kind.LEADER, "", LeaderRecord(name, f"{name}-1", 100.0)))

    def submit(self, wanted: Order) -> None:
        index = (Kind.ORDER_INDEX, wanted.order_id, wanted.message_id)
        self.write((Kind.INBOX_ORDER, wanted.message_id, wanted), index)

    def transition(self, event: SagaEvent, *more: tuple[Kind, str, Value | None]) -> Saga:
        """Write the saga, its event and ``more`` at one revision."""
        saga = sagas.apply(self.sagas.get(event.message_id), event)
        self.sagas[event.message_id] = saga
        self.write(*self.puts(saga, event), *more)
        return saga

    @staticmethod
    def puts(saga: Saga, event: SagaEvent) -> tuple[tuple[Kind, str, Value | None], ...]:
        return (Kind.SAGA, saga.message_id, saga), (Kind.EVENT, f"{event.message_id}/{event.n}", event)

    def event(self, message_id: str, type_: str, to: SagaStatus, **fields: Any) -> SagaEvent:
        fields.setdefault("epoch", self.epoch)
        return sagas.next_event(self.sagas[message_id], type_, to, now_s=100.0 + self.revision, **fields)

    def accept(self, wanted: Order, at: float | None = None) -> None:
        first = sagas.begin(wanted, now_s=100.0 + self.revision if at is None else at, epoch=self.epoch)
        self.transition(first, (Kind.INBOX_ORDER, wanted.message_id, None))

    def reservation(self, message_id: str, drone_id: str, *, leased: bool, attempt: int | None = None) -> Reservation:
        return Reservation(drone_id, message_id, attempt or self.sagas[message_id].attempt, self.epoch, leased)

    def assign(self, message_id: str, drone_id: str) -> None:
        event = self.event(message_id, sagas.ASSIGNED, S.ASSIGNED, drone_id=drone_id)
        held = self.reservation(message_id, drone_id, leased=True, attempt=event.attempt)
        self.transition(event, (Kind.ASSIGNMENT, drone_id, held))

    def dispatch(self, message_id: str) -> None:
        self.transition(self.event(message_id, sagas.GOAL_ACCEPTED, S.DISPATCHED))

    def clear(self, message_id: str, journal_id: str = "j1") -> None:
        drone_id = self.sagas[message_id].drone_id
        assert drone_id is not None
        firm = self.reservation(message_id, drone_id, leased=False)
        self.transition(
            self.event(message_id, sagas.CLEARED, S.LOADING, journal_id=journal_id), (Kind.ASSIGNMENT, drone_id, firm)
        )

    def load(self, message_id: str) -> None:
        self.transition(self.event(message_id, sagas.LOADED, S.IN_TRANSIT))

    def release(self, message_id: str, type_: str, to: SagaStatus, **fields: Any) -> None:
        """Write a step that releases the drone."""
        drone_id = self.sagas[message_id].drone_id
        gone = ((Kind.ASSIGNMENT, drone_id, None),) if (Kind.ASSIGNMENT, drone_id) in self.living else ()
        self.transition(self.event(message_id, type_, to, **fields), *gone)

    def deliver(self, message_id: str) -> None:
        self.release(message_id, sagas.DELIVERED, S.DELIVERED)

    def abandon(self, message_id: str, target: SagaStatus = S.PENDING) -> None:
        self.transition(self.event(message_id, sagas.ABANDONED, S.COMPENSATING, target=target, reason="silent"))

    def compensate(self, message_id: str, to: SagaStatus = S.PENDING) -> None:
        self.release(message_id, sagas.COMPENSATED, to, reason="silent")

    def deliver_from_start(self, wanted: Order, drone_id: str = "d1", journal_id: str = "j1") -> None:
        self.submit(wanted)
        self.accept(wanted)
        self.assign(wanted.message_id, drone_id)
        self.dispatch(wanted.message_id)
        self.clear(wanted.message_id, journal_id)
        self.load(wanted.message_id)
        self.deliver(wanted.message_id)

    def archived(self, message_id: str) -> ArchivedOrder:
        """Return the order as it is archived."""
        of_order = [
            e for (kind, key), e in self.living.items() if kind is Kind.EVENT and key.startswith(f"{message_id}/")
        ]
        events = sorted((e.value for e in of_order if isinstance(e.value, SagaEvent)), key=lambda event: event.n)
        return ArchivedOrder(self.sagas[message_id], tuple(events), self.living[Kind.SAGA, message_id].mod_revision)

    def retire(self, message_id: str) -> ArchivedOrder:
        """Retire the order, so that its ids may be used again. Return what is archived."""
        archived = self.archived(message_id)
        saga = self.sagas.pop(message_id)
        events = ((Kind.EVENT, f"{message_id}/{event.n}", None) for event in archived.events)
        self.write((Kind.SAGA, message_id, None), *events, (Kind.ORDER_INDEX, saga.order_id, None))
        return archived

    def compacted(self) -> list[StoreChange]:
        """Return a history that starts here: its first change holds every existing key."""
        return [StoreChange(self.revision, tuple(self.living.values()))]

    def tampered(self, message_id: str, **fields: Any) -> Saga:
        """Return the stored saga with some fields changed, for a history that breaks I6 or I1."""
        return replace(self.sagas[message_id], **fields)


def to_loading(message_id: str = "m1", drone_id: str = "d1", journal_id: str = "j1") -> History:
    """Return a history with a leader and one order that is cleared to load."""
    history = History()
    history.leader()
    history.submit(order(message_id))
    history.accept(order(message_id))
    history.assign(message_id, drone_id)
    history.dispatch(message_id)
    history.clear(message_id, journal_id)
    return history
