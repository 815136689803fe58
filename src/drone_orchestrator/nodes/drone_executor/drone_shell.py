"""A configured drone: journal, driver, flight controller and ROS interfaces."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from drone_interfaces.action import ExecuteDelivery
from drone_interfaces.msg import DroneTelemetry
from drone_interfaces.srv import RequestClearance
from geometry_msgs.msg import Point, Vector3
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from ...core.drone.events import (
    AnswerGoal,
    AnswerRecall,
    AskClearance,
    ClearanceAnswered,
    DroneEffect,
    DroneEvent,
    GoalImpossible,
    GoalRequested,
    JoinFleet,
    LeaderHeard,
    RecallRequested,
)
from ...core.policies import DronePolicy
from ...core.reasons import GoalRefusal
from ...core.types import DeliveryOutcome, DroneReport, Instant, Outcome, Phase, Verdict
from ...flight.controller import FlightController, FlightSetup, FlightState
from ...ros import messages
from ...ros.log_bridge import bridge
from ...runtime.drone_driver import DroneDriver, out_of_service
from ...runtime.drone_journal import DroneJournal
from ...runtime.journal import JournalError
from ...telemetry.logs import FieldLogger, order_fields
from .endpoints import DroneEndpoints
from .flight_plugins import FlightNode
from .parameters import TICK_S, Settings

FEEDBACK_PERIOD_S = 0.5
#: Interval (s) between attempts to write to a journal after a failed write.
RESUME_EVERY_S = 2.0

AskLeader = Callable[[RequestClearance.Request], "Future | None"]


class DroneShell:
    """A configured drone, from ``on_configure`` to ``on_cleanup`` of its node.

    ``endpoints`` is called once the journal is open. Raises
    :class:`~drone_orchestrator.runtime.journal.JournalError` or
    :class:`~drone_orchestrator.flight.controller.FlightError` if one of them cannot be opened.
    """

    def __init__(
        self,
        node: FlightNode,
        settings: Settings,
        ask_leader: AskLeader,
        is_active: Callable[[], bool],
        endpoints: Callable[[], DroneEndpoints],
    ) -> None:
        self._node = node
        self._drone_id = drone_id = node.get_name()
        base = settings.data_dir / "drones" / drone_id
        self._settings = settings
        self._ask_leader = ask_leader
        self._is_active = is_active
        self._is_closed = False
        self._log = FieldLogger(bridge(f"drone_orchestrator.{drone_id}", node.get_logger()), drone=drone_id)
        self._journal_path = base.with_suffix(".journal")
        self._journal = DroneJournal.open(self._journal_path)
        goal = self._journal.durable.goal
        setup = FlightSetup(
            drone_id,
            settings.drone_class,
            settings.depot,
            base.with_suffix(".flight.json"),
            settings.time_scale,
            may_forget=goal is None or not goal.cleared,
            log=self._log,
        )
        self._watched = settings.telemetry.drone(drone_id)
        try:
            self._endpoints = endpoints()
            self._flight: FlightController = settings.make_flight(setup, node)
            self._driver = self._begin(self._journal)
        except BaseException:
            self._journal.close()  # else its lock would block the next attempt
            raise
        self._goal_handles: dict[tuple[str, int], ServerGoalHandle] = {}
        self._asked: tuple[AskClearance, Future, float] | None = None
        self._ready = False
        self._suspended = ""  # why the journal cannot be written at the moment
        self._resume_at_s = 0.0
        self._stepped_at_s = self._seconds()
        self._telemetry_due_s = self._feedback_due_s = self._standard_due_s = 0.0
        self._join_fleet()

    def _begin(self, journal: DroneJournal) -> DroneDriver:
        """Return a driver that continues from ``journal``."""
        settings = self._settings
        driver = DroneDriver(
            self._drone_id,
            settings.drone_class,
            settings.depot,
            journal,
            self._flight,
            self,
            policy=DronePolicy(clearance_retry_s=settings.clearance_retry_s),
            state_period_s=settings.state_period_s,
            boot_id=settings.boot_id,
            now=_now,
        )
        self._report_damage(journal)
        goal = driver.durable.goal
        self._watched.begin(
            driver.phase,
            goal.order if goal is not None else None,
            goal.attempt if goal is not None else 0,
            driver.durable.highest_epoch,
        )
        return driver

    def _join_fleet(self) -> None:
        if self._settings.fleet_id:
            self.step(JoinFleet(self._settings.fleet_id))

    # --- a journal that cannot be written -----------------------------------------------------------------------------

    @property
    def suspended(self) -> str:
        """Reason why the drone takes no commands: its journal cannot be written. Empty if it can."""
        return self._suspended

    def _suspend(self, error: JournalError) -> None:
        """Stop deciding until the journal can be written again. The flight controller continues on its own.

        A drone without a goal reports once that it accepts none. Otherwise a leader might assign it an order before it
        counts as silent.
        """
        self._suspended, self._resume_at_s = str(error), time.monotonic() + RESUME_EVERY_S
        self._log.error(f"no commands accepted until the journal can be written: {error}")
        self._watched.end()
        last = self._driver.published
        if last is not None and last.message_id is None:
            self._publish_state(replace(last, phase=Phase.GROUNDED, grounded_reason="journal_unwritable"))

    def _resume(self) -> None:
        """Continue from the journal if it can be written again."""
        self._resume_at_s = time.monotonic() + RESUME_EVERY_S
        self._journal.close()  # its lock, too
        try:
            journal = DroneJournal.reopen(self._journal_path)
        except JournalError as error:
            self._suspended = str(error)
            return
        self._journal, self._suspended, self._asked = journal, "", None
        self._log.warning("the journal can be written again: accepting commands")
        self._driver = self._begin(journal)
        self._join_fleet()
        for outcome in self._driver.durable.outcomes:
            self._finish(outcome)  # its record is the one that failed to be written

    @property
    def phase(self) -> Phase:
        return self._driver.phase

    @property
    def highest_epoch(self) -> int:
        return self._driver.durable.highest_epoch

    @property
    def fleet_id(self) -> str:
        """The fleet that the drone belongs to; empty if it has not met its first leader."""
        return self._driver.durable.fleet_id

    def tune(self, settings: Settings) -> None:
        self._settings = settings
        self._driver.tune(DronePolicy(clearance_retry_s=settings.clearance_retry_s), settings.state_period_s)

    @property
    def is_busy(self) -> bool:
        """True while the drone has a goal, or an outcome that no leader has acknowledged."""
        return self._driver.is_busy

    @property
    def needed_for(self) -> str:
        """Reason why the drone must not be without a program now. Empty if it is landed, empty, and has no order."""
        goal = self._driver.durable.goal
        if goal is not None:
            return f"it is carrying out order {goal.order.order_id}"
        if not self._ready:
            return ""  # its sensors were never read, so it has not been commanded either
        sensed = self._flight.state
        if sensed.payload_on_board:
            return "it has a package on board"
        return "" if sensed.landed else "it is in the air"

    def close(self) -> None:
        """Close flight controller and journal. Raises what the flight controller raises."""
        self._is_closed = True
        if not self._suspended:
            self._watched.end()
        self._driver.close()

    def _report_damage(self, journal: DroneJournal) -> None:
        damage = journal.damage
        if damage is None:
            return
        if damage.memory_lost:
            self._log.error(
                f"JOURNAL LOST: {damage.reason}; kept as {damage.kept_as}. New journal {journal.identity}: this "
                "drone does not know what it did before. An operator must check the orders that it had loaded"
            )
        else:
            self._log.warning(damage.reason)

    # --- events -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        now_s = self._seconds()
        # Simulation time is 0 until the first clock message, which may hold any value: treat that jump as no time.
        dt_s = max(0.0, now_s - self._stepped_at_s) if self._stepped_at_s else 0.0
        self._stepped_at_s = now_s
        if self._suspended:
            self._flight.step(dt_s)
            dt_s = 0.0
            if time.monotonic() >= self._resume_at_s:
                self._resume()
            if self._suspended:
                return
        if not self._ready:
            self._flight.step(dt_s)
            self._ready, dt_s = self._flight.ready, 0.0
            if not self._ready:
                return  # no position yet: the state machine rejects goals, and the drone publishes nothing
        try:
            self._driver.sense(dt_s)
        except JournalError as error:
            self._suspend(error)
            return
        self.speak()

    def speak(self) -> None:
        """Publish what is due.

        An inactive drone reports at once that it accepts no goals, and keeps reporting that. If it has a goal, it
        finishes that goal first.
        """
        if self._suspended or not self._ready:
            return
        self._driver.is_out_of_service = not self._is_active()
        self._publish()

    def say_farewell(self) -> None:
        """Report that the drone accepts no goals, before its program lets it go. A leader would take it for free."""
        last = self._driver.published
        if last is not None:
            self._publish_state(out_of_service(last))

    def is_meant_for_another(self, goal: ExecuteDelivery.Goal) -> bool:
        """Return whether the goal is meant for a drone of that name in another fleet.

        It gets no answer: the sender would take a refusal for the answer of its own drone.
        """
        if not goal.fleet_id or goal.fleet_id == self.fleet_id or not self.fleet_id:
            return False
        text = f"its leader {goal.instance_id} is of fleet {goal.fleet_id}, this drone of fleet {self.fleet_id}"
        fields = {"message_id": goal.message_id, "attempt": goal.attempt, "epoch": goal.epoch}
        self._log.warning(f"goal {goal.message_id}/{goal.attempt} ignored: {text}", extra=fields)
        return True

    def goal_requested(self, goal: ExecuteDelivery.Goal) -> GoalResponse:
        event = self._goal_event(goal)
        answers = self.step(event)
        unusable = AnswerGoal(False, GoalRefusal.JOURNAL_UNUSABLE)
        answer = next((each for each in answers if isinstance(each, AnswerGoal)), unusable)
        verb = "accepted" if answer.accepted else "refused"
        said = f"goal {goal.message_id}/{goal.attempt} of epoch {goal.epoch} {verb} {answer.reason}".rstrip()
        fields = {"message_id": goal.message_id, "attempt": goal.attempt, "epoch": goal.epoch}
        if isinstance(event, GoalRequested):
            fields = order_fields(event.order, goal.attempt, goal.epoch)
        self._log.info(said, extra=fields)
        if not answer.accepted or not isinstance(event, GoalRequested):
            if isinstance(answer.reason, GoalRefusal):
                self._watched.goal_refused(answer.reason)
            self.speak()  # the leader gets the reason with the drone's state
            return GoalResponse.REJECT
        self._watched.goal_accepted(event.order, goal.attempt, goal.epoch)
        return GoalResponse.ACCEPT

    def _goal_event(self, goal: ExecuteDelivery.Goal) -> GoalRequested | GoalImpossible:
        """Return the goal as an event for the drone's state machine."""
        key = (goal.message_id, goal.attempt, goal.epoch)
        try:
            order = messages.order_from_msg(goal.order, goal.message_id, trace_context=goal.trace_context)
        except messages.InvalidMessage as error:
            self._log.error(f"goal of {goal.instance_id} cannot be flown: {error}")
            return GoalImpossible(*key, GoalRefusal.INVALID_ORDER)
        if not self._is_active():
            return GoalImpossible(*key, GoalRefusal.NOT_ACTIVE)
        return GoalRequested(order, goal.attempt, goal.epoch, goal.fleet_id)

    def cancel_requested(self, handle: ServerGoalHandle) -> CancelResponse:
        return self._recall(handle.request.message_id, handle.request.attempt)

    def cancel_of_unknown_requested(self, goal_id: bytes) -> CancelResponse | None:
        """Recall the goal of the journal if it has this id: an earlier process of this drone accepted it."""
        goal = self._driver.durable.goal
        if goal is None or bytes(messages.goal_uuid(*goal.key).uuid) != goal_id:
            return None
        return self._recall(*goal.key)

    def _recall(self, message_id: str, attempt: int) -> CancelResponse:
        # A cancel request has no epoch: anyone with the goal's id may recall it.
        epoch = self._driver.durable.highest_epoch
        answers = self.step(RecallRequested(message_id, attempt, epoch))
        refusal = AnswerRecall(False, "journal_unusable")
        answer = next((each for each in answers if isinstance(each, AnswerRecall)), refusal)
        verb = "accepted" if answer.accepted else "refused"
        said = f"recall of {message_id}/{attempt} {verb} {answer.reason}".rstrip()
        self._log.info(said, extra={"message_id": message_id, "attempt": attempt, "epoch": epoch})
        return CancelResponse.ACCEPT if answer.accepted else CancelResponse.REJECT

    def goal_begun(self, handle: ServerGoalHandle) -> None:
        key = (handle.request.message_id, handle.request.attempt)
        self._goal_handles[key] = handle
        for outcome in self._driver.durable.outcomes:
            if (outcome.message_id, outcome.attempt) == key:  # the goal ended while it was being accepted
                self._finish(outcome)

    def _finish(self, outcome: DeliveryOutcome) -> None:
        handle = self._goal_handles.pop((outcome.message_id, outcome.attempt), None)
        if handle is not None:
            self._endpoints.action.finish(handle, lambda handle: self._conclude(handle, outcome))

    def _conclude(self, handle: ServerGoalHandle, outcome: DeliveryOutcome) -> ExecuteDelivery.Result:
        if outcome.outcome is Outcome.DELIVERED:
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return ExecuteDelivery.Result(
            outcome=int(outcome.outcome),
            message_id=outcome.message_id,
            attempt=outcome.attempt,
            journal_id=self._driver.journal_id,
            reason=outcome.reason,
        )

    def _clearance_answered(self, future: Future) -> None:
        answer: RequestClearance.Response = future.result()
        try:
            verdict = Verdict(answer.verdict)
        except ValueError:
            self._log.error(f"clearance answer with verdict {answer.verdict} ignored")
            return
        self.step(
            ClearanceAnswered(
                verdict,
                answer.epoch,
                answer.message_id,
                answer.attempt,
                answer.journal_id,
                answer.reason,
                answer.fleet_id,
            )
        )

    def step(self, event: DroneEvent) -> list[DroneEffect]:
        """Pass ``event`` to the drone's state machine. Return the effects; none if the journal cannot be written."""
        if self._suspended:
            return []
        try:
            effects = self._driver.step(event)
        except JournalError as error:
            self._suspend(error)
            return []
        if isinstance(event, LeaderHeard):
            self._watched.acknowledged((each.message_id, each.attempt) for each in self._driver.durable.outcomes)
        return effects

    # --- called by the driver ---------------------------------------------------------------------------------------

    def phase_changed(self, before: Phase, after: Phase) -> None:
        goal = self._driver.durable.goal
        fields = order_fields(goal.order, goal.attempt, self._driver.durable.highest_epoch) if goal is not None else {}
        self._log.info(f"{before.name} -> {after.name}", extra=fields)
        self._watched.phase_changed(after)

    def goal_ended(self, outcome: DeliveryOutcome) -> None:
        self._watched.goal_ended(outcome)
        self._log.info(
            f"{outcome.message_id}/{outcome.attempt} ended: {outcome.outcome.name} {outcome.reason}",
            extra={"message_id": outcome.message_id, "attempt": outcome.attempt, "reason": outcome.reason},
        )
        self._finish(outcome)

    def notice(self, level: str, text: str) -> None:
        getattr(self._log, level)(text)

    def ask_clearance(self, question: AskClearance) -> None:
        """Send the request to the leader, unless the same request is still unanswered."""
        now_s = time.monotonic()
        if self._asked is not None:
            asked, future, at_s = self._asked
            if asked == question and not future.done() and now_s - at_s < self._settings.clearance_timeout_s:
                return
            future.cancel()
            self._asked = None
        request = RequestClearance.Request(
            drone_id=self._drone_id,
            fleet_id=self.fleet_id,
            message_id=question.message_id,
            attempt=question.attempt,
            journal_id=question.journal_id,
            highest_epoch=question.highest_epoch,
        )
        sent = self._ask_leader(request)
        if sent is not None:
            sent.add_done_callback(self._clearance_done)
            self._asked = (question, sent, now_s)

    def _clearance_done(self, future: Future) -> None:
        if not future.cancelled() and not self._is_closed:
            try:
                self._clearance_answered(future)
            except Exception as error:
                self._node.failed(error)

    # --- publishing ---------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        now_s, sensed, phase = time.monotonic(), self._flight.state, self._driver.phase
        due = self._driver.due_report()
        if due is not None:
            self._publish_state(due)
        if now_s >= self._telemetry_due_s:
            # Half a tick of slack: otherwise a slightly early tick would halve the rate.
            self._telemetry_due_s = now_s + self._settings.telemetry_period_s - TICK_S / 2
            self._watched.charged(sensed.energy_wh)
            stamp_s = self._stamp_s()
            if self._endpoints.telemetry.get_subscription_count():
                self._endpoints.telemetry.publish(self._telemetry(stamp_s, sensed, phase))
            self._endpoints.pose.publish(stamp_s, sensed, phase, self._driver.durable.goal)
        standard = self._endpoints.standard
        if standard is not None and now_s >= self._standard_due_s:
            self._standard_due_s = now_s + 1.0 / self._settings.standard_messages_hz - TICK_S / 2
            standard.publish(self._stamp_s(), sensed, self._settings.drone_class.battery_wh)
        goal = self._driver.durable.goal
        handle = self._goal_handles.get(goal.key) if goal is not None else None
        if handle is not None and now_s >= self._feedback_due_s:
            self._feedback_due_s = now_s + FEEDBACK_PERIOD_S
            handle.publish_feedback(
                ExecuteDelivery.Feedback(
                    phase=int(phase),
                    position=messages.position_to_msg(sensed.position, sensed.local_position_m[2]),
                    energy_wh=sensed.energy_wh,
                    remaining_s=self._flight.remaining_s(),
                )
            )

    def _telemetry(self, stamp_s: float, sensed: FlightState, phase: Phase) -> DroneTelemetry:
        return DroneTelemetry(
            stamp=messages.time_to_msg(stamp_s),
            drone_id=self._drone_id,
            position=messages.position_to_msg(sensed.position, sensed.local_position_m[2]),
            local_position=Point(**dict(zip("xyz", sensed.local_position_m, strict=True))),
            local_velocity=Vector3(**dict(zip("xyz", sensed.local_velocity_mps, strict=True))),
            heading_rad=sensed.heading_rad,
            energy_wh=sensed.energy_wh,
            energy_fraction=sensed.energy_wh / self._settings.drone_class.battery_wh,
            phase=int(phase),
        )

    def _publish_state(self, report: DroneReport) -> None:
        height_m = self._flight.state.local_position_m[2]
        self._endpoints.state.publish(messages.report_to_msg(report, self._stamp_s(), height_m))

    def _stamp_s(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def _seconds(self) -> float:
        """Return the time (s) that flight is simulated with: simulation time if active, else a monotonic clock."""
        clock = self._node.get_clock()
        return clock.now().nanoseconds * 1e-9 if clock.ros_time_is_active else time.monotonic()


def _now() -> Instant:
    return Instant(time.monotonic(), time.time())
