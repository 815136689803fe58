"""A store that is not the one it was holds the fleet: nothing is commanded until a person lifts that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import Replica, World, make_order, make_report

from drone_orchestrator.core.leader.effects import SendGoal
from drone_orchestrator.core.types import DroneReport, FleetIdentity
from drone_orchestrator.core.view import epoch_of, split_epoch
from drone_orchestrator.ports import StoreHeld
from drone_orchestrator.store import MemoryStore
from drone_orchestrator.store.codec import encode
from drone_orchestrator.store.kv import Delete, Put

EMPTIED, OLDER, RAISED = "emptied", "restored", "restored and raised"


def fleet_of(world: World) -> FleetIdentity:
    found = [e.value for e in world.intake.snapshot().entries if isinstance(e.value, FleetIdentity)]
    return found[0]


def running(replicas: int = 2) -> tuple[World, DroneReport, int]:
    """Return a world with a leader, a drone of its fleet, and the revision of a backup of it."""
    world = World(replicas)
    world.pass_time(5.0)
    report = make_report(fleet_id=fleet_of(world).fleet_id, highest_epoch=world.leader.core.epoch)
    world.pass_time(2.0, hear=[report])
    return world, report, world.backend.revision


def go_back(world: World, how: str, backup: int) -> None:
    world.backend.restore(1 if how is EMPTIED else backup, 200 if how is RAISED else 0)


def goals(world: World) -> int:
    return sum(len(replica.take(SendGoal)) for replica in world.replicas)


def lift(world: World, generation: int) -> None:
    store = world.intake
    entry = next(e for e in store.snapshot().entries if isinstance(e.value, FleetIdentity))
    assert isinstance(entry.value, FleetIdentity)
    lead = store.snapshot().log_lead
    assert store.lift(replace(entry.value, held="", generation=generation, log_lead=lead), entry.mod_revision)
    store.snapshot()


@pytest.mark.parametrize("how", [EMPTIED, OLDER, RAISED])
def test_a_store_that_went_back_holds_the_fleet_and_keeps_its_identity(how: str) -> None:
    world, report, backup = running()
    identity, epoch = fleet_of(world), world.leader.core.epoch
    world.intake.submit(make_order(1))
    world.pass_time(5.0, hear=[report])
    assert goals(world) > 0
    go_back(world, how, backup)
    world.pass_time(15.0, hear=[report])
    held = fleet_of(world)
    assert held.fleet_id == identity.fleet_id and held.held
    assert world.leader.core.held == held.held
    lift(world, 1)
    world.intake.submit(make_order(2))
    world.pass_time(30.0, hear=[report])
    assert goals(world) > 0
    assert split_epoch(world.leader.core.epoch)[0] == 1 and world.leader.core.epoch > epoch
    assert not any(replica.core.held for replica in world.replicas)


@pytest.mark.parametrize("how", [OLDER, RAISED])
def test_nothing_is_commanded_on_a_restored_state(how: str) -> None:
    world, report, _ = running()
    world.intake.submit(make_order(1))
    backup = world.backend.revision
    world.pass_time(5.0, hear=[report])
    assert goals(world) > 0
    go_back(world, how, backup)
    world.pass_time(60.0, hear=[report])
    assert goals(world) == 0


@pytest.mark.parametrize("how", [OLDER, RAISED])
def test_replicas_that_start_on_a_restored_store_hold_the_fleet(how: str) -> None:
    world, report, _ = running()
    world.intake.submit(make_order(1))
    backup = world.backend.revision
    for replica in list(world.replicas):
        world.crash(replica)
    go_back(world, how, backup)
    world.pass_time(20.0)
    started: Replica = world.add_replica("orchestrator_new")
    world.pass_time(60.0, hear=[report])
    assert fleet_of(world).held
    assert started.core.role.value == "leader" and goals(world) == 0


def test_a_drone_that_obeyed_a_later_epoch_holds_the_fleet() -> None:
    world, report, _ = running()
    world.pass_time(5.0, hear=[replace(report, highest_epoch=epoch_of(0, 5000))])
    assert "epoch 5000" in fleet_of(world).held
    MemoryStore(world.backend, "sf", "late").submit(make_order(1))  # this client has not read the hold
    world.pass_time(10.0, hear=[report])
    assert goals(world) == 0


def test_a_drone_of_another_fleet_holds_nothing() -> None:
    world, report, _ = running()
    world.pass_time(5.0, hear=[replace(report, highest_epoch=5000, fleet_id="another")])
    assert fleet_of(world).held == ""


def test_a_leader_that_was_replaced_does_not_hold_the_fleet() -> None:
    world, report, _ = running()
    old = world.leader
    world.backend.set_available(False, old.name)
    world.backend.expire_lease_of("/drone_orchestrator/sf/leader")
    world.pass_time(1.0, hear=[report])
    later = next(r for r in world.replicas if r is not old).core.epoch
    assert later > report.highest_epoch
    world.pass_time(3.0, hear=[replace(report, highest_epoch=later)])
    world.backend.set_available(True, old.name)
    world.pass_time(10.0, hear=[replace(report, highest_epoch=later)])
    assert fleet_of(world).held == ""


def test_a_held_fleet_takes_no_orders() -> None:
    world, report, _ = running()
    world.pass_time(5.0, hear=[replace(report, highest_epoch=epoch_of(0, 5000))])
    world.intake.snapshot()
    with pytest.raises(StoreHeld, match="held"):
        world.intake.submit(make_order(1))
    answers = world.intake.submit_all([make_order(1), make_order(2)])
    assert all(isinstance(answer, StoreHeld) for answer in answers)


def test_a_gap_in_the_watch_is_not_taken_for_another_store() -> None:
    world, report, _ = running()
    for number in range(3):
        world.intake.submit(make_order(number + 1))
        world.pass_time(3.0, hear=[report])
        world.backend.compact()
        world.backend.break_watches()
        world.pass_time(3.0, hear=[report])
    assert not any(replica.core.held for replica in world.replicas) and fleet_of(world).held == ""


# --- the key alone ----------------------------------------------------------------------------------------------------

DELETED, ANOTHER, OUTDATED = "deleted", "of another fleet", "of an older generation"


def change_identity(world: World, how: str) -> None:
    known, key = fleet_of(world), world.intake.keys.fleet
    values = {ANOTHER: replace(known, fleet_id="another"), OUTDATED: replace(known, generation=known.generation - 1)}
    op = Delete(key) if how is DELETED else Put(key, encode(values[how]))
    world.intake._driver.txn((), (op,))


@pytest.mark.parametrize("how", [DELETED, ANOTHER, OUTDATED])
def test_an_identity_that_changes_under_a_running_fleet_holds_it(how: str) -> None:
    """Nothing happened, until the next leader gave the region a new identity that no drone obeyed."""
    world, report, _ = running()
    lift(world, 1)
    world.pass_time(5.0, hear=[report])
    known = fleet_of(world)
    change_identity(world, how)
    world.run()
    held = fleet_of(world)
    assert (held.fleet_id, held.generation) == (known.fleet_id, 1) and held.held
    MemoryStore(world.backend, "sf", "late").submit(make_order(1))  # this client has not read the hold
    world.pass_time(60.0, hear=[report])
    assert goals(world) == 0 and all(replica.core.held for replica in world.replicas)
    lift(world, 2)
    world.intake.submit(make_order(2))
    world.pass_time(30.0, hear=[report])
    assert goals(world) > 0 and fleet_of(world) == replace(known, generation=2)


def test_a_standby_that_takes_over_without_the_identity_restores_it_as_held() -> None:
    world, report, _ = running()
    known, keys = fleet_of(world), world.intake.keys
    world.crash(world.leader)
    (standby,) = world.replicas
    standby.store.hold = lambda *arguments: False  # type: ignore[method-assign] # only its campaign may write the key
    world.intake._driver.txn((), (Delete(keys.fleet), Delete(keys.leader)))
    world.pass_time(30.0, hear=[report])
    found = fleet_of(world)
    assert found.fleet_id == known.fleet_id and found.held
    assert world.leader is standby and goals(world) == 0


def test_an_identity_that_cannot_be_read_proves_nothing() -> None:
    world, report, _ = running()
    known = fleet_of(world)
    world.intake._driver.txn((), (Put(world.intake.keys.fleet, b"{}"),))
    world.pass_time(5.0, hear=[report])
    assert not any(replica.core.held for replica in world.replicas)
    world.intake._driver.txn((), (Put(world.intake.keys.fleet, encode(known)),))
    world.pass_time(5.0, hear=[report])
    assert not any(replica.core.held for replica in world.replicas)
