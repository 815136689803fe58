"""The parameters of ``orchestrator``, and the policies that they make."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...core.policies import DispatchPolicy, ElectionPolicy, RetentionPolicy
from ...ros import observability
from ...ros.params import LOG_LEVEL, Param
from ...ros.planner_plugins import PLANNER_GROUP
from ...ros.process import ConfigurationError

ABOUT = "One replica: it decides which drone does which order while it leads, and stands by otherwise."
PARAMETERS = (
    Param("region", "san_francisco", "shard that this replica works for: part of every key in the store"),
    Param("etcd_endpoints", os.environ.get("ETCD_ENDPOINTS", "127.0.0.1:2379"), "host:port, several with commas"),
    Param("fleet_config", "", "path of the fleet description; empty: the one that comes with the package"),
    Param("planner", "assignment", f"entry point of the group {PLANNER_GROUP} that pairs drones with orders"),
    Param("lease_ttl_s", 5.0, "the leader's lease: the latest time after which a dead one is replaced", "s", 2.0, 60.0),
    Param("heartbeat_period_s", 0.1, "time between two heartbeats of the leader", "s", 0.02, 5.0),
    Param(
        "heartbeat_timeout_s", 0.4, "a leader silent for so long is replaced before its lease is over", "s", 0.1, 30.0
    ),
    Param("reservation_ttl_s", 10.0, "a drone silent for so long before loading loses its order", "s", 2.0, 600.0),
    Param(
        "lost_grace_s",
        1800.0,
        "silence after loading, after which the order counts as failed",
        "s",
        1.0,
        86400.0,
        read_only=False,
    ),
    Param("max_attempts", 10, "assignments of one order before it fails", "", 1, 1000, read_only=False),
    Param(
        "retention_s",
        86400.0,
        "an order that ended so long ago leaves the store for the archive",
        "s",
        1.0,
        read_only=False,
    ),
    Param("archive_dir", "", "folder of the archive; empty: $ROS_HOME/drone_orchestrator/archive"),
    Param("store_timeout_s", 2.0, "deadline of one call to the store", "s", 0.1, 30.0),
    Param("autostart", True, "configure at start; without it a lifecycle manager does"),
    LOG_LEVEL,
    *observability.PARAMETERS,
)

#: Head start (s) that a standby without any discovered drone gives the others.
COLD_PAUSE_S = 0.5


def election_policy(values: Mapping[str, Any]) -> ElectionPolicy:
    """Return the policy of the election. Raises ``ValueError`` or :class:`ConfigurationError`, a one-line reason."""
    ttl_s = values["lease_ttl_s"]
    period_s, timeout_s = values["heartbeat_period_s"], values["heartbeat_timeout_s"]
    if timeout_s < 3.0 * period_s:
        raise ConfigurationError("heartbeat_timeout_s must be at least three times heartbeat_period_s")
    return ElectionPolicy(
        lease_ttl_s=ttl_s,
        refresh_period_s=ttl_s / 5.0,
        safety_margin_s=ttl_s / 5.0,
        heartbeat_period_s=period_s,
        cold_pause_s=COLD_PAUSE_S,
    )


def policies(values: Mapping[str, Any]) -> tuple[DispatchPolicy, RetentionPolicy]:
    """Return the policies of dispatch and retention. Raises ``ValueError`` if values contradict each other."""
    dispatch = DispatchPolicy(
        max_attempts=values["max_attempts"],
        lost_grace_s=values["lost_grace_s"],
        keep_reservation_s=values["reservation_ttl_s"] / 5.0,
    )
    return dispatch, RetentionPolicy(values["retention_s"])
