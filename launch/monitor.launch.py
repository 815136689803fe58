"""The saga monitor: publishes the status of every order. A building block.

ros2 launch drone_orchestrator monitor.launch.py etcd_endpoints:=store:2379
"""

from launch import LaunchDescription

from drone_orchestrator.bringup.launching import description, nodes


def generate_launch_description() -> LaunchDescription:
    return description("monitor", lambda context, values: nodes("monitor", values))
