"""The process ``drone_executor``: flies one or many drones, each a lifecycle node named after it.

What a drone decides is in :mod:`drone_orchestrator.core.drone.machine`; here DDS messages and the flight controller
become its events, and its effects become calls. Everything runs on one thread, so a journal entry is on disk before
the next effect begins. One host node per process has what the drones share: the parameters, the ``leader``
subscription, the clearance client and the timer, for the cost of an rclpy executor grows with its entities.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drone_interfaces.action import ExecuteDelivery
from drone_interfaces.msg import DroneTelemetry, LeaderState
from drone_interfaces.srv import RequestClearance
from geometry_msgs.msg import Point, Vector3
from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future

from ...bringup.fleet_config import FleetConfigError
from ...bringup.fleet_config import load as load_fleet
from ...bringup.paths import default_data_dir
from ...core.drone.events import (
    AnswerGoal,
    AnswerRecall,
    AskClearance,
    ClearanceAnswered,
    DroneEffect,
    DroneEvent,
    GoalRequested,
    LeaderHeard,
    LiftGrounding,
    RecallRequested,
)
from ...core.policies import DronePolicy
from ...core.types import (
    AcknowledgeOutcome,
    DeliveryOutcome,
    DroneClass,
    DroneReport,
    FleetSpec,
    GeoPoint,
    Instant,
    Outcome,
    Phase,
    Verdict,
)
from ...flight.controller import FlightController, FlightError, FlightSetup, FlightState
from ...ros import command_line, executors, messages, names, observability, qos
from ...ros.diagnostics import Reporter, of_node
from ...ros.interface_watch import NetworkWatch, usable_addresses
from ...ros.log_bridge import bridge
from ...ros.params import LOG_LEVEL, Param, ParameterError, declare, keep_live
from ...ros.process import StartAgain, run_node
from ...ros.qos_watch import QosWatch
from ...runtime.drone_driver import DroneDriver
from ...runtime.drone_journal import DroneJournal
from ...runtime.journal import JournalError
from ...telemetry.diagnostics import Status, executor_status
from ...telemetry.drone_metrics import HostTelemetry
from ...telemetry.logs import FieldLogger, order_fields
from ...telemetry.metrics import Metrics
from .endpoints import DroneEnds
from .flight_plugins import FlightFactory, FlightNode, load_flight

ABOUT = "Flies one or many drones: takes their goals, keeps their journals, and tells where they are."
PARAMETERS = (
    Param("drone_ids", (), "Names of the drones that this process flies; each becomes a node of that name."),
    Param("drone_class", "", "Class of these drones in the fleet configuration; empty: the first class there."),
    Param("data_dir", "", "Folder of journals and flight states; empty: $ROS_HOME/drone_orchestrator."),
    Param("fleet_config", "", "Fleet configuration (YAML); empty: the packaged one."),
    Param("region", "", "Only leaders of this region count; empty: any in this namespace."),
    Param("flight", "kinematic", "What flies the drones: kinematic, gazebo, or what another package has registered."),
    Param("time_scale", 1.0, "Simulated seconds of flight in a second of wall time.", minimum=0.001, maximum=1000.0),
    Param(
        "telemetry_rate_hz",
        5.0,
        "Rate of telemetry; below 2 its QoS deadline would pass.",
        "Hz",
        2.0,
        10.0,
        read_only=False,
    ),
    Param(
        "state_period_s", 1.0, "A state without change is repeated after this long.", "s", 0.05, 2.0, read_only=False
    ),
    Param("clearance_retry_s", 0.5, "Time between two requests for clearance.", "s", 0.05, 10.0, read_only=False),
    Param(
        "clearance_timeout_s",
        1.0,
        "A request not answered for this long is given up.",
        "s",
        0.05,
        60.0,
        read_only=False,
    ),
    Param("autostart", True, "Configure and activate the drones without being told to."),
    LOG_LEVEL,
    *observability.PARAMETERS,
)

TICK_S = 0.1
#: The drones of a process take turns in so many shares of a tick at most.
SHARES = 10
FEEDBACK_PERIOD_S = 0.5
AUTOSTART_RETRY_S = 2.0
NETWORK_PERIOD_S = 0.5
#: A leader that has answered within so long is asked without looking for it.
ANSWERED_LATELY_S = 1.0
#: Drones that one process may fly.
MAX_DRONES = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """What the drones of a process have in common."""

    drone_class: DroneClass
    depot: GeoPoint
    data_dir: Path
    make_flight: FlightFactory
    time_scale: float
    telemetry_period_s: float
    state_period_s: float
    clearance_retry_s: float
    clearance_timeout_s: float
    telemetry: HostTelemetry


AskLeader = Callable[[RequestClearance.Request], "Future | None"]


class DroneExecutor(FlightNode):
    """Shell of one drone. ``host.tick`` drives it; ``ask_leader`` sends a request for clearance.

    *Configured*: the journal is open and locked, flight is under control. *Active*: it takes goals. *Inactive*: it
    takes none, but finishes what it carries. Activating again after a deactivation lifts a grounding.
    """

    def __init__(
        self, drone_id: str, namespace: str, settings: Settings, ask_leader: AskLeader, watch: QosWatch
    ) -> None:
        super().__init__(
            drone_id,
            watch,
            namespace=namespace,
            # A __node remapping on the command line is meant for the host; without this it would rename every drone.
            cli_args=["--ros-args", "-r", f"__node:={drone_id}"],
            # Per-node parameter services are entities that this process pays for and nobody needs: the host has them.
            start_parameter_services=False,
            parameter_overrides=[Parameter("start_type_description_service", value=False)],
        )
        self.drone_id = drone_id
        self._settings = settings
        self._ask_leader = ask_leader
        self._watch = watch
        self._active = self._finalized = False
        self._lift_grounding = False
        self._work: _Work | None = None
        self._ends: DroneEnds | None = None

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._work = _Work(self, self._settings, self._ask_leader, self._make_ends)
        except (JournalError, FlightError) as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = True
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = False
        self._lift_grounding = True
        if self._work is not None:
            self._work.speak()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._work is not None and self._work.is_busy:
            self.get_logger().error("cannot clean up: the drone carries out an order")
            return TransitionCallbackReturn.FAILURE
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._finalized = True
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def release(self) -> None:
        """Give up journal and flight; again does nothing."""
        self._active = False
        if self._work is not None:
            self._work.close()
            self._work = None
            self.topics.silence()

    def destroy_node(self) -> None:
        self.release()
        if self._ends is not None:
            self._ends.destroy()
            self._ends = None
        super().destroy_node()

    def _make_ends(self) -> DroneEnds:
        """What it has on DDS; the same at every configuration."""
        if self._ends is None:
            self._ends = DroneEnds(
                self,
                self.drone_id,
                self._settings.depot,
                self._watch,
                on_goal=lambda goal: self._work.goal_requested(goal) if self._work else GoalResponse.REJECT,
                on_begun=lambda handle: self._work.goal_begun(handle) if self._work else None,
                on_cancel=lambda handle: self._work.cancel_requested(handle) if self._work else CancelResponse.REJECT,
            )
        return self._ends

    # --- called by the host -------------------------------------------------------------------------------------------

    def tune(self, settings: Settings) -> None:
        """Parameters were set."""
        self._settings = settings
        if self._work is not None:
            self._work.tune(settings)

    @property
    def is_configured(self) -> bool:
        return self._work is not None

    @property
    def highest_epoch(self) -> int:
        """The newest leader's that it has heard of; 0 where it has none, or is not configured."""
        return self._work.highest_epoch if self._work is not None else 0

    @property
    def is_active(self) -> bool:
        return self._active

    @property
    def is_finalized(self) -> bool:
        """Whether it was shut down; it cannot be brought up again in this process."""
        return self._finalized

    def status(self, leader_silent_s: float | None) -> Status:
        """For diagnostics. ``leader_silent_s``: how long no leader was heard; ``None``: never."""
        return executor_status(
            configured=self.is_configured,
            active=self._active,
            finalized=self._finalized,
            phase=self._work.phase.name if self._work is not None else "",
            leader_silent_s=leader_silent_s,
        )

    def tick(self) -> None:
        """Let time pass: fly, decide, publish."""
        if self._work is None:
            return
        if self._active and self._lift_grounding:
            self._lift_grounding = False
            self._work.step(LiftGrounding())
        self._work.tick()

    def leader_heard(self, message: LeaderHeard) -> None:
        if self._work is not None:
            self._work.step(message)


class _Work:
    """A configured drone: its driver, and what it says on DDS. Raises what opening journal and flight raises."""

    def __init__(
        self, node: DroneExecutor, settings: Settings, ask_leader: AskLeader, ends: Callable[[], DroneEnds]
    ) -> None:
        drone_id = node.drone_id
        base = settings.data_dir / "drones" / drone_id
        self._node = node
        self._settings = settings
        self._ask_leader = ask_leader
        self._log = FieldLogger(bridge(f"drone_orchestrator.{drone_id}", node.get_logger()), drone=drone_id)
        journal = DroneJournal.open(base.with_suffix(".journal"))
        try:
            path = base.with_suffix(".flight.json")
            setup = FlightSetup(drone_id, settings.drone_class, settings.depot, path, settings.time_scale)
            self._flight: FlightController = settings.make_flight(setup, node)
        except FlightError:
            journal.close()
            raise
        self._driver = DroneDriver(
            drone_id,
            settings.drone_class,
            settings.depot,
            journal,
            self._flight,
            self,
            policy=DronePolicy(clearance_retry_s=settings.clearance_retry_s),
            state_period_s=settings.state_period_s,
            now=_now,
        )
        self._tell_damage(journal)
        goal = self._driver.durable.goal
        self._watched = settings.telemetry.drone(drone_id)
        self._watched.begin(
            self._driver.phase,
            goal.order if goal is not None else None,
            goal.attempt if goal is not None else 0,
            self._driver.durable.highest_epoch,
        )
        self._goal_handles: dict[tuple[str, int], ServerGoalHandle] = {}
        self._asked: tuple[AskClearance, Future, float] | None = None
        self._ready = self._in_service = False
        self._stepped_at_s = self._seconds()
        self._telemetry_due_s = self._feedback_due_s = 0.0
        self._ends = ends()

    @property
    def phase(self) -> Phase:
        return self._driver.phase

    @property
    def highest_epoch(self) -> int:
        return self._driver.durable.highest_epoch

    def tune(self, settings: Settings) -> None:
        self._settings = settings
        self._driver.tune(DronePolicy(clearance_retry_s=settings.clearance_retry_s), settings.state_period_s)

    @property
    def is_busy(self) -> bool:
        """Whether there is something that a leader must hear of, or that is under way."""
        return self._driver.is_busy

    def close(self) -> None:
        self._driver.close()
        self._watched.end()

    def _tell_damage(self, journal: DroneJournal) -> None:
        damage = journal.damage
        if damage is None:
            return
        if damage.memory_lost:
            self._log.error(
                f"JOURNAL LOST: {damage.reason}; kept as {damage.kept_as}. New journal {journal.identity}: this "
                "drone cannot vouch for what it did before, and orders that it had loaded need a person"
            )
        else:
            self._log.warning(damage.reason)

    # --- events -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        now_s = self._seconds()
        # Simulation time is 0 until the first clock message, which may say anything: no time has passed then.
        dt_s = max(0.0, now_s - self._stepped_at_s) if self._stepped_at_s else 0.0
        self._stepped_at_s = now_s
        if not self._ready:
            self._flight.step(dt_s)
            self._ready, dt_s = self._flight.ready, 0.0
            if not self._ready:
                return  # its machine refuses goals until it has sensed something; nobody hears of the drone before
        self._driver.sense(dt_s)
        self.speak()

    def speak(self) -> None:
        """Publish what is due. A drone out of service finishes what it carries and comes home; then it says, once, that
        it takes no goal, so that no leader assigns it an order before it counts as silent."""
        at_rest = self.phase in (Phase.IDLE, Phase.GROUNDED) and not self.is_busy
        if self._node.is_active or not at_rest:
            if self._ready:
                self._in_service = self._in_service or self._node.is_active
                self._publish()
        elif self._in_service:
            self._in_service = False
            self._publish_state(replace(self._driver.report(), phase=Phase.GROUNDED))

    def goal_requested(self, goal: ExecuteDelivery.Goal) -> GoalResponse:
        try:
            order = messages.order_from_msg(goal.order, goal.message_id, trace_context=goal.trace_context)
        except messages.InvalidMessage as error:
            self._log.error(f"goal of {goal.instance_id} refused: {error}")
            return GoalResponse.REJECT
        fields = order_fields(order, goal.attempt, goal.epoch)
        if not self._node.is_active:
            self._log.info(f"goal {goal.message_id}/{goal.attempt} refused: not active", extra=fields)
            return GoalResponse.REJECT
        answers = self.step(GoalRequested(order, goal.attempt, goal.epoch))
        answer = next(effect for effect in answers if isinstance(effect, AnswerGoal))
        verb = "accepted" if answer.accepted else "refused"
        said = f"goal {goal.message_id}/{goal.attempt} of epoch {goal.epoch} {verb} {answer.reason}".rstrip()
        self._log.info(said, extra=fields)
        if not answer.accepted:
            return GoalResponse.REJECT
        self._watched.goal_accepted(order, goal.attempt, goal.epoch)
        return GoalResponse.ACCEPT

    def cancel_requested(self, handle: ServerGoalHandle) -> CancelResponse:
        goal = handle.request
        # A cancel request carries no epoch; whoever has the goal's id may recall it.
        epoch = self._driver.durable.highest_epoch
        answers = self.step(RecallRequested(goal.message_id, goal.attempt, epoch))
        answer = next(effect for effect in answers if isinstance(effect, AnswerRecall))
        verb = "accepted" if answer.accepted else "refused"
        said = f"recall of {goal.message_id}/{goal.attempt} {verb} {answer.reason}".rstrip()
        self._log.info(said, extra={"message_id": goal.message_id, "attempt": goal.attempt, "epoch": epoch})
        return CancelResponse.ACCEPT if answer.accepted else CancelResponse.REJECT

    def goal_begun(self, handle: ServerGoalHandle) -> None:
        key = (handle.request.message_id, handle.request.attempt)
        self._goal_handles[key] = handle
        for outcome in self._driver.durable.outcomes:
            if (outcome.message_id, outcome.attempt) == key:  # it ended as soon as it was accepted
                self._finish(outcome)

    def _finish(self, outcome: DeliveryOutcome) -> None:
        handle = self._goal_handles.pop((outcome.message_id, outcome.attempt), None)
        if handle is not None:
            self._ends.action.finish(handle, lambda handle: self._conclude(handle, outcome))

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
                verdict, answer.epoch, answer.message_id, answer.attempt, answer.journal_id, answer.reason
            )
        )

    def step(self, event: DroneEvent) -> list[DroneEffect]:
        """Let the drone take in ``event``; what its machine said."""
        effects = self._driver.step(event)
        if isinstance(event, LeaderHeard):
            self._watched.acknowledged((each.message_id, each.attempt) for each in self._driver.durable.outcomes)
        return effects

    # --- what the driver tells --------------------------------------------------------------------------------------

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
        """Ask, unless the same question is still on its way."""
        now_s = time.monotonic()
        if self._asked is not None:
            asked, future, at_s = self._asked
            if asked == question and not future.done() and now_s - at_s < self._settings.clearance_timeout_s:
                return
            future.cancel()
            self._asked = None
        request = RequestClearance.Request(
            drone_id=self._node.drone_id,
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
        if not future.cancelled() and self._node.is_configured:
            self._clearance_answered(future)

    # --- publishing ---------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        now_s, sensed, phase = time.monotonic(), self._flight.state, self._driver.phase
        due = self._driver.due_report()
        if due is not None:
            self._publish_state(due)
        if now_s >= self._telemetry_due_s:
            # Half a tick of slack, or a tick that comes a little early would halve the rate.
            self._telemetry_due_s = now_s + self._settings.telemetry_period_s - TICK_S / 2
            self._watched.charged(sensed.energy_wh)
            stamp_s = self._stamp_s()
            if self._ends.telemetry.get_subscription_count():
                self._ends.telemetry.publish(self._telemetry(stamp_s, sensed, phase))
            self._ends.pose.publish(stamp_s, sensed, phase, self._driver.durable.goal)
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
            drone_id=self._node.drone_id,
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
        self._ends.state.publish(messages.report_to_msg(report, self._stamp_s(), height_m))

    def _stamp_s(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def _seconds(self) -> float:
        """The clock by which drones fly: simulation time where there is one, else one that never jumps."""
        clock = self._node.get_clock()
        return clock.now().nanoseconds * 1e-9 if clock.ros_time_is_active else time.monotonic()


def _now() -> Instant:
    return Instant(time.monotonic(), time.time())


class DroneHost(Node):
    """What the drones of a process share. Raises :class:`ParameterError`."""

    def __init__(self, network: NetworkWatch) -> None:
        super().__init__("drone_executor")
        self._network = network
        values = declare(self, PARAMETERS)
        self._region = values["region"]
        self._autostart_due_s = 0.0
        fleet = _fleet(values["fleet_config"])
        drone_class = _drone_class(fleet, values["drone_class"])
        make_flight = load_flight(values["flight"])
        region = self._region or fleet.region
        metrics = Metrics("drone_executor", region)
        self._tracer = observability.tracer("drone_executor", self.get_fully_qualified_name(), region)
        self._telemetry = HostTelemetry(metrics, drone_class, self._tracer, TICK_S)

        def settings() -> Settings:
            return _settings(values, drone_class, fleet.depot, make_flight, self._telemetry)

        ids = _checked_ids(values["drone_ids"])
        self._endpoint = observability.serve(metrics, values)
        watch = QosWatch(self)
        self.drones = [DroneExecutor(each, self.get_namespace(), settings(), self._ask_leader, watch) for each in ids]

        def tune(changed: Mapping[str, Any]) -> None:
            for drone in self.drones:
                drone.tune(settings())

        self._to_start = list(self.drones) if values["autostart"] else []
        keep_live(self, PARAMETERS, values, apply=tune, loggers=[each.get_logger().name for each in self.drones])
        self._client = self.create_client(RequestClearance, names.REQUEST_CLEARANCE)
        profile = qos.state()
        self.create_subscription(
            LeaderState, names.LEADER, self._leader_heard, profile, **watch.subscribing(names.LEADER, profile)
        )
        self._leader_heard_at_s: float | None = None
        self._answered_at_s = float("-inf")
        self._reporter = Reporter(self, own=[self._statuses, watch.statuses])
        # Wall time even in simulation: what leaders say and hear of a drone must not stop with a paused world.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # Each drone has its turn in a period of its own: all at once would keep a core from everybody else meanwhile.
        self._shares = min(SHARES, len(self.drones))
        self._turn = 0
        group = MutuallyExclusiveCallbackGroup()
        self.create_timer(TICK_S / self._shares, self._tick, callback_group=group, clock=steady)
        self.create_timer(NETWORK_PERIOD_S, self._look_at_network, clock=steady)

    @property
    def nodes(self) -> Sequence[Node]:
        return (self, *self.drones)

    def close(self) -> None:
        for drone in self.drones:
            drone.destroy_node()
        if self._endpoint is not None:
            self._endpoint.close()
        self._tracer.close()
        self.destroy_node()

    def _tick(self) -> None:
        if self._to_start and time.monotonic() >= self._autostart_due_s:
            self._start()
        self._turn = (self._turn + 1) % self._shares
        if self._turn == 0:
            self._telemetry.ticked()
        for drone in self.drones[self._turn :: self._shares]:
            drone.tick()

    def _look_at_network(self) -> None:
        """Safe at any moment, also in the air: journals and flight states are on disk."""
        missing = self._network.missing(usable_addresses(), time.monotonic())
        if missing:
            found = ", ".join(f"{address} on {interface}" for interface, address in missing)
            raise StartAgain(f"no leader is heard, and DDS does not use {found}, which came up after the start")

    def _start(self) -> None:
        """Bring up the drones; one that could not be (its journal is locked, say) is tried again by and by."""
        self._autostart_due_s = time.monotonic() + AUTOSTART_RETRY_S
        self._to_start = [drone for drone in self._to_start if not self._start_drone(drone)]

    @staticmethod
    def _start_drone(drone: DroneExecutor) -> bool:
        """Whether nothing is left to do for ``drone``: from then on its lifecycle is an operator's."""
        if drone.is_finalized:
            return True
        if not drone.is_configured and drone.trigger_configure() is TransitionCallbackReturn.FAILURE:
            return False
        if not drone.is_active:
            drone.trigger_activate()
        if not (drone.is_configured and drone.is_active):
            raise RuntimeError(f"{drone.drone_id}: could not be configured and activated")
        return True

    def _statuses(self) -> list[Status]:
        heard_at_s = self._leader_heard_at_s
        silent_s = None if heard_at_s is None else time.monotonic() - heard_at_s
        return [of_node(drone.drone_id, drone.status(silent_s)) for drone in self.drones]

    def _ask_leader(self, request: RequestClearance.Request) -> Future | None:
        # DDS looks through all that it knows to say so; somebody who has answered just now need not be looked for.
        now_s = time.monotonic()
        if now_s >= self._answered_at_s + ANSWERED_LATELY_S and not self._client.service_is_ready():
            return None
        sent = self._client.call_async(request)
        sent.add_done_callback(self._leader_answered)
        return sent

    def _leader_answered(self, future: Future) -> None:
        if not future.cancelled() and future.exception() is None:
            self._answered_at_s = time.monotonic()

    def _leader_heard(self, message: LeaderState) -> None:
        self._leader_heard_at_s = time.monotonic()
        self._network.heard(self._leader_heard_at_s)
        if message.epoch == 0 or (self._region and message.region != self._region):
            return
        self._telemetry.leader_heard(message.epoch)
        acks: dict[str, list[AcknowledgeOutcome]] = {}
        for each in message.acknowledged:
            try:
                ack = messages.ack_from_msg(each)
            except messages.InvalidMessage as error:
                self.get_logger().error(f"acknowledgement of {message.instance_id} ignored: {error}")
                continue
            if ack is not None:
                acks.setdefault(ack.drone_id, []).append(ack)
        # Leaders speak whenever they acknowledge something, so most of it is news to one drone of many, or to none.
        for drone in self.drones:
            mine = acks.get(drone.drone_id, ())
            if mine or drone.highest_epoch < message.epoch:
                drone.leader_heard(LeaderHeard(message.epoch, tuple(mine)))


def _settings(
    values: Mapping[str, Any],
    drone_class: DroneClass,
    depot: GeoPoint,
    make_flight: FlightFactory,
    watched: HostTelemetry,
) -> Settings:
    return Settings(
        drone_class=drone_class,
        depot=depot,
        data_dir=Path(values["data_dir"]) if values["data_dir"] else default_data_dir(),
        make_flight=make_flight,
        time_scale=values["time_scale"],
        telemetry_period_s=1.0 / values["telemetry_rate_hz"],
        state_period_s=values["state_period_s"],
        clearance_retry_s=values["clearance_retry_s"],
        clearance_timeout_s=values["clearance_timeout_s"],
        telemetry=watched,
    )


def _fleet(path: str) -> FleetSpec:
    try:
        return load_fleet(path or None)
    except (FleetConfigError, FileNotFoundError) as error:
        raise ParameterError(f"parameter fleet_config: {error}") from error


def _drone_class(fleet: FleetSpec, name: str) -> DroneClass:
    drone_class = fleet.drone_class(name) if name else fleet.classes[0]
    if drone_class is None:
        known = ", ".join(each.name for each in fleet.classes)
        raise ParameterError(f"parameter drone_class: {name!r} is not in the fleet configuration; known: {known}")
    return drone_class


def _checked_ids(ids: Sequence[str]) -> Sequence[str]:
    if not 1 <= len(ids) <= MAX_DRONES or len(set(ids)) != len(ids):
        raise ParameterError(f"parameter drone_ids: 1 .. {MAX_DRONES} different names are wanted, not {list(ids)}")
    try:
        return [names.check_drone_id(each) for each in ids]
    except names.InvalidDroneId as error:
        raise ParameterError(f"parameter drone_ids: {error}") from error


def main() -> int:
    """Entry point; the exit code is that of :func:`.process.run_node`."""
    command_line.answer("drone_executor", ABOUT, PARAMETERS)
    at_start = usable_addresses()
    return run_node(
        lambda: DroneHost(NetworkWatch(at_start, time.monotonic())),
        executor_type=executors.events,  # a process of many drones has hundreds of entities
    )
