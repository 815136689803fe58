"""Whenever a region dies, a new leader and the drones' journals bring every order to its end.

One run with every kind of step is recorded, with the drones as they were at each revision. Then for each revision a
store is built that stopped there, the drones' programs start from their journals, and a fresh replica takes over.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cache

import pytest
from aircraft import Airframe, Packages
from fleet import Fleet
from world import make_order

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.drone.events import Entry
from drone_orchestrator.core.types import CancelRequest, CommandAction, GeoPoint, OperatorCommand, SagaStatus
from drone_orchestrator.store import MemoryBackend
from drone_orchestrator.store.kv import Delete, Op, Put, RawChange
from drone_orchestrator.store.memory import MemoryDriver


@dataclass(frozen=True)
class Instant:
    """The world outside the store at the moment when a revision was written."""

    mono_s: float
    packages: Packages
    drones: dict[str, tuple[tuple[Entry, ...], Airframe]]


@dataclass(frozen=True)
class Recording:
    changes: tuple[RawChange, ...]
    instants: dict[int, Instant]


class Recorded(Fleet):
    """A fleet that records the state of its drones at every revision."""

    def __init__(self) -> None:
        super().__init__(replicas=2, drones=2)
        self.instants: dict[int, Instant] = {}
        self.backend._on_change = self._note

    def _note(self) -> None:
        drones = {id_: (tuple(d.entries), copy(d.airframe)) for id_, d in self.drones.items()}
        self.instants[self.backend.revision] = Instant(self.mono_s, self.packages.copy(), drones)


@cache
def recording() -> Recording:
    """Record a run in which every event type of the saga occurs."""
    fleet = Recorded()
    fleet.fly(2)
    for number in (1, 2, 3):  # one is delivered, one cancelled on its way, one waits and is cancelled
        fleet.intake.submit(make_order(number))
    fleet.fly(2)
    fleet.intake.request_cancel(CancelRequest("m3", fleet.now.wall_s))
    _until(fleet, "m2", SagaStatus.IN_TRANSIT)
    fleet.intake.request_cancel(CancelRequest("m2", fleet.now.wall_s))
    fleet.fly(24)
    fleet.intake.submit(make_order(4, package_weight_kg=50.0))  # no drone can fly it
    fleet.intake.submit(make_order(5))  # its drone breaks down with the package
    _until(fleet, "m5", SagaStatus.IN_TRANSIT)
    drone = fleet.drones[str(fleet.sagas()["m5"].drone_id)]
    drone.airframe.fault = "motor"
    fleet.fly(70)
    fleet.intake.request_command(OperatorCommand("m5", CommandAction.RETRY, fleet.now.wall_s, "a person"))
    fleet.fly(70)
    fleet.answer_parked("m5")
    fleet.crash(fleet.leaders()[0])  # in the middle of the run
    fleet.fly(20)
    fleet.lift(drone)
    fleet.intake.submit(make_order(6, pickup=GeoPoint(37.76, -122.40)))  # its drone dies before it loads
    fleet.fly(2)
    fleet.drones[str(fleet.sagas()["m6"].drone_id)].die()
    fleet.fly(20)
    fleet.calm_down()
    seen = {e.value.type for c in fleet.history for e in c.entries if e.kind == "events" and e.value}
    assert seen == {type_ for _, type_ in sagas.TRANSITIONS}
    assert fleet.verdict(complete=True).violations == ()
    return Recording(tuple(fleet.backend._changes), fleet.instants)


def _until(fleet: Fleet, message_id: str, status: SagaStatus) -> None:
    for _ in range(60):
        if message_id in fleet.sagas() and fleet.sagas()[message_id].status is status:
            return
        fleet.fly()
    raise AssertionError(f"{message_id} never became {status.value}: {fleet.sagas()}")


def stopped_at(revision: int, instant: Instant) -> Fleet:
    """Return a region whose processes all died at ``revision``, with drones as of ``instant`` and one new replica."""
    backend = MemoryBackend(lambda: instant.mono_s, threaded=False)
    driver = MemoryDriver(backend, "recording")
    for change in recording().changes:
        if change.revision <= revision:
            ops: list[Op] = []
            for key, kv in change.keys:
                lease = driver.grant_leases(5.0, 1)[0] if kv is not None and kv.lease else 0
                ops.append(Delete(key) if kv is None else Put(key, kv.value, lease))
            assert driver.txn([], ops).revision == change.revision
    fleet = Fleet(replicas=0, drones=len(instant.drones), backend=backend)
    fleet.mono_s = instant.mono_s
    backend._clock = lambda: fleet.mono_s
    fleet.packages.places.update(instant.packages.places)
    fleet.packages.drops.update(instant.packages.drops)
    fleet.packages.destinations.update(instant.packages.destinations)
    for id_, (entries, airframe) in instant.drones.items():
        fleet.drones[id_].restore(entries, airframe)
    fleet.another_replica()
    return fleet


@pytest.mark.parametrize("later", [False, True], ids=["as_it_is_written", "just_before_the_next"])
def test_every_order_ends_after_a_restart_from_any_revision(later: bool) -> None:
    recorded = recording()
    last = recorded.changes[-1].revision
    for change in recorded.changes:
        fleet = stopped_at(change.revision, recorded.instants[min(change.revision + later, last)])
        fleet.calm_down()
        report = fleet.verdict(complete=True)
        assert report.violations == (), f"stopped at revision {change.revision}: {report.violations}"
        assert all(saga.status.is_terminal for saga in fleet.sagas().values())
        assert all(count == 1 for count in fleet.packages.drops.values() if count)
