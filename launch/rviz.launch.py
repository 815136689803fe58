"""rviz with the fleet's markers. A building block.

ros2 launch drone_orchestrator rviz.launch.py
"""

from launch import LaunchDescription

from drone_orchestrator.bringup.launching import description, rviz


def generate_launch_description() -> LaunchDescription:
    return description("rviz", lambda context, values: rviz(values))
