"""A whole fleet on this machine: orchestrators, simulated drones, monitor, gateway, and etcd unless one is given.

    ros2 launch drone_orchestrator fleet.launch.py drones:=6 time_scale:=20.0

What a fleet consists of is said in ``drone_orchestrator.bringup.plan``; ``fleetctl up`` runs the same without launch.
"""

import tempfile

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnShutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from drone_orchestrator.bringup import fleet_config
from drone_orchestrator.bringup.plan import FleetOptions, ProcessSpec, processes
from drone_orchestrator.store.process import EtcdProcess

ARGUMENTS = (
    DeclareLaunchArgument("drones", default_value="6", description="Number of simulated drones."),
    DeclareLaunchArgument("replicas", default_value="3", description="Number of orchestrator replicas."),
    DeclareLaunchArgument("time_scale", default_value="1.0", description="Simulated flight so many times faster."),
    DeclareLaunchArgument("namespace", default_value="", description="ROS namespace of the fleet."),
    DeclareLaunchArgument("fleet_config", default_value="", description="Fleet description; empty: the packaged one."),
    DeclareLaunchArgument(
        "data_dir", default_value="", description="Folder of the drones' journals; empty: a new temporary one."
    ),
    DeclareLaunchArgument(
        "etcd_endpoints",
        default_value=EnvironmentVariable("ETCD_ENDPOINTS", default_value=""),
        description="host:port of the store, several with commas; empty: an etcd of the fleet's own is started.",
    ),
    DeclareLaunchArgument("http_host", default_value="127.0.0.1", description="Address the gateway listens on."),
    DeclareLaunchArgument("http_port", default_value="8080", description="Port the gateway listens on."),
    DeclareLaunchArgument("lease_ttl_s", default_value="5.0", description="Lease of the leader [s]."),
    DeclareLaunchArgument("reservation_ttl_s", default_value="10.0", description="Lease of a reservation [s]."),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn or error."),
    DeclareLaunchArgument("respawn", default_value="true", description="Start again what dies unasked."),
)
#: Processes that consist of one lifecycle node named after them.
LIFECYCLE_ROLES = ("orchestrator",)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_bring_up)])


def _bring_up(context: LaunchContext) -> list:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    actions: list = []
    endpoints = value("etcd_endpoints")
    if not endpoints:
        etcd = EtcdProcess()
        endpoints = ",".join(etcd.endpoints)
        actions.append(LogInfo(msg=f"etcd of this fleet: {endpoints}"))
        actions.append(RegisterEventHandler(OnShutdown(on_shutdown=lambda event, ctx: etcd.stop())))
    options = FleetOptions(
        drones=int(value("drones")),
        replicas=int(value("replicas")),
        region=fleet_config.load(value("fleet_config")).region,
        etcd_endpoints=endpoints,
        fleet_config=value("fleet_config"),
        data_dir=value("data_dir") or _temporary_folder(actions),
        namespace=value("namespace"),
        http_host=value("http_host"),
        http_port=int(value("http_port")),
        time_scale=float(value("time_scale")),
        lease_ttl_s=float(value("lease_ttl_s")),
        reservation_ttl_s=float(value("reservation_ttl_s")),
        log_level=value("log_level"),
    )
    respawn = value("respawn").lower() == "true"
    return actions + [_node(spec, respawn) for spec in processes(options)]


def _temporary_folder(actions: list) -> str:
    """A folder for the journals of simulated drones, removed when the fleet is shut down."""
    folder = tempfile.TemporaryDirectory(prefix="drone_orchestrator_")
    actions.append(RegisterEventHandler(OnShutdown(on_shutdown=lambda event, ctx: folder.cleanup())))
    return folder.name


def _node(spec: ProcessSpec, respawn: bool) -> Node:
    kind = LifecycleNode if spec.role in LIFECYCLE_ROLES else Node
    return kind(
        package="drone_orchestrator",
        executable=spec.executable,
        name=spec.node_name,
        namespace=spec.namespace,
        parameters=[spec.parameters],
        ros_arguments=["--log-level", spec.log_level],
        respawn=respawn,
        respawn_delay=spec.respawn_delay_s,
        output="screen",
    )
