"""Fast failover: a standby that misses its leader's heartbeats replaces exactly that leader, and does not flap."""

from __future__ import annotations

from itertools import pairwise

import pytest
from world import World, make_order, make_report

from drone_orchestrator.core.leader.effects import Heartbeat
from drone_orchestrator.core.leader.election import Election, Role
from drone_orchestrator.core.leader.events import CampaignDone, LeaderAlive, LeaderSilent
from drone_orchestrator.core.policies import ElectionPolicy
from drone_orchestrator.core.types import Entry, Instant, Kind, LeaderRecord, SagaStatus
from drone_orchestrator.verification.checker import check

POLICY = ElectionPolicy(heartbeat_period_s=0.1)


@pytest.fixture
def world() -> World:
    world = World(replicas=3, election=POLICY)
    world.run()
    return world


def standbys(world):
    return [replica for replica in world.replicas if replica.core.role is Role.STANDBY]


def hear_silence(world, *replicas, epoch=None):
    epoch = epoch or world.replicas[0].core.view.leader_epoch
    for replica in replicas:
        replica.inbox.append(LeaderSilent(epoch))
    world.run()


def test_only_the_leader_sends_heartbeats_one_per_turn_of_its_loop(world):
    leader = world.leader
    for _ in range(10):
        world.advance(0.1)
    beats = leader.take(Heartbeat)
    assert [beat.sequence for beat in beats] == list(range(1, len(beats) + 1)) and len(beats) >= 10
    assert all(beat.epoch == leader.core.epoch for beat in beats)
    assert not any(replica.take(Heartbeat) for replica in standbys(world))


def test_a_silent_leader_is_replaced_at_once_and_its_orders_continue(world):
    dead, order = world.leader, make_order()
    world.hear(make_report())
    world.run()
    epoch = dead.core.epoch
    world.crash(dead)
    world.intake.submit(order)
    hear_silence(world, *standbys(world), epoch=epoch)
    world.hear(make_report())
    world.run()
    assert world.leader.core.epoch > epoch
    assert world.saga(order).status is SagaStatus.ASSIGNED
    assert world.mono_s == 0.0, "no lease had to expire"
    assert len([r for r in world.replicas if r.core.role is Role.LEADER]) == 1
    assert check(world.intake.history(), complete=False).ok


def test_silence_of_a_former_leader_does_not_affect_the_current_one(world):
    epoch = world.leader.core.epoch
    hear_silence(world, *standbys(world), epoch=epoch - 1)
    world.advance(1.0)
    assert world.leader.core.epoch == epoch


def test_a_late_heartbeat_lifts_the_suspicion(world):
    first, second, epoch = *standbys(world), world.leader.core.epoch
    hear_silence(world, first)  # a wrong suspicion: the next one must wait
    hear_silence(world, world.leader, second)
    world.advance(5.0)
    late = next(r for r in world.replicas if r.core.role is Role.STANDBY)
    epoch = world.leader.core.epoch
    late.inbox += [LeaderSilent(epoch), LeaderAlive(epoch)]
    world.run()
    for _ in range(80):
        world.advance(1.0)
    assert world.leader.core.epoch == epoch


def test_a_standby_that_is_cut_off_causes_one_needless_handover_in_thirty_seconds(world):
    """It hears no leader, and no replica hears it; each one that is cut off from it takes leadership back."""
    deaf = standbys(world)[0]
    taken_at_s = []
    while world.mono_s < 300.0:
        before = world.leader
        if before is not deaf:
            hear_silence(world, deaf)
        if world.leader is deaf:
            taken_at_s.append(world.mono_s)
            hear_silence(world, *standbys(world))
        assert world.leader is not deaf, "a replica that is heard leads again at once"
        world.advance(0.5)
    gaps = [later - earlier for earlier, later in pairwise(taken_at_s)]
    assert taken_at_s[0] == 0.0 and len(gaps) >= 1
    assert min(gaps) >= 30.0
    assert gaps == sorted(gaps), "each wrong suspicion makes the next one rarer"
    assert check(world.intake.history(), complete=False).ok


def test_a_suspected_leader_that_is_alive_is_fenced_and_stands_by(world):
    old = world.leader
    hear_silence(world, standbys(world)[0])
    assert world.leader is not old and old.core.role is Role.STANDBY
    world.advance(1.0)
    assert world.leader is not old


def test_suspecting_a_leader_that_has_just_resigned_costs_no_time(world):
    old, epoch = world.leader, world.leader.core.epoch
    old.store.resign(epoch)
    for replica in standbys(world):
        replica.inbox.append(LeaderSilent(epoch))
    world.run()
    assert world.leader.core.epoch > epoch and world.mono_s == 0.0


def test_a_leader_that_announces_its_departure_is_replaced_at_once_without_a_suspicion(world):
    """An announced departure is never a wrong suspicion, so any number of them in a row delays nothing."""
    for _ in range(6):
        leaving, epoch = world.leader, world.leader.core.epoch
        for replica in standbys(world):
            replica.inbox.append(LeaderSilent(epoch, left=True))
        world.run()
        assert world.leader is not leaving and world.leader.core.epoch > epoch
    hear_silence(world, *standbys(world))
    assert world.leader.core.epoch > epoch and world.mono_s == 0.0, "the first real suspicion is acted on at once"


def test_a_late_announcement_of_departure_does_not_unseat_the_successor(world):
    late, epoch = standbys(world)[0], world.leader.core.epoch
    hear_silence(world, standbys(world)[1])
    successor = world.leader.core.epoch
    assert successor > epoch
    late.inbox.append(LeaderSilent(epoch, left=True))
    world.run()
    assert world.leader.core.epoch == successor


def test_elections_lost_long_ago_do_not_delay_the_next_try():
    """A replica that lost races retries as soon as any other, once it saw a leader in between."""
    election = Election(LeaderRecord("r", "r-1", 0.0), POLICY)
    leader = Entry(Kind.LEADER, "", LeaderRecord("other", "o-1", 0.0), 5)
    waits_s = []
    for at_s in range(0, 1000, 100):
        election.tick(None, Instant(float(at_s), 0.0))
        election.campaign_done(CampaignDone(0, float(at_s)), Instant(float(at_s), 0.0))
        waits_s.append(election.next_deadline() - at_s)
        election.tick(leader, Instant(at_s + 50.0, 0.0))
    assert max(waits_s) == pytest.approx(min(waits_s)) and max(waits_s) <= POLICY.retry_base_s


@pytest.mark.parametrize(
    "wrong",
    [{"heartbeat_period_s": 0.0}, {"heartbeat_period_s": 6.0}, {"suspicion_pause_s": 0.0}, {"suspicion_cap_s": 1.0}],
)
def test_contradictory_periods_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        ElectionPolicy(**wrong)
