"""Orchestrators: replicas, one of which leads. A building block.

ros2 launch drone_orchestrator orchestrators.launch.py replicas:=3 etcd_endpoints:=store:2379
"""

from launch import LaunchDescription

from drone_orchestrator.bringup.launching import description, nodes


def generate_launch_description() -> LaunchDescription:
    return description("orchestrators", lambda context, values: nodes("orchestrator", values))
