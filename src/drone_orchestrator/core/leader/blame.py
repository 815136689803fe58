"""Culprit of an attempt that came to nothing: the drone's, the order's, or that of the system around both.

Only a drone's own fault counts for its breaker. Attempts that failed through the system's fault do not count against
``max_attempts``. The system is to blame for a leader that no drone answers, a store that was away, a drone that is busy
and a configuration that differs. Such a drone is *benched*: it gets no orders for a moment, without a record of it.
"""

from __future__ import annotations

from enum import Enum

from ..policies import backoff_s
from ..reasons import RefusalCause, RefusedGoal
from ..types import DroneReport, Instant, Phase, Saga
from ..view import FleetView
from .memory import Bench, ClassRefusal, Drone, LeaderState, OrderMemory, Retry, Trouble, Unanswered

#: Pause (s) of a drone that is benched, the first time and at most.
BENCH_BASE_S = 4.0
BENCH_CAP_S = 60.0
#: Drones that were last heard longer ago (s) say nothing about how well this leader hears.
HEARD_LATELY_S = 60.0
#: A drone that was heard within this share of the time after which it counts as silent is certainly heard.
FRESH_SHARE = 0.5
#: Answers of this many drones are enough proof, in however large a fleet.
ENOUGH_ANSWERS = 8
#: A class that has another configuration than the leader is asked again after this time (s).
ASK_AGAIN_S = 60.0
#: Trouble that does not happen again for this long (s) is over.
TROUBLE_LASTS_S = 120.0
#: The most troubles that are kept for people.
MAX_TROUBLES = 64


#: Kinds of trouble between a leader and its drones.
UNHEARD, REFUSED, CONFIGURATION = "unheard", "refused", "configuration"


class Culprit(Enum):
    """Bearer of the fault, which decides what an attempt counts for."""

    DRONE = "drone"  # the drone's breaker and the order's attempts
    ORDER = "order"  # the order's attempts
    SYSTEM = "system"  # nothing


class Blame:
    """Judges failed attempts. Only failures cost time here, and :meth:`answered` once per goal."""

    def __init__(self, view: FleetView, state: LeaderState) -> None:
        self._view = view
        self._state = state
        self._troubles: dict[tuple[str, str], Trouble] = {}

    # --- answers to goals ---------------------------------------------------------------------------------------

    def answered(self, drone_id: str, goal: Retry | None, *, accepted: bool = True) -> None:
        """Note that the drone has answered ``goal``, so it has heard this leader since that was sent.

        ``None``: the goal of another leader.
        """
        term = self._state.current_term
        if goal is not None:
            term.answered[drone_id] = goal.began_s
        if term.unanswered:
            term.unanswered.pop(drone_id, None)
        if accepted and term.benched:
            term.benched.pop(drone_id, None)

    def unanswered(self, drone_id: str, since_s: float, now: Instant) -> Culprit:
        """Return whose fault it is that the drone has answered none of the goals sent ``since_s`` (monotonic).

        It is the drone's if half of the drones have answered goals that were sent since its first unanswered one in a
        row, or if neither this leader nor the store knows any other. It is the leader's if most drones that it
        addressed are mute, and as long as there is no proof that the others hear it.
        """
        term = self._state.current_term
        row = term.unanswered.get(drone_id)
        since_s = since_s if row is None else row.since_s
        term.unanswered[drone_id] = Unanswered(since_s, now.mono_s)
        # Each drone counts by its latest goal.
        answered = sum(1 for id_, at_s in term.answered.items() if at_s >= since_s and id_ not in term.unanswered)
        mute = sum(1 for each in term.unanswered.values() if each.until_s >= now.mono_s - HEARD_LATELY_S)
        if answered >= max(mute, self._enough_answers(now)) or not self._knows_others(drone_id, now):
            # The next charge needs other answers: these say nothing about what happens from now on.
            term.unanswered[drone_id] = Unanswered(now.mono_s, now.mono_s)
            return Culprit.DRONE
        self._bench(drone_id, now)
        if mute > 1:
            self._note(UNHEARD, "", f"{mute} drones do not answer this leader's goals, {answered} do", now)
        return Culprit.SYSTEM

    def stalled(self, saga: Saga, memory: OrderMemory, report: DroneReport, now: Instant) -> Culprit:
        """Return whose fault it is that the drone is heard and does not get on with an order that it has not loaded.

        The drone is benched, so that another one gets the order. It is to blame if it did not get on with two different
        orders in a row, since the first may have a pickup that no drone can reach. An order counts one attempt with
        each drone. A drone that waits for clearance waits for this leader.
        """
        drone_id, stalled = report.drone_id, self._state.current_term.stalled
        self._bench(drone_id, now, BENCH_CAP_S)
        if report.phase is Phase.AWAITING_CLEARANCE:
            return Culprit.SYSTEM
        before, stalled[drone_id] = stalled.get(drone_id, saga.message_id), saga.message_id
        if before != saga.message_id:
            return Culprit.DRONE
        if drone_id in memory.stalled_with:
            return Culprit.SYSTEM
        memory.stalled_with[drone_id] = None
        return Culprit.ORDER

    def loaded(self, drone_id: str) -> None:
        """Note that the drone has loaded its order, so it gets on."""
        stalled = self._state.current_term.stalled
        if stalled:
            stalled.pop(drone_id, None)

    def silent(self, drone_id: str, now: Instant) -> Culprit:
        """Return whose fault it is that a reservation of the drone has expired.

        It is the drone's if it fell silent and most others are still heard. A drone that is heard is not to blame: the
        store was unreachable, or there was no leader. A leader that has just begun to listen cannot know, nor can one
        whose term has just begun: there may have been no leader that renewed the lease.
        """
        state = self._state
        drone = state.drones.get(drone_id)
        if drone is not None and not state.is_silent(drone, now):
            return Culprit.SYSTEM
        if now.mono_s < max(state.listens_since_s, state.current_term.began_at_s) + state.policy.desertion_s:
            return Culprit.SYSTEM
        ages_s = [now.mono_s - each.heard_at_s for each in state.drones.values()]
        # A link that all share takes one drone's last message before another's: those that are nearly silent prove
        # nothing for this leader.
        fresh_s = FRESH_SHARE * state.policy.drone_silent_s
        living = sum(1 for age_s in ages_s if age_s <= fresh_s)
        lost = sum(1 for age_s in ages_s if fresh_s < age_s <= HEARD_LATELY_S)
        if lost < 2 or lost <= living:
            return Culprit.DRONE
        self._note(UNHEARD, "", f"this leader hears {living} drones, and {lost} no more", now)
        return Culprit.SYSTEM

    def _enough_answers(self, now: Instant) -> int:
        """Return how many drones must have answered: half of those that were heard lately, or a few in a large fleet.

        A leader that reaches only one drone of four must not take that one's answers for proof against the others.
        """
        since_s = now.mono_s - HEARD_LATELY_S
        heard = sum(1 for each in self._state.drones.values() if each.heard_at_s >= since_s)
        return min((heard + 1) // 2, ENOUGH_ANSWERS)

    def _knows_others(self, drone_id: str, now: Instant) -> bool:
        """Return whether another drone was heard lately, or is named in the store: this leader may hear one only."""
        since_s, view = now.mono_s - HEARD_LATELY_S, self._view
        if any(id_ != drone_id and each.heard_at_s >= since_s for id_, each in self._state.drones.items()):
            return True
        return any(id_ != drone_id for named in (view.reservations, view.by_drone, view.breakers) for id_ in named)

    # --- refusals -----------------------------------------------------------------------------------------------

    def refusal_of(self, saga: Saga, report: DroneReport) -> RefusedGoal | None:
        """Return why the drone refuses the goal that this leader sends, if its report tells."""
        epoch = self._state.current_term.epoch
        for refused in report.refusals:
            # Another leader's goal may have been refused for that leader's sake.
            if (refused.message_id, refused.attempt, refused.epoch) == (saga.message_id, saga.attempt, epoch):
                return refused
        return None

    def refused(self, refused: RefusedGoal, drone: Drone, memory: OrderMemory, now: Instant) -> Culprit:
        """Return whose fault the refusal is, and remember what follows for later attempts."""
        report = drone.report
        self.answered(report.drone_id, memory.goal, accepted=False)
        text = f"{refused.cause.name} {refused.reason}, last {refused.message_id}/{refused.attempt}"
        if refused.cause is RefusalCause.DRONE:
            self._note(REFUSED, report.drone_id, text, now)
            return Culprit.DRONE
        if refused.cause is RefusalCause.CONFIGURATION:
            by_class = self._class_refusal(memory, report)
            by_class.reason, by_class.until_s = refused.reason, now.mono_s + ASK_AGAIN_S
            self._note(CONFIGURATION, report.drone_class, f"{report.drone_id} refuses: {text}", now)
            return Culprit.SYSTEM
        self._note(REFUSED, report.drone_id, text, now)
        self._bench(report.drone_id, now)
        if refused.cause is not RefusalCause.ORDER:
            return Culprit.SYSTEM
        by_class = self._class_refusal(memory, report)
        by_class.drones[report.drone_id] = None
        by_class.reason, by_class.is_final = refused.reason, True
        if len(by_class.drones) > 1 or not self._hears_another(report, now):
            by_class.until_s = float("inf")
        return Culprit.ORDER

    @staticmethod
    def _class_refusal(memory: OrderMemory, report: DroneReport) -> ClassRefusal:
        return memory.refused_by.setdefault(report.drone_class, ClassRefusal())

    def _hears_another(self, report: DroneReport, now: Instant) -> bool:
        """Return whether another drone of the class is heard, which may be asked before the order is condemned."""
        return any(
            each.report.drone_class == report.drone_class
            and each.report.drone_id != report.drone_id
            and not self._state.is_silent(each, now)
            for each in self._state.drones.values()
        )

    def _bench(self, drone_id: str, now: Instant, pause_s: float | None = None) -> None:
        """Give the drone no orders for ``pause_s``. ``None``: longer each time in a row."""
        benched = self._state.current_term.benched
        before = benched.get(drone_id)
        times = 1 if before is None else before.times + 1
        if pause_s is None:
            pause_s = backoff_s(times, base_s=BENCH_BASE_S, cap_s=BENCH_CAP_S, seed=drone_id)
        benched[drone_id] = Bench(times, now.mono_s + pause_s)

    # --- for people ---------------------------------------------------------------------------------------------

    def troubles(self, now_s: float) -> dict[tuple[str, str], str]:
        """Return what went wrong lately, by kind and subject. Other threads may call it."""
        recent = list(self._troubles.items())
        return {key: trouble.text for key, trouble in recent if now_s < trouble.at_s + TROUBLE_LASTS_S}

    def _note(self, kind: str, subject: str, text: str, now: Instant) -> None:
        troubles = {key: each for key, each in self._troubles.items() if now.mono_s < each.at_s + TROUBLE_LASTS_S}
        if len(troubles) < MAX_TROUBLES or (kind, subject) in troubles:
            troubles[kind, subject] = Trouble(text, now.mono_s)
        self._troubles = troubles
