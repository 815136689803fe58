"""J2: a cancellation that comes in time ends its order CANCELLED.

In time means that, between the request and the beginning of the drop, a leader could act on it for a while: it was in
office, reached the store, and the order's drone was in order and within its reach. The store's history tells none of
that, so a witness does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from ..core.types import CancelRequest, Kind, Order, Saga, SagaStatus
from .records import JournalHistory, Violation
from .store_replay import Change, Step, StoreReplay

S = SagaStatus


class ServiceWitness(Protocol):
    """Knowledge of a run that its history does not have. All times are those of one clock (s)."""

    def committed_s(self, revision: int) -> float:
        """Return when the revision was made."""

    def drop_began_s(self, message_id: str) -> float | None:
        """Return when a drone began to drop the order's package at its destination, ``None`` if none did."""

    def served_s(self, drone_id: str | None, from_s: float, until_s: float) -> float:
        """Return the longest time without interruption in which one leader could serve orders of the drone.

        ``None``: orders without a drone.
        """


@dataclass(frozen=True, slots=True)
class _Stage:
    """The order as of ``from_s``, the first stage as of the request. Nothing is ``expected`` of a parked order."""

    from_s: float
    status: SagaStatus
    drone_id: str | None
    expected: bool


@dataclass(slots=True)
class _Asked:
    revision: int
    stages: list[_Stage] = field(default_factory=list)


class CancelHonoured:
    """Judge of every request to cancel. The leader and the order's drone have ``within_s`` to act on it."""

    id = "J2"

    def __init__(self, witness: ServiceWitness, within_s: float) -> None:
        self._witness = witness
        self._within_s = within_s
        self._requests: dict[str, _Asked] = {}

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        for change in step.changes:
            if change.id in self._requests:
                if change.kind is Kind.SAGA and isinstance(change.after, Saga):
                    yield from self._moved(change.after, step.revision)
            elif self._begins(change, replay):
                request = self._requests[change.id] = _Asked(step.revision)
                request.stages.append(self._stage(replay.sagas.get(change.id), step.revision))

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Yield nothing: a request is judged when its order ends."""
        yield from ()

    @staticmethod
    def _begins(change: Change, replay: StoreReplay) -> bool:
        """Return whether there is now both an order that has not ended and a request to cancel it."""
        asked = change.kind is Kind.INBOX_CANCEL and isinstance(change.after, CancelRequest)
        came = change.kind is Kind.INBOX_ORDER and isinstance(change.after, Order)
        saga = replay.sagas.get(change.id)
        alive = change.id in replay.inbox if saga is None else not saga.status.is_terminal
        return alive and (asked or (came and change.id in replay.cancels))

    def _stage(self, saga: Saga | None, revision: int) -> _Stage:
        at_s = self._witness.committed_s(revision)
        if saga is None:
            return _Stage(at_s, S.PENDING, None, True)
        return _Stage(at_s, saga.status, saga.drone_id, not saga.parked)

    def _moved(self, saga: Saga, revision: int) -> Iterator[Violation]:
        request = self._requests[saga.message_id]
        if not saga.status.is_terminal:
            request.stages.append(self._stage(saga, revision))
            return
        del self._requests[saga.message_id]
        if saga.status is S.CANCELLED:
            return
        until_s = ended_s = self._witness.committed_s(revision)
        if saga.status is S.DELIVERED:
            began_s = self._witness.drop_began_s(saga.message_id)
            until_s = ended_s if began_s is None else min(began_s, ended_s)
        served_s = max(self._chances(request, saga.status, until_s), default=0.0)
        if served_s >= self._within_s:
            text = (
                f"order {saga.message_id} ended {saga.status.value} ({saga.reason}), although its cancellation could "
                f"be acted on for {served_s:.1f} s in time"
            )
            yield Violation(self.id, text, (request.revision, revision))

    def _chances(self, request: _Asked, ended: SagaStatus, until_s: float) -> Iterator[float]:
        """Yield how long each drone in turn, and the leader, had to obey until ``until_s``."""
        ends_s = [stage.from_s for stage in request.stages[1:]] + [until_s]
        stages = [
            (stage.drone_id, stage.from_s, min(end_s, until_s))
            for stage, end_s in zip(request.stages, ends_s, strict=True)
            # A drone that obeys may still be lost on its way back.
            if stage.expected and not (ended is S.FAILED and stage.status is S.COMPENSATING)
        ]
        for drone_id, group in groupby(stages, key=lambda stage: stage[0]):
            same = list(group)
            if same[0][1] < same[-1][2]:
                yield self._witness.served_s(drone_id, same[0][1], same[-1][2])
