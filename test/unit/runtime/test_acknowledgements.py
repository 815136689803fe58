"""Acknowledgements of outcomes: each is kept until its drone no longer reports the outcome."""

from __future__ import annotations

import pytest

from drone_orchestrator.core.types import AcknowledgeOutcome, DeliveryOutcome, DroneReport, GeoPoint, Outcome, Phase
from drone_orchestrator.runtime.acknowledgements import Acknowledgements


def ack(drone_id: str = "d1", message_id: str = "m1", attempt: int = 1, journal_id: str = "j1") -> AcknowledgeOutcome:
    return AcknowledgeOutcome(drone_id, journal_id, message_id, attempt, Outcome.DELIVERED)


def report(drone_id: str, *outcomes: tuple[str, int]) -> DroneReport:
    told = tuple(DeliveryOutcome(message_id, attempt, Outcome.DELIVERED) for message_id, attempt in outcomes)
    return DroneReport(drone_id, "courier", "j1", 1, Phase.IDLE, GeoPoint(0.0, 0.0), 500.0, outcomes=told)


@pytest.fixture
def book() -> Acknowledgements:
    return Acknowledgements()


def test_an_acknowledgement_is_kept_for_its_drone(book):
    assert book.add(ack())
    assert book.of("d1") == (ack(),)
    assert book.of("d2") == ()
    assert list(book.all()) == [ack()]


def test_adding_one_again_changes_nothing(book):
    book.add(ack())
    assert not book.add(ack())
    assert list(book.all()) == [ack()]


def test_an_acknowledgement_for_another_journal_replaces_the_old_one(book):
    book.add(ack())
    book.add(ack(message_id="m2"))
    assert book.add(ack(journal_id="j2"))
    assert book.of("d1") == (ack(journal_id="j2"), ack(message_id="m2"))


def test_one_is_kept_while_its_drone_reports_the_outcome(book):
    book.add(ack())
    book.heard(report("d1", ("m1", 1)))
    assert book.of("d1") == (ack(),)


def test_one_is_dropped_when_its_drone_no_longer_reports_the_outcome(book):
    book.add(ack())
    book.add(ack(message_id="m2"))
    book.heard(report("d1", ("m2", 1)))
    assert book.of("d1") == (ack(message_id="m2"),)
    book.heard(report("d1"))
    assert list(book.all()) == []


def test_another_attempt_at_the_same_order_is_another_outcome(book):
    book.add(ack(attempt=1))
    book.add(ack(attempt=2))
    book.heard(report("d1", ("m1", 2)))
    assert book.of("d1") == (ack(attempt=2),)


def test_the_report_of_another_drone_drops_nothing(book):
    book.add(ack("d1"))
    book.add(ack("d2"))
    book.heard(report("d2"))
    book.heard(report("d3", ("m1", 1)))
    assert list(book.all()) == [ack("d1")]


def test_a_dropped_one_counts_as_new_when_added_again(book):
    book.add(ack())
    book.heard(report("d1"))
    assert book.add(ack())


def test_clear_forgets_the_acknowledgements_of_all_drones(book):
    book.add(ack("d1"))
    book.add(ack("d2"))
    book.clear()
    assert list(book.all()) == []
    assert book.add(ack("d1"))
