"""One orchestrator replica as a state machine: ``step(events, now) -> effects``, ``next_deadline()``.

It connects parts that do not know each other's internals: the view (the contents of the store), the election (whether
this replica leads), the dispatcher (moves orders) and the retention (retires finished ones).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..changes import Fate, Retirement, Transition, WriteNote
from ..planner import Planner
from ..policies import DispatchPolicy, ElectionPolicy, RetentionPolicy
from ..types import DroneReport, Entry, FleetIdentity, FleetSpec, Instant, Kind, LeaderRecord
from ..view import FleetView, held_in, split_epoch
from . import configuration as configurations
from .configuration import Agreement, Configuration
from .dispatch import Dispatcher
from .effects import Effect, FollowAgain, HoldFleet, Report, StartLeading
from .election import Election, Role
from .events import (
    Archived,
    CampaignDone,
    ClearanceRequested,
    ClockHeard,
    CommitDone,
    DroneHeard,
    Event,
    GoalAnswered,
    GoalUnreachable,
    LeaderAlive,
    LeaderSilent,
    LeaseLost,
    LeaseRefreshed,
    OperatorCampaign,
    OperatorResign,
    PoliciesChanged,
    SpaceSeen,
    StoreChanged,
    Tick,
    ViewLoaded,
)
from .retention import Retention
from .usefulness import JUDGE_PERIOD_S, Ailment, LeaderSenses, Usefulness

#: Interval (s) between attempts to record a hold.
HOLD_RETRY_S = 1.0


@dataclass(slots=True)
class Breach:
    """Evidence that the store is not the one that held ``fleet``. ``hold_at_s``: when to record it next."""

    reason: str
    fleet: FleetIdentity
    hold_at_s: float


def _generation(fleet: FleetIdentity | None) -> int:
    return fleet.generation if fleet is not None else 0


class Orchestrator:
    """A replica's core. Feed it every event, and carry out the effects it returns (duties: :mod:`.effects`).

    Without ``retention`` finished orders stay in the store forever. Without ``configuration`` replicas do not compare
    theirs.
    """

    def __init__(
        self,
        record: LeaderRecord,
        fleet: FleetSpec,
        planner: Planner,
        *,
        election: ElectionPolicy | None = None,
        dispatch: DispatchPolicy | None = None,
        retention: RetentionPolicy | None = None,
        configuration: Configuration | None = None,
        campaigns: bool = True,
    ) -> None:
        self.view = FleetView()
        self.election = Election(record, election or ElectionPolicy())
        self.dispatcher = Dispatcher(self.view, fleet, planner, dispatch or DispatchPolicy())
        self.retention = Retention(self.view, retention)
        self.agreement = Agreement(self.view, configuration)
        self.usefulness = Usefulness()
        self._judge_at_s = float("-inf")
        self._loaded = False
        self._reported: set[tuple[str, int]] = set()
        self._breach: Breach | None = None
        self._next_look_s = float("-inf")
        if not campaigns:
            self.election.retire()

    @property
    def role(self) -> Role:
        return self.election.role

    @property
    def epoch(self) -> int:
        """This replica's fencing token; 0 when it does not lead."""
        return self.election.epoch

    @property
    def held(self) -> str:
        """The reason why no leader may command: the store is not the one it was. Empty if it may."""
        return held_in(self.view) or (self._breach.reason if self._breach is not None else "")

    def next_deadline(self) -> float | None:
        """Return the time (monotonic, s) of the next step if nothing happens; ``None``: step only on an event."""
        deadlines = [part.next_deadline() for part in (self.election, self.dispatcher, self.retention)]
        if self._breach is not None and not self._is_recorded():
            deadlines.append(self._breach.hold_at_s)
        return min((d for d in deadlines if d is not None), default=None)

    def step(self, events: Iterable[Event], now: Instant) -> list[Effect]:
        """Process ``events`` in order, then do everything that is due, including one planning round for all of them."""
        # A leader paused past its lease must notice before it decides again.
        effects = self._lead(self.election.expire(now), now)
        for event in events:
            effects += self._ON[type(event)](self, event, now)
        if self._loaded:
            effects += self._judge(now)
            effects += self._hold(now)
            warm = self.election.role is not Role.STANDBY or self.dispatcher.hears_drones(now)
            fleet, others_first_s = self._fleet_key(), 0.0
            if self.usefulness.ailing is not None:
                others_first_s = self.usefulness.head_start_s(self._senses(now), now)
            leader = self.view.leader_key
            ticked = self.election.tick(leader, now, fleet=fleet, warm=warm, head_start_s=others_first_s)
            effects += self._lead(ticked, now)
            effects += self.dispatcher.tick(now)
            effects += self.retention.tick(now)
        return effects + self.dispatcher.news_of_set_asides()

    def _lead(self, effects: list[Effect], now: Instant) -> list[Effect]:
        """Let dispatcher and retention follow the election's decision."""
        out: list[Effect] = []
        for effect in effects:
            out.append(effect)
            if isinstance(effect, StartLeading) and not self.held:
                self.retention.begin_term(effect.epoch, now)
                out += self._agree(effect.epoch)
                out += self.dispatcher.begin_term(effect.epoch, now)
        if self.election.role is not Role.LEADER or self.held:
            self.retention.end_term()
            self.agreement.end_term()
            out += self.dispatcher.end_term()
        return out

    def _agree(self, epoch: int) -> list[Effect]:
        """Let the dispatcher follow the newest configuration, which is this replica's or that of another one."""
        agreement = self.agreement
        keep_s = agreement.keep_reservation_s  # by the leases of leaders before this one
        effects = agreement.begin_term(epoch)
        self.dispatcher.agree(is_outdated=bool(agreement.objection), keep_reservation_s=keep_s)
        return effects

    def _judge(self, now: Instant) -> list[Effect]:
        """Give up the office if this replica does no good in it."""
        if self.election.role not in (Role.ELECTED, Role.LEADER) or now.mono_s < self._judge_at_s:
            return []
        self._judge_at_s = now.mono_s + JUDGE_PERIOD_S
        others_can = not self.retention.is_full
        wrong, resigns = self.usefulness.judge(self._senses(now), now, others_can=others_can)
        if not wrong:
            return []
        if not resigns:
            return [Report("error", f"{wrong}; it stays in office, since others were no better a moment ago")]
        effects: list[Effect] = [Report("error", f"{wrong}: resigning, so that another replica may try")]
        effects += self._lead(self.election.step_down(wrong, now), now)
        return [*effects, FollowAgain()] if self.usefulness.ailing is Ailment.BLIND else effects

    def _senses(self, now: Instant) -> LeaderSenses:
        return self.dispatcher.senses(self.election.role is Role.LEADER, now)

    # --- one method per kind of event ---------------------------------------------------------------------------

    def _view_loaded(self, event: ViewLoaded, now: Instant) -> list[Effect]:
        known = self.view.identity
        breach = event.snapshot.breach or (self.view.breach(event.snapshot) if self._loaded else "")
        self.view.load(event.snapshot)
        self.election.log_lead = event.snapshot.log_lead
        self.dispatcher.view_loaded(now)
        self._loaded = True
        effects = self._report_corrupt()
        identity = known or self.view.fleet
        if breach and identity is not None:
            effects += self._breached(breach, identity, now)
        elif self.election.role is Role.LEADER and not self.held:
            # The watch could not be resumed. The new snapshot overrides everything this replica knew.
            self.retention.begin_term(self.election.epoch, now)
            effects += self.dispatcher.start_over(now)
        return effects

    # --- another store --------------------------------------------------------------------------------------------

    def _breached(self, reason: str, fleet: FleetIdentity, now: Instant) -> list[Effect]:
        """Stop acting on what this replica knew: the store is not the one that it followed."""
        if self._breach is None:
            self._breach = Breach(reason, fleet, now.mono_s)
        report = Report("error", f"the store is not the one it was: {reason}. The fleet is held until a person decides")
        led = self.election.role in (Role.LEADER, Role.ELECTED)
        return [report, *(self._lead(self.election.step_down("the store is another one", now), now) if led else [])]

    def _fleet_key(self) -> Entry | None:
        """Return the key ``fleet`` for a campaign. If it is gone, the campaign restores it as held: no drone would obey
        a new identity."""
        key, breach = self.view.fleet_key, self._breach
        if breach is None or (key is not None and key.value is not None):
            return key
        return Entry(Kind.FLEET, "", replace(breach.fleet, held=breach.reason), 0)

    def _is_recorded(self) -> bool:
        return self.view.fleet is not None and bool(self.view.fleet.held) and not self.view.estranged

    def _hold(self, now: Instant) -> list[Effect]:
        """Record a hold, end what it forbids, and go on when a person has lifted it by raising the generation."""
        effects: list[Effect] = []
        fleet, key, breach = self.view.fleet, self.view.fleet_key, self._breach
        is_free = fleet is not None and not held_in(self.view)
        if breach is not None and is_free and _generation(fleet) > breach.fleet.generation:
            self._breach = breach = None
        if breach is not None and not self._is_recorded() and now.mono_s >= breach.hold_at_s:
            breach.hold_at_s = now.mono_s + HOLD_RETRY_S
            exists = key is not None and key.value is not None
            generation = max(breach.fleet.generation, _generation(fleet))
            held = replace(breach.fleet, held=breach.reason, generation=generation)
            effects.append(HoldFleet(held, key.mod_revision if key is not None and exists else 0))
        outdated = self.epoch and fleet is not None and fleet.generation > split_epoch(self.epoch)[0]
        if outdated and self.election.role in (Role.LEADER, Role.ELECTED):
            return effects + self._lead(self.election.step_down("the fleet has a new generation", now), now)
        return effects + (self._lead([], now) if self.held else [])

    def _heard_from_the_future(self, report: DroneReport, now: Instant) -> list[Effect]:
        """Hold the fleet if one of its drones has obeyed a later epoch than that of the leader in office.

        The fence tells this leader from one that was merely replaced: then the hold is not written.
        """
        fleet, key = self.view.fleet, self.view.fleet_key
        due = now.mono_s >= self._next_look_s
        if fleet is None or key is None or fleet.held or report.fleet_id != fleet.fleet_id or not due:
            return []
        self._next_look_s = now.mono_s + HOLD_RETRY_S
        reason = f"{report.drone_id} has obeyed epoch {report.highest_epoch}, later than the leader's {self.epoch}"
        return [HoldFleet(replace(fleet, held=reason), key.mod_revision, self.epoch)]

    def _store_changed(self, event: StoreChanged, now: Instant) -> list[Effect]:
        fresh = self.view.apply(event.change)
        effects = self._report_corrupt()
        if self.view.estranged and self._breach is None and self.view.identity is not None:
            effects += self._breached(self.view.estranged, self.view.identity, now)
        for entry in fresh:
            effects += self.dispatcher.entry_changed(entry, now)
            if entry.kind is Kind.SAGA:
                self.retention.saga_changed(entry.id, now)
        return effects

    def _commit_done(self, event: CommitDone, now: Instant) -> list[Effect]:
        if event.fate is Fate.FENCED and event.commit.epoch == self.election.epoch:
            return self._lead(self.election.step_down("a write was fenced: somebody else leads", now), now)
        if event.fate is Fate.SUCCEEDED:
            self.usefulness.committed(event.revision, self.view.revision, now)
        change = event.commit.change
        if isinstance(change, WriteNote) and change.id == configurations.NOTE:
            self.agreement.commit_done(event)
            return []
        if isinstance(change, (Retirement, WriteNote)):
            return self.retention.commit_done(event, now)
        effects = self.dispatcher.commit_done(event, now)
        if isinstance(change, Transition):
            self.retention.saga_changed(change.message_id, now)  # the view will skip the watch's echo of this commit
        return effects

    def _archived(self, event: Archived, now: Instant) -> list[Effect]:
        return self.retention.archived(event, now)

    def _campaign_done(self, event: CampaignDone, now: Instant) -> list[Effect]:
        effects = self.election.campaign_done(event, now)
        if self.election.role is Role.ELECTED:
            self.usefulness.begin(now)
        return effects

    def _lease_refreshed(self, event: LeaseRefreshed, now: Instant) -> list[Effect]:
        self.election.lease_refreshed(event)
        self.usefulness.watch_silent(event.watch_silent_s)
        return []

    def _lease_lost(self, event: LeaseLost, now: Instant) -> list[Effect]:
        return self._lead(self.election.lease_lost(event, now), now)

    def _leader_alive(self, event: LeaderAlive, now: Instant) -> list[Effect]:
        self.election.leader_alive(event.epoch)
        return []

    def _leader_silent(self, event: LeaderSilent, now: Instant) -> list[Effect]:
        self.election.leader_silent(event)
        return []

    def _operator_resign(self, event: OperatorResign, now: Instant) -> list[Effect]:
        return self._lead(self.election.retire(), now)

    def _operator_campaign(self, event: OperatorCampaign, now: Instant) -> list[Effect]:
        self.election.return_to_service()
        return []

    def _policies_changed(self, event: PoliciesChanged, now: Instant) -> list[Effect]:
        if event.retention is not None:
            self.retention.adopt(event.retention)
        return [] if event.dispatch is None else self.dispatcher.adopt(event.dispatch, now)

    def _drone_heard(self, event: DroneHeard, now: Instant) -> list[Effect]:
        effects = self.dispatcher.drone_heard(event.report, now)
        if event.report.highest_epoch > self.election.epoch and self.election.role is Role.LEADER:
            effects += self._heard_from_the_future(event.report, now)
        return effects

    def _clock_heard(self, event: ClockHeard, now: Instant) -> list[Effect]:
        self.dispatcher.wall_clock.heard(event.source, event.stamp_s, now)
        return []

    def _goal_answered(self, event: GoalAnswered, now: Instant) -> list[Effect]:
        return self.dispatcher.goal_answered(event, now)

    def _goal_unreachable(self, event: GoalUnreachable, now: Instant) -> list[Effect]:
        return self.dispatcher.goal_unreachable(event, now)

    def _clearance_requested(self, event: ClearanceRequested, now: Instant) -> list[Effect]:
        return self.dispatcher.clearance_requested(event, now)

    def _space_seen(self, event: SpaceSeen, now: Instant) -> list[Effect]:
        return self.retention.space_seen(event.share)

    def _tick(self, event: Tick, now: Instant) -> list[Effect]:
        return []

    # A table by type, because `singledispatchmethod` costs more than most of these methods.
    _ON: ClassVar[dict[type[Event], Callable[[Orchestrator, Any, Instant], list[Effect]]]] = {
        ViewLoaded: _view_loaded,
        StoreChanged: _store_changed,
        CommitDone: _commit_done,
        Archived: _archived,
        CampaignDone: _campaign_done,
        LeaseRefreshed: _lease_refreshed,
        LeaseLost: _lease_lost,
        LeaderAlive: _leader_alive,
        LeaderSilent: _leader_silent,
        OperatorResign: _operator_resign,
        OperatorCampaign: _operator_campaign,
        PoliciesChanged: _policies_changed,
        DroneHeard: _drone_heard,
        ClockHeard: _clock_heard,
        GoalAnswered: _goal_answered,
        GoalUnreachable: _goal_unreachable,
        ClearanceRequested: _clearance_requested,
        SpaceSeen: _space_seen,
        Tick: _tick,
    }

    def _report_corrupt(self) -> list[Effect]:
        """Report each unreadable record once per revision."""
        if not self.view.corrupt:
            self._reported.clear()
            return []
        now = {(name, entry.mod_revision) for name, entry in self.view.corrupt.items()}
        news, self._reported = now - self._reported, now
        return [Report("error", f"unreadable value set aside: {name} (revision {rev})") for name, rev in sorted(news)]
