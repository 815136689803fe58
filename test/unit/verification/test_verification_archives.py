"""Retired orders: their archive replays and agrees with the store, and their ids may be used again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from histories import History, order, to_loading

from drone_orchestrator.core.types import ArchivedOrder, Kind, Priority, SagaStatus
from drone_orchestrator.verification.archives import ArchiveRecord
from drone_orchestrator.verification.checker import check
from drone_orchestrator.verification.records import CheckReport, JournalHistory

S = SagaStatus


def delivered() -> History:
    history = History()
    history.leader()
    history.deliver_from_start(order())
    return history


def records(*orders: ArchivedOrder) -> list[ArchiveRecord]:
    return [ArchiveRecord(f"a.archive:{line}", archived) for line, archived in enumerate(orders, 2)]


def audit(history: History | None, *orders: ArchivedOrder, journals: Iterable[JournalHistory] = ()) -> CheckReport:
    changes = history.changes if history else ()
    return check(changes, tuple(journals), complete=False, archive=records(*orders))


def broken(report: CheckReport) -> dict[str, int]:
    return {invariant: count for invariant, count in report.invariants.items() if count}


def said(report: CheckReport) -> str:
    return "\n".join(v.text for v in report.violations)


# --- retiring is no violation -----------------------------------------------------------------------------------------


def test_a_retired_and_archived_order_is_accounted_for() -> None:
    history = delivered()
    report = audit(history, history.retire("m1"))
    assert (broken(report), report.archived, report.orders) == ({}, 1, 1)


def test_the_ids_of_a_retired_order_may_be_reused_with_any_payload() -> None:
    history = delivered()
    first = history.retire("m1")
    history.deliver_from_start(order(priority=Priority.HIGH), "d2", "j2")
    second = history.retire("m1")
    assert broken(check(history.changes, complete=True)) == {}
    report = audit(history, first, second)
    assert (broken(report), report.archived, report.orders) == ({}, 2, 2)


def test_a_retired_order_id_may_be_reused_by_another_message() -> None:
    history = delivered()
    first = history.retire("m1")
    history.deliver_from_start(order("m2", "order-m1"), "d2", "j2")
    assert broken(audit(history, first, history.retire("m2"))) == {}


@pytest.mark.parametrize("cut", range(2, 10))
def test_archive_and_history_agree_from_any_compaction_on(cut: int) -> None:
    history = delivered()
    archived = history.retire("m1")
    before = History()
    for change in history.changes[:cut]:
        before.write(*((e.kind, e.id, e.value) for e in change.entries))
    changes = [*before.compacted(), *history.changes[cut:]]
    report = check(changes, complete=True, archive=records(archived))
    assert broken(report) == {}, said(report)


def test_an_order_archived_by_two_leaders_is_one_order() -> None:
    history = delivered()
    archived = history.retire("m1")
    report = audit(history, archived, archived)
    assert (broken(report), report.archived, report.repeats) == ({}, 1, 1)


def test_an_archived_order_that_is_not_yet_deleted_is_accounted_for() -> None:
    history = delivered()
    assert broken(audit(history, history.archived("m1"))) == {}


# --- the archive alone ------------------------------------------------------------------------------------------------


def _with_saga(**fields: Any) -> Callable[[ArchivedOrder], ArchivedOrder]:
    return lambda archived: replace(archived, saga=replace(archived.saga, **fields))


def _without_event(archived: ArchivedOrder) -> ArchivedOrder:
    return replace(archived, events=archived.events[:2] + archived.events[3:])


def _with_falling_epoch(archived: ArchivedOrder) -> ArchivedOrder:
    events = (replace(archived.events[0], epoch=2), *archived.events[1:])
    return replace(archived, events=events)


@pytest.mark.parametrize(
    ("tamper", "invariant", "says"),
    [
        (_with_saga(status=S.FAILED, reason="tampered"), "I6", "another state than its events lead to"),
        (_without_event, "I6", "do not follow"),
        (_with_saga(status=S.IN_TRANSIT), "I3", "archived while it was IN_TRANSIT"),
        (_with_saga(status=S.FAILED, reason=None), "I3", "FAILED without a reason"),
        (_with_falling_epoch, "I4", "of epoch 1 after one of epoch 2"),
        (lambda archived: replace(archived, revision=1), "I4", "before its leader's epoch 1 began"),
    ],
)
def test_an_archived_order_that_does_not_replay_is_reported(
    tamper: Callable[[ArchivedOrder], ArchivedOrder], invariant: str, says: str
) -> None:
    report = audit(None, tamper(delivered().archived("m1")))
    assert invariant in broken(report)
    assert says in said(report)
    assert "a.archive:2" in said(report)


def test_damage_is_reported_with_file_and_line() -> None:
    report = check((), complete=False, archive=[ArchiveRecord("a.archive:7", damage="the line is damaged")])
    assert broken(report) == {"I6": 1}
    assert said(report) == "a.archive:7: the line is damaged"


def test_an_order_archived_twice_with_different_content_is_reported() -> None:
    archived = delivered().archived("m1")
    first = replace(archived.events[0], at=archived.events[0].at + 1)
    other = replace(archived, events=(first, *archived.events[1:]), saga=replace(archived.saga, created_at=first.at))
    report = audit(None, archived, other)
    assert broken(report) == {"I7": 1}
    assert "a.archive:2" in said(report) and "a.archive:3" in said(report)


def test_overlapping_orders_with_the_same_id_are_reported() -> None:
    history = to_loading()
    history.leader("orchestrator_b")
    history.load("m1")
    history.deliver("m1")
    archived = history.archived("m1")
    report = audit(None, archived, replace(archived, revision=archived.revision + 1))
    assert broken(report) == {"I7": 1}
    assert "overlap" in said(report)


# --- archive and store ------------------------------------------------------------------------------------------------


def test_an_order_retired_but_not_archived_is_lost() -> None:
    history = delivered()
    history.retire("m1")
    report = audit(history)
    assert broken(report) == {"I3": 1}
    assert "order m1 (DELIVERED) left the store and is in no archive" in said(report)


def test_without_an_archive_retired_orders_are_not_reported() -> None:
    history = delivered()
    history.retire("m1")
    assert broken(check(history.changes, complete=True)) == {}


def test_an_order_that_differs_between_archive_and_store_is_reported() -> None:
    history = delivered()
    archived = history.archived("m1")
    other = replace(archived, saga=replace(archived.saga, drone_id="d9"))
    report = audit(history, other)
    assert broken(report) == {"I6": 1, "I7": 1}
    assert "another in the store than in a.archive:2" in said(report)


def test_an_archive_with_a_later_state_than_the_store_is_reported() -> None:
    history = delivered()
    archived = history.archived("m1")
    report = audit(history, replace(archived, revision=archived.revision + 100))
    assert broken(report) == {"I7": 1}


def test_i6_events_left_behind_are_reported() -> None:
    history = delivered()
    history.write((Kind.SAGA, "m1", None), (Kind.EVENT, "m1/1", None), (Kind.ORDER_INDEX, "order-m1", None))
    report = check(history.changes, complete=True)
    assert broken(report) == {"I6": 1}
    assert "5 of its events stayed" in said(report)


def test_i7_an_order_id_reassigned_while_its_order_is_open_is_reported() -> None:
    history = delivered()
    history.write((Kind.ORDER_INDEX, "order-m1", None))
    assert broken(check(history.changes, complete=True)) == {"I7": 1}


def test_i4_retired_without_a_leader() -> None:
    history = delivered()
    history.write((Kind.LEADER, "", None))
    history.retire("m1")
    assert "I4" in broken(check(history.changes, complete=True))


# --- archive and drones' journals -------------------------------------------------------------------------------------


def loaded_by(drone_id: str, journal_id: str, attempt: int = 1) -> JournalHistory:
    return JournalHistory(drone_id, journal_id, (("loaded", "m1", attempt), ("dropped", "m1", attempt)))


@pytest.mark.parametrize(("journal_id", "found"), [("j1", {}), ("j2", {"I5": 1})])
def test_i5_journals_are_checked_against_the_archive_for_retired_orders(journal_id: str, found: dict[str, int]) -> None:
    history = delivered()
    archived = history.retire("m1")
    compacted = check(history.compacted(), [loaded_by("d1", journal_id)], complete=True, archive=records(archived))
    assert broken(compacted) == found


def test_i5_successive_orders_with_the_same_id_do_not_conflict() -> None:
    history = delivered()
    first = history.retire("m1")
    history.deliver_from_start(order(), "d2", "j2")
    journals = [loaded_by("d1", "j1"), loaded_by("d2", "j2")]
    assert broken(audit(history, first, journals=journals)) == {}
    late = check(history.compacted(), journals, complete=True, archive=records(first))
    assert broken(late) == {}


# --- ids given back too early -----------------------------------------------------------------------------------------


def reused(*, retention_s: float, later_s: float, again: bool = True) -> tuple[History, ArchivedOrder]:
    """Return a history in which an id is used again ``later_s`` after its first submission, and its first order."""
    history = delivered()
    first = replace(history.retire("m1"), age_s=retention_s, retention_s=retention_s)
    if again:
        later = replace(order(), submitted_at=order().submitted_at + later_s)
        history.submit(later)
        history.accept(later, at=first.saga.updated_at + later_s)
    return history, first


@pytest.mark.parametrize(("later_s", "wrong"), [(5.0, {"I7": 1}), (86_500.0, {})])
def test_an_id_that_is_used_again_within_the_retention_was_given_back_too_early(
    later_s: float, wrong: dict[str, int]
) -> None:
    history, first = reused(retention_s=86_400.0, later_s=later_s)
    report = audit(history, first)
    assert broken(report) == wrong
    assert ("gave its id back too early" in said(report)) is bool(wrong)


def test_archives_that_do_not_record_the_retention_are_not_judged_by_it() -> None:
    history, first = reused(retention_s=0.0, later_s=5.0)
    assert broken(audit(history, first)) == {}


def test_an_order_that_left_before_its_retention_was_over_is_reported_at_once() -> None:
    history, first = reused(retention_s=86_400.0, later_s=0.0, again=False)
    report = audit(history, replace(first, age_s=12.0))
    assert broken(report) == {"I7": 1}
    assert "gave its id back 12 s after its end, and was to keep it for 86400 s" in said(report)
