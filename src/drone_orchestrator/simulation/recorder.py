"""The referee: records every change of the store as it happens, and compares it with the physical truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from ..core.saga import CLEARED
from ..core.types import Entry, Kind, Reservation, Saga, SagaEvent, SagaStatus, StoreChange
from ..core.view import FleetView
from .cached import CachedStore
from .environment import REGION, Environment

#: Revision of the store's first change.
FIRST_REVISION = 2
#: A reservation that is to lose its lease loses it within this time (s).
EXPIRES_WITHIN_S = 0.3

#: Phases of an order. A parked one is COMPENSATING as well.
PARKED = "PARKED"
PHASES = (*(status.value for status in SagaStatus if not status.is_terminal), PARKED)


def phase_of(saga: Saga) -> str:
    """Return the phase of an order: one of :data:`PHASES`, or the status in which it ended."""
    return PARKED if saga.parked else saga.status.value


class Recorder:
    """Complete history of the store. It reads the store as no program could: outages and compaction do not touch it.

    ``history`` has all changes so far, ``view`` is the state after them, and ``ended`` has the orders that have ended.
    It calls ``on_parked`` at the moment when a saga is parked, with the revision.
    While ``expires_next_reservation`` is set, the next leased reservation loses its lease shortly after it is made.
    """

    def __init__(self, environment: Environment) -> None:
        self.history: list[StoreChange] = []
        self.view = FleetView()
        self.ended: dict[str, Saga] = {}
        self._ended_s: dict[str, float] = {}
        self.expires_next_reservation = False
        self._environment = environment
        self._store = CachedStore(environment.backend, REGION, "recorder", decoded=environment.decoded)
        self._revision = 0
        self._due = False
        self._committed_s: list[float] = []  # when each revision was made, from the first on
        self._cleared: dict[str, str] = {}  # order -> drone that holds a clearance
        self._untrue: set[str] = set()  # orders that have contradicted the truth already
        self.phases: Counter[str] = Counter()  # of all orders in the store
        self._phase: dict[str, str] = {}
        self.on_parked: Callable[[Saga, int], None] = lambda saga, revision: None
        environment.on_store_change(self._store_changed)
        environment.packages.may_take = self.is_cleared

    def record(self) -> None:
        """Catch up with the store."""
        self._due = False
        for change in self._store.history(self._revision):
            self.history.append(change)
            self._revision = change.revision
            self.view.apply(change)
            for entry in change.entries:
                self._record_entry(entry)
            if self._environment.is_traced:
                self._trace(change)

    def committed_s(self, revision: int) -> float:
        """Return when (virtual, s) the revision was made."""
        return self._committed_s[revision - FIRST_REVISION]

    def compact(self) -> None:
        """Compact the store, after recording what it is about to forget."""
        self.record()
        self._environment.backend.compact()

    def parked(self) -> list[Saga]:
        """Return the orders whose compensation waits for a person."""
        self.record()
        return [stored.value for stored in self.view.sagas.values() if stored.value.parked]

    def is_cleared(self, message_id: str, drone_id: str) -> bool:
        """Return whether the drone currently holds a clearance to load the order's package."""
        self.record()
        return self._cleared.get(message_id) == drone_id

    def _store_changed(self) -> None:
        self._committed_s.append(self._environment.scheduler.now_s)
        if not self._due:
            # At this very instant, but not within the store's own call.
            self._due = True
            self._environment.scheduler.after(0.0, self.record)

    def _record_entry(self, entry: Entry) -> None:
        environment = self._environment
        if isinstance(entry.value, SagaEvent) and entry.value.type == CLEARED:
            self._cleared[entry.value.message_id] = entry.value.drone_id or ""
        elif isinstance(entry.value, Reservation) and entry.value.leased and self.expires_next_reservation:
            self.expires_next_reservation = False
            delay_s = environment.chance.of("expiring_reservation").random() * EXPIRES_WITHIN_S
            environment.scheduler.after(delay_s, partial(self._expire_reservation, entry.id))
        if entry.kind is Kind.SAGA:
            self._count(entry)
            if isinstance(entry.value, Saga) and entry.value.parked:
                self.on_parked(entry.value, entry.mod_revision)
            self._note_end(entry)
            self._hold_against_truth(entry)

    def _count(self, entry: Entry) -> None:
        before, saga = self._phase.pop(entry.id, None), entry.value
        if before is not None:
            self.phases[before] -= 1
        if isinstance(saga, Saga):
            self._phase[entry.id] = phase_of(saga)
            self.phases[phase_of(saga)] += 1

    def _expire_reservation(self, drone_id: str) -> None:
        backend = self._environment.backend
        key = self._store.keys.assignment(drone_id)
        if not self._environment.is_calm and key in backend.leased_keys():
            backend.expire_lease_of(key)

    def _note_end(self, entry: Entry) -> None:
        if isinstance(entry.value, Saga):
            if entry.value.status.is_terminal:
                self.ended[entry.id] = entry.value
                self._ended_s[entry.id] = self.committed_s(entry.mod_revision)
            return
        kept_s = self.committed_s(entry.mod_revision) - self._ended_s.get(entry.id, 0.0)
        owed_s = self._environment.conditions.retention_s or 0.0
        if kept_s < owed_s:
            text = f"order {entry.id} gave its ids back {kept_s:.1f} s after its end, not {owed_s:g} s"
            self._environment.wrong("I7", text)
        archived = self._environment.archive.orders.get(entry.id)
        if archived is None or archived.saga != self.ended.get(entry.id):
            self._environment.wrong("I3", f"order {entry.id} left the store without having been archived as it ended")

    def _hold_against_truth(self, entry: Entry) -> None:
        """Report a saga that contradicts the truth about its package, once per order."""
        saga = entry.value
        if isinstance(saga, Saga) and saga.status is SagaStatus.PENDING:
            self._cleared.pop(saga.message_id, None)  # that attempt is over
        if not isinstance(saga, Saga) or saga.message_id in self._untrue:
            return
        text = self._environment.packages.contradiction(saga)
        if text:
            self._untrue.add(saga.message_id)
            self._environment.wrong("I5", text)

    def _trace(self, change: StoreChange) -> None:
        at_s = self.committed_s(change.revision)
        for entry in change.entries:
            value = entry.value
            what = "gone" if value is None else type(value).__name__
            if isinstance(value, Saga):
                what = f"{value.status.value} {value.drone_id} {value.reason}"
            self._environment.note(f"  store {change.revision}: {entry.kind.value}/{entry.id} {what}", at_s)
