"""J3: no order stays beside its drone for longer than the bounds of its waits, while what it waits for is there.

There is a leader that reaches the store, and it could hear and command the order's drone all the time. The store's
history tells none of that, so a witness does. Orders that wait for a person are left out, and so are orders that wait
for a drone: what they wait for is a free drone that can fly them, and no history shows that.

Nor does a leader give an order to a drone that has just not got on with one: it would wait there as long again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ..core.leader.blame import BENCH_CAP_S
from ..core.leader.bounds import longest_stay_s
from ..core.policies import DispatchPolicy
from ..core.reasons import Reason
from ..core.saga import ABANDONED, ASSIGNED
from ..core.types import FleetSpec, Kind, Phase, Saga, SagaEvent, SagaStatus
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


@dataclass(frozen=True, slots=True)
class _Stay:
    saga: Saga
    revision: int


class BoundedStay:
    """Judge of every stay of an order with a drone. Leader and drone have ``within_s`` to act."""

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
            if change.kind is not Kind.SAGA:
                continue
            before = self._stays.pop(change.id, None)
            if before is not None:
                yield from self._judge(before, step.revision)
            saga = change.after
            if isinstance(saga, Saga) and saga.status in self._longest_s and not saga.parked:
                self._stays[change.id] = _Stay(saga, step.revision)

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
        saga, witness = stay.saga, self._witness
        from_s, until_s = witness.committed_s(stay.revision), witness.committed_s(until)
        longest_s = self._longest_s[saga.status]
        if until_s - from_s <= longest_s:
            return
        served_s = witness.served_s(saga.drone_id, from_s, until_s)
        if served_s > longest_s:
            text = f"order {saga.message_id} stayed {saga.status.value} for {served_s:.0f} s beside {saga.drone_id}"
            yield Violation(self.id, f"{text}, which could be served all the time", (stay.revision, until))


def longest_stays_s(fleet: FleetSpec, policy: DispatchPolicy, within_s: float) -> dict[SagaStatus, float]:
    """Return the longest stay (s) in each state with a drone."""
    found = {
        status: within_s + sum(max(longest_stay_s(fleet, each, phase) for each in fleet.classes) for phase in phases)
        for status, phases in PHASES.items()
    }
    found[S.COMPENSATING] += policy.max_recall_tries * policy.recall_cap_s
    found[S.ASSIGNED] = ASSIGNED_S + within_s
    return found
