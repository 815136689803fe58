"""A whole fleet on this machine: etcd unless one is given, simulated drones, orchestrators, monitor, gateway.

    ros2 launch drone_orchestrator fleet.launch.py drones:=6 time_scale:=20.0

``drone_orchestrator.bringup.plan`` lists the processes of a fleet. ``fleetctl up`` starts the same ones without launch.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

from drone_orchestrator.bringup.launch_arguments import flag
from drone_orchestrator.bringup.launching import Values, description, in_order, include, own_data, own_etcd, until_up


def generate_launch_description() -> LaunchDescription:
    return description("fleet", bring_up)


def bring_up(context: LaunchContext, values: Values) -> list[LaunchDescriptionEntity]:
    fleet = own_etcd(context, own_data(context, values))
    services = [include(each, fleet) for each in ("monitor", "gateway") if flag(fleet, each)]
    return in_order(
        context,
        include("drones", fleet),
        until_up("drones", fleet),
        include("orchestrators", fleet),
        until_up("orchestrator", fleet),
        *services,
    )
