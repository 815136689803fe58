"""The parameters of ``orchestrator``, and the policies built from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.policies import DispatchPolicy, ElectionPolicy, RetentionPolicy
from ...ros import observability
from ...ros.common_parameters import ETCD_ENDPOINTS, FLEET_CONFIG, PLANNER, REGION, STORE_QUOTA_MIB, STORE_TIMEOUT_S
from ...ros.params import LOG_LEVEL, Param
from ...ros.process import ConfigurationError

ABOUT = "One replica: assigns orders to drones while it leads, and stands by otherwise."
PARAMETERS = (
    REGION,
    ETCD_ENDPOINTS,
    FLEET_CONFIG,
    PLANNER,
    Param(
        "lease_ttl_s",
        5.0,
        "Time to live of the leader's lease. A dead leader is replaced at the latest when it expires.",
        unit="s",
        lo=2.0,
        hi=60.0,
    ),
    Param("heartbeat_period_s", 0.1, "Period of the leader's heartbeat.", unit="s", lo=0.02, hi=5.0),
    Param(
        "heartbeat_timeout_s",
        0.4,
        "Replace a leader that was not heard for this long, before its lease expires.",
        unit="s",
        lo=0.1,
        hi=30.0,
    ),
    Param(
        "reservation_ttl_s",
        10.0,
        "Reassign the order of a drone that is silent for this long before loading.",
        unit="s",
        lo=2.0,
        hi=600.0,
    ),
    Param(
        "lost_grace_s",
        1800.0,
        "Fail the order of a drone that is silent for this long after loading.",
        unit="s",
        lo=1.0,
        hi=86400.0,
        read_only=False,
    ),
    Param(
        "max_attempts",
        10,
        "Failed assignments of one order before it fails, without those that were the system's fault.",
        lo=1,
        hi=1000,
        read_only=False,
    ),
    Param(
        "retention_s",
        86400.0,
        "Age at which finished orders are archived and removed from etcd.",
        unit="s",
        lo=1.0,
        read_only=False,
    ),
    Param("archive_dir", "", "Folder of the archive. Empty: $ROS_HOME/drone_orchestrator/archive."),
    STORE_TIMEOUT_S,
    STORE_QUOTA_MIB,
    Param("autostart", True, "Configure and activate at start. Otherwise a lifecycle manager must do both."),
    LOG_LEVEL,
    *observability.PARAMETERS,
)

#: Head start (s) that a standby without any discovered drone gives the others.
COLD_PAUSE_S = 0.5


def election_policy(values: Mapping[str, Any]) -> ElectionPolicy:
    """Return the election policy. Raises ``ValueError`` or :class:`ConfigurationError` with a one-line reason."""
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
    """Return the dispatch and retention policies. Raises ``ValueError`` if values contradict each other."""
    dispatch = DispatchPolicy(
        max_attempts=values["max_attempts"],
        lost_grace_s=values["lost_grace_s"],
        keep_reservation_s=values["reservation_ttl_s"] / 5.0,
    )
    return dispatch, RetentionPolicy(values["retention_s"])
