"""One orchestrator replica as a state machine: ``step(events, now) -> effects``, ``next_deadline()``.

It connects parts that do not know each other's internals: the view (the contents of the store), the election (whether
this replica leads), the dispatcher (moves orders) and the retention (retires finished ones).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from ..changes import Fate, Retirement, Transition, WriteNote
from ..planner import Planner
from ..policies import DispatchPolicy, ElectionPolicy, RetentionPolicy
from ..types import FleetSpec, Instant, Kind, LeaderRecord
from ..view import FleetView
from .dispatch import Dispatcher
from .effects import Effect, FollowAgain, Report, StartLeading
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


class Orchestrator:
    """A replica's core. Feed it every event, and carry out the effects it returns (duties: :mod:`.effects`).

    Without ``retention`` finished orders stay in the store forever.
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
        campaigns: bool = True,
    ) -> None:
        self.view = FleetView()
        self.election = Election(record, election or ElectionPolicy())
        self.dispatcher = Dispatcher(self.view, fleet, planner, dispatch or DispatchPolicy())
        self.retention = Retention(self.view, retention)
        self.usefulness = Usefulness()
        self._judge_at_s = float("-inf")
        self._loaded = False
        self._reported: set[tuple[str, int]] = set()
        if not campaigns:
            self.election.retire()

    @property
    def role(self) -> Role:
        return self.election.role

    @property
    def epoch(self) -> int:
        """This replica's fencing token; 0 when it does not lead."""
        return self.election.epoch

    def next_deadline(self) -> float | None:
        """Return the time (monotonic, s) of the next step if nothing happens; ``None``: step only on an event."""
        deadlines = [part.next_deadline() for part in (self.election, self.dispatcher, self.retention)]
        return min((d for d in deadlines if d is not None), default=None)

    def step(self, events: Iterable[Event], now: Instant) -> list[Effect]:
        """Process ``events`` in order, then do everything that is due, including one planning round for all of them."""
        # A leader paused past its lease must notice before it decides again.
        effects = self._lead(self.election.expire(now), now)
        for event in events:
            effects += self._ON[type(event)](self, event, now)
        if self._loaded:
            effects += self._judge(now)
            warm = self.election.role is not Role.STANDBY or self.dispatcher.hears_drones(now)
            fleet, others_first_s = self.view.fleet_key, 0.0
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
            if isinstance(effect, StartLeading):
                self.retention.begin_term(effect.epoch, now)
                out += self.dispatcher.begin_term(effect.epoch, now)
        if self.election.role is not Role.LEADER:
            self.retention.end_term()
            out += self.dispatcher.end_term()
        return out

    def _judge(self, now: Instant) -> list[Effect]:
        """Give up the office if this replica does no good in it."""
        if self.election.role not in (Role.ELECTED, Role.LEADER) or now.mono_s < self._judge_at_s:
            return []
        self._judge_at_s = now.mono_s + JUDGE_PERIOD_S
        wrong, resigns = self.usefulness.judge(self._senses(now), now)
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
        self.view.load(event.snapshot)
        self.dispatcher.view_loaded(now)
        self._loaded = True
        effects = self._report_corrupt()
        if self.election.role is Role.LEADER:
            # The watch could not be resumed. The new snapshot overrides everything this replica knew.
            self.retention.begin_term(self.election.epoch, now)
            effects += self.dispatcher.start_over(now)
        return effects

    def _store_changed(self, event: StoreChanged, now: Instant) -> list[Effect]:
        fresh = self.view.apply(event.change)
        effects = self._report_corrupt()
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
        return self.dispatcher.drone_heard(event.report, now)

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
