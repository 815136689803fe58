"""Leadership as a state machine: who campaigns when, and until when a leader may act.

The shell's duties are in :mod:`.effects`. The store decides who wins; this machine decides when to try and when to
stop. It trusts its lease by the local monotonic clock alone, counted from when the last successful refresh was *sent*,
and stops a safety margin before the store could have expired it. Being wrong about that would still be harmless: every
write is fenced.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from . import backoff
from .effects import Campaign, Effect, LeaveOffice, RefreshLease, Report, Resign, TakeOffice
from .events import CampaignDone, LeaseLost, LeaseRefreshed
from .types import Entry, Instant, LeaderRecord


class Role(str, Enum):
    """What this replica is to the election."""

    STANDBY = "standby"  # somebody else leads, or the last try failed and a pause runs
    CAMPAIGNING = "campaigning"  # a try is on its way to the store
    ELECTED = "elected"  # won; waits until its view has caught up with the election
    LEADER = "leader"
    RETIRED = "retired"  # an operator told it not to campaign


#: Which role may follow which.
TRANSITIONS: dict[Role, frozenset[Role]] = {
    Role.STANDBY: frozenset({Role.CAMPAIGNING, Role.RETIRED}),
    Role.CAMPAIGNING: frozenset({Role.STANDBY, Role.ELECTED, Role.RETIRED}),
    Role.ELECTED: frozenset({Role.LEADER, Role.STANDBY, Role.RETIRED}),
    Role.LEADER: frozenset({Role.STANDBY, Role.RETIRED}),
    Role.RETIRED: frozenset({Role.STANDBY}),
}


@dataclass(frozen=True, slots=True)
class ElectionPolicy:
    """Timing, in s. Raises ``ValueError`` where the relations do not hold that make it safe."""

    lease_ttl_s: float = 5.0
    refresh_period_s: float = 1.0
    safety_margin_s: float = 1.0
    retry_base_s: float = 0.2
    retry_cap_s: float = 3.0

    def __post_init__(self) -> None:
        if self.lease_ttl_s < 2.0:
            raise ValueError("lease_ttl_s must be at least 2 s: etcd grants no shorter lease")
        if not 0.0 < self.safety_margin_s < self.lease_ttl_s / 2:
            raise ValueError("safety_margin_s must be positive and less than half of lease_ttl_s")
        if not 0.0 < self.refresh_period_s <= (self.lease_ttl_s - self.safety_margin_s) / 3:
            raise ValueError("refresh_period_s must leave room for three refreshes before the leader steps down")


class Election:
    """The election's part of the orchestrator's core; not used by itself outside tests."""

    def __init__(self, record: LeaderRecord, policy: ElectionPolicy) -> None:
        self.role = Role.STANDBY
        self.epoch = 0
        self._record = record
        self._policy = policy
        self._valid_until_s = 0.0
        self._refresh_at_s = 0.0
        self._try_at_s: float | None = None
        self._failures = 0

    @property
    def record(self) -> LeaderRecord:
        return self._record

    def next_deadline(self) -> float | None:
        """When ``tick`` wants to be called, by the monotonic clock."""
        if self.role in (Role.ELECTED, Role.LEADER):
            return min(self._refresh_at_s, self._valid_until_s)
        if self.role is Role.STANDBY:
            return self._try_at_s
        return None

    def tick(self, leader: Entry | None, now: Instant) -> list[Effect]:
        """Refresh, step down or campaign, whatever is due; ``leader`` is the leader key as the view has it."""
        if self.role in (Role.ELECTED, Role.LEADER):
            return self._serve(leader, now)
        if self.role is Role.STANDBY and leader is not None and leader.value is not None:
            self._try_at_s = None
        elif self.role is Role.STANDBY and (self._try_at_s is None or now.mono_s >= self._try_at_s):
            self._become(Role.CAMPAIGNING)
            self._try_at_s = None
            record = LeaderRecord(self._record.holder, self._record.instance_id, now.wall_s)
            return [Campaign(record, self._policy.lease_ttl_s)]
        return []

    def campaign_done(self, event: CampaignDone, now: Instant) -> list[Effect]:
        if self.role is not Role.CAMPAIGNING:
            # Retired while the try was on its way: give back what it may have won.
            return [Resign(event.epoch)] if event.epoch else []
        if not event.epoch:
            self._become(Role.STANDBY)
            self._failures += 1
            self._try_at_s = now.mono_s + backoff.delay_s(
                self._failures,
                base_s=self._policy.retry_base_s,
                cap_s=self._policy.retry_cap_s,
                seed=self._record.instance_id,
            )
            return [Report("warning", f"campaign failed: {event.detail}")] if event.detail else []
        self._failures = 0
        self.epoch = event.epoch
        self._become(Role.ELECTED)
        self._extend(event.sent_mono_s)
        return []

    def lease_refreshed(self, event: LeaseRefreshed) -> None:
        if event.epoch == self.epoch and self.role in (Role.ELECTED, Role.LEADER):
            self._extend(event.sent_mono_s)

    def lease_lost(self, event: LeaseLost, now: Instant) -> list[Effect]:
        if event.epoch != self.epoch or self.role not in (Role.ELECTED, Role.LEADER):
            return []
        return self.step_down("the store no longer knows the lease", now)

    def expire(self, now: Instant) -> list[Effect]:
        """Stop leading if the lease could have run out; to be asked before anything is decided."""
        if self.role not in (Role.ELECTED, Role.LEADER) or now.mono_s < self._valid_until_s:
            return []
        return self.step_down("the lease could not be refreshed in time", now)

    def step_down(self, reason: str, now: Instant) -> list[Effect]:
        """Stop leading; campaign again later, when the key is free."""
        effects = self._leave(reason)
        self._become(Role.STANDBY)
        self._try_at_s = now.mono_s + self._policy.retry_base_s
        return effects

    def retire(self) -> list[Effect]:
        """Hand over on purpose: free the key at once, and stay out until :meth:`return_to_service`."""
        if self.role is Role.RETIRED:
            return []
        led = self.role in (Role.ELECTED, Role.LEADER)
        effects = self._leave("resigned on an operator's word") if led else []
        self._become(Role.RETIRED)
        return effects

    def return_to_service(self) -> None:
        if self.role is Role.RETIRED:
            self._become(Role.STANDBY)
            self._try_at_s = None

    def _serve(self, leader: Entry | None, now: Instant) -> list[Effect]:
        if leader is not None and leader.mod_revision > self.epoch:
            return self.step_down(f"the leader key has moved on to revision {leader.mod_revision}", now)
        effects: list[Effect] = []
        if self.role is Role.ELECTED and leader is not None and leader.mod_revision == self.epoch:
            # Everything that predecessors wrote has a lower revision than this key: the view holds all of it now.
            self._become(Role.LEADER)
            effects.append(TakeOffice(self.epoch))
        if now.mono_s >= self._refresh_at_s:
            self._refresh_at_s = now.mono_s + self._policy.refresh_period_s
            effects.append(RefreshLease(self.epoch))
        return effects

    def _leave(self, reason: str) -> list[Effect]:
        epoch, was_leader = self.epoch, self.role is Role.LEADER
        self.epoch = 0
        leave: list[Effect] = [LeaveOffice(epoch, reason)] if was_leader else []
        return [*leave, Resign(epoch)]

    def _extend(self, sent_mono_s: float) -> None:
        valid = sent_mono_s + self._policy.lease_ttl_s - self._policy.safety_margin_s
        self._valid_until_s = max(self._valid_until_s, valid)
        self._refresh_at_s = sent_mono_s + self._policy.refresh_period_s

    def _become(self, role: Role) -> None:
        if role not in TRANSITIONS[self.role]:
            raise AssertionError(f"illegal change of role: {self.role.value} to {role.value}")
        self.role = role
