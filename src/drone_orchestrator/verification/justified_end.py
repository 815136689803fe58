"""J1: an order ends FAILED only for a reason that is true, and one whose deadline has passed is not flown any more.

The history itself shows whether an order has a deadline, and how many attempts there were. A witness knows the rest:
what time it really was, whether the drone could be heard, and what troubled the attempts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..core.reasons import GoalRefusal, Reason, RefusalCause
from ..core.saga import ABANDONED, ASSIGNED, CLEARED, RESOLVED
from ..core.types import Order, Saga, SagaEvent, SagaStatus
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay

S = SagaStatus

#: Reasons that say that no drone can fly the order: the leader's own, and refusals of drones.
_UNFIT = {
    str(reason)
    for reason in (
        Reason.NO_CAPABLE_DRONE,
        Reason.NO_FLY_ZONE,
        *GoalRefusal.of(RefusalCause.ORDER),
        *GoalRefusal.of(RefusalCause.CONFIGURATION),
    )
}


class EndWitness(Protocol):
    """Knowledge of a run that its history does not have. ``lost_grace_s`` and ``max_attempts`` are the leaders' own."""

    lost_grace_s: float
    max_attempts: int

    def may_be_late(self, saga: Saga, revision: int) -> bool:
        """Return whether the deadline had passed at that revision, give or take a tolerance.

        By the true time, or because the clocks of both the intake and the leader that took the order on were behind:
        two clocks that are wrong alike make an order older.
        """

    def must_be_late(self, order: Order, revision: int) -> bool:
        """Return whether every leader had to know at that revision that the deadline had passed."""

    def can_be_flown(self, order: Order) -> bool:
        """Return whether a class of the newest fleet description can fly the order."""

    def was_heard(self, drone_id: str, revision: int) -> bool:
        """Return whether a leader could hear the drone for long enough within the grace before the revision."""

    def was_troubled(self, first: int, last: int) -> bool:
        """Return whether anything failed in the world that can undo an attempt between these two revisions."""


class JustifiedEnd:
    """Judge of every order that ends FAILED, unless a person ended it. Without a witness, of what the history shows."""

    id = "J1"

    def __init__(self, witness: EndWitness | None = None) -> None:
        self._witness = witness
        self._given_up: dict[str, tuple[int, SagaEvent]] = {}  # orders that are undone in order to fail
        self._attempts: dict[str, list[list[int]]] = {}  # order -> revisions at which its attempts began and ended

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        if step.baseline:
            return
        for event in step.events:
            message_id = event.message_id
            if event.type == CLEARED:
                yield from self._cleared(event, step.revision, replay)
            elif event.type == ASSIGNED:
                self._attempts.setdefault(message_id, []).append([step.revision])
            elif event.type == ABANDONED:
                if message_id in self._attempts:
                    self._attempts[message_id][-1].append(step.revision)
                if event.target is S.FAILED:
                    self._given_up[message_id] = (step.revision, event)
            elif event.to_status.is_terminal:
                yield from self._ended(event, step.revision, replay)

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield nothing: every end is judged when it is recorded."""
        yield from ()

    def _cleared(self, event: SagaEvent, revision: int, replay: StoreReplay) -> Iterator[Violation]:
        saga = replay.sagas.get(event.message_id)
        if self._witness and saga is not None and self._witness.must_be_late(saga.order, revision):
            text = f"order {event.message_id} was cleared to load, although its deadline had passed"
            yield Violation(self.id, text, (revision,))

    def _ended(self, event: SagaEvent, revision: int, replay: StoreReplay) -> Iterator[Violation]:
        decided = revision, event
        if event.from_status is S.COMPENSATING and event.reason != Reason.DRONE_LOST_WITH_PACKAGE:
            decided = self._given_up.get(event.message_id, decided)
        self._given_up.pop(event.message_id, None)
        attempts = self._attempts.pop(event.message_id, [])
        saga = replay.sagas.get(event.message_id)
        if event.to_status is not S.FAILED or event.type == RESOLVED or saga is None:
            return
        objection = self._objection(saga, *decided, attempts)
        if objection:
            text = f"order {event.message_id} ended FAILED ({decided[1].reason}), although {objection}"
            yield Violation(self.id, text, tuple(dict.fromkeys((decided[0], revision))))

    def _objection(self, saga: Saga, revision: int, event: SagaEvent, attempts: list[list[int]]) -> str:
        """Return what contradicts the reason for which the order was given up at ``revision``, or ``""``."""
        witness, order = self._witness, saga.order
        match event.reason:
            case Reason.DEADLINE_EXCEEDED:
                if order.deadline_at is None:
                    return "it has no deadline"
                if witness and not witness.may_be_late(saga, revision):
                    return "its deadline had not passed"
            case Reason.ATTEMPTS_EXHAUSTED:
                if event.attempt < (witness.max_attempts if witness else 1):
                    return f"there were {event.attempt} attempts only"
                if witness:
                    return self._idle_attempt(witness, attempts)
            case reason if reason in _UNFIT:
                if witness and witness.can_be_flown(order):
                    return "the fleet can fly it"
            case Reason.DRONE_LOST_WITH_PACKAGE:
                if witness and witness.was_heard(event.drone_id or "", revision):
                    return f"{event.drone_id} could be heard within the grace of {witness.lost_grace_s:g} s"
            case _:
                return "that is no reason to fail"
        return ""

    @staticmethod
    def _idle_attempt(witness: EndWitness, attempts: list[list[int]]) -> str:
        for number, revisions in enumerate(attempts, 1):
            if not witness.was_troubled(revisions[0], revisions[-1]):
                return f"nothing had failed that could undo attempt {number}"
        return ""
