"""A leader that does no good gives up its office, lets the others try first, and blames no order and no drone."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from itertools import pairwise

import pytest
from world import Replica, World, make_order, make_report

from drone_orchestrator.core.changes import Change, Fate
from drone_orchestrator.core.leader.effects import Report
from drone_orchestrator.core.leader.election import Role
from drone_orchestrator.core.leader.events import DroneHeard
from drone_orchestrator.core.leader.usefulness import (
    BLIND_S,
    DEAF_FROM_START_S,
    DEAF_S,
    HEAD_START_S,
    JUDGE_PERIOD_S,
    POWERLESS_S,
    RESIGN_AGAIN_S,
    Ailment,
    LeaderSenses,
    Usefulness,
)
from drone_orchestrator.core.policies import DRONE_SILENT_S
from drone_orchestrator.core.types import BreakerState, Instant, SagaStatus
from drone_orchestrator.ports import CommitResult
from drone_orchestrator.store import EtcdStore, watch

S = SagaStatus
#: Time (s) beyond a bound within which the office has changed hands.
SOON_S = 3.0
ORDER = make_order(1)
FLEET = (make_report(), make_report("drone_2"))


def world_of(replicas: int = 2) -> World:
    world = World(replicas=replicas)
    world.run()
    return world


def pass_time(world: World, seconds: float, *, heard_by: Iterable[Replica] | None = None) -> list[str]:
    """Let ``seconds`` pass, in which these replicas (``None``: all) hear the fleet. Return who led, in order."""
    led: list[str] = []
    for _ in range(round(seconds)):
        for replica in world.replicas if heard_by is None else heard_by:
            replica.inbox += [DroneHeard(report) for report in FLEET]
        world.advance(1.0)
        for replica in world.replicas:
            if replica.core.role is Role.LEADER and led[-1:] != [replica.name]:
                led.append(replica.name)
    return led


def said(replica: Replica) -> list[str]:
    return [told.text for told in replica.take(Report) if isinstance(told, Report) and told.level == "error"]


# --- blind ------------------------------------------------------------------------------------------------------------


def test_a_leader_whose_watch_is_dead_makes_room_for_one_that_sees() -> None:
    world = world_of()
    blind, other = world.leader, next(r for r in world.replicas if r is not world.leader)
    world.backend.kill_watches(blind.name)
    world.watches_can_be_made = False
    world.intake.submit(ORDER)
    assert pass_time(world, BLIND_S - SOON_S) == [blind.name]
    pass_time(world, 2 * SOON_S)
    assert (world.leader, blind.core.role) == (other, Role.STANDBY)
    assert world.saga(ORDER).status is S.ASSIGNED
    assert "the watch of the store has been dead" in said(blind)[0]


def test_a_replica_whose_watch_dies_during_its_election_does_not_keep_the_key() -> None:
    world = World(replicas=1)
    (replica,) = world.replicas
    world.backend.kill_watches(replica.name)
    world.watches_can_be_made = False
    world.run()
    assert replica.core.role is Role.ELECTED
    world.pass_time(BLIND_S + SOON_S, step_s=1.0)
    world.pass_time(3600.0, step_s=1.0)
    assert replica.core.role is Role.STANDBY, "it could not lead, even if nobody else is there"
    assert not [key for key in world.backend.leased_keys() if key.endswith("leader")]
    world.backend.revive_watches()
    world.pass_time(2 * HEAD_START_S, step_s=1.0)
    assert replica.core.role is Role.LEADER


def test_a_leader_does_not_resign_while_its_watch_heals_by_itself() -> None:
    """A quiet stream is noticed, replaced and proven by then, even if each request takes as long as it may."""
    notice_s = watch.SILENCE_LIMIT_S + watch.PROGRESS_INTERVAL_S
    request_s = inspect.signature(EtcdStore).parameters["timeout_s"].default
    assert notice_s + 2 * request_s + JUDGE_PERIOD_S <= BLIND_S


def test_a_new_watch_cures_a_blind_replica() -> None:
    world = world_of(replicas=1)
    world.backend.kill_watches("orchestrator_0")
    world.intake.submit(ORDER)
    pass_time(world, BLIND_S + SOON_S + HEAD_START_S)
    assert world.leader.name == "orchestrator_0"
    assert world.saga(ORDER).attempt >= 1


def test_a_watch_that_lives_but_does_not_show_an_own_commit_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of()
    blind = world.leader
    assert blind.watch is not None
    monkeypatch.setattr(type(blind.watch), "silent_s", lambda watch: 0.0)
    world.intake.submit(ORDER)
    world.run()
    world.backend.kill_watches(blind.name)
    world.watches_can_be_made = False
    assert world.saga(ORDER).status is S.PENDING
    led = pass_time(world, BLIND_S + 2 * SOON_S)  # the drone is heard only now, so the leader commits
    assert led[0] == blind.name and world.leader is not blind
    assert "own commit" in said(blind)[0]


# --- deaf -------------------------------------------------------------------------------------------------------------


def test_a_leader_that_hears_no_drone_any_more_makes_room_for_one_that_does() -> None:
    world = world_of()
    deaf, other = world.leader, next(r for r in world.replicas if r is not world.leader)
    pass_time(world, 5.0)
    world.intake.submit(ORDER)
    world.run()
    assert pass_time(world, DEAF_S - SOON_S, heard_by=[other]) == [deaf.name]
    pass_time(world, 2 * SOON_S, heard_by=[other])
    assert world.leader is other
    assert world.saga(ORDER).drone_id in ("drone_1", "drone_2")
    assert "no drone has been heard" in said(deaf)[0]


def test_a_leader_that_has_never_heard_a_drone_waits_for_longer() -> None:
    world = world_of()
    deaf, other = world.leader, next(r for r in world.replicas if r is not world.leader)
    world.intake.submit(ORDER)
    assert pass_time(world, DEAF_FROM_START_S - SOON_S, heard_by=[other]) == [deaf.name]
    assert pass_time(world, 2 * SOON_S, heard_by=[other])[-1] == other.name


def test_without_work_nobody_need_hear_drones() -> None:
    world = world_of()
    leader = world.leader
    pass_time(world, 5.0)
    assert pass_time(world, 3600.0, heard_by=[]) == [leader.name]
    assert said(leader) == []


def test_if_no_replica_hears_a_drone_the_office_is_held_most_of_the_time_and_no_one_is_blamed() -> None:
    world = world_of(replicas=3)
    pass_time(world, 5.0)
    world.intake.submit(ORDER)
    world.run()
    led = pass_time(world, 3600.0, heard_by=[])
    assert 3 <= len(led) <= 20
    assert sum(len(said(replica)) for replica in world.replicas) >= len(led) - 1, "each one said why it left"
    saga = world.saga(ORDER)
    breakers = world.leader.core.view.breakers.values()
    assert saga.status is S.PENDING and all(each.value.state is BreakerState.CLOSED for each in breakers)
    attempts = saga.attempt
    pass_time(world, 60.0)
    assert world.saga(ORDER).attempt > attempts


def test_a_deaf_replica_leads_if_there_is_no_other() -> None:
    world = world_of(replicas=1)
    pass_time(world, 5.0)
    world.intake.submit(ORDER)
    world.run()
    pass_time(world, DEAF_S + SOON_S, heard_by=[])
    assert world.replicas[0].core.role is Role.STANDBY
    pass_time(world, HEAD_START_S, heard_by=[])
    assert world.replicas[0].core.role is Role.LEADER
    assert pass_time(world, RESIGN_AGAIN_S - DEAF_S, heard_by=[]) == ["orchestrator_0"]
    pass_time(world, 4 * RESIGN_AGAIN_S, heard_by=[])
    assert pass_time(world, 4 * RESIGN_AGAIN_S, heard_by=[]) == ["orchestrator_0"]
    assert any("stays in office" in text for text in said(world.replicas[0]))


def test_a_silence_shorter_than_the_bound_changes_nothing() -> None:
    world = world_of()
    leader = world.leader
    world.intake.submit(ORDER)
    for _ in range(5):
        assert pass_time(world, DRONE_SILENT_S + 2.0) == [leader.name]
        assert pass_time(world, DEAF_S - SOON_S, heard_by=[]) == [leader.name]


# --- powerless --------------------------------------------------------------------------------------------------------


def deny_commits(replica: Replica, fate: Fate) -> None:
    def commit(epoch: int, changes: list[Change]) -> list[CommitResult]:
        return [CommitResult(fate) for _ in changes]

    replica.store.commit = commit  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("fate", [Fate.UNAVAILABLE, Fate.UNKNOWN])
def test_a_leader_whose_commits_fail_makes_room_for_one_whose_commits_do_not(fate: Fate) -> None:
    world = world_of()
    powerless = world.leader
    deny_commits(powerless, fate)
    world.intake.submit(ORDER)
    assert pass_time(world, POWERLESS_S - SOON_S) == [powerless.name]
    pass_time(world, 3 * SOON_S)
    assert world.leader is not powerless
    assert world.saga(ORDER).status is S.ASSIGNED and not world.leader.core.view.breakers
    assert powerless.core.usefulness.ailing is Ailment.POWERLESS


def test_one_commit_of_unknown_fate_is_no_lasting_failure() -> None:
    world = world_of()
    leader, honest = world.leader, world.leader.store.commit
    deny_commits(leader, Fate.UNKNOWN)
    world.intake.submit(ORDER)
    world.run()
    leader.store.commit = honest  # type: ignore[method-assign]
    assert pass_time(world, 10 * POWERLESS_S) == [leader.name]


def test_failures_that_lie_hours_apart_are_no_lasting_trouble() -> None:
    world = world_of()
    leader, honest = world.leader, world.leader.store.commit
    for number in (1, 2):
        deny_commits(leader, Fate.UNAVAILABLE)
        world.intake.submit(make_order(number))
        world.run()
        leader.store.commit = honest  # type: ignore[method-assign]
        assert pass_time(world, 4 * POWERLESS_S) == [leader.name]
    assert not said(leader)


def test_a_leader_stays_beside_a_full_store_in_which_nobody_else_could_be_elected() -> None:
    world = world_of()
    leader = world.leader
    deny_commits(leader, Fate.UNAVAILABLE)
    leader.core.retention.space_seen(1.0)
    world.intake.submit(ORDER)
    assert pass_time(world, 3 * POWERLESS_S) == [leader.name]
    leader.core.retention.space_seen(0.5)
    pass_time(world, SOON_S)
    assert world.leader is not leader


def test_a_pause_between_resignations_outlasts_the_longest_grace_period() -> None:
    judge = Usefulness()
    senses = LeaderSenses(1, True, False, 1, float("-inf"), True, 0.0, grace_s=7200.0)
    resigned_at = []
    for second in range(0, 40_000, 10):
        if judge.judge(senses, Instant(float(second), float(second)))[1]:
            resigned_at.append(second)
    assert max(after - before for before, after in pairwise(resigned_at)) >= 7200.0


def test_a_term_that_does_good_makes_the_next_resignation_as_quick_as_the_first() -> None:
    world = world_of()
    pass_time(world, 5.0)
    for number in range(1, 4):
        world.intake.submit(make_order(number))
        world.run()
        deaf, other = world.leader, next(r for r in world.replicas if r is not world.leader)
        pass_time(world, DEAF_S + SOON_S, heard_by=[other])
        assert world.leader is other
        assert pass_time(world, 5 * RESIGN_AGAIN_S) == [other.name]
        assert deaf.core.usefulness.ailing is None
