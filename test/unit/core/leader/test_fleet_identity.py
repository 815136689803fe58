"""The identity of a fleet: created by its first leader, part of each epoch, compared by each campaign."""

from __future__ import annotations

from dataclasses import replace

from world import World, make_order

from drone_orchestrator.core.types import FleetIdentity, Kind, LeaderRecord
from drone_orchestrator.core.view import LEAD_SLACK, epoch_of, split_epoch
from drone_orchestrator.store.codec import encode
from drone_orchestrator.store.kv import Put
from drone_orchestrator.store.reader import RESTORED

PREFIX = "/drone_orchestrator/sf/"


def put(world: World, key: str, value: FleetIdentity | bytes) -> None:
    raw = value if isinstance(value, bytes) else encode(value)
    world.intake._driver.txn((), (Put(PREFIX + key, raw),))


def test_an_epoch_orders_by_generation_and_then_by_revision() -> None:
    assert epoch_of(0, 17) == 17
    assert split_epoch(epoch_of(3, 17)) == (3, 17)
    assert epoch_of(1, 1) > epoch_of(0, 1 << 43)


def test_the_first_leader_creates_the_identity_in_the_transaction_of_its_election() -> None:
    world = World(2)
    world.pass_time(5.0)
    view = world.leader.core.view
    assert view.fleet is not None and view.fleet.generation == 0
    assert view.fleet_key is not None and view.fleet_key.mod_revision == view.leader_epoch


def test_a_later_leader_keeps_the_identity() -> None:
    world = World(2)
    world.pass_time(5.0)
    first = world.leader.core.view.fleet
    world.crash(world.leader)
    world.pass_time(30.0)
    assert world.leader.core.view.fleet == first


def test_a_region_stored_before_there_were_identities_gets_one_from_its_next_leader() -> None:
    world = World(0)
    store = world.intake
    old = store.campaign(LeaderRecord("old", "old-1", 0.0), 5.0)
    assert old and FleetIdentity not in {type(entry.value) for entry in store.snapshot().entries}
    world.add_replica("a")
    world.pass_time(30.0)
    view = world.leader.core.view
    assert view.fleet is not None and world.leader.core.epoch > old


def test_the_generation_is_part_of_the_epoch_but_not_of_the_fence() -> None:
    world = World(1)
    world.pass_time(5.0)
    known = world.leader.core.view.fleet
    assert known is not None
    put(world, "fleet", replace(known, generation=2))
    world.backend.expire_lease_of(PREFIX + "leader")
    world.pass_time(10.0)
    core = world.leader.core
    generation, revision = split_epoch(core.epoch)
    assert generation == 2
    assert core.view.leader_key is not None and core.view.leader_key.mod_revision == revision
    assert core.view.leader_epoch == core.epoch


def test_no_replica_is_elected_while_the_identity_cannot_be_read() -> None:
    world = World(1)
    world.pass_time(5.0)
    known = world.leader.core.view.fleet
    assert known is not None
    put(world, "fleet", b"{}")
    world.backend.expire_lease_of(PREFIX + "leader")
    world.pass_time(20.0)
    core = world.replicas[0].core
    assert core.epoch == 0 and "fleet/" in core.view.corrupt
    deadline = core.election.next_deadline()
    assert deadline is not None and deadline > world.now.mono_s - 1.0, "it waits for the next try"
    put(world, "fleet", known)
    world.pass_time(10.0)
    assert world.leader.core.view.corrupt == {}


def test_a_campaign_fails_if_the_identity_is_not_the_known_one() -> None:
    world = World(0)
    store, mine = world.intake, LeaderRecord("a", "a-1", 0.0)
    assert store.campaign(mine, 5.0, 0, FleetIdentity("f"), 7) == 0
    epoch = store.campaign(mine, 5.0, 0, FleetIdentity("f"), 0)
    assert epoch
    store.resign(epoch)
    assert store.campaign(mine, 5.0, 0, FleetIdentity("g"), 0) == 0
    assert [entry.value for entry in store.snapshot().entries if entry.kind is Kind.FLEET] == [FleetIdentity("f")]


def test_a_new_fleet_in_a_restored_store_is_not_taken_for_restored_itself() -> None:
    """The lead as measured may be too high. A recorded one was the same, and the next lower one held the fleet."""
    world = World(0)
    world.intake.submit(make_order())
    world.backend.restore(world.backend.revision, 500)
    lead = world.backend.log_lead - 500
    world.backend._log_lead = lead
    world.add_replica("a")
    world.pass_time(10.0)
    world.backend._log_lead = lead - 3
    assert world.intake.snapshot().breach == ""
    fleet = world.leader.core.view.fleet
    assert fleet is not None and fleet.log_lead == lead - LEAD_SLACK
    world.backend._log_lead = lead - LEAD_SLACK - 1
    assert world.intake.snapshot().breach == RESTORED
