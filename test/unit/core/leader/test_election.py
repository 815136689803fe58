"""The election's state machine: when a replica campaigns, and which messages about other leaders it ignores."""

from __future__ import annotations

import pytest

from drone_orchestrator.core.leader.effects import (
    Campaign,
    Heartbeat,
    RefreshLease,
    Report,
    Resign,
    StartLeading,
    StopLeading,
)
from drone_orchestrator.core.leader.election import TRANSITIONS, Election, Role
from drone_orchestrator.core.leader.events import CampaignDone, LeaderSilent, LeaseLost, LeaseRefreshed
from drone_orchestrator.core.policies import ElectionPolicy
from drone_orchestrator.core.types import Entry, Instant, Kind, LeaderRecord

ME = LeaderRecord("me", "me-1", 0.0)
OTHER = LeaderRecord("other", "other-1", 0.0)


def at(mono_s: float) -> Instant:
    return Instant(mono_s, 1000.0 + mono_s)


def key(revision: int, holder: LeaderRecord | None = ME) -> Entry:
    return Entry(Kind.LEADER, "", holder, revision)


def election() -> Election:
    return Election(ME, ElectionPolicy())


def leader(epoch: int = 7) -> Election:
    e = election()
    assert [type(effect) for effect in e.tick(None, at(0.0))] == [Campaign]
    assert e.campaign_done(CampaignDone(epoch, 0.0), at(0.1)) == []
    assert e.role is Role.ELECTED
    assert StartLeading(epoch) in e.tick(key(epoch), at(0.2))
    assert e.role is Role.LEADER
    return e


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"lease_ttl_s": 1.9}, "lease_ttl_s"),
        ({"safety_margin_s": 0.0}, "safety_margin_s"),
        ({"safety_margin_s": 2.5}, "safety_margin_s"),
        ({"refresh_period_s": 0.0}, "refresh_period_s"),
        ({"refresh_period_s": 1.4}, "refresh_period_s"),
        ({"heartbeat_period_s": 0.0}, "heartbeat_period_s"),
        ({"heartbeat_period_s": 5.0}, "heartbeat_period_s"),
        ({"suspicion_pause_s": 0.0}, "suspicion_pause_s"),
        ({"suspicion_cap_s": 1.0}, "suspicion_pause_s"),
        ({"cold_pause_s": -0.1}, "cold_pause_s"),
        ({"cold_pause_s": 5.0}, "cold_pause_s"),
    ],
)
def test_unsafe_timing_is_refused(bad: dict[str, float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ElectionPolicy(**bad)


def test_an_elected_replica_waits_until_its_view_shows_its_own_key() -> None:
    e = election()
    e.tick(None, at(0.0))
    e.campaign_done(CampaignDone(7, 0.0), at(0.1))
    assert not any(isinstance(effect, StartLeading) for effect in e.tick(key(5, OTHER), at(0.2)))
    assert not any(isinstance(effect, StartLeading) for effect in e.tick(None, at(0.3)))
    assert StartLeading(7) in e.tick(key(7), at(0.4))


def test_a_key_of_a_later_revision_ends_a_leadership() -> None:
    e = leader(7)
    effects = e.tick(key(9, OTHER), at(0.3))
    assert [type(effect) for effect in effects] == [StopLeading, Resign]
    assert (e.role, e.epoch) == (Role.STANDBY, 0)


def test_failed_campaigns_are_repeated_with_growing_pauses_and_reported() -> None:
    e, now_s, pauses = election(), 0.0, []
    for _ in range(8):
        assert [type(effect) for effect in e.tick(None, at(now_s))] == [Campaign]
        assert e.next_deadline() is None, "the answer is awaited"
        told = e.campaign_done(CampaignDone(0, now_s, "no quorum"), at(now_s))
        assert [type(effect) for effect in told] == [Report]
        deadline = e.next_deadline()
        assert deadline is not None and deadline > now_s
        assert e.tick(None, at(deadline - 0.01)) == []
        pauses.append(deadline - now_s)
        now_s = deadline
    assert pauses[3] > pauses[0]
    assert max(pauses) <= ElectionPolicy().retry_cap_s


def test_losing_to_another_replica_is_not_reported() -> None:
    e = election()
    e.tick(None, at(0.0))
    assert e.campaign_done(CampaignDone(0, 0.0), at(0.1)) == []


def test_no_replica_campaigns_under_a_leader_and_all_do_when_its_key_is_deleted() -> None:
    e = election()
    assert e.tick(key(5, OTHER), at(0.0)) == []
    assert e.next_deadline() is None
    assert [type(effect) for effect in e.tick(key(6, None), at(1.0))] == [Campaign]


def test_an_election_won_after_retiring_is_resigned() -> None:
    e = election()
    e.tick(None, at(0.0))
    assert e.retire() == []
    assert e.campaign_done(CampaignDone(7, 0.0), at(0.1)) == [Resign(7)]
    assert e.campaign_done(CampaignDone(0, 0.0), at(0.1)) == []
    assert e.role is Role.RETIRED
    assert e.next_deadline() is None
    assert e.tick(None, at(9.0)) == []


def test_retiring_is_idempotent_and_only_a_retired_replica_returns() -> None:
    e = leader(7)
    assert [type(effect) for effect in e.retire()] == [StopLeading, Resign]
    assert e.retire() == []
    e.return_to_service()
    assert [type(effect) for effect in e.tick(None, at(1.0))] == [Campaign]
    e.return_to_service()
    assert e.role is Role.CAMPAIGNING


def test_an_elected_replica_that_retires_resigns_without_having_led() -> None:
    e = election()
    e.tick(None, at(0.0))
    e.campaign_done(CampaignDone(7, 0.0), at(0.1))
    assert e.retire() == [Resign(7)]


def test_refreshes_of_another_leaders_lease_are_ignored() -> None:
    e = leader(7)
    before = e.next_deadline()
    e.lease_refreshed(LeaseRefreshed(6, 100.0))
    assert e.next_deadline() == before
    assert e.lease_lost(LeaseLost(6), at(0.5)) == []
    assert e.role is Role.LEADER
    assert [type(effect) for effect in e.lease_lost(LeaseLost(7), at(0.6))] == [StopLeading, Resign]
    assert e.lease_lost(LeaseLost(7), at(0.7)) == []


def test_a_lease_counts_from_when_its_refresh_was_sent() -> None:
    e, policy = leader(7), ElectionPolicy()
    e.lease_refreshed(LeaseRefreshed(7, 1.0))
    e.lease_refreshed(LeaseRefreshed(7, 0.5))  # an older answer that arrives late does not shorten the lease
    end_s = 1.0 + policy.lease_ttl_s - policy.safety_margin_s
    assert e.expire(at(end_s - 0.01)) == []
    assert [type(effect) for effect in e.expire(at(end_s))] == [StopLeading, Resign]
    assert e.expire(at(end_s + 1.0)) == []


def test_the_lease_is_refreshed_once_per_period_and_the_deadline_moves() -> None:
    e, asked, now_s = leader(7), 0, 0.2
    for _ in range(200):
        deadline = e.next_deadline()
        assert deadline is not None
        now_s = max(now_s, deadline)
        if now_s > 3.0:
            break
        refreshes = [x for x in e.tick(key(7), at(now_s)) if isinstance(x, RefreshLease)]
        asked += len(refreshes)
        for _ in refreshes:
            e.lease_refreshed(LeaseRefreshed(7, now_s))
    assert 1 <= asked <= 4


def test_the_leaders_deadline_includes_its_heartbeats() -> None:
    e, beats, now_s = Election(ME, ElectionPolicy(heartbeat_period_s=0.1)), 0, 0.2
    e.tick(None, at(0.0))
    e.campaign_done(CampaignDone(7, 0.0), at(0.1))
    for step in range(31):
        beats += sum(isinstance(effect, Heartbeat) for effect in e.tick(key(7), at(now_s)))
        deadline = e.next_deadline()
        assert deadline is not None and deadline > now_s, step
        now_s = deadline
    assert beats >= 25


def test_a_standby_that_misses_heartbeats_campaigns_at_once_but_pauses_after_a_wrong_suspicion() -> None:
    e, policy = election(), ElectionPolicy()
    e.tick(key(5, OTHER), at(0.0))
    e.leader_silent(LeaderSilent(5))
    deadline = e.next_deadline()
    assert deadline is not None and deadline <= 0.0
    assert any(isinstance(effect, Campaign) and effect.over_epoch == 5 for effect in e.tick(key(5, OTHER), at(0.1)))
    e.campaign_done(CampaignDone(8, 0.1), at(0.2))
    e.tick(key(8), at(0.3))
    e.tick(key(9, OTHER), at(1.0))  # replaced soon: this replica could not hear the others
    e.leader_silent(LeaderSilent(9))
    e.tick(key(9, OTHER), at(2.0))
    deadline = e.next_deadline()
    assert deadline is not None and deadline >= 1.0 + policy.suspicion_pause_s
    assert e.tick(key(9, OTHER), at(deadline - 0.1)) == []
    assert any(isinstance(effect, Campaign) for effect in e.tick(key(9, OTHER), at(deadline)))


def test_an_illegal_change_of_role_raises() -> None:
    e = election()
    assert Role.LEADER not in TRANSITIONS[Role.STANDBY]
    with pytest.raises(AssertionError, match="standby to leader"):
        e._become(Role.LEADER)
    assert set(TRANSITIONS) == set(Role)


def cold_standby() -> Election:
    return Election(ME, ElectionPolicy(heartbeat_period_s=0.1, cold_pause_s=1.0))


def test_a_standby_that_hears_no_drone_gives_others_a_head_start() -> None:
    e = cold_standby()
    assert e.tick(None, at(10.0), warm=False) == []
    assert e.next_deadline() == 11.0
    assert e.tick(None, at(10.9), warm=False) == []
    [campaign] = e.tick(None, at(11.0), warm=False)  # no other replica wants it
    assert isinstance(campaign, Campaign)


def test_a_standby_takes_over_at_once_when_it_hears_a_drone() -> None:
    e = cold_standby()
    assert e.tick(None, at(10.0), warm=False) == []
    assert [type(effect) for effect in e.tick(None, at(10.2), warm=True)] == [Campaign]


def test_a_standby_that_hears_no_drone_replaces_a_silent_leader_only_after_its_pause() -> None:
    e = cold_standby()
    e.leader_silent(LeaderSilent(5, left=False))
    assert e.tick(key(5, OTHER), at(10.0), warm=False) == []
    assert e.tick(key(5, OTHER), at(10.5), warm=False) == []
    assert e.next_deadline() == 11.0
    assert [type(effect) for effect in e.tick(key(5, OTHER), at(11.0), warm=False)] == [Report, Campaign]


def test_the_head_start_is_given_again_at_each_vacancy() -> None:
    e = cold_standby()
    assert e.tick(None, at(10.0), warm=False) == []
    assert e.tick(key(6, OTHER), at(10.5), warm=False) == []  # another replica was faster
    assert e.next_deadline() is None
    assert e.tick(key(6, None), at(20.0), warm=False) == []
    assert e.next_deadline() == 21.0


def test_a_leader_heard_again_ends_the_wait() -> None:
    e = cold_standby()
    e.leader_silent(LeaderSilent(5, left=False))
    assert e.tick(key(5, OTHER), at(10.0), warm=False) == []
    e.leader_alive(5)
    assert e.tick(key(5, OTHER), at(11.0), warm=False) == []
    assert e.next_deadline() is None


def test_a_replica_that_returns_to_service_starts_its_wait_again() -> None:
    e = cold_standby()
    assert e.tick(None, at(10.0), warm=False) == []
    e.retire()
    e.return_to_service()
    assert e.tick(None, at(20.0), warm=False) == []
    assert e.next_deadline() == 21.0
