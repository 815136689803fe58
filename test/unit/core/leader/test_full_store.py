"""A store that fills up: ended orders leave early, and history is compacted, before it takes no writes any more."""

from __future__ import annotations

import pytest
from world import World, make_order, make_report

from drone_orchestrator.core.leader import retention as retention_module
from drone_orchestrator.core.leader.effects import Report
from drone_orchestrator.core.leader.events import SpaceSeen
from drone_orchestrator.core.leader.led_time import LedTime
from drone_orchestrator.core.leader.retention import COMPACT_PERIOD_S, FILLING, HISTORY_S
from drone_orchestrator.core.policies import RetentionPolicy
from drone_orchestrator.core.types import CancelRequest, Phase, SagaStatus
from drone_orchestrator.ports import HistoryGone, StoreUnavailable
from drone_orchestrator.verification.archives import ArchiveRecord
from drone_orchestrator.verification.checker import check

QUOTA_BYTES = 5_000_000
LEAST_S = 30.0
ORDERS = 2400


def serve_orders(world: World, *, measured: bool) -> float:
    """Let an order a second come and end. Return the largest share of the quota that was in use."""
    world.run()
    world.backend.quota_bytes = QUOTA_BYTES
    most, grounded = 0.0, make_report(phase=Phase.GROUNDED)
    for number in range(ORDERS):
        order = make_order(number)
        world.intake.submit(order)
        world.intake.request_cancel(CancelRequest(order.message_id, 0.0))
        if measured and number % 5 == 0:
            share = world.backend.used_bytes / QUOTA_BYTES
            most = max(most, share)
            world.replicas[0].inbox.append(SpaceSeen(share))
        world.hear(grounded)  # a leader that hears no drone gives up its office
        world.advance(1.0)
        if number % 100 == 50:
            assert not world.intake.submit(order).created
    return most


def test_a_store_that_fills_up_never_runs_out_of_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without retiring early the store would be full after half of the time; quota and history are scaled down."""
    monkeypatch.setattr(retention_module, "HISTORY_S", 60.0)
    world = World(retention=RetentionPolicy(86_400.0, least_retention_s=LEAST_S))
    assert 0.6 < serve_orders(world, measured=True) < 0.8
    assert not world.backend.is_full
    archive = [ArchiveRecord(f"archive:{line}", order) for line, order in enumerate(world.archive.orders)]
    assert archive and {order.retention_s for order in world.archive.orders} == {LEAST_S}
    assert check(world.intake.history(), complete=False, archive=archive).violations == ()


def test_without_retiring_early_the_same_store_runs_out_of_space() -> None:
    world = World(retention=RetentionPolicy(86_400.0, least_retention_s=LEAST_S))
    with pytest.raises(StoreUnavailable, match="database space exceeded"):
        serve_orders(world, measured=False)


def test_a_full_store_can_be_read_and_takes_deletions_alone() -> None:
    world = World(retention=RetentionPolicy(86_400.0, least_retention_s=LEAST_S))
    order = make_order(1)
    world.intake.submit(order)
    world.intake.request_cancel(CancelRequest(order.message_id, 0.0))
    world.run()
    world.backend.is_full = True
    assert world.saga(order).status is SagaStatus.CANCELLED
    assert world.intake.status()["alarms"] == ["NOSPACE"]
    with pytest.raises(StoreUnavailable):
        world.intake.submit(make_order(2))
    world.tell(SpaceSeen(1.0))
    world.pass_time(LEAST_S + 1.0)
    assert world.intake.find(order.message_id) is None


def test_orders_stay_for_their_whole_time_again_when_there_is_room() -> None:
    world = World(retention=RetentionPolicy(300.0, least_retention_s=LEAST_S))
    world.run()
    retention = world.leader.core.retention
    for share, expected_s in ((FILLING - 0.01, 300.0), (FILLING, LEAST_S), (0.55, LEAST_S), (0.49, 300.0)):
        world.tell(SpaceSeen(share))
        assert retention.retention_s == expected_s
    said = [effect.text for effect in world.leader.take(Report) if isinstance(effect, Report)]
    assert [text for text in said if "store" in text] == [
        "the store fills up (60% of its quota): ended orders leave after 30 s",
        "the store has room again: ended orders stay for 300 s",
    ]


def test_history_is_compacted_up_to_a_revision_that_is_old_enough() -> None:
    note = LedTime(1, ((10, 0.0), (20, 60.0), (30, 120.0)))
    assert [note.revision_at(at_s) for at_s in (-1.0, 0.0, 59.0, 60.0, 500.0)] == [0, 10, 10, 20, 30]
    world = World(retention=RetentionPolicy(3600.0))
    world.pass_time(HISTORY_S, step_s=1.0)
    assert list(world.intake.history(1, gapless=True))
    world.tell(SpaceSeen(0.7))
    world.pass_time(COMPACT_PERIOD_S + 1.0, step_s=1.0)
    with pytest.raises(HistoryGone):
        list(world.intake.history(1, gapless=True))
