"""One drone's executor, to be started on the drone.

    ros2 launch drone_orchestrator drone.launch.py drone_id:=drone_7 drone_class:=heavy flight:=my_autopilot

It needs neither the store nor an orchestrator's address: the leader discovers it over DDS.
"""

from launch import LaunchDescription

from drone_orchestrator.bringup.launching import description, nodes


def generate_launch_description() -> LaunchDescription:
    return description("drone", lambda context, values: nodes("drones", values))
