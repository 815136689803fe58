"""Building blocks of the launch files: :mod:`.plan` and :mod:`.launch_arguments` as actions of ROS 2's launch.

They add two things to launch. *Order*: a step starts when the nodes of the previous one have reached their lifecycle
states, and a fleet stops by role in reverse, one role after another. Launch alone would stop all at once. *Refusals*: a
process that refuses its settings ends the launch instead of being restarted forever.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueCoroutine,
    OpaqueFunction,
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
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.srv import GetState

from . import launch_arguments
from .etcd_process import EtcdProcess
from .launch_arguments import flag, fleet_options
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
        return steps(context, {each.name: _value(context, each.name) for each in launch_arguments.of(file)})

    return LaunchDescription([*_declarations(file), OpaqueFunction(function=perform)])


def include(file: str, values: Mapping[str, str], **others: str) -> LaunchDescriptionEntity:
    """Include another launch file of this package, with those ``values`` that it accepts; ``others`` override them."""
    given = {**values, **others}
    taken = {each.name: given[each.name] for each in launch_arguments.of(file) if each.name in given}
    source = PythonLaunchDescriptionSource(str(share_dir() / "launch" / f"{file}.launch.py"))
    return IncludeLaunchDescription(source, launch_arguments=taken.items())


def in_order(*steps: LaunchDescriptionEntity) -> list[LaunchDescriptionEntity]:
    """Return ``steps`` in sequence: the steps after an :func:`until_up` start when it is done."""
    for index, step in enumerate(steps):
        if isinstance(step, OpaqueCoroutine):
            rest = in_order(*steps[index + 1 :])
            if not rest:
                return list(steps[:index])  # nothing waits for it
            done = OnExecutionComplete(target_action=step, on_completion=rest)
            return [*steps[:index], RegisterEventHandler(done), step]
    return list(steps)


def until_up(role: str, values: Values) -> LaunchDescriptionEntity:
    """Wait until every lifecycle node of ``role`` is up, at most ``READY_TIMEOUT_S``."""
    options = fleet_options(values)
    names = [f"{_prefix(spec)}/{node}" for spec in _of_role(role, options) for node in spec.lifecycle_nodes]
    return OpaqueCoroutine(coroutine=_until_up, kwargs={"names": names, "wanted": READY_STATES[role]})


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


def rviz(values: Values) -> list[LaunchDescriptionEntity]:
    """Return rviz for the fleet of ``values``."""
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
        name=spec.node_name or spec.executable,
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


# --- order ------------------------------------------------------------------------------------------------------------


async def _until_up(context: LaunchContext, names: Sequence[str], wanted: Sequence[str]) -> None:
    if context.is_shutdown:
        return
    node = get_ros_node(context)
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


def at_the_end(context: LaunchContext, finish: Callable[[], object]) -> None:
    """Call ``finish`` once launch shuts down and every process of the fleet has ended."""

    async def last() -> None:
        await asyncio.gather(*(each.get_asyncio_future() for each in _fleet(context) if not each.is_over))
        await context.asyncio_loop.run_in_executor(None, finish)

    def begin(event: object, context: LaunchContext) -> None:
        context.add_completion_future(context.asyncio_loop.create_task(last()))

    context.register_event_handler(OnShutdown(on_shutdown=begin))


def _fleet(context: LaunchContext) -> list[FleetProcess]:
    """Return the processes that this launch has started, in this order."""
    if not hasattr(context.locals, "drone_orchestrator_fleet"):
        context.extend_globals({"drone_orchestrator_fleet": []})
    found: list[FleetProcess] = context.locals.drone_orchestrator_fleet
    return found


def _of_role(role: str, options: FleetOptions) -> list[ProcessSpec]:
    return [spec for spec in processes(options) if spec.role == role]


def _prefix(spec: ProcessSpec) -> str:
    return f"/{spec.namespace}" if spec.namespace else ""


def _value(context: LaunchContext, name: str) -> str:
    value: str = LaunchConfiguration(name).perform(context)
    return value


def _declarations(file: str) -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            each.name,
            default_value=each.value,
            description=each.description,
            choices=list(each.choices) or None,
        )
        for each in launch_arguments.of(file)
    ]
