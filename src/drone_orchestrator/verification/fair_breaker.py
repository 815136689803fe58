"""J4: a breaker opens only for its own drone's faults.

Each failure that a breaker counts belongs to an attempt, and something must have been wrong with that very drone in the
course of it. An order's fault, a leader that nobody answers, a store that is away or a deployment is none of a drone's.
The store's history does not tell what was wrong with a drone, so a witness does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..core.saga import ASSIGNED
from ..core.types import Breaker, BreakerState, Kind, SagaEvent
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay


class FaultWitness(Protocol):
    """Knowledge of a run that its history does not have."""

    def was_at_fault(self, drone_id: str, first: int, last: int) -> bool:
        """Return whether anything was wrong with the drone, or with its link alone, between the two revisions."""


class FairBreaker:
    """Judge of every breaker that opens, by the failures that it has counted since the drone's last success."""

    id = "J4"

    def __init__(self, witness: FaultWitness) -> None:
        self._witness = witness
        self._began: dict[str, int] = {}  # order -> revision at which its latest attempt began
        self._unfair: dict[str, list[int]] = {}  # drone -> revisions of failures without a fault

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        if not step.baseline:
            for change in step.changes:
                if change.kind is Kind.BREAKER and isinstance(change.after, Breaker):
                    yield from self._changed(change.after, step)
        for event in step.events:
            if event.type == ASSIGNED:
                self._began[event.message_id] = step.revision

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield nothing: every breaker is judged when it opens."""
        yield from ()

    def _changed(self, breaker: Breaker, step: Step) -> Iterator[Violation]:
        if breaker.state is BreakerState.HALF_OPEN:
            return  # it is tried, and counts as many failures as before
        unfair = self._unfair.setdefault(breaker.drone_id, [])
        if not breaker.failures:
            unfair.clear()
            return
        attempt = next((event for event in step.events if event.drone_id == breaker.drone_id), None)
        if not self._is_deserved(breaker.drone_id, attempt, step.revision):
            unfair.append(step.revision)
        if breaker.state is BreakerState.OPEN and unfair:
            text = f"the breaker of {breaker.drone_id} opened, although nothing was wrong with the drone"
            why = attempt.reason if attempt is not None else "no reason"
            yield Violation(self.id, f"{text} ({why})", (*unfair,))

    def _is_deserved(self, drone_id: str, attempt: SagaEvent | None, revision: int) -> bool:
        began = self._began.get(attempt.message_id, revision) if attempt is not None else revision
        return self._witness.was_at_fault(drone_id, began, revision)
