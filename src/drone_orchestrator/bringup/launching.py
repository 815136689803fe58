"""Building blocks of the launch files: :mod:`.plan` and :mod:`.launch_arguments` as actions of ROS 2's launch.

They add two things to launch. *Order*: a step starts when the nodes of the previous one have reached their lifecycle
states, and a fleet stops by role in reverse, one role after another. Launch alone would stop all at once. *Refusals*: a
process that refuses its settings ends the launch instead of being restarted forever.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueCoroutine,
    OpaqueFunction,
    PopEnvironment,
    PopLaunchConfigurations,
    PushEnvironment,
    PushLaunchConfigurations,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnExecutionComplete, OnProcessExit, OnShutdown
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.ros_adapters import ROSAdapter
from launch_ros.utilities import make_namespace_absolute, prefix_namespace
from lifecycle_msgs.srv import GetState

from . import launch_arguments
from .etcd_process import EtcdProcess
from .launch_arguments import ArgumentError, flag, fleet_options
from .paths import share_dir
from .plan import READY_STATES, REFUSED, STOP_ORDER, FleetOptions, ProcessSpec, etcd_settings, processes

Values = dict[str, str]
Steps = Callable[[LaunchContext, Values], list[LaunchDescriptionEntity]]
_PACKAGE = "drone_orchestrator"
#: After this time (s) the next step starts without the nodes that are not up: one locked journal must not stop a fleet.
READY_TIMEOUT_S = 30.0
#: Shutdown timeout (s) of a process, longer than a gateway takes to finish its requests (shutdown_grace_s).
STOP_TIMEOUT_S = 10.0
_ASK_PERIOD_S = 0.1
_ANSWER_TIMEOUT_S = 2.0
_ETCD_PERIOD_S = 1.0


def description(file: str, steps: Steps) -> LaunchDescription:
    """Return the launch description of ``file``: its arguments, and the actions that ``steps`` makes of them."""

    def perform(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        leave_interrupts_to_launch(context)
        values = {each.name: _value(context, each) for each in launch_arguments.of(file)}
        if flag(values, "rviz"):
            require_rviz()  # before any drone starts
        return steps(context, values)

    return LaunchDescription([*_declarations(file), OpaqueFunction(function=perform)])


def include(file: str, values: Mapping[str, str], **others: str) -> LaunchDescriptionEntity:
    """Include another launch file of this package, with those ``values`` that it accepts; ``others`` override them."""
    given = {**values, **others}
    taken = {each.name: given[each.name] for each in launch_arguments.of(file) if each.name in given}
    source = PythonLaunchDescriptionSource(str(share_dir() / "launch" / f"{file}.launch.py"))
    return IncludeLaunchDescription(source, launch_arguments=taken.items())


def in_order(context: LaunchContext, *steps: LaunchDescriptionEntity) -> list[LaunchDescriptionEntity]:
    """Return ``steps`` in sequence: the steps after an :func:`until_up` start when it is done.

    They start with the launch configurations and the environment of now, even if the group of actions that includes
    this fleet has ended meanwhile, and with it the namespace, remappings and variables that it set.
    """
    for index, step in enumerate(steps):
        if isinstance(step, UntilUp):
            rest = in_order(context, *steps[index + 1 :])
            if not rest:
                return list(steps[:index])  # nothing waits for it
            done = OnExecutionComplete(target_action=step, on_completion=_as_now(context, rest))
            return [*steps[:index], RegisterEventHandler(done), step]
    return list(steps)


def _as_now(context: LaunchContext, steps: Sequence[LaunchDescriptionEntity]) -> list[LaunchDescriptionEntity]:
    """Return ``steps`` within a scope of the present launch configurations and environment."""
    configurations, environment = dict(context.launch_configurations), dict(context.environment)

    def restore(context: LaunchContext) -> None:
        for found, wanted in ((context.launch_configurations, configurations), (context.environment, environment)):
            found.clear()
            found.update(wanted)

    return [
        PushLaunchConfigurations(),
        PushEnvironment(),
        OpaqueFunction(function=restore),
        *steps,
        PopEnvironment(),
        PopLaunchConfigurations(),
    ]


class UntilUp(OpaqueCoroutine):
    """Action that is done when every lifecycle node of a role is up, or after ``READY_TIMEOUT_S``."""

    def __init__(self, role: str, options: FleetOptions) -> None:
        self._specs = _of_role(role, options)
        self._asked: dict[str, Any] = {"wanted": READY_STATES[role]}
        super().__init__(coroutine=_until_up, kwargs=self._asked)

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        if context.is_shutdown:
            return None  # the step before was cut short; a new node would never be shut down
        managed = [spec.node_name for spec in self._specs if not spec.lifecycle_nodes]
        if managed:
            get_logger("launch.user").warning(
                f"autostart is off: not waiting for {', '.join(managed)}, which a lifecycle manager must bring up"
            )
        # Here, not in the coroutine: that runs after the group of actions around it has ended.
        self._asked["names"] = [
            f"{_namespace(context, spec).rstrip('/')}/{node}" for spec in self._specs for node in spec.lifecycle_nodes
        ]
        self._asked["node"] = _ros_node(context)
        found: list[LaunchDescriptionEntity] | None = super().execute(context)
        return found


def until_up(role: str, values: Values) -> LaunchDescriptionEntity:
    """Wait until every lifecycle node of ``role`` is up, at most ``READY_TIMEOUT_S``."""
    return UntilUp(role, fleet_options(values))


def nodes(role: str, values: Values) -> list[LaunchDescriptionEntity]:
    """Return the processes of ``role``."""
    options = fleet_options(values)
    transports = SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", values["dds_transports"])
    started = [_node(spec, flag(values, "respawn"), options.use_sim_time) for spec in _of_role(role, options)]
    refusals = [RegisterEventHandler(OnProcessExit(target_action=each, on_exit=_on_exit)) for each in started]
    return [transports, *refusals, *started]


def own_etcd(context: LaunchContext, values: Values) -> Values:
    """Return ``values`` with an etcd to work with: the one that they name, else a new one that ends after all others.

    Raises :class:`ValueError` for a fleet that cannot be described, before an etcd is started.
    """
    options = fleet_options(values)
    processes(options)
    if values["etcd_endpoints"]:
        return values
    etcd = EtcdProcess(**etcd_settings(options))
    endpoints = ",".join(etcd.endpoints)
    get_logger("launch.user").info(f"etcd of this fleet: {endpoints}")
    supervision = context.asyncio_loop.create_task(_supervise(etcd))
    supervision.add_done_callback(partial(_supervision_ended, context))

    def stop() -> None:
        context.asyncio_loop.call_soon_threadsafe(supervision.cancel)
        etcd.stop()

    at_the_end(context, stop)
    return {**values, "etcd_endpoints": endpoints}


def own_data(context: LaunchContext, values: Values) -> Values:
    """Return ``values`` with a folder for the journals: the given one, else a temporary one."""
    if values["data_dir"]:
        return values
    folder = tempfile.TemporaryDirectory(prefix="drone_orchestrator_")
    at_the_end(context, folder.cleanup)
    return {**values, "data_dir": folder.name}


def require_rviz() -> None:
    """Raise :class:`ArgumentError` if rviz is not installed. It is not needed where nobody looks."""
    try:
        get_package_prefix("rviz2")
    except LookupError as error:
        raise ArgumentError("rviz2 is not installed: apt install ros-$ROS_DISTRO-rviz2") from error


def rviz(values: Values) -> list[LaunchDescriptionEntity]:
    """Return rviz for the fleet of ``values``. Raises :class:`ArgumentError` if it is not installed."""
    require_rviz()
    config = values["rviz_config"] or str(share_dir() / "config" / "rviz" / "fleet.rviz")
    return [
        LogInfo(msg=f"rviz shows {config}"),
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=values["namespace"],
            arguments=["-d", config],
            parameters=[{"use_sim_time": flag(values, "use_sim_time")}],
            ros_arguments=["--log-level", values["log_level"]],
        ),
    ]


# --- processes --------------------------------------------------------------------------------------------------------


class FleetProcess(Node):
    """Process of the fleet that stops after those of the earlier roles in ``STOP_ORDER``."""

    def __init__(self, spec: ProcessSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self._waits = False

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        _fleet(context).append(self)
        return super().execute(context)

    @property
    def is_over(self) -> bool:
        """True if it has ended and will not restart."""
        future = self.get_asyncio_future()
        return future is None or future.done()

    def _shutdown_process(self, context: LaunchContext, *, send_sigint: bool) -> Any:
        """Delay the shutdown by launch until no process needs this one any more."""
        rank = STOP_ORDER.index(self.spec.role)
        before = [p for p in _fleet(context) if STOP_ORDER.index(p.spec.role) < rank and not p.is_over]
        if not before or self.is_over or self.return_code is not None:
            # It runs in its own session, so it has not received the terminal's Ctrl-C, as launch assumes.
            return super()._shutdown_process(context, send_sigint=True)
        if not self._waits:
            self._waits = True
            over = asyncio.gather(*(each.get_asyncio_future() for each in before), return_exceptions=True)
            mine = ShutdownProcess(process_matcher=matches_action(self))
            over.add_done_callback(lambda _: context.emit_event_sync(mine))
        return None


def _node(spec: ProcessSpec, respawn: bool, use_sim_time: bool) -> FleetProcess:
    parameters: list[Any] = [spec.params_file] if spec.params_file else []
    return FleetProcess(
        spec,
        package=_PACKAGE,
        executable=spec.executable,
        exec_name=spec.name,
        # With a name, these parameters override any section of a file. It renames the process's first node only.
        name=spec.node_name,
        namespace=spec.namespace,
        parameters=[*parameters, dict(spec.parameters)],
        ros_arguments=["--log-level", spec.log_level],
        prefix=[LaunchConfiguration("launch-prefix", default=""), " ", " ".join(_on_its_own())],
        respawn=respawn,
        respawn_delay=spec.respawn_delay_s,
        sigterm_timeout=str(STOP_TIMEOUT_S),
        sigkill_timeout="1",
        output="screen",
        emulate_tty=False,
    )


def _on_its_own() -> list[str]:
    """Return a command prefix that shields a process from the terminal's Ctrl-C, and ends it with launch."""
    setsid, setpriv = shutil.which("setsid"), shutil.which("setpriv")
    return [setsid, setpriv, "--pdeathsig", "TERM", "--"] if setsid and setpriv else []


class SettingsRefused(RuntimeError):
    """A process refused its settings: launch reports it, shuts down, and exits with code 1."""


def _on_exit(event: ProcessExited, context: LaunchContext) -> None:
    if event.returncode == REFUSED and not context.is_shutdown:
        raise SettingsRefused(f"{event.action.spec.name} refused its settings; see its last line")


# --- interrupts -------------------------------------------------------------------------------------------------------


def leave_interrupts_to_launch(context: LaunchContext) -> None:
    """Let an interrupt do nothing but wake launch, from now until every process of the fleet has ended.

    Launch keeps Python's handler beside its own. A second Ctrl-C raises ``KeyboardInterrupt`` there while launch
    handles the shutdown, and the handlers that have not run yet never do: the processes behind them are not told to
    end, and launch waits for them forever.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored in a script's background, or somebody else's
    signal.signal(signal.SIGINT, _wake_launch)
    at_the_end(context, lambda: None, then=partial(signal.signal, signal.SIGINT, signal.default_int_handler))


def _wake_launch(number: int, frame: object) -> None:
    """Do nothing. Python has written to launch's wake-up descriptor already."""


# --- order ------------------------------------------------------------------------------------------------------------


async def _until_up(context: LaunchContext, names: Sequence[str], wanted: Sequence[str], node: Any) -> None:
    if context.is_shutdown:
        return
    clients = {name: node.create_client(GetState, f"{name}/get_state") for name in names}
    deadline_s = context.asyncio_loop.time() + READY_TIMEOUT_S
    missing = list(names)
    try:
        while missing and context.asyncio_loop.time() < deadline_s:
            states = await asyncio.gather(*(_state(context, clients[name]) for name in missing))
            missing = [name for name, state in zip(missing, states, strict=True) if state not in wanted]
            if missing:
                await asyncio.sleep(_ASK_PERIOD_S)
    except asyncio.CancelledError:
        return  # launch shuts down; a cancelled future would break its loop, and leave the processes behind
    finally:
        for client in clients.values():
            node.destroy_client(client)
    if missing:
        late = ", ".join(missing)
        get_logger("launch.user").warning(f"not up after {READY_TIMEOUT_S:g} s: {late}; continuing without")


async def _state(context: LaunchContext, client: Any) -> str:
    """Return the label of a lifecycle node's state; empty while it does not answer."""
    if not client.service_is_ready():
        return ""
    loop = context.asyncio_loop
    answered = loop.create_future()
    asked = client.call_async(GetState.Request())
    asked.add_done_callback(lambda done: loop.call_soon_threadsafe(_settle, answered, done))
    try:
        label: str = await asyncio.wait_for(answered, _ANSWER_TIMEOUT_S)
    except asyncio.TimeoutError:
        client.remove_pending_request(asked)
        return ""
    return label


def _settle(answered: asyncio.Future[str], done: Any) -> None:
    if not answered.done():
        response = done.result()
        answered.set_result(response.current_state.label if response is not None else "")


async def _supervise(etcd: EtcdProcess) -> None:
    while True:
        await asyncio.sleep(_ETCD_PERIOD_S)
        for index, code in etcd.ended.items():
            get_logger("launch.user").error(f"etcd ended with code {code}; restarting it with its data")
            try:
                etcd.start_member(index)
            except OSError as error:
                get_logger("launch.user").error(f"etcd could not be started, and is tried again: {error}")


def _supervision_ended(context: LaunchContext, supervision: asyncio.Task[None]) -> None:
    """Shut down if etcd is no longer supervised although nothing has asked for that."""
    if not supervision.cancelled():
        reason = f"the supervision of etcd ended: {supervision.exception()!r}"
        get_logger("launch.user").error(reason)
        context.emit_event_sync(Shutdown(reason=reason))


def at_the_end(context: LaunchContext, finish: Callable[[], object], then: Callable[[], object] = lambda: None) -> None:
    """Call ``finish`` once launch shuts down and every process of the fleet has ended, ``then`` on launch's thread."""

    async def last() -> None:
        await asyncio.gather(*(each.get_asyncio_future() for each in _fleet(context) if not each.is_over))
        await context.asyncio_loop.run_in_executor(None, finish)
        then()

    def begin(event: object, context: LaunchContext) -> None:
        context.add_completion_future(context.asyncio_loop.create_task(last()))

    context.register_event_handler(OnShutdown(on_shutdown=begin))


def _fleet(context: LaunchContext) -> list[FleetProcess]:
    """Return the processes that this launch has started, in this order."""
    found: list[FleetProcess] = _global(context, "drone_orchestrator_fleet", list)
    return found


def _global(context: LaunchContext, name: str, make: Callable[[], Any]) -> Any:
    """Return the value ``name`` of this launch, made at its first use."""
    if not hasattr(context.locals, name):
        context.extend_globals({name: make()})
    return getattr(context.locals, name)


def _of_role(role: str, options: FleetOptions) -> list[ProcessSpec]:
    return [spec for spec in processes(options) if spec.role == role]


def _namespace(context: LaunchContext, spec: ProcessSpec) -> str:
    """Return the namespace that the process gets here, as launch's own ``Node`` composes it."""
    pushed = context.launch_configurations.get("ros_namespace")
    found: str = make_namespace_absolute(prefix_namespace(pushed, spec.namespace))
    return found


def _ros_node(context: LaunchContext) -> Any:
    """Return a node in the DDS domain of the present environment. Launch's own node may be in another one."""
    domain = context.environment.get("ROS_DOMAIN_ID", "")
    adapters: dict[str, ROSAdapter] = _global(context, "drone_orchestrator_adapters", dict)
    if domain not in adapters:
        adapters[domain] = ROSAdapter()
        context.register_event_handler(OnShutdown(on_shutdown=lambda *_: adapters.pop(domain).shutdown()))
    return adapters[domain].ros_node


def _value(context: LaunchContext, argument: launch_arguments.Argument) -> str:
    return argument.read(LaunchConfiguration(argument.name).perform(context))


def _declarations(file: str) -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            each.name,
            default_value=each.value,
            description=each.description,
            choices=list(each.accepted) or None,
        )
        for each in launch_arguments.of(file)
    ]
