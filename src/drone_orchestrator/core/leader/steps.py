"""Steps that a leader can request: each is one transaction of saga, events, reservation and breaker.

:mod:`.before_loading`, :mod:`.planning_round` and :mod:`.after_loading` decide *whether* a step is due, not this
module.
"""

from __future__ import annotations

import heapq

from .. import saga as sagas
from ..changes import BreakerChange, Consume, Discard, OrderChange, Release, ReservationChange, Reserve, Transition
from ..policies import backoff_s
from ..types import Breaker, Instant, Kind, Saga, SagaEvent, SagaStatus
from ..view import FleetView
from . import breakers
from .blame import Culprit
from .effects import Commit, Effect, RecallGoal, Report, Send
from .memory import LeaderState, Retry

S = SagaStatus

#: Two wake-ups closer than this (s) count as one.
SAME_TIME_S = 0.02
#: Stale wake-ups that may accumulate before they are cleared.
SPARE_WAKES = 8


class Steps:
    """Records steps on top of the view, for the current term."""

    def __init__(self, view: FleetView, state: LeaderState) -> None:
        self._view = view
        self._state = state
        self._next_commit_id = 1

    # --- the saga's steps ---------------------------------------------------------------------------------------

    def event(
        self,
        saga: Saga,
        type_: str,
        to: SagaStatus,
        now: Instant,
        *,
        reason: str | None = None,
        drone_id: str | None = None,
        journal_id: str | None = None,
        target: SagaStatus | None = None,
        not_before: float = 0.0,
        excuse: bool = False,
    ) -> SagaEvent:
        """Return the saga's next event. Nothing is recorded yet."""
        return sagas.next_event(
            saga,
            type_,
            to,
            now_s=now.wall_s,
            epoch=self._state.current_term.epoch,
            reason=None if reason is None else str(reason),
            drone_id=drone_id,
            journal_id=journal_id,
            target=target,
            not_before=not_before,
            excuse=excuse,
        )

    def abandoned(
        self, saga: Saga, reason: str, target: SagaStatus, now: Instant, *, excuse: bool = False
    ) -> SagaEvent:
        """Return the event that starts compensation: from then on the saga leads to ``target``."""
        return self.event(saga, sagas.ABANDONED, S.COMPENSATING, now, reason=reason, target=target, excuse=excuse)

    def abandon(
        self, saga: Saga, reason: str, target: SagaStatus, now: Instant, culprit: Culprit = Culprit.ORDER
    ) -> list[Effect]:
        """Start compensation. The recall is sent once this is recorded, and repeated only if the package may be out.

        ``culprit`` decides whether the attempt counts, and whether it counts as a failure of the drone's breaker.
        """
        assert saga.drone_id is not None
        excuse = culprit is Culprit.SYSTEM and saga.excused < self._state.policy.max_excused
        breaker = self.breaker_failed(saga.drone_id, now) if culprit is Culprit.DRONE else None
        term, next_try_s = self._state.current_term, now.mono_s + self._state.policy.recall_retry_s
        recall = RecallGoal(saga.drone_id, saga.message_id, saga.attempt, term.epoch)
        term.of(saga.message_id).recall = Retry(saga.attempt, 1, next_try_s)
        step = self.abandoned(saga, reason, target, now, excuse=excuse)
        return self.record(step, then=(recall,), breaker=breaker)

    def complete_compensation(
        self,
        saga: Saga,
        now: Instant,
        then: tuple[Send, ...] = (),
        before: tuple[SagaEvent, ...] = (),
        breaker: BreakerChange | None = None,
    ) -> list[Effect]:
        """Record that compensation is complete: release the drone, and move to the saga's target."""
        assert saga.target is not None
        step = self.event(
            saga,
            sagas.COMPENSATED,
            saga.target,
            now,
            reason=saga.reason,
            not_before=self._not_before(saga, now) if saga.target is S.PENDING else 0.0,
        )
        return self.record(step, self.release(saga), then=then, before=before, breaker=breaker)

    def park(self, saga: Saga, reason: str, now: Instant, *, release: bool = False) -> list[Effect]:
        """Park the order: it cannot be compensated, so a person must decide. ``release``: also free its drone."""
        text = f"{saga.order_id} is parked ({reason}), last with {saga.drone_id}: a person must decide"
        then = () if saga.parked and saga.reason == reason else (Report("error", text),)
        before: tuple[SagaEvent, ...] = ()
        if saga.status is not S.COMPENSATING:
            target = S.CANCELLED if self._view.cancel_of(saga.message_id) else S.PENDING
            before = (self.abandoned(saga, reason, target, now),)
            saga = sagas.apply(saga, before[0])
        step = self.event(saga, sagas.PARKED, S.COMPENSATING, now, reason=reason, target=saga.target)
        return self.record(step, self.release(saga) if release else None, then=then, before=before)

    def resolve(self, saga: Saga, to: SagaStatus, reason: str, now: Instant) -> list[Effect]:
        """Record a person's statement about the package of a parked order."""
        not_before = self._not_before(saga, now) if to is S.PENDING else 0.0
        step = self.event(saga, sagas.RESOLVED, to, now, reason=reason, not_before=not_before)
        return self.record(step, self.release(saga))

    def _not_before(self, saga: Saga, now: Instant) -> float:
        policy = self._state.policy
        return now.wall_s + backoff_s(
            saga.attempt, base_s=policy.retry_base_s, cap_s=policy.retry_cap_s, seed=saga.message_id
        )

    def release(self, saga: Saga) -> Release | None:
        """Return the release of the drone; ``None`` if its reservation has expired, because the drone may serve another
        order by now."""
        assert saga.drone_id is not None
        entry = self._view.reservation_of(saga)
        return Release(saga.drone_id, entry.mod_revision) if entry else None

    # --- breakers -----------------------------------------------------------------------------------------------

    def breaker_failed(self, drone_id: str, now: Instant) -> BreakerChange:
        known, epoch = self._breaker_of(drone_id), self._state.current_term.epoch
        failed = breakers.after_failure(known, drone_id, self._state.policy.breaker, now_s=now.wall_s, epoch=epoch)
        return self._breaker_change(drone_id, failed)

    def breaker_succeeded(self, drone_id: str) -> BreakerChange | None:
        after = breakers.after_success(self._breaker_of(drone_id), epoch=self._state.current_term.epoch)
        return self._breaker_change(drone_id, after) if after else None

    def breaker_tried(self, drone_id: str) -> BreakerChange | None:
        after = breakers.on_trial(self._breaker_of(drone_id), epoch=self._state.current_term.epoch)
        return self._breaker_change(drone_id, after) if after else None

    def _breaker_of(self, drone_id: str) -> Breaker | None:
        """Return the drone's breaker; ``None`` also if it contradicts itself, so that the next step replaces it."""
        known = self._view.breaker_of(drone_id)
        return None if known is None or sagas.contradiction(known) else known

    def _breaker_change(self, drone_id: str, after: Breaker) -> BreakerChange:
        return BreakerChange(after, self._view.revision_of(Kind.BREAKER, drone_id))

    # --- commits ------------------------------------------------------------------------------------------------

    def record(
        self,
        event: SagaEvent,
        reservation: ReservationChange | None = None,
        then: tuple[Send | Report, ...] = (),
        before: tuple[SagaEvent, ...] = (),
        breaker: BreakerChange | None = None,
        base: Saga | None = None,
    ) -> list[Effect]:
        """Request ``before`` and ``event`` as one transaction, which also deletes the inbox entries they answer.

        ``base``: the saga after ``before``, if the caller knows it.
        """
        return self._ask(build_transition(self._view, (*before, event), reservation, breaker, base), then)

    def discard(
        self, message_id: str, kinds: tuple[Kind, ...] = (Kind.INBOX_CANCEL, Kind.INBOX_COMMAND)
    ) -> list[Effect]:
        """Delete requests about an order from the inbox without a step. Does nothing if there are none."""
        consume = requests_about(self._view, message_id, kinds)
        # A cancel request can arrive before its order (another intake, or a retry).
        unknown = not self._view.has_order(message_id)
        return self._ask(Discard(message_id, consume, unknown)) if consume else []

    def discard_useless(self, saga: Saga) -> list[Effect]:
        """Delete requests that cannot be read or carried out from the inbox, so that they can be made again."""
        view, message_id = self._view, saga.message_id
        kinds: list[Kind] = []
        if view.is_corrupt(message_id, (Kind.INBOX_CANCEL,)):
            kinds.append(Kind.INBOX_CANCEL)
        if view.is_corrupt(message_id, (Kind.INBOX_COMMAND,)) or (message_id in view.commands and not saga.parked):
            kinds.append(Kind.INBOX_COMMAND)
        if not kinds:
            return []
        names = " and ".join(kind.value for kind in kinds)
        why = "it cannot be read, or the order is not parked"
        told = Report("warning", f"{saga.order_id}: what lay in {names} is set aside: {why}")
        return [told, *self.discard(message_id, tuple(kinds))]

    def _ask(self, change: OrderChange, then: tuple[Send | Report, ...] = ()) -> list[Effect]:
        term = self._state.current_term
        term.of(change.message_id).busy = True
        lane = term.waiting.remove(change.message_id)
        if isinstance(change, Transition) and isinstance(change.reservation, Reserve):
            term.reserving[change.reservation.drone_id] = lane
        commit_id, self._next_commit_id = self._next_commit_id, self._next_commit_id + 1
        return [Commit(commit_id, term.epoch, change, then)]

    def schedule(self, message_id: str, at_mono_s: float) -> None:
        """Reconcile the order at that time. An order that is already scheduled earlier needs no second wake-up."""
        term = self._state.current_term
        memory = term.of(message_id)
        # Deadlines come from the wall clock, which drifts: a slightly earlier time is the same deadline.
        if memory.wake_at_s is not None and at_mono_s >= memory.wake_at_s - SAME_TIME_S:
            return
        memory.wake_at_s = at_mono_s
        heapq.heappush(term.wakes, (at_mono_s, message_id))
        if len(term.wakes) > 2 * len(term.orders) + SPARE_WAKES:
            # Orders that ended or were rescheduled have left stale wake-ups behind.
            term.wakes = [(a.wake_at_s, m) for m, a in term.orders.items() if a.wake_at_s is not None]
            heapq.heapify(term.wakes)


def build_transition(
    view: FleetView,
    events: tuple[SagaEvent, ...],
    reservation: ReservationChange | None,
    breaker: BreakerChange | None = None,
    base: Saga | None = None,
) -> Transition:
    """Return the change of the store that appends ``events`` (at least one) to the order's saga in ``view``.

    The same transaction deletes the inbox entries that the events answer. ``base``: the saga after all but the last,
    if the caller knows it. Raises :class:`~drone_orchestrator.core.saga.IllegalTransition` if the events do not follow.
    """
    message_id = events[0].message_id
    saga = base or view.saga_of(message_id)
    for event in events[-1:] if base else events:
        saga = sagas.apply(saga, event)
    assert saga is not None
    consume: tuple[Consume, ...] = ()
    waited_at = view.revision_of(Kind.INBOX_ORDER, message_id)
    if waited_at:
        consume = (Consume(Kind.INBOX_ORDER, message_id, waited_at),)
    if saga.status.is_terminal:
        consume += requests_about(view, message_id)
    elif events[-1].type in (sagas.RETRIED, sagas.RESOLVED):
        consume += requests_about(view, message_id, (Kind.INBOX_COMMAND,))
    return Transition(saga, events, view.revision_of(Kind.SAGA, message_id), reservation, consume, breaker)


def requests_about(
    view: FleetView, message_id: str, kinds: tuple[Kind, ...] = (Kind.INBOX_CANCEL, Kind.INBOX_COMMAND)
) -> tuple[Consume, ...]:
    """Return the requests about an order that are in the inbox, unreadable ones included."""
    revisions = [(kind, view.revision_of(kind, message_id)) for kind in kinds]
    return tuple(Consume(kind, message_id, revision) for kind, revision in revisions if revision)
