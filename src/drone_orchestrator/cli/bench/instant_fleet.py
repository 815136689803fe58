"""Drones that deliver instantly, to measure an orchestrator and its store alone.

They run in real time on a real driver. They are no means to find faults: they never lose a message and keep no journal.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from ...core.leader.effects import AnswerClearance, Heartbeat, RecallGoal, SendGoal
from ...core.leader.events import ClearanceRequested, DroneHeard, Event, GoalAnswered
from ...core.types import AcknowledgeOutcome, DeliveryOutcome, DroneReport, Outcome, Phase, Verdict

#: Report period (s) of an idle drone, as of real ones.
HEARTBEAT_S = 1.0


class InstantFleet:
    """Fleet of one drone per entry of ``reports``, each busy for ``busy_s`` per order.

    Pass the driver's ``post`` to :meth:`start`. Thread-safe.
    """

    def __init__(self, reports: Iterable[DroneReport], *, busy_s: float = 0.0) -> None:
        self._reports = {report.drone_id: report for report in reports}
        self._busy_s = busy_s
        self._post: Callable[[Event], None] = lambda event: None
        self._lock = threading.Lock()
        self._asked: dict[int, str] = {}  # request for clearance -> drone
        self._ends: list[tuple[float, str]] = []
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="instant-fleet", daemon=True)
        self._next_request_id = 1
        self._waiting: list[SendGoal] | None = None

    def start(self, post: Callable[[Event], None]) -> None:
        self._post = post
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._changed.set()
        self._thread.join()

    def hold(self) -> None:
        """Accept goals from now on, but start none before :meth:`go_on`."""
        with self._lock:
            self._waiting = []

    def go_on(self) -> None:
        """Start the waiting goals, and later ones at once."""
        with self._lock:
            goals, self._waiting = self._waiting or [], None
        for goal in {(goal.order.message_id, goal.attempt): goal for goal in goals}.values():
            self.send_goal(goal)

    # --- called by the driver ---------------------------------------------------------------------------------

    def send_goal(self, effect: SendGoal) -> None:
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(effect)
                return
            message_id, attempt = effect.order.message_id, effect.attempt
            report = self._become(
                effect.drone_id,
                phase=Phase.AWAITING_CLEARANCE,
                highest_epoch=effect.epoch,
                message_id=message_id,
                attempt=attempt,
                outcomes=(),
            )
            request = self._ask(report)
        self._post(GoalAnswered(effect.drone_id, message_id, attempt, True))
        self._post(request)

    def answer_clearance(self, effect: AnswerClearance) -> None:
        with self._lock:
            drone_id = self._asked.pop(effect.request_id, "")
            if not drone_id or effect.verdict is not Verdict.GRANTED:
                return
            asking = self._reports[drone_id]
            if asking.phase is not Phase.AWAITING_CLEARANCE or asking.message_id != effect.message_id:
                return  # it had asked twice and already has its answer
            if self._busy_s:
                report = self._become(drone_id, phase=Phase.TO_DESTINATION, package_on_board=True)
                heapq.heappush(self._ends, (time.monotonic() + self._busy_s, drone_id))
                self._changed.set()
            else:
                report = self._deliver(drone_id)
        self._post(DroneHeard(report))

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        with self._lock:
            if not self._reports[effect.drone_id].outcomes:
                return
            report = self._become(effect.drone_id, phase=Phase.IDLE, outcomes=())
        self._post(DroneHeard(report))

    def recall(self, effect: RecallGoal) -> None:
        """Ignore the recall: it is always too late."""

    def heartbeat(self, effect: Heartbeat) -> None:
        """Do nothing: there are no standbys."""

    def start_leading(self, epoch: int) -> None:
        """Do nothing: these drones obey any leader."""

    def stop_leading(self, epoch: int, reason: str) -> None:
        """Do nothing."""

    # --- inside -------------------------------------------------------------------------------------------------

    def _ask(self, report: DroneReport) -> ClearanceRequested:
        """Ask for clearance. An earlier request of this drone is no longer waited for."""
        request_id, self._next_request_id = self._next_request_id, self._next_request_id + 1
        self._asked[request_id] = report.drone_id
        message_id = report.message_id or ""
        return ClearanceRequested(
            request_id, report.drone_id, message_id, report.attempt, report.journal_id, report.highest_epoch
        )

    def _become(self, drone_id: str, **changes: object) -> DroneReport:
        report = replace(self._reports[drone_id], **changes)  # type: ignore[arg-type]
        self._reports[drone_id] = report
        return report

    def _deliver(self, drone_id: str) -> DroneReport:
        report = self._reports[drone_id]
        outcome = DeliveryOutcome(report.message_id or "", report.attempt, Outcome.DELIVERED)
        return self._become(
            drone_id,
            phase=Phase.RETURNING,
            message_id=None,
            attempt=0,
            package_on_board=False,
            outcomes=(outcome,),
        )

    def _run(self) -> None:
        """End deliveries that take time, and let every drone report now and then."""
        heard_at_s = 0.0
        while not self._stopping:
            now_s = time.monotonic()
            with self._lock:
                reports: list[DroneReport] = []
                asking: list[ClearanceRequested] = []
                while self._ends and self._ends[0][0] <= now_s:
                    reports.append(self._deliver(heapq.heappop(self._ends)[1]))
                if now_s - heard_at_s >= HEARTBEAT_S:
                    heard_at_s = now_s
                    reports = list(self._reports.values())
                    asking = [self._ask(r) for r in reports if r.phase is Phase.AWAITING_CLEARANCE]
                next_s = min(heard_at_s + HEARTBEAT_S, self._ends[0][0] if self._ends else heard_at_s + HEARTBEAT_S)
                self._changed.clear()
            for report in reports:
                self._post(DroneHeard(report))
            for request in asking:
                self._post(request)
            self._changed.wait(max(0.0, next_s - time.monotonic()))
