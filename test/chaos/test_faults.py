"""The schedule of faults: fair, bounded, and the same for the same seed."""

from __future__ import annotations

from itertools import pairwise

from drone_orchestrator.bringup.plan import FleetOptions, processes
from drone_orchestrator.cli.commands import fault_kinds
from drone_orchestrator.cli.trial import faults

FLEET = processes(FleetOptions(drones=6))
KINDS = tuple(fault_kinds.KINDS)


def test_equal_seeds_give_equal_schedules_and_others_differ() -> None:
    assert faults.schedule(7, 60.0, KINDS, FLEET, 3) == faults.schedule(7, 60.0, KINDS, FLEET, 3)
    assert faults.schedule(7, 60.0, KINDS, FLEET, 3) != faults.schedule(8, 60.0, KINDS, FLEET, 3)


def test_every_kind_comes_before_one_repeats() -> None:
    kinds = [plan.kind for plan in faults.schedule(3, 300.0, KINDS, FLEET, 1)]
    rounds = [kinds[i : i + len(KINDS)] for i in range(0, len(kinds) - len(KINDS) + 1, len(KINDS))]
    assert len(rounds) > 10
    assert all(sorted(each) == sorted(KINDS) for each in rounds)


def test_faults_are_in_order_of_time_and_none_begins_after_the_end() -> None:
    plans = faults.schedule(4, 120.0, KINDS, FLEET, 1)
    assert all(first.at_s < second.at_s for first, second in pairwise(plans))
    assert plans[-1].at_s < 120.0 and len(plans) > 40


def test_only_chosen_kinds_come_and_each_hits_a_process_that_it_can_affect() -> None:
    names = {spec.name: spec.role for spec in FLEET}
    for plan in faults.schedule(5, 600.0, ("hang", "etcd_cut", "dds_cut"), FLEET, 1):
        assert plan.kind in ("hang", "etcd_cut", "dds_cut")
        role = "orchestrator" if plan.target == faults.LEADER else names[plan.target]
        if plan.kind == "dds_cut":
            assert role == "drones"
        if plan.kind == "etcd_cut":
            assert role != "drones", "drones have no connection to etcd"


def test_of_three_members_the_leader_one_and_the_quorum_are_hit_in_turn() -> None:
    plans = faults.schedule(6, 300.0, ("etcd_kill", "etcd_pause"), FLEET, 3)
    assert [plan.target for plan in plans[:6]] == [faults.LEADER, faults.ONE, faults.QUORUM] * 2
