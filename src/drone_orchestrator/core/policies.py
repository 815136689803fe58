"""All settings of the core, validated at construction.

A policy that contradicts itself raises ``ValueError`` when it is created. Durations are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

#: Drones, and the leader, publish their state at least this often by default (s).
STATE_PERIOD_S = 1.0
#: A drone is silent if it was not heard for this long (s): three of its messages are missing.
#:
#: This is the only definition: the leader gives a silent drone no orders and stops renewing its reservation; `/fleet`
#: and the dashboard, `fleetctl drones`, the doctor, diagnostics and rviz show it as silent.
#: ``DispatchPolicy.drone_silent_s`` may override it for the leader alone, as the simulation does for its slower drones;
#: no node has a parameter for it.
DRONE_SILENT_S = 3 * STATE_PERIOD_S
#: Displays show the leader as silent if its state was not heard for this long (s). The election does not use this
#: value: it has heartbeats and the lease.
LEADER_SILENT_S = 3 * STATE_PERIOD_S


def backoff_s(attempt: int, *, base_s: float, cap_s: float, seed: str) -> float:
    """Return the delay (s) before try ``attempt`` (from 1): half fixed, half random by ``seed``, at most ``cap_s``.

    Exponential back-off with jitter as a pure function: the same seed and attempt give the same delay.
    """
    full = min(cap_s, base_s * 2.0 ** min(attempt - 1, 30))
    spread = crc32(f"{seed}/{attempt}".encode()) / 0xFFFFFFFF
    return full * (0.5 + 0.5 * spread)


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Settings of a drone's circuit breaker.

    ``failures`` consecutive failures open it, for ``open_s`` the first time and longer each further time, up to
    ``open_cap_s``.
    """

    failures: int = 3
    open_s: float = 30.0
    open_cap_s: float = 600.0

    def __post_init__(self) -> None:
        if self.failures < 1 or not 0.0 < self.open_s <= self.open_cap_s:
            raise ValueError("breakers: failures must be at least 1, and open_s greater than 0 and at most open_cap_s")


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """Bounds and periods of the leader's decisions.

    ``plan_orders``, ``plan_drones`` and ``accept_orders`` bound what one planning round considers and accepts, per
    lane. A lane may borrow without limit if none of its own drones was heard for ``desertion_s``. At most
    ``max_excused`` attempts at an order that failed through the system's fault do not count as ``max_attempts``.
    """

    max_attempts: int = 10
    max_excused: int = 100
    retry_base_s: float = 0.2
    retry_cap_s: float = 10.0
    goal_retry_s: float = 1.0
    max_goal_tries: int = 5
    recall_retry_s: float = 1.0
    recall_cap_s: float = 30.0
    max_recall_tries: int = 20
    commit_retry_s: float = 0.1
    commit_cap_s: float = 2.0
    drone_silent_s: float = DRONE_SILENT_S
    keep_reservation_s: float = 1.0
    lost_grace_s: float = 1800.0
    desertion_s: float = 10.0
    replan_period_s: float = 1.0
    plan_orders: int = 256
    plan_drones: int = 512
    accept_orders: int = 64
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)

    def __post_init__(self) -> None:
        tries = (self.max_attempts, self.max_excused, self.max_goal_tries, self.max_recall_tries)
        if min(*tries, self.plan_orders, self.plan_drones, self.accept_orders) < 1:
            raise ValueError(
                "max_attempts, max_excused, max_*_tries, plan_orders, plan_drones, accept_orders must be at least 1"
            )
        retries = (self.retry_base_s, self.goal_retry_s, self.recall_retry_s, self.commit_retry_s)
        if min(*retries, self.keep_reservation_s) <= 0.0:
            raise ValueError("all periods must be greater than 0")
        caps = ((self.retry_base_s, self.retry_cap_s), (self.recall_retry_s, self.recall_cap_s))
        if any(cap < base for base, cap in (*caps, (self.commit_retry_s, self.commit_cap_s))):
            raise ValueError("retry_cap_s, recall_cap_s and commit_cap_s must not be below the delays that they cap")


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Settings of the archive. ``retention_s``: time that an order stays in the store after its end, unless the store
    fills up; then it stays for ``least_retention_s``."""

    retention_s: float = 24 * 3600.0
    least_retention_s: float = 600.0
    max_under_way: int = 50
    retry_base_s: float = 1.0
    retry_cap_s: float = 60.0

    def __post_init__(self) -> None:
        if min(self.retention_s, self.least_retention_s) <= 0.0 or self.max_under_way < 1:
            raise ValueError("retention_s and least_retention_s must be positive, and max_under_way at least 1")
        if not 0.0 < self.retry_base_s <= self.retry_cap_s:
            raise ValueError("retry_base_s must be positive, and retry_cap_s not below it")


@dataclass(frozen=True, slots=True)
class ElectionPolicy:
    """Timing of the election. The checked relations are those that make the lease safe."""

    lease_ttl_s: float = 5.0
    refresh_period_s: float = 1.0
    safety_margin_s: float = 1.0
    retry_base_s: float = 0.2
    retry_cap_s: float = 3.0
    heartbeat_period_s: float | None = None  # None: no heartbeats; a death shows only when the lease expires
    suspicion_pause_s: float = 30.0
    suspicion_cap_s: float = 600.0
    cold_pause_s: float = 0.0

    def __post_init__(self) -> None:
        if self.lease_ttl_s < 2.0:
            raise ValueError("lease_ttl_s must be at least 2 s: etcd grants no shorter lease")
        if not 0.0 < self.safety_margin_s < self.lease_ttl_s / 2:
            raise ValueError("safety_margin_s must be positive and less than half of lease_ttl_s")
        if not 0.0 < self.refresh_period_s <= (self.lease_ttl_s - self.safety_margin_s) / 3:
            raise ValueError("refresh_period_s must leave room for three refreshes before the leader steps down")
        if self.heartbeat_period_s is not None and not 0.0 < self.heartbeat_period_s < self.lease_ttl_s:
            raise ValueError("heartbeat_period_s must be positive and less than lease_ttl_s")
        if not 0.0 < self.suspicion_pause_s <= self.suspicion_cap_s:
            raise ValueError("suspicion_pause_s must be positive, and suspicion_cap_s not below it")
        if not 0.0 <= self.cold_pause_s < self.lease_ttl_s:
            raise ValueError("cold_pause_s must not be negative, and less than lease_ttl_s")


@dataclass(frozen=True, slots=True)
class DronePolicy:
    """Settings of a drone's machine. ``clearance_retry_s``: pause before it asks for clearance again."""

    clearance_retry_s: float = 0.5

    def __post_init__(self) -> None:
        if not self.clearance_retry_s > 0:
            raise ValueError("clearance_retry_s must be greater than 0")
