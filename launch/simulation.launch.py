"""A simulated fleet on this machine to look at: the fleet, and rviz with ``rviz:=true``.

    ros2 launch drone_orchestrator simulation.launch.py time_scale:=20.0 rviz:=true

Drones fly by the kinematic model that comes with the package; gazebo.launch.py has them fly in Gazebo.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

from drone_orchestrator.bringup.launch_arguments import flag
from drone_orchestrator.bringup.launching import Values, description, include


def generate_launch_description() -> LaunchDescription:
    return description("simulation", bring_up)


def bring_up(context: LaunchContext, values: Values) -> list[LaunchDescriptionEntity]:
    return [include(each, values) for each in ("fleet", "rviz") if each == "fleet" or flag(values, each)]
