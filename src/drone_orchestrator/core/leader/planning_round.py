"""One planning round: pairs free drones with waiting orders, and begins the sagas of orders left without a drone."""

from __future__ import annotations

from .. import saga as sagas
from ..changes import BreakerChange, Reserve
from ..planner import Planner
from ..types import FleetSpec, Instant, SagaEvent, SagaStatus
from ..view import FleetView
from .effects import Effect
from .lane_sharing import allot
from .memory import LeaderState
from .roster import Roster
from .set_aside import Aside, CarefulPlanner
from .steps import Steps


class PlanningRound:
    """The part of the leader that assigns drones. It keeps no state between rounds."""

    def __init__(
        self,
        view: FleetView,
        state: LeaderState,
        steps: Steps,
        roster: Roster,
        fleet: FleetSpec,
        planner: Planner,
        aside: Aside,
    ) -> None:
        self._view = view
        self._state = state
        self._steps = steps
        self._roster = roster
        self._fleet = fleet
        self._planner = planner
        self._aside = aside

    def run(self, now: Instant) -> list[Effect]:
        """Assign drones lane by lane, and begin the sagas of orders left without one."""
        term = self._state.current_term
        term.plan_due, term.planned_at_s = False, now.mono_s
        lanes = self._roster.lanes(term, now)
        pairs = allot(self._fleet, CarefulPlanner(self._planner, self._aside, now), lanes)
        effects: list[Effect] = []
        for pair in pairs:
            try:
                effects += self._assign(pair.message_id, pair.drone_id, now)
            except Exception as error:
                self._aside.put_order(pair.message_id, error, now)
        # A lane may have free drones left and more orders than one round considers. It is planned again before any of
        # its orders is accepted without a drone, which would waste a commit.
        taken = {pair.drone_id for pair in pairs}
        full = [lane for lane in lanes if len(lane.orders) == self._state.policy.plan_orders] if pairs else []
        again = [lane.drone_class.name for lane in full if any(r.drone_id not in taken for r in lane.free)]
        term.plan_due = bool(again)
        for name in term.waiting.lanes:
            if name not in again:
                effects += self._accept(name, now)
        return effects

    def _assign(self, message_id: str, drone_id: str, now: Instant) -> list[Effect]:
        """Reserve the drone for the order. If the order has no saga yet, the same commit begins it."""
        saga = self._view.saga_of(message_id)
        before: tuple[SagaEvent, ...] = ()
        if saga is None:
            before = (self._begin(message_id, now),)
            saga = sagas.apply(None, before[0])
        step = self._steps.event(saga, sagas.ASSIGNED, SagaStatus.ASSIGNED, now, drone_id=drone_id)
        breaker: BreakerChange | None = self._steps.breaker_tried(drone_id)
        self._roster.touch(drone_id)
        # The goal is not sent here: after the commit has succeeded, reconciling the order sends it.
        return self._steps.record(step, Reserve(drone_id), before=before, breaker=breaker, base=saga)

    def _accept(self, lane: str, now: Instant) -> list[Effect]:
        """Begin the sagas of orders in the inbox, a bounded number at a time."""
        term = self._state.current_term
        under_way = sum(1 for each in term.accepting.values() if each == lane)
        effects: list[Effect] = []
        for message_id in term.waiting.not_begun(lane, self._state.policy.accept_orders - under_way):
            try:
                effects += self._steps.record(self._begin(message_id, now))
                term.accepting[message_id] = lane
            except Exception as error:
                self._aside.put_order(message_id, error, now)
        return effects

    def _begin(self, message_id: str, now: Instant) -> SagaEvent:
        order = self._view.order_of(message_id)
        assert order is not None
        return sagas.begin(order, now_s=now.wall_s, epoch=self._state.current_term.epoch)
