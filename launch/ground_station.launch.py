"""A ground station: one orchestrator of the fleet, monitor, gateway, and rviz with ``rviz:=true``.

    ETCD_ENDPOINTS=store-1:2379,store-2:2379,store-3:2379 ros2 launch drone_orchestrator ground_station.launch.py

Start it on each machine that may lead. They share the store.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

from drone_orchestrator.bringup.launch_arguments import flag
from drone_orchestrator.bringup.launching import Values, description, in_order, include, until_up


def generate_launch_description() -> LaunchDescription:
    return description("ground_station", bring_up)


def bring_up(context: LaunchContext, values: Values) -> list[LaunchDescriptionEntity]:
    replica = [include("orchestrators", values), until_up("orchestrator", values)]
    windows = [include(each, values) for each in ("monitor", "gateway", "rviz") if flag(values, each)]
    return in_order(context, *(replica if flag(values, "orchestrator") else []), *windows)
