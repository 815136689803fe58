"""Records of this version and of a newer one: what is not understood is kept, and nothing is thrown away.

``versions/today.journal`` is a drone's journal with every entry, as this version wrote it. ``newer.journal`` is the
same with fields, entries and a priority that only a newer version knows. ``newer_records.json`` has a record of every
kind in the store, with fields added at every level. None of them is ever rewritten.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scenes import dispatch, done, flying, say
from world import World, make_order, make_report

from drone_orchestrator.core.drone.events import Cleared, Closed, EpochRaised
from drone_orchestrator.core.drone.state import fold
from drone_orchestrator.core.types import Breaker, Corrupt, Kind, Order, Outcome, Phase, Reservation, Saga, SagaEvent
from drone_orchestrator.ros import messages
from drone_orchestrator.runtime.drone_journal import CRITICAL, DroneJournal, encode, read_entries
from drone_orchestrator.runtime.journal import Journal, JournalUnusable, read, record_line
from drone_orchestrator.store import codec
from drone_orchestrator.store.keys import Keys
from drone_orchestrator.store.kv import Put
from drone_orchestrator.store.memory import MemoryDriver

VERSIONS = Path(__file__).resolve().parent / "versions"
RECORDS = json.loads((VERSIONS / "newer_records.json").read_text(encoding="utf-8"))
KEYS = Keys(RECORDS["region"])
#: Records that one version writes and another rewrites or archives.
REWRITTEN = (Order, Saga, Reservation, Breaker, SagaEvent)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d1.journal"


def copy(name: str, path: Path) -> list[dict[str, Any]]:
    """Put a recorded journal in place, and return its records."""
    path.write_bytes((VERSIONS / name).read_bytes())
    return list(read(path).records)


# --- journals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["today.journal", "newer.journal"])
def test_a_journal_of_either_version_is_remembered(name: str, path: Path) -> None:
    copy(name, path)
    journal = DroneJournal.open(path)
    assert journal.identity == "4f1d7c1e-6c9a-4b0a-9f0e-0d5b7a1c2e3f"
    assert journal.damage is None
    assert journal.durable == fold(read_entries(VERSIONS / "today.journal")[1])
    journal.close()


def test_this_version_writes_what_the_recorded_journal_has() -> None:
    records = read(VERSIONS / "today.journal").records
    assert [encode(entry) for entry in read_entries(VERSIONS / "today.journal")[1]] == list(records)


@pytest.mark.parametrize("name", ["today.journal", "newer.journal"])
def test_going_back_and_forth_loses_nothing(name: str, path: Path) -> None:
    """This version opens, appends to and reopens the journal; then the other version finds all of its own records."""
    before = copy(name, path)
    header = path.read_bytes().split(b"\n")[0]
    journal = DroneJournal.open(path, compact_above=5)
    journal.append(EpochRaised(9))
    journal.close()
    DroneJournal.reopen(path).close()
    if name == "newer.journal":
        assert list(read(path).records) == [*before, encode(EpochRaised(9))]
    assert path.read_bytes().split(b"\n")[0] == header
    assert fold(read_entries(path)[1]).highest_epoch == 9


def test_an_outcome_of_a_newer_version_stays_in_the_journal_and_is_not_reported_as_another(path: Path) -> None:
    copy("newer.journal", path)
    journal = Journal.open(path)
    journal.append({**encode(Closed("x", 1, Outcome.DELIVERED, 1.0)), "outcome": 77})
    journal.close()
    again = DroneJournal.open(path)
    assert again.damage is None
    assert again.durable.outcomes[-1].outcome is Outcome.UNSPECIFIED
    again.close()
    assert read(path).records[-1]["outcome"] == 77


def test_an_entry_that_must_not_be_skipped_keeps_the_drone_on_the_ground_and_its_memory_whole(path: Path) -> None:
    copy("today.journal", path)
    with path.open("ab") as out:
        out.write(record_line({"entry": "HandedOver", CRITICAL: True}))
    before = path.read_bytes()
    with pytest.raises(JournalUnusable, match="newer version"):
        DroneJournal.open(path)
    assert path.read_bytes() == before
    assert list(path.parent.glob("*.corrupt-*")) == []
    with pytest.raises(JournalUnusable, match="newer version"):  # and the lock is free for the next attempt
        DroneJournal.open(path)


def test_a_newer_journal_that_does_not_follow_for_this_version_is_not_thrown_away(path: Path) -> None:
    before = copy("newer.journal", path)
    with path.open("ab") as out:
        out.write(record_line(encode(Cleared("nobody", 1, 5))))
    with pytest.raises(JournalUnusable, match="newer version"):
        DroneJournal.open(path)
    assert list(read(path).records)[:-1] == before


# --- the store --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", RECORDS["records"], ids=lambda row: row[0])
def test_a_record_of_a_newer_version_is_read_and_written_back_whole(row: list[Any]) -> None:
    key, document, leased = row
    kind, id_ = KEYS.parse(key)
    value = codec.decode(kind, id_, json.dumps(document).encode(), leased)
    assert not isinstance(value, Corrupt)
    if isinstance(value, REWRITTEN):
        assert json.loads(codec.encode(value)) == document


def test_the_newer_records_have_every_kind_that_is_rewritten() -> None:
    kinds = {KEYS.parse(key)[0] for key, _, _ in RECORDS["records"]}
    assert {Kind.INBOX_ORDER, Kind.SAGA, Kind.EVENT, Kind.ASSIGNMENT, Kind.BREAKER} <= kinds


class Newer:
    """A newer program beside a leader of this version: it adds a field to every record of an order."""

    def __init__(self, world: World) -> None:
        self.added = {"recipient": "Ada", "pads": [1, {"at": 2.5}]}
        self._driver = MemoryDriver(world.backend, "newer")

    def read(self, name: str) -> dict[str, Any]:
        key = f"/drone_orchestrator/sf/{name}"
        return dict(json.loads(self._driver.read([key]).found[key].value))

    def extend(self, name: str) -> None:
        key = f"/drone_orchestrator/sf/{name}"
        found = self._driver.read([key]).found[key]
        value = json.dumps({**json.loads(found.value), **self.added}).encode()
        self._driver.txn([], [Put(key, value, found.lease)])

    def keeps(self, document: dict[str, Any]) -> bool:
        return all(document.get(name) == value for name, value in self.added.items())


def test_a_leader_of_this_version_carries_a_newer_versions_fields_from_the_inbox_to_the_end() -> None:
    world = World()
    world.run()
    newer = Newer(world)
    document = {
        **json.loads(codec.encode(make_order(1))),
        **newer.added,
    }
    document["destination"]["alt_m"] = 30.0
    index = json.dumps({"message_id": "m1"}).encode()
    MemoryDriver(world.backend, "newer").txn(
        [],
        [
            Put("/drone_orchestrator/sf/inbox/orders/m1", json.dumps(document).encode()),
            Put("/drone_orchestrator/sf/orders/ORD-1", index),
        ],
    )
    say(world, make_report())
    order = codec.decode(Kind.INBOX_ORDER, "m1", json.dumps(document).encode())
    assert isinstance(order, Order)
    for name in ("sagas/m1", "assignments/drone_1"):
        newer.extend(name)
    world.run()
    world.accept_goals()
    world.ask_clearance(1, "drone_1", order, 1)
    assert newer.keeps(newer.read("assignments/drone_1"))
    say(world, flying(order))
    say(world, done(order, Outcome.DELIVERED))
    saga = newer.read("sagas/m1")
    assert saga["status"] == "DELIVERED"
    assert newer.keeps(saga)
    assert newer.keeps(saga["order"])
    assert saga["order"]["destination"]["alt_m"] == 30.0
    assert newer.keeps(newer.read("events/m1/000001")["order"])


def test_the_breaker_of_a_drone_keeps_a_newer_versions_fields() -> None:
    world = World()
    world.run()
    newer = Newer(world)
    raw = json.dumps({"v": 1, "drone_id": "drone_1", "state": "closed", "epoch": 1, "failures": 1, **newer.added})
    MemoryDriver(world.backend, "newer").txn([], [Put("/drone_orchestrator/sf/breakers/drone_1", raw.encode())])
    world.run()
    order = dispatch(world, make_order())
    say(world, done(order, Outcome.FAULT_BEFORE_LOADING, phase=Phase.GROUNDED))
    breaker = newer.read("breakers/drone_1")
    assert breaker["failures"] == 2
    assert newer.keeps(breaker)


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_drone_in_a_phase_of_a_newer_version_is_known_and_gets_no_goal() -> None:
    msg = messages.report_to_msg(done(make_order(2), Outcome.DELIVERED), 1.0)
    msg.phase = 99
    msg.outcomes[0].outcome = 99
    report = messages.report_from_msg(msg)
    assert (report.drone_id, report.phase, report.outcomes) == ("drone_1", Phase.UNSPECIFIED, ())
    world = World()
    say(world, report)
    world.intake.submit(make_order(1))
    world.pass_time(10.0, hear=[report])
    assert "drone_1" in world.leader.core.dispatcher._state.drones
    assert world.leader.core.view.reservations == {}
