"""A drone that a person took out: it says so at once, and its mark survives its process and its journal."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from scenes import assign, carrying, reports, say
from world import World, make_order, make_report

from drone_orchestrator.core.reasons import OUT_OF_SERVICE
from drone_orchestrator.core.types import DroneReport, Phase, SagaStatus
from drone_orchestrator.runtime.drone_driver import out_of_service
from drone_orchestrator.runtime.out_of_service import OutOfServiceMark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drones" / "drone_1.out_of_service"


def test_the_mark_survives_the_process_until_it_is_lifted(path: Path) -> None:
    mark = OutOfServiceMark(path, wall_clock=lambda: 17.0)
    assert not mark.is_set
    mark.set()
    assert OutOfServiceMark(path).is_set
    assert json.loads(path.read_text())["since"] == 17.0
    mark.lift()
    mark.lift()
    assert not OutOfServiceMark(path).is_set


def test_a_mark_that_is_set_keeps_its_time(path: Path) -> None:
    OutOfServiceMark(path, wall_clock=lambda: 1.0).set()
    OutOfServiceMark(path, wall_clock=lambda: 2.0).set()
    assert json.loads(path.read_text())["since"] == 1.0


@pytest.mark.parametrize("content", [b"", b"\0\0", b"{"])
def test_a_damaged_mark_still_counts(path: Path, content: bytes) -> None:
    OutOfServiceMark(path).set()
    path.write_bytes(content)
    assert OutOfServiceMark(path).is_set


def test_the_mark_and_its_removal_are_on_disk_when_the_call_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = OutOfServiceMark(path)
    synced: list[list[str]] = []
    fsync = os.fsync

    def record(fd: int) -> None:
        folder = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if folder == path.parent:
            synced.append(sorted(entry.name for entry in folder.iterdir()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    mark.set()
    assert synced[-1] == [path.name]
    mark.lift()
    assert synced[-1] == []


# --- its report -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.RETURNING, Phase.UNSPECIFIED])
def test_a_drone_without_a_goal_says_that_it_takes_none(phase: Phase) -> None:
    said = out_of_service(make_report(phase=phase))
    assert (said.phase, said.grounded_reason) == (Phase.GROUNDED, OUT_OF_SERVICE)


def test_a_drone_with_a_goal_reports_what_it_does_until_the_goal_has_ended() -> None:
    report = carrying(make_order())
    assert out_of_service(report) == report


def test_a_drone_that_is_grounded_for_a_fault_keeps_its_reason() -> None:
    report = make_report(phase=Phase.GROUNDED, grounded_reason="motor_failure")
    assert out_of_service(report) == report


# --- its leader -------------------------------------------------------------------------------------------------------


def taken_out(drone_id: str = "drone_1") -> DroneReport:
    return out_of_service(make_report(drone_id, phase=Phase.RETURNING))


def test_a_drone_that_was_taken_out_gets_no_order_and_loses_no_credit() -> None:
    """It refused goals while it said RETURNING: the order failed with all attempts used, and its breaker opened."""
    world, order = World(), make_order()
    world.run()
    world.intake.submit(order)
    world.pass_time(30.0, hear=[taken_out()])
    assert world.leader.core.view.reservations == {}
    assert world.leader.core.view.breaker_of("drone_1") is None
    assert [event.type for event in world.intake.events("m1")] in ([], ["accepted"])
    world.pass_time(3.0, hear=[taken_out(), make_report("drone_2")])
    assert (world.saga(order).drone_id, world.saga(order).attempt) == ("drone_2", 1)


def test_an_order_that_was_just_assigned_to_it_moves_on_at_once() -> None:
    world = World()
    order = assign(world, make_order())
    say(world, taken_out())
    assert world.saga(order).status is SagaStatus.PENDING
    assert world.leader.core.view.breaker_of("drone_1") is None
    assert reports(world, "error") == []


def test_it_is_free_again_when_a_person_brings_it_back() -> None:
    world, order = World(), make_order()
    say(world, taken_out())
    world.intake.submit(order)
    world.pass_time(3.0, hear=[taken_out()])
    say(world, replace(taken_out(), phase=Phase.RETURNING, grounded_reason=""))
    assert world.saga(order).drone_id == "drone_1"
