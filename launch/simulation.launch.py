"""A simulated fleet on this machine, with rviz if ``rviz:=true``.

    ros2 launch drone_orchestrator simulation.launch.py time_scale:=20.0 rviz:=true

The packaged kinematic model flies the drones; with gazebo.launch.py they fly in Gazebo.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

from drone_orchestrator.bringup.launch_arguments import flag
from drone_orchestrator.bringup.launching import Values, description, include


def generate_launch_description() -> LaunchDescription:
    return description("simulation", bring_up)


def bring_up(context: LaunchContext, values: Values) -> list[LaunchDescriptionEntity]:
    return [include(each, values) for each in ("fleet", "rviz") if each == "fleet" or flag(values, each)]
