"""Leadership as a state machine: when a replica campaigns, and how long a leader may act.

The shell's duties are in :mod:`.effects`. The store decides who wins; this machine decides when to try and when to
stop. It judges its lease by the local monotonic clock alone, counted from when the last successful renewal was *sent*,
and stops a safety margin before the store could have expired it. Misjudging the lease would still be harmless, because
every write is fenced.

A leader's death shows in two ways: its lease expires, or its heartbeats stop. A standby that misses the heartbeats does
not wait for the lease: it replaces exactly the leader that it suspects. It may be wrong, because the standby itself may
be the one that is cut off. So it acts on a suspicion at most once per ``suspicion_pause_s``, and less often each time
it was wrong; otherwise the lease decides. A leader that announces its departure is replaced in the same way, but that
is never a mistake.

A standby that has not discovered any drone gives the others a head start of ``cold_pause_s``, counted from when it
noticed that there is no leader.
"""

from __future__ import annotations

import uuid
from enum import Enum

from ..policies import ElectionPolicy, backoff_s
from ..types import Entry, FleetIdentity, Instant, LeaderRecord
from ..view import epoch_in, recorded_lead
from .effects import Campaign, Effect, Heartbeat, RefreshLease, Report, Resign, StartLeading, StopLeading
from .events import CampaignDone, LeaderSilent, LeaseLost, LeaseRefreshed

#: Namespace of fleet ids, which follow from the replica that wins the first election of a region.
FLEET_NAMESPACE = uuid.UUID("0f0c5a7e-6a0a-5f0e-9b53-3d6c1f1f7c11")


class Role(str, Enum):
    """Role of this replica in the election."""

    STANDBY = "standby"  # another replica leads, or this one pauses after a failed try
    CAMPAIGNING = "campaigning"  # a try is in flight to the store
    ELECTED = "elected"  # won; waiting until its view has caught up with the election
    LEADER = "leader"
    RETIRED = "retired"  # an operator told it not to campaign


#: Role -> roles that may follow it.
TRANSITIONS: dict[Role, frozenset[Role]] = {
    Role.STANDBY: frozenset({Role.CAMPAIGNING, Role.RETIRED}),
    Role.CAMPAIGNING: frozenset({Role.STANDBY, Role.ELECTED, Role.RETIRED}),
    Role.ELECTED: frozenset({Role.LEADER, Role.STANDBY, Role.RETIRED}),
    Role.LEADER: frozenset({Role.STANDBY, Role.RETIRED}),
    Role.RETIRED: frozenset({Role.STANDBY}),
}


class Election:
    """The election of one replica. Part of the orchestrator's core; only tests use it alone."""

    def __init__(self, record: LeaderRecord, policy: ElectionPolicy) -> None:
        self.role = Role.STANDBY
        self.epoch = 0
        self.log_lead = 0  # of the store's log, for the identity of a new fleet
        self._record = record
        self._policy = policy
        self._valid_until_s = 0.0
        self._refresh_at_s = 0.0
        self._try_at_s: float | None = None
        self._failures = 0
        self._heartbeat_at_s = float("-inf")
        self._heartbeats = 0
        self._silent: LeaderSilent | None = None
        self._over: LeaderSilent | None = None  # the leader that the campaign in flight would replace
        self._won_by_suspicion_at_s: float | None = None
        self._may_suspect_at_s = float("-inf")
        self._wrong_suspicions = 0
        self._wanted_since_s: float | None = None  # when a standby that lets others try noticed that there is no leader
        self._head_start_s = 0.0

    @property
    def record(self) -> LeaderRecord:
        return self._record

    def next_deadline(self) -> float | None:
        """Return when ``tick`` is due next, by the monotonic clock."""
        if self.role in (Role.ELECTED, Role.LEADER):
            deadlines = [self._refresh_at_s, self._valid_until_s]
            if self.role is Role.LEADER and self._policy.heartbeat_period_s is not None:
                deadlines.append(self._heartbeat_at_s)
            return min(deadlines)
        if self.role is not Role.STANDBY:
            return None
        if self._wanted_since_s is not None:
            due_s = self._wanted_since_s + self._head_start_s
            return due_s if due_s < float("inf") else None
        if self._silent:
            return self._may_suspect_at_s if self._try_at_s is None else min(self._try_at_s, self._may_suspect_at_s)
        return self._try_at_s

    def tick(
        self,
        leader: Entry | None,
        now: Instant,
        *,
        fleet: Entry | None = None,
        warm: bool = True,
        head_start_s: float = 0.0,
    ) -> list[Effect]:
        """Renew the lease, step down or campaign, if due.

        ``leader`` and ``fleet`` are these keys in the view. ``warm``: this replica has discovered drones, so it could
        take over at once. ``head_start_s``: time (s) that others get to try first in any case.
        """
        if self.role in (Role.ELECTED, Role.LEADER):
            return self._serve(leader, now)
        if self.role is not Role.STANDBY:
            return []
        self._head_start_s = max(head_start_s, 0.0 if warm else self._policy.cold_pause_s)
        if leader is None or leader.value is None:
            self._silent = None
            due = self._try_at_s is None or now.mono_s >= self._try_at_s
            return self._campaign(None, fleet, now) if due and self._has_let_others_try(now) else []
        self._try_at_s, self._failures = None, 0
        silent, self._silent = self._silent, None
        if silent is None or silent.epoch != epoch_in(leader):
            self._wanted_since_s = None
            return []
        self._silent = silent
        due = silent.left or now.mono_s >= self._may_suspect_at_s
        return self._campaign(silent, fleet, now) if due and self._has_let_others_try(now) else []

    def _has_let_others_try(self, now: Instant) -> bool:
        if self._wanted_since_s is None:
            self._wanted_since_s = now.mono_s
        return now.mono_s >= self._wanted_since_s + self._head_start_s

    def leader_silent(self, event: LeaderSilent) -> None:
        """Record that the detector misses the heartbeats of an epoch; ``tick`` decides what follows."""
        self._silent = event

    def leader_alive(self, epoch: int) -> None:
        """Record that the detector hears that epoch, for the first time or again."""
        if self._silent is not None and self._silent.epoch == epoch:
            self._silent = None

    def _campaign(self, over: LeaderSilent | None, fleet: Entry | None, now: Instant) -> list[Effect]:
        known = fleet.value if fleet is not None and fleet.value is not None else self._new_fleet(now)
        if not isinstance(known, FleetIdentity):
            # Unreadable, which is reported: without the generation no epoch can be told.
            self._wanted_since_s = self._silent = None
            self._try_at_s = now.mono_s + self._policy.retry_cap_s
            return []
        self._become(Role.CAMPAIGNING)
        self._try_at_s = self._silent = self._wanted_since_s = None
        self._over = over
        record = LeaderRecord(self._record.holder, self._record.instance_id, now.wall_s, known.generation)
        at = fleet.mod_revision if fleet is not None and fleet.value is not None else 0
        campaign = Campaign(record, self._policy.lease_ttl_s, over.epoch if over else 0, known, at)
        if over is None:
            return [campaign]
        if over.left:
            return [Report("info", f"the leader of epoch {over.epoch} has left: taking over"), campaign]
        return [Report("warning", f"the leader of epoch {over.epoch} is silent: taking over"), campaign]

    def _new_fleet(self, now: Instant) -> FleetIdentity:
        """Return the identity of a region that never had a leader."""
        id_ = uuid.uuid5(FLEET_NAMESPACE, f"{self._record.instance_id} {now.wall_s!r}")
        return FleetIdentity(str(id_), log_lead=recorded_lead(self.log_lead))

    def campaign_done(self, event: CampaignDone, now: Instant) -> list[Effect]:
        if self.role is not Role.CAMPAIGNING:
            # Retired while the try was in flight: resign if it won.
            return [Resign(event.epoch)] if event.epoch else []
        over, self._over = self._over, None
        if not event.epoch:
            self._become(Role.STANDBY)
            if over is not None:
                return []  # another replica was faster, or the leader had just left: the view will show it
            self._failures += 1
            self._try_at_s = now.mono_s + backoff_s(
                self._failures,
                base_s=self._policy.retry_base_s,
                cap_s=self._policy.retry_cap_s,
                seed=self._record.instance_id,
            )
            return [Report("warning", f"campaign failed: {event.detail}")] if event.detail else []
        self._failures = 0
        self.epoch = event.epoch
        suspected = over is not None and not over.left
        self._won_by_suspicion_at_s = now.mono_s if suspected else None
        if suspected:
            self._may_suspect_at_s = now.mono_s + self._suspicion_pause_s()
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
        """Stop leading if the lease could have expired. Call this before deciding anything."""
        if self.role not in (Role.ELECTED, Role.LEADER) or now.mono_s < self._valid_until_s:
            return []
        return self.step_down("the lease could not be refreshed in time", now)

    def step_down(self, reason: str, now: Instant) -> list[Effect]:
        """Stop leading. Campaign again when the key is free."""
        self._judge_suspicion(now)
        effects = self._leave(reason)
        self._become(Role.STANDBY)
        self._try_at_s = now.mono_s + self._policy.retry_base_s
        return effects

    def _suspicion_pause_s(self) -> float:
        doubled_s = self._policy.suspicion_pause_s * 2.0 ** min(self._wrong_suspicions, 30)
        return min(self._policy.suspicion_cap_s, doubled_s)

    def _judge_suspicion(self, now: Instant) -> None:
        """Count a takeover on suspicion as wrong if this replica is soon replaced itself: then it is the one that is
        cut off."""
        won_at_s, self._won_by_suspicion_at_s = self._won_by_suspicion_at_s, None
        if won_at_s is None:
            return
        if now.mono_s - won_at_s < self._policy.suspicion_pause_s:
            self._wrong_suspicions += 1
            self._may_suspect_at_s = now.mono_s + self._suspicion_pause_s()
        else:
            self._wrong_suspicions = 0

    def retire(self) -> list[Effect]:
        """Hand over on purpose: free the key at once, and do not campaign until :meth:`return_to_service`."""
        if self.role is Role.RETIRED:
            return []
        led = self.role in (Role.ELECTED, Role.LEADER)
        effects = self._leave("resigned on an operator's word") if led else []
        self._become(Role.RETIRED)
        return effects

    def return_to_service(self) -> None:
        if self.role is Role.RETIRED:
            self._become(Role.STANDBY)
            self._try_at_s = self._wanted_since_s = None

    def _serve(self, leader: Entry | None, now: Instant) -> list[Effect]:
        if epoch_in(leader) > self.epoch:
            return self.step_down(f"the leader key has moved on to epoch {epoch_in(leader)}", now)
        effects: list[Effect] = []
        if self.role is Role.ELECTED and epoch_in(leader) == self.epoch:
            # Every write of a predecessor has a lower revision than this key, so the view has them all by now.
            self._become(Role.LEADER)
            effects.append(StartLeading(self.epoch))
        period_s = self._policy.heartbeat_period_s
        if self.role is Role.LEADER and period_s is not None and now.mono_s >= self._heartbeat_at_s:
            self._heartbeat_at_s = now.mono_s + period_s
            self._heartbeats += 1
            effects.append(Heartbeat(self.epoch, self._heartbeats))
        if now.mono_s >= self._refresh_at_s:
            self._refresh_at_s = now.mono_s + self._policy.refresh_period_s
            effects.append(RefreshLease(self.epoch))
        return effects

    def _leave(self, reason: str) -> list[Effect]:
        epoch, was_leader = self.epoch, self.role is Role.LEADER
        self.epoch = 0
        leave: list[Effect] = [StopLeading(epoch, reason)] if was_leader else []
        return [*leave, Resign(epoch)]

    def _extend(self, sent_mono_s: float) -> None:
        valid = sent_mono_s + self._policy.lease_ttl_s - self._policy.safety_margin_s
        self._valid_until_s = max(self._valid_until_s, valid)
        self._refresh_at_s = sent_mono_s + self._policy.refresh_period_s

    def _become(self, role: Role) -> None:
        if role not in TRANSITIONS[self.role]:
            raise AssertionError(f"illegal change of role: {self.role.value} to {role.value}")
        self.role = role
