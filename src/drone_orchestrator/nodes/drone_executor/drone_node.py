"""The lifecycle node of one drone."""

from __future__ import annotations

from rclpy.action import CancelResponse, GoalResponse
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from ...core.drone.events import LeaderHeard, LiftGrounding
from ...flight.controller import FlightError
from ...ros.qos_watch import QosWatch
from ...runtime.journal import JournalError
from ...telemetry.diagnostics import Status, executor_status
from .drone_shell import AskLeader, DroneShell
from .endpoints import DroneEndpoints
from .flight_plugins import FlightNode
from .parameters import Settings


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
        self._shell: DroneShell | None = None
        self._endpoints: DroneEndpoints | None = None

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._shell = DroneShell(self, self._settings, self._ask_leader, lambda: self._active, self._make_endpoints)
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
        if self._shell is not None:
            self._shell.speak()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._shell is not None and self._shell.is_busy:
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
        if self._shell is not None:
            self._shell.close()
            self._shell = None
            self.topics.silence()

    def destroy_node(self) -> None:
        self.release()
        if self._endpoints is not None:
            self._endpoints.destroy()
            self._endpoints = None
        super().destroy_node()

    def _make_endpoints(self) -> DroneEndpoints:
        """What it has on DDS; the same at every configuration."""
        if self._endpoints is None:
            self._endpoints = DroneEndpoints(
                self,
                self.drone_id,
                self._settings.depot,
                self._watch,
                on_goal=lambda goal: self._shell.goal_requested(goal) if self._shell else GoalResponse.REJECT,
                on_begun=lambda handle: self._shell.goal_begun(handle) if self._shell else None,
                on_cancel=lambda handle: self._shell.cancel_requested(handle) if self._shell else CancelResponse.REJECT,
            )
        return self._endpoints

    # --- called by the host -------------------------------------------------------------------------------------------

    def tune(self, settings: Settings) -> None:
        """Parameters were set."""
        self._settings = settings
        if self._shell is not None:
            self._shell.tune(settings)

    @property
    def is_configured(self) -> bool:
        return self._shell is not None

    @property
    def highest_epoch(self) -> int:
        """The newest leader's that it has heard of; 0 where it has none, or is not configured."""
        return self._shell.highest_epoch if self._shell is not None else 0

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
            phase=self._shell.phase.name if self._shell is not None else "",
            leader_silent_s=leader_silent_s,
        )

    def tick(self) -> None:
        """Let time pass: fly, decide, publish."""
        if self._shell is None:
            return
        if self._active and self._lift_grounding:
            self._lift_grounding = False
            self._shell.step(LiftGrounding())
        self._shell.tick()

    def leader_heard(self, message: LeaderHeard) -> None:
        if self._shell is not None:
            self._shell.step(message)
