"""Culprit of an attempt that came to nothing: the drone's, the order's, or that of the system around both.

Only a drone's own fault counts for its breaker. Attempts that failed through the system's fault do not count against
``max_attempts``. The system is to blame for a leader that no drone answers, a store that was away, a drone that is busy
and a configuration that differs. Such a drone is *benched*: it gets no orders for a moment, without a record of it.
"""

from __future__ import annotations

from enum import Enum

from ..policies import backoff_s
from ..reasons import RefusalCause, RefusedGoal
from ..types import DroneReport, Instant, Saga
from .memory import Bench, ClassRefusal, Drone, LeaderState, OrderMemory, Trouble

#: Pause (s) of a drone that is benched, the first time and at most.
BENCH_BASE_S = 4.0
BENCH_CAP_S = 60.0
#: Drones that were last heard longer ago (s) say nothing about how well this leader hears.
HEARD_LATELY_S = 60.0
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

    def __init__(self, state: LeaderState) -> None:
        self._state = state
        self._troubles: dict[tuple[str, str], Trouble] = {}

    # --- answers to goals ---------------------------------------------------------------------------------------

    def answered(self, drone_id: str, now: Instant, *, accepted: bool = True) -> None:
        """Note that the drone has answered a goal of this term, so it hears this leader and is heard."""
        term = self._state.current_term
        term.answered[drone_id] = now.mono_s
        if term.unanswered:
            term.unanswered.pop(drone_id, None)
        if accepted and term.benched:
            term.benched.pop(drone_id, None)

    def unanswered(self, drone_id: str, since_s: float, now: Instant) -> Culprit:
        """Return whose fault it is that the drone has answered none of the goals sent ``since_s`` (monotonic).

        It is the drone's if others have answered meanwhile, or if no other was heard lately. It is the leader's if most
        drones that it addressed are mute, and as long as there is no proof that anything hears it.
        """
        term = self._state.current_term
        term.unanswered[drone_id] = now.mono_s
        answered = sum(1 for id_, at_s in term.answered.items() if at_s >= since_s and id_ != drone_id)
        mute = sum(1 for at_s in term.unanswered.values() if at_s >= since_s)
        if answered >= mute or not self._has_heard_others(drone_id, now):
            return Culprit.DRONE
        self._bench(drone_id, now)
        if mute > 1:
            self._note(UNHEARD, "", f"{mute} drones do not answer this leader's goals, {answered} do", now)
        return Culprit.SYSTEM

    def silent(self, drone_id: str, now: Instant) -> Culprit:
        """Return whose fault it is that a reservation of the drone has expired.

        It is the drone's if it fell silent and most others are still heard. A drone that is heard is not to blame: the
        store was unreachable, or there was no leader. A leader that has just begun to listen cannot know.
        """
        state = self._state
        drone = state.drones.get(drone_id)
        if drone is not None and not state.is_silent(drone, now):
            return Culprit.SYSTEM
        if now.mono_s < state.listens_since_s + state.policy.desertion_s:
            return Culprit.SYSTEM
        ages_s = [now.mono_s - each.heard_at_s for each in state.drones.values()]
        living = sum(1 for age_s in ages_s if age_s <= state.policy.drone_silent_s)
        lost = sum(1 for age_s in ages_s if state.policy.drone_silent_s < age_s <= HEARD_LATELY_S)
        if lost < 2 or lost <= living:
            return Culprit.DRONE
        self._note(UNHEARD, "", f"this leader hears {living} drones, and {lost} no more", now)
        return Culprit.SYSTEM

    def _has_heard_others(self, drone_id: str, now: Instant) -> bool:
        since_s = now.mono_s - HEARD_LATELY_S
        return any(id_ != drone_id and each.heard_at_s >= since_s for id_, each in self._state.drones.items())

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

    def _bench(self, drone_id: str, now: Instant) -> None:
        benched = self._state.current_term.benched
        before = benched.get(drone_id)
        times = 1 if before is None else before.times + 1
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
