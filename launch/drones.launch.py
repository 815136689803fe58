"""Simulated drones and their executors. A building block; for your own drone use drone.launch.py.

ros2 launch drone_orchestrator drones.launch.py drones:=6 time_scale:=20.0
"""

from launch import LaunchDescription

from drone_orchestrator.bringup.launching import description, nodes


def generate_launch_description() -> LaunchDescription:
    return description("drones", lambda context, values: nodes("drones", values))
