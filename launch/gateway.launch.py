"""The order gateway: accepts orders over HTTP and by service. A building block.

ros2 launch drone_orchestrator gateway.launch.py http_host:=0.0.0.0 etcd_endpoints:=store:2379
"""

from launch import LaunchDescription

from drone_orchestrator.bringup.launching import description, nodes


def generate_launch_description() -> LaunchDescription:
    return description("gateway", lambda context, values: nodes("gateway", values))
