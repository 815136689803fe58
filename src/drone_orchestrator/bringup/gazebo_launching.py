"""Gazebo with its bridge and the drones of a fleet, as actions of ROS 2's launch; see :mod:`.gazebo`."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescriptionEntity
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from . import fleet_config, gazebo
from .gazebo import GazeboError
from .launch_arguments import flag, fleet_options
from .launching import Values, at_the_end
from .operator_files import FileRefused, read_text
from .plan import processes


def gazebo_with_drones(context: LaunchContext, values: Values) -> list[LaunchDescriptionEntity]:
    """Return the actions for the world, the bridge, and a model per drone on its pad.

    Raises :class:`~.gazebo.GazeboError` if an input is missing or unusable.
    """
    folder = tempfile.TemporaryDirectory(prefix="drone_orchestrator_gazebo_")
    at_the_end(context, folder.cleanup)
    made = Path(folder.name)
    source = Path(values["world"]) if values["world"] else gazebo.default_world()
    try:
        sdf = read_text(source)
    except FileRefused as error:
        raise GazeboError(f"world: {error}") from error
    name = gazebo.world_name(sdf, source)
    world = made / "world.sdf"
    fleet = fleet_config.load(values["fleet_config"])
    world.write_text(gazebo.world_for(fleet, sdf, source), encoding="utf-8")
    classes = _drones(values)
    models = Path(values["models"]) if values["models"] else gazebo.default_models()
    for drone_id, drone_class in classes.items():
        model = gazebo.model_for(drone_id, drone_class, models)
        (made / f"{drone_id}.sdf").write_text(model, encoding="utf-8")
    topics = made / "bridge.yaml"
    topics.write_text(yaml.safe_dump(gazebo.bridge(classes), sort_keys=False), encoding="utf-8")
    places = zip(classes, gazebo.pads(len(classes)), strict=True)
    spawned = [_spawn(drone_id, pad, made / f"{drone_id}.sdf", name) for drone_id, pad in places]
    return [_server(world, values), _bridge(topics, values), *spawned]


def _drones(values: Values) -> dict[str, str]:
    """Return the class of each drone of the fleet, by its id."""
    hosts = [spec.parameters for spec in processes(fleet_options(values)) if spec.role == "drones"]
    found = {str(i): str(host["drone_class"]) for host in hosts for i in _strings(host["drone_ids"])}
    return dict(sorted(found.items(), key=lambda each: (len(each[0]), each[0])))


def _strings(value: object) -> list[str]:
    return list(value) if isinstance(value, list) else []


def _server(world: Path, values: Values) -> LaunchDescriptionEntity:
    options = [*([] if flag(values, "paused") else ["-r"]), *([] if flag(values, "gui") else ["-s"])]
    try:
        share = get_package_share_directory("ros_gz_sim")
    except PackageNotFoundError as error:
        raise GazeboError("ros_gz_sim is not installed: apt install ros-$ROS_DISTRO-ros-gz") from error
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(share) / "launch" / "gz_sim.launch.py")),
        launch_arguments={
            "gz_args": shlex.join([*options, str(world)]),
            "on_exit_shutdown": "true",
        }.items(),
    )


def _bridge(topics: Path, values: Values) -> Node:
    return Node(
        package="ros_gz_bridge",
        executable="parameter_bridge",
        name="gazebo_bridge",
        namespace=values["namespace"],
        parameters=[{"config_file": str(topics), "use_sim_time": True}],
        ros_arguments=["--log-level", values["log_level"]],
        respawn=flag(values, "respawn"),
        output="screen",
    )


def _spawn(drone_id: str, pad: tuple[float, float], model: Path, world: str) -> Node:
    """Return a process that puts a drone on its pad once the world is there, and ends."""
    east, north = pad
    place = ["-x", f"{east:g}", "-y", f"{north:g}", "-z", "0.02"]
    return Node(
        package="ros_gz_sim",
        executable="create",
        name=f"create_{drone_id}",
        arguments=["-world", world, "-file", str(model), "-name", drone_id, *place],
        output="screen",
    )
