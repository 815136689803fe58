"""Feeds the gateway's live drone states from DDS."""

from __future__ import annotations

import math
from functools import partial

from drone_interfaces.msg import DroneState
from rclpy.node import Node

from ...core.types import GeoPoint
from ...gateway.live_drones import LiveDrone, LiveDrones
from ...ros import messages, names, qos
from ...ros.qos_watch import QosWatch
from ...telemetry.strangers import Strangers


def listen_to_drones(node: Node, drones: LiveDrones, watch: QosWatch, strangers: Strangers) -> None:
    """Subscribe to drone states and record each in ``drones``, starting with the latest one of each drone.

    Drones that ``strangers`` ignores are left out.
    """
    profile = qos.drone_states()
    node.create_subscription(
        DroneState,
        names.DRONE_STATES,
        partial(_hear, drones, strangers),
        profile,
        **watch.subscribing(names.DRONE_STATES, profile),
    )


def _hear(drones: LiveDrones, strangers: Strangers, msg: DroneState) -> None:
    if strangers.ignores("drone", msg.drone_id, msg.fleet_id, topic=names.DRONE_STATES):
        return
    drone = live_from_msg(msg)
    if drone is not None:
        drones.hear(drone)


def live_from_msg(msg: DroneState) -> LiveDrone | None:
    """Convert a drone's state for display; ``None`` if it names no drone.

    Invalid fields are left out instead of rejecting the message: a drone that cannot get orders must still be visible.
    """
    if not msg.drone_id:
        return None
    position: GeoPoint | None = None
    try:
        position = messages.position_from_msg(msg.position)
    except messages.InvalidMessage:
        pass
    return LiveDrone(
        drone_id=msg.drone_id,
        drone_class=msg.drone_class,
        phase=messages.phase_from_msg(msg.phase),
        position=position,
        altitude_m=_finite(msg.position.altitude_m) if position else None,
        energy_wh=_finite(msg.energy_wh),
        package_on_board=msg.package_on_board,
        message_id=msg.message_id or None,
        grounded_reason=msg.grounded_reason,
    )


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
