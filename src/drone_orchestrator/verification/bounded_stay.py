"""J3: no order stays in a state for longer than the bounds of its waits, while what it waits for is there.

There is a leader that reaches the store. It could hear and command the order's drone all the time, or, while the order
waits for one, a free drone that could fly it. The store's history tells none of that, so a witness does. Orders that
wait for a person are left out.

Nor does a leader give an order to a drone that has just not got on with one: it would wait there as long again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ..core.leader.blame import BENCH_CAP_S
from ..core.leader.bounds import longest_stay_s, longest_wait_s
from ..core.policies import DispatchPolicy
from ..core.reasons import Reason
from ..core.saga import ABANDONED, ASSIGNED
from ..core.types import FleetSpec, Kind, Order, Phase, Saga, SagaEvent, SagaStatus
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay

S = SagaStatus

#: Phases that a drone may pass while its order stays in a state.
PHASES: dict[SagaStatus, tuple[Phase, ...]] = {
    S.DISPATCHED: (Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE),
    S.LOADING: (Phase.AWAITING_CLEARANCE, Phase.LOADING, Phase.TO_DESTINATION),
    S.IN_TRANSIT: (Phase.TO_DESTINATION, Phase.DROPPING),
    S.COMPENSATING: (Phase.BRINGING_BACK, Phase.DROPPING),
}
#: Longest time (s) in which a drone accepts a goal or loses the order.
ASSIGNED_S = 60.0


class StayWitness(Protocol):
    """Knowledge of a run that its history does not have. All times are those of one clock (s)."""

    def committed_s(self, revision: int) -> float:
        """Return when the revision was made."""

    def served_s(self, drone_id: str | None, from_s: float, until_s: float) -> float:
        """Return the longest time without interruption in which one leader could serve orders of the drone."""

    def idle_s(self, order: Order, from_s: float, until_s: float, least_s: float) -> tuple[float, str]:
        """Return the longest time without interruption in which one leader could have given the order to the same free
        drone, and that drone. A time below ``least_s`` may be returned as 0."""


@dataclass(frozen=True, slots=True)
class _Stay:
    record: Saga | Order
    revision: int

    @property
    def status(self) -> SagaStatus:
        return self.record.status if isinstance(self.record, Saga) else S.PENDING


class BoundedStay:
    """Judge of every stay of an order in one state. Leader and drone have ``within_s`` to act."""

    id = "J3"

    def __init__(self, witness: StayWitness, fleet: FleetSpec, policy: DispatchPolicy, within_s: float) -> None:
        self._witness = witness
        self._longest_s = longest_stays_s(fleet, policy, within_s)
        self._within_s = within_s
        self._stays: dict[str, _Stay] = {}
        self._stalled: dict[str, tuple[int, int]] = {}  # drone that did not get on -> epoch, revision

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for event in step.events:
            yield from self._note_stall(event, step.revision)
        for change in step.changes:
            record = change.after
            if change.kind is Kind.INBOX_ORDER and isinstance(record, Order):
                self._stays[change.id] = _Stay(record, step.revision)
            elif change.kind is Kind.SAGA:
                before = self._stays.pop(change.id, None)
                if before is not None:
                    yield from self._judge(before, step.revision)
                if isinstance(record, Saga) and record.status in self._longest_s and not record.parked:
                    self._stays[change.id] = _Stay(record, step.revision)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Judge the orders that have not ended."""
        for stay in self._stays.values():
            yield from self._judge(stay, replay.revision)

    def _note_stall(self, event: SagaEvent, revision: int) -> Iterator[Violation]:
        drone_id = event.drone_id or ""
        if event.type == ABANDONED and event.reason == Reason.NO_PROGRESS:
            self._stalled[drone_id] = event.epoch, revision
        if event.type != ASSIGNED or drone_id not in self._stalled:
            return
        epoch, since = self._stalled.pop(drone_id)
        after_s = self._witness.committed_s(revision) - self._witness.committed_s(since)
        if event.epoch == epoch and after_s < BENCH_CAP_S - self._within_s:
            text = f"{drone_id} got order {event.message_id} {after_s:.0f} s after it had not got on with one"
            yield Violation(self.id, text, (since, revision))

    def _judge(self, stay: _Stay, until: int) -> Iterator[Violation]:
        from_s, until_s = self._witness.committed_s(stay.revision), self._witness.committed_s(until)
        longest_s = self._longest_s[stay.status]
        if until_s - from_s <= longest_s:
            return
        text = self._too_long(stay.record, from_s, until_s, longest_s)
        if text:
            yield Violation(self.id, f"order {stay.record.message_id} {text}", (stay.revision, until))

    def _too_long(self, record: Saga | Order, from_s: float, until_s: float, longest_s: float) -> str:
        """Return what the order waited for, although that was there for more than ``longest_s``; else nothing."""
        if isinstance(record, Order) or record.status is S.PENDING:
            order = record if isinstance(record, Order) else record.order
            idle_s, drone_id = self._witness.idle_s(order, from_s, until_s, longest_s)
            if idle_s > longest_s:
                return f"waited for a drone for {idle_s:.0f} s in which {drone_id} was free and could have flown it"
            return ""
        served_s = self._witness.served_s(record.drone_id, from_s, until_s)
        if served_s <= longest_s:
            return ""
        stayed = f"stayed {record.status.value} for {served_s:.0f} s beside {record.drone_id}"
        return f"{stayed}, which could be served all the time"


def longest_stays_s(fleet: FleetSpec, policy: DispatchPolicy, within_s: float) -> dict[SagaStatus, float]:
    """Return the longest stay (s) in each state in which an order waits for no person."""
    found = {
        status: within_s + sum(max(longest_stay_s(fleet, each, phase) for each in fleet.classes) for phase in phases)
        for status, phases in PHASES.items()
    }
    found[S.COMPENSATING] += policy.max_recall_tries * policy.recall_cap_s
    found[S.ASSIGNED] = ASSIGNED_S + within_s
    found[S.PENDING] = longest_wait_s(policy) + within_s
    return found
