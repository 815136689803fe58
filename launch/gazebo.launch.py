"""A fleet in Gazebo on this machine: the world, drones on their pads, ros_gz_bridge, and the fleet that flies them.

    ros2 launch drone_orchestrator gazebo.launch.py drones:=3 gui:=true

Needs ros_gz (apt install ros-$ROS_DISTRO-ros-gz). docs/gazebo.md explains the topics.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

from drone_orchestrator.bringup.gazebo_launching import gazebo_with_drones
from drone_orchestrator.bringup.launch_arguments import flag
from drone_orchestrator.bringup.launching import Values, description, include


def generate_launch_description() -> LaunchDescription:
    return description("gazebo", bring_up)


def bring_up(context: LaunchContext, values: Values) -> list[LaunchDescriptionEntity]:
    simulation = gazebo_with_drones(context, values)
    fleet = [include(each, values) for each in ("fleet", "rviz") if each == "fleet" or flag(values, each)]
    return [*simulation, *fleet]
