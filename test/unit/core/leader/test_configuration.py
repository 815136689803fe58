"""Replicas that differ: a leader ends no order, and drops no reservation, because its own configuration is old."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import COURIER, FLEET, World, make_order, make_report

from drone_orchestrator.core.leader.configuration import NOTE, Agreement, Configuration
from drone_orchestrator.core.leader.effects import Report
from drone_orchestrator.core.policies import DispatchPolicy
from drone_orchestrator.core.types import Entry, Kind, Order, Phase, SagaStatus, Snapshot
from drone_orchestrator.core.view import FleetView

S = SagaStatus
XL = replace(COURIER, name="xl", max_payload_kg=20.0, battery_wh=5000.0)
NEW_FLEET = replace(FLEET, classes=(COURIER, XL))
NEW = Configuration(0, 2, "new", 10.0)


def heavy(number: int = 1) -> Order:
    return make_order(number, drone_class="xl", package_weight_kg=10.0)


def next_leader(world: World, configuration: Configuration | None, **options: object) -> None:
    """Replace the leader by a replica with another configuration."""
    for replica in list(world.replicas):
        world.crash(replica)
    world.add_replica("next", configuration=configuration, **options)  # type: ignore[arg-type]
    world.pass_time(12.0)


def reported(world: World) -> list[str]:
    return [effect.text for effect in world.leader.take(Report) if isinstance(effect, Report)]


@pytest.fixture
def world() -> World:
    """A world whose leader has the new fleet description, and an order that only the new class can fly."""
    world = World(replicas=0)
    world.add_replica("first", fleet=NEW_FLEET, configuration=NEW)
    world.run()
    world.intake.submit(heavy())
    world.run()
    assert world.saga(heavy()).status is S.PENDING
    return world


@pytest.mark.parametrize("version", [1, 2])
def test_a_leader_with_an_older_fleet_description_fails_no_order_that_it_cannot_fly(world: World, version: int) -> None:
    next_leader(world, Configuration(0, version, "old", 10.0))
    assert world.saga(heavy()).status is S.PENDING
    assert any("no order is ended because of it" in text for text in reported(world))
    assert world.leader.core.agreement.objection
    next_leader(world, NEW, fleet=NEW_FLEET)
    world.hear(make_report("drone_9", drone_class="xl", energy_wh=5000.0))
    world.run()
    assert world.saga(heavy()).status is S.ASSIGNED


def test_a_leader_with_the_newest_fleet_description_fails_what_no_drone_can_fly(world: World) -> None:
    next_leader(world, Configuration(0, 3, "newest", 10.0))
    assert (world.saga(heavy()).status, world.saga(heavy()).reason) == (S.FAILED, "no_capable_drone")
    noted = world.leader.core.view.notes[NOTE].value
    assert (noted.version, noted.digest) == (3, "newest")  # type: ignore[attr-defined]


def test_an_older_leader_still_cancels_and_assigns_what_it_can(world: World) -> None:
    next_leader(world, Configuration(0, 1, "old", 10.0))
    world.intake.submit(make_order(2))
    world.hear(make_report())
    world.run()
    assert world.saga(make_order(2)).status is S.ASSIGNED


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        (Configuration(0, 0, "same", 600.0), (S.DISPATCHED, 1)),
        (Configuration(0, 1, "newer", 600.0), (S.DISPATCHED, 1)),
        (None, (S.PENDING, 1)),  # a replica that compares nothing loses the reservation
    ],
)
def test_reservations_are_renewed_in_time_whatever_lease_a_successor_would_give_them(
    own: Configuration | None, kept: tuple[SagaStatus, int]
) -> None:
    """The leader grants leases of 9 s; its successor has a reservation_ttl_s of 600 s in its parameters."""
    world = World(replicas=0, dispatch=DispatchPolicy(keep_reservation_s=1.8))
    world.add_replica("first", configuration=Configuration(0, 0, "same", 9.0), reservation_ttl_s=9.0)
    world.run()
    order = make_order(1)
    world.intake.submit(order)
    world.hear(make_report())
    world.run()
    world.accept_goals()
    flying = make_report(phase=Phase.TO_PICKUP, message_id="m1", attempt=1)
    world.pass_time(5.0, hear=[flying])
    world.dispatch = DispatchPolicy(keep_reservation_s=120.0)
    world.add_replica("next", configuration=own, reservation_ttl_s=600.0)
    if own is None:
        world.replicas[-1].core.agreement = Agreement(FleetView(), None)
    world.crash(world.replicas[0])
    world.pass_time(24.0, hear=[flying])
    assert world.leader.name == "next"
    assert (world.saga(order).status, world.saga(order).attempt) == kept


@pytest.mark.parametrize(
    ("own", "newest", "objection"),
    [
        (None, NEW, ""),
        (NEW, None, ""),
        (NEW, NEW, ""),
        (replace(NEW, version=3, digest="later"), NEW, ""),
        (replace(NEW, digest="other"), NEW, "differs from the fleet's, and both have version 2"),
        (replace(NEW, version=1, digest="other"), NEW, "has version 1, the fleet's has 2"),
        (replace(NEW, version=1), NEW, ""),
    ],
)
def test_the_newest_configuration_is_of_the_highest_version_or_was_first(
    own: Configuration | None, newest: Configuration | None, objection: str
) -> None:
    entries = () if newest is None else (Entry(Kind.NOTE, NOTE, newest, 3),)
    said = Agreement(FleetView.of(Snapshot(5, entries)), own).objection
    assert objection in said and bool(said) is bool(objection)
