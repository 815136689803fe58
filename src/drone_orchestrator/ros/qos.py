"""All QoS profiles of the project, each with its reason.

A profile is a function, not a constant: rclpy writes QoS overrides *into* the profile object, so a shared one would
leak one topic's overrides into the next. Create topics with :func:`options`, so that an operator can override each
policy with ROS 2's own parameters, e.g.
``qos_overrides./fleet/drone_states.subscription.depth``.
"""

from __future__ import annotations

from typing import Any

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from . import names

HEARTBEAT_LIVELINESS_S = 0.4
STATE_LIVELINESS_S = 2.0
TELEMETRY_LIFESPAN_S = 1.0
TELEMETRY_DEADLINE_S = 0.5
EVENTS_DEPTH = 1000
#: Drones of the largest supported fleet.
FLEET_DEPTH = 1000

_OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
    QoSPolicyKind.DEADLINE,
    QoSPolicyKind.LIFESPAN,
    QoSPolicyKind.LIVELINESS,
    QoSPolicyKind.LIVELINESS_LEASE_DURATION,
)


def heartbeat(timeout_s: float = HEARTBEAT_LIVELINESS_S) -> QoSProfile:
    """Leader heartbeat. Liveliness is manual: a process that hangs counts as dead even if its DDS threads run.

    Volatile and depth 1: an old heartbeat is worse than none. Reliable: liveliness assertions are resent until they
    arrive. After ``timeout_s`` without a heartbeat the leader counts as dead; after half of it, the deadline event
    reports a slow leader.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
        deadline=Duration(seconds=timeout_s / 2.0),
        liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
        liveliness_lease_duration=Duration(seconds=timeout_s),
    )


def state(depth: int = 1) -> QoSProfile:
    """Latest state: drones, leader, saga table, back-pressure.

    Reliable and transient-local, so that a newly elected leader receives every drone's state at once. Writers keep one
    sample. A reader of a topic with many writers needs a ``depth`` of at least their number: these topics have no keys,
    so one history holds the samples of all writers.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(seconds=STATE_LIVELINESS_S),
    )


def drone_states() -> QoSProfile:
    """State of all drones, for readers of ``drone_states``. Each drone publishes with the profile ``state``.

    The depth is that of the largest supported fleet, so that the newest sample of every drone fits.
    """
    return state(FLEET_DEPTH)


def telemetry() -> QoSProfile:
    """Pose and battery at a fixed rate, while the topic has subscribers.

    Best effort with a short lifespan: no decision depends on it, and old poses are misleading.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=5,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
        lifespan=Duration(seconds=TELEMETRY_LIFESPAN_S),
        deadline=Duration(seconds=TELEMETRY_DEADLINE_S),
    )


def odometry() -> QoSProfile:
    """Odometry of a drone flown by set-points. Only the newest sample counts. Compatible with reliable writers."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


def sensor_data() -> QoSProfile:
    """Standard messages of a drone, with the policies of ROS 2's own profile for sensor data."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=5,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


def set_points() -> QoSProfile:
    """Set-points to a drone. Reliable, as ``ros_gz_bridge`` requires. Depth 1, because an old one must not be flown."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def events() -> QoSProfile:
    """Saga events. Reliable, because each one matters. Latched and deep, so that a late reader gets recent ones."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=EVENTS_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def orders() -> QoSProfile:
    """Signed envelopes of orders. The sender must resend them (at-least-once); the depth only absorbs a burst."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=100,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def diagnostics() -> QoSProfile:
    """``/diagnostics`` as every ROS 2 tool expects it (REP 107). Volatile, because it is repeated every second."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def transforms() -> QoSProfile:
    """``/tf`` as every ROS 2 tool expects it: reliable, volatile, and as deep as in tf2's broadcaster."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=100,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


#: Every profile, with the topics that use it.
PROFILES = (
    (heartbeat, (names.LEADER_HEARTBEAT,)),
    (
        state,
        (
            names.LEADER,
            names.DRONE_STATES,
            names.SAGA_TABLE,
            names.BACK_PRESSURE,
            names.FLEET_MARKERS,
            "drones/<id>/path",
        ),
    ),
    (drone_states, (names.DRONE_STATES,)),
    (telemetry, ("drones/<id>/telemetry", "drones/<id>/pose")),
    (sensor_data, ("drones/<id>/battery", "drones/<id>/fix", "drones/<id>/odom")),
    (odometry, ("drones/<id>/odometry",)),
    (set_points, ("drones/<id>/cmd_vel",)),
    (events, (names.SAGA_EVENTS,)),
    (orders, (names.ORDERS,)),
    (diagnostics, (names.DIAGNOSTICS,)),
    (transforms, ("/tf",)),
)


def options() -> dict[str, Any]:
    """Return keyword arguments for ``create_publisher`` and ``create_subscription`` that make policies overridable.

    Actions and services have no profile here: ROS 2's reliable defaults fit, and rclpy cannot override them.
    """
    return {"qos_overriding_options": QoSOverridingOptions(policy_kinds=_OVERRIDABLE)}
