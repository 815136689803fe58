"""A region whose orchestrators run near its drones: one replica here, in the region's own namespace and store.

    ros2 launch drone_orchestrator edge.launch.py region:=mission_bay etcd_endpoints:=10.7.0.2:2379

The drones keep their leader when the link to the ground station is cut. Start it on each machine of the site, with an
etcd whose members run there. Add ``monitor:=true`` and ``gateway:=true`` where people or shops need them.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

from drone_orchestrator.bringup.launch_arguments import flag
from drone_orchestrator.bringup.launching import Values, description, in_order, include, until_up


def generate_launch_description() -> LaunchDescription:
    return description("edge", bring_up)


def bring_up(context: LaunchContext, values: Values) -> list[LaunchDescriptionEntity]:
    region = {**values, "namespace": values["namespace"] or values["region"]}
    replica = [include("orchestrators", region), until_up("orchestrator", region)]
    windows = [include(each, region) for each in ("monitor", "gateway") if flag(region, each)]
    return in_order(context, *(replica if flag(region, "orchestrator") else []), *windows)
