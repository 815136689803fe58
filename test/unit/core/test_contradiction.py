"""Records that contradict themselves are recognised, each with its reason; sound ones are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import make_order

from drone_orchestrator.core.saga import MAX_ATTEMPT, MAX_COUNT, contradiction
from drone_orchestrator.core.types import Breaker, BreakerState, GeoPoint, Reservation, Saga, SagaStatus

S = SagaStatus
ORDER = make_order(1)
LOADED = Saga(
    message_id=ORDER.message_id,
    status=S.IN_TRANSIT,
    attempt=1,
    drone_id="drone_1",
    epoch=7,
    reason=None,
    order=ORDER,
    created_at=1000.0,
    updated_at=1001.0,
    journal_id="journal",
    event_count=5,
)
PENDING = replace(LOADED, status=S.PENDING, drone_id=None, journal_id=None, attempt=0, event_count=1)
UNDONE = replace(LOADED, status=S.COMPENSATING, target=S.PENDING)
BREAKER = Breaker("drone_1", BreakerState.CLOSED, epoch=1)
RESERVATION = Reservation("drone_1", ORDER.message_id, 1, 7, leased=True)


@pytest.mark.parametrize(
    "record",
    [ORDER, LOADED, PENDING, UNDONE, replace(UNDONE, parked=True), BREAKER, RESERVATION, "a leader's record, say"],
)
def test_a_sound_record_has_no_contradiction(record: object) -> None:
    assert contradiction(record) == ""


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (replace(LOADED, epoch=-1), "out of range"),
        (replace(LOADED, attempt=MAX_ATTEMPT + 1, event_count=MAX_ATTEMPT * 2), "out of range"),
        (replace(LOADED, event_count=MAX_COUNT + 1), "out of range"),
        (replace(LOADED, attempt=5, event_count=5), "5 events cannot have led to attempt 5"),
        (replace(LOADED, drone_id="no/id"), "drone_id is no id"),
        (replace(LOADED, status=S.ASSIGNED, drone_id=None), "ASSIGNED without a drone"),
        (replace(LOADED, status=S.ASSIGNED, attempt=0), "ASSIGNED without a drone or an attempt"),
        (replace(LOADED, journal_id=None), "IN_TRANSIT without the journal"),
        (replace(UNDONE, target=S.DELIVERED), "COMPENSATING to DELIVERED"),
        (replace(UNDONE, target=None), "COMPENSATING to"),
        (replace(PENDING, target=S.FAILED), "PENDING with a target"),
        (replace(PENDING, parked=True), "PENDING with a target, or parked"),
        (replace(PENDING, order=replace(ORDER, order_id="")), "order_id is no id"),
        (replace(ORDER, order_id="no/id"), "order_id is no id"),
        (replace(ORDER, destination=GeoPoint(91.0, 0.0)), "not on Earth"),
        (replace(ORDER, pickup=GeoPoint(0.0, float("nan"))), "not on Earth"),
        (replace(ORDER, package_weight_kg=-0.1), "package_weight_kg"),
        (replace(ORDER, submitted_at=float("nan")), "submitted_at"),
        (replace(ORDER, deadline_s=-1.0), "deadline_s"),
        (replace(ORDER, drone_class="kurier-ü"), "not ASCII"),
        (replace(ORDER, trace_context="ü"), "not ASCII"),
        (replace(BREAKER, failures=-1), "out of range"),
        (replace(RESERVATION, attempt=-1), "out of range"),
    ],
)
def test_a_contradiction_is_named(record: object, reason: str) -> None:
    assert reason in contradiction(record)
