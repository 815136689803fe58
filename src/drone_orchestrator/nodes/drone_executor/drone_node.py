"""The lifecycle node of one drone.

A failure of one drone does not affect the others. An exception in its journal, flight controller or state machine takes
it out of service: the node becomes *unconfigured*, reports the reason in its log and in ``/diagnostics``, and tries
every :data:`RETRY_S` to return to its previous state. This restarts a single drone the way a supervisor restarts a
process.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rclpy.action import CancelResponse, GoalResponse
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from ...core.drone.events import LeaderHeard, LiftGrounding
from ...flight.controller import FlightError
from ...ros.params import declare_shared, keep_live
from ...ros.qos_watch import QosWatch
from ...runtime.journal import JournalError
from ...runtime.out_of_service import OutOfServiceMark
from ...telemetry.diagnostics import Status, executor_status
from .drone_shell import AskLeader, DroneShell
from .endpoints import DroneEndpoints
from .flight_plugins import FlightNode
from .parameters import OWN_PARAMETERS, Settings

#: Interval (s) between attempts to bring up a drone.
RETRY_S = 2.0

T = TypeVar("T")


class DroneExecutor(FlightNode):
    """Lifecycle node of one drone. The host calls :meth:`tick`; ``ask_leader`` sends a clearance request.

    ``values`` are the host's parameters. The drone has some of them for itself (``OWN_PARAMETERS``); ``settings`` makes
    its settings of all values. With ``has_services`` its node answers ``ros2 param``.

    *Configured*: the journal is open and locked, and the flight controller runs. *Active*: the drone accepts goals.
    *Inactive*: it accepts none and says so, but finishes the goal it has. A drone that a person deactivated is out of
    service until a person activates it, also if its process restarts: the parameter ``autostart`` leaves it inactive.
    That activation lifts a grounding.

    A person's *cleanup* or *shutdown* is refused while the drone is in the air or has a package, because it would be
    flown by no program.
    """

    def __init__(
        self,
        drone_id: str,
        namespace: str,
        values: Mapping[str, Any],
        settings: Callable[[Mapping[str, Any]], Settings],
        ask_leader: AskLeader,
        watch: QosWatch,
        *,
        has_services: bool,
    ) -> None:
        super().__init__(
            drone_id,
            watch,
            namespace=namespace,
            # A __node remapping on the command line is for the host. Without this argument it would rename every drone.
            cli_args=["--ros-args", "-r", f"__node:={drone_id}"],
            start_parameter_services=has_services,
            parameter_overrides=[Parameter("start_type_description_service", value=False)],
        )
        self.drone_id = drone_id
        mine = {**values, **declare_shared(self, OWN_PARAMETERS, values)}
        self._settings = settings(mine)
        keep_live(self, OWN_PARAMETERS, mine, apply=lambda changed: self._tune(settings(changed)))
        self._ask_leader = ask_leader
        self._watch = watch
        self._active = self._finalized = False
        self._lift_grounding = False
        self._by_itself = False  # a transition that no person asked for
        self._mark = OutOfServiceMark(self._settings.data_dir / "drones" / f"{drone_id}.out_of_service")
        self._shell: DroneShell | None = None
        self._endpoints: DroneEndpoints | None = None
        self._trouble = ""  # why the drone is out of service
        self._has_failed = False  # failed, but the lifecycle state does not show it yet
        self._bring_up: bool | None = None  # True: until active, False: until inactive, None: leave it to operators
        self._retry_at_s = 0.0

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._shell = DroneShell(self, self._settings, self._ask_leader, lambda: self._active, self._make_endpoints)
        except Exception as error:  # rclpy would swallow it
            self._trouble = _text(error)
            self.get_logger().error(_report(error))
            return TransitionCallbackReturn.FAILURE
        self._trouble = ""
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._mark.is_set:
            self._lift_grounding = True
            try:
                self._mark.lift()
            except OSError as error:
                self.get_logger().error(f"out of service again after a restart: {self._mark.path}: {error.strerror}")
        self._active = True
        self._contained(lambda shell: shell.speak(), None)
        return TransitionCallbackReturn.SUCCESS

    def objection(self, transition: str) -> str:
        if transition not in ("cleanup", "shutdown") or self._shell is None:
            return ""
        need = self._shell.needed_for
        return f"{need}; take it out of service and wait until it has landed at its depot, empty" if need else ""

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._active = False
        self._bring_up = None
        self._lift_grounding = True
        if not self._by_itself:
            try:
                self._mark.set()
            except OSError as error:
                self.get_logger().error(f"in service again after a restart: {self._mark.path}: {error.strerror}")
        self._contained(lambda shell: shell.speak(), None)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._shell is not None and self._shell.is_busy:
            self.get_logger().error("cannot clean up: the drone has an order, or an outcome that is not recorded")
            return TransitionCallbackReturn.FAILURE
        self._bring_up = None
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._finalized = True
        self._bring_up = None
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def release(self) -> None:
        """Close journal and flight controller. Idempotent."""
        self._active = False
        shell, self._shell = self._shell, None
        if shell is None:
            return
        self.topics.silence()
        if self.context.ok():
            try:
                shell.say_farewell()
            except Exception as error:
                self.get_logger().warning(f"could not report that it is out of service: {_text(error)}")
        try:
            shell.close()
        except Exception as error:
            self.get_logger().error(f"the flight controller was not closed properly: {_report(error)}")

    def destroy_node(self) -> None:
        self.release()
        if self._endpoints is not None:
            self._endpoints.destroy()
            self._endpoints = None
        super().destroy_node()

    # --- failures -----------------------------------------------------------------------------------------------------

    def failed(self, error: Exception) -> None:
        """Take this drone out of service and schedule its return. The other drones of the process are not affected."""
        if self._shell is None:
            return  # already out of service
        self._trouble = _text(error)
        self.get_logger().error(f"out of service, retrying every {RETRY_S:g} s: {_report(error)}")
        self._bring_up = self._active if self._bring_up is None else self._bring_up
        self._has_failed, self._retry_at_s = True, time.monotonic() + RETRY_S
        self.release()

    def _contained(self, call: Callable[[DroneShell], T], otherwise: T) -> T:
        """Return ``call(shell)``, or ``otherwise`` if the drone is not configured or the call fails."""
        if self._shell is None:
            return otherwise
        try:
            return call(self._shell)
        except Exception as error:
            self.failed(error)
            return otherwise

    def _show_failure(self) -> None:
        """Move the lifecycle to *unconfigured* after :meth:`failed`."""
        self._has_failed = False
        before = self._bring_up, self._lift_grounding
        self._by_itself = True
        if self._label() == "active":
            self.trigger_deactivate()
        if self._label() == "inactive":
            self.trigger_cleanup()
        self._by_itself = False
        self._bring_up, self._lift_grounding = before

    def _label(self) -> str:
        return str(self._state_machine.current_state[1])

    def _try_to_bring_up(self) -> None:
        self._retry_at_s = time.monotonic() + RETRY_S
        wanted_active = self._bring_up
        if self._shell is None and self.trigger_configure() is not TransitionCallbackReturn.SUCCESS:
            return
        if wanted_active and not self._active:
            self.trigger_activate()
        self._bring_up = None

    def _make_endpoints(self) -> DroneEndpoints:
        """Return the drone's ROS interfaces. They are created once and reused by later configurations."""
        if self._endpoints is None:
            self._endpoints = DroneEndpoints(
                self,
                self.drone_id,
                self._settings,
                self._watch,
                on_goal=lambda goal: self._contained(lambda shell: shell.goal_requested(goal), GoalResponse.REJECT),
                on_begun=lambda handle: self._contained(lambda shell: shell.goal_begun(handle), None),
                on_cancel=lambda handle: self._contained(
                    lambda shell: shell.cancel_requested(handle), CancelResponse.REJECT
                ),
                on_cancel_unknown=lambda goal_id: self._contained(
                    lambda shell: shell.cancel_of_unknown_requested(goal_id), None
                ),
                ignores=lambda goal: self._contained(lambda shell: shell.is_meant_for_another(goal), False),
            )
        return self._endpoints

    def _tune(self, settings: Settings) -> None:
        """Apply changed parameters."""
        self._settings = settings
        if self._shell is not None:
            self._shell.tune(settings)

    # --- called by the host -------------------------------------------------------------------------------------------

    @property
    def is_configured(self) -> bool:
        return self._shell is not None

    @property
    def suspended(self) -> str:
        """Reason why the drone takes no commands although it is configured: its journal cannot be written."""
        return self._shell.suspended if self._shell is not None else ""

    @property
    def trouble(self) -> str:
        """Reason why the drone is out of service; empty if it is configured, or was never to be."""
        return self._trouble if self._shell is None else ""

    @property
    def highest_epoch(self) -> int:
        """Highest epoch seen; 0 if none was seen or the drone is not configured."""
        return self._shell.highest_epoch if self._shell is not None else 0

    @property
    def fleet_id(self) -> str:
        """The fleet that the drone belongs to; empty if it belongs to none or is not configured."""
        return self._shell.fleet_id if self._shell is not None else ""

    @property
    def is_active(self) -> bool:
        return self._active

    @property
    def is_finalized(self) -> bool:
        """True after a shutdown: the node cannot be configured again in this process."""
        return self._finalized

    def bring_up(self) -> None:
        """Configure and activate at the next tick; after a failure, retry every :data:`RETRY_S`.

        A drone that a person took out of service is only configured.
        """
        self._bring_up = not self._mark.is_set
        if self._mark.is_set:
            hint = f"fleetctl drones {self.drone_id} --bring-back"
            self.get_logger().warning(f"stays out of service, as a person left it; to change that: {hint}")

    def status(self, leader_silent_s: float | None) -> Status:
        """Return the status for diagnostics. ``leader_silent_s``: time since a leader was heard; ``None``: never."""
        return executor_status(
            configured=self.is_configured,
            active=self._active,
            finalized=self._finalized,
            phase=self._shell.phase.name if self._shell is not None else "",
            leader_silent_s=leader_silent_s,
            trouble=self._shell.suspended if self._shell is not None else self._trouble,
        )

    def tick(self) -> None:
        """Advance the drone by one tick: bring up, fly, decide, publish."""
        if self._has_failed:
            self._show_failure()
        if self._bring_up is not None and time.monotonic() >= self._retry_at_s:
            self._try_to_bring_up()
        self._contained(self._tick_shell, None)

    def _tick_shell(self, shell: DroneShell) -> None:
        if self._active and self._lift_grounding and not shell.suspended:
            self._lift_grounding = False
            shell.step(LiftGrounding())
        shell.tick()

    def leader_heard(self, message: LeaderHeard) -> None:
        """Pass the drone a message from a leader."""

        def tell(shell: DroneShell) -> None:
            shell.step(message)

        self._contained(tell, None)


def _text(error: Exception) -> str:
    """Return one line for people."""
    return str(error) if _is_expected(error) else f"unexpected {type(error).__name__}: {error}"


def _report(error: Exception) -> str:
    """Return the text for the log. It includes a traceback if the error is unexpected."""
    if _is_expected(error):
        return str(error)
    return f"{_text(error)}\n{''.join(traceback.format_exception(error)).rstrip()}"


def _is_expected(error: Exception) -> bool:
    return isinstance(error, (JournalError, FlightError))
