"""The evidence that ``fleetctl store restored`` takes from drones, journals and archive."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from world import World, make_order, make_report

from drone_orchestrator.cli.doctor import restored as module
from drone_orchestrator.cli.doctor.restored import Evidence, evidence, lift, to_close
from drone_orchestrator.cli.main import fleetctl
from drone_orchestrator.cli.output import Failure
from drone_orchestrator.core.types import DeliveryOutcome, FleetIdentity, Outcome
from drone_orchestrator.core.view import GENERATIONS, FleetView, epoch_of
from drone_orchestrator.verification.records import JournalHistory


def test_a_delivery_in_a_journal_or_a_report_ends_an_order() -> None:
    journal = JournalHistory("drone_1", "j", (("loaded", "m1", 1), ("dropped", "m1", 1), ("loaded", "m2", 1)), (3, 9))
    outcomes = (DeliveryOutcome("m3", 1, Outcome.DELIVERED), DeliveryOutcome("m4", 1, Outcome.RETURNED))
    known = evidence(None, [journal], [make_report(highest_epoch=7, outcomes=outcomes)])
    assert set(known.ended) == {"m1", "m3"}
    assert known.highest_epoch == 9


def test_only_orders_that_the_store_has_as_open_are_closed() -> None:
    world = World(0)
    order = make_order(1)
    world.intake.submit(order)
    known = Evidence({order.message_id: "delivered", "unknown": "delivered"}, 0)
    assert to_close(FleetView.of(world.intake.snapshot()), known) == {order.message_id: "delivered"}


def test_the_new_generation_is_above_those_that_drones_know() -> None:
    world = World(1)
    world.pass_time(5.0)
    order = make_order(1)
    world.intake.submit(order)
    before = world.leader.core.view.fleet
    assert lift(world.intake, {order.message_id: "delivered"}, Evidence({}, epoch_of(4, 17))) == 5
    view = FleetView.of(world.intake.snapshot())
    assert view.fleet is not None and before is not None
    assert view.fleet == FleetIdentity(before.fleet_id, 5)
    assert view.leadership is None and order.message_id in view.cancels
    world.pass_time(20.0)
    assert world.leader.core.epoch > epoch_of(4, 17)
    assert world.saga(order).status.value == "CANCELLED"


def test_an_impossible_epoch_raises_no_generation() -> None:
    world = World(1)
    world.pass_time(5.0)
    with pytest.raises(Failure, match="impossible epoch"):
        lift(world.intake, {}, Evidence({}, epoch_of(GENERATIONS - 1, 17)))


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, World]:
    world = World(1)
    world.pass_time(5.0)

    @contextmanager
    def opened(_: object):  # type: ignore[no-untyped-def]
        yield world.intake

    monkeypatch.setattr(module, "open_store", opened)
    done = CliRunner().invoke(fleetctl, ["store", "restored", "--yes", "--without-drones", *arguments])
    return done.exit_code, done.output, world


def test_a_folder_that_is_not_there_is_no_evidence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, said, world = _run(monkeypatch, "--journals", str(tmp_path / "jornals"))
    assert (code, world.leader.core.view.fleet.generation) == (2, 0)
    assert "is no folder" in said


def test_nothing_goes_on_while_evidence_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "drone_1.journal").write_bytes(b"no journal at all")
    code, said, world = _run(monkeypatch, "--journals", str(tmp_path))
    assert code == 2
    assert "drone_1.journal" in "".join(said.split())  # the line is wrapped anywhere
    assert "not all of the evidence could be read" in said
    view = FleetView.of(world.intake.snapshot())
    assert view.fleet is not None and view.fleet.generation == 0
