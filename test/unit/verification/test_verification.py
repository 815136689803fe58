"""The checker of each invariant finds its violations, names the evidence, and accepts good histories."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from histories import History, order, to_loading

from drone_orchestrator.core import saga as sagas
from drone_orchestrator.core.drone.events import (
    Acknowledged,
    Cleared,
    Closed,
    Dropping,
    EpochRaised,
    GoalAccepted,
    Loaded,
)
from drone_orchestrator.core.types import CancelRequest, Corrupt, Kind, Outcome, Reservation, SagaStatus, StoreChange
from drone_orchestrator.verification.checker import MAX_LISTED, HistoryOutOfOrder, check
from drone_orchestrator.verification.journals import journal_history
from drone_orchestrator.verification.records import INVARIANTS, CheckReport, JournalHistory

S = SagaStatus


def broken(report: CheckReport) -> set[str]:
    return {invariant for invariant, count in report.invariants.items() if count}


def texts(report: CheckReport) -> str:
    return "\n".join(v.text for v in report.violations)


def led() -> History:
    history = History()
    history.leader()
    return history


# --- good histories ---------------------------------------------------------------------------------------------------


def delivered() -> History:
    history = led()
    history.deliver_from_start(order())
    return history


def delivered_at_second_attempt_under_second_leader() -> History:
    history = led()
    history.submit(order())
    history.accept(order())
    history.assign("m1", "d1")
    history.leader("orchestrator_b")
    history.write((Kind.ASSIGNMENT, "d1", None))  # the lease of the reservation expired
    history.abandon("m1")
    history.compensate("m1")
    history.assign("m1", "d2")
    history.clear("m1", "j2")
    history.deliver("m1")
    return history


def brought_back_and_cancelled() -> History:
    history = to_loading()
    history.load("m1")
    history.abandon("m1", S.CANCELLED)
    history.compensate("m1", S.CANCELLED)
    return history


def lost_with_package() -> History:
    history = to_loading()
    history.release("m1", sagas.FAILED, S.FAILED, reason="drone_lost_with_package")
    return history


def several_leases_expire_at_once_with_the_leaders() -> History:
    history = led()
    for name in ("m1", "m2"):
        history.submit(order(name))
        history.accept(order(name))
        history.assign(name, f"drone-{name}")
    history.write((Kind.ASSIGNMENT, "drone-m1", None), (Kind.ASSIGNMENT, "drone-m2", None), (Kind.LEADER, "", None))
    history.leader("orchestrator_b")
    for name in ("m1", "m2"):
        history.abandon(name, S.CANCELLED)
        history.compensate(name, S.CANCELLED)
    return history


def ended_and_archived() -> History:
    history = delivered()
    keys = [key for kind, key in history.living if kind is Kind.EVENT]
    history.write((Kind.SAGA, "m1", None), *((Kind.EVENT, key, None) for key in keys))
    return history


GOOD = [
    delivered,
    delivered_at_second_attempt_under_second_leader,
    brought_back_and_cancelled,
    lost_with_package,
    several_leases_expire_at_once_with_the_leaders,
    ended_and_archived,
]


@pytest.mark.parametrize("build", GOOD)
def test_a_good_history_has_no_violation(build: Callable[[], History]) -> None:
    report = check(build().changes, complete=True)
    assert report.violations == ()
    assert report.ok
    assert report.invariants == dict.fromkeys(INVARIANTS, 0)


@pytest.mark.parametrize("build", GOOD)
def test_a_good_history_is_good_from_any_compaction_on(build: Callable[[], History]) -> None:
    whole = build()
    for cut in range(2, len(whole.changes)):
        before = History()
        for change in whole.changes[:cut]:
            before.write(*((e.kind, e.id, e.value) for e in change.entries))
        report = check([*before.compacted(), *whole.changes[cut:]], complete=True)
        assert report.violations == (), cut


def test_the_report_counts_what_was_checked() -> None:
    history = led()
    history.deliver_from_start(order("m1"))
    history.deliver_from_start(order("m2"), "d2", "j2")
    report = check(history.changes, complete=True)
    assert (report.orders, report.events, report.revisions) == (2, 12, history.revision)


def test_an_unfinished_order_is_no_violation_while_the_run_continues() -> None:
    assert check(to_loading().changes, complete=False).ok


# --- I1 ---------------------------------------------------------------------------------------------------------------


def test_i1_order_reserved_for_two_drones() -> None:
    history = to_loading()
    history.write((Kind.ASSIGNMENT, "d2", history.reservation("m1", "d2", leased=True)))
    history.write((Kind.ASSIGNMENT, "d2", None))  # a violation counts even if it is over at the end
    history.deliver("m1")
    report = check(history.changes, complete=True)
    assert broken(report) == {"I1"}
    assert "order m1 is reserved for d1 and d2 at once" in texts(report)
    assert report.violations[0].revisions == (7,)
    assert report.violations[0].name == "one_drone_per_order"


def test_i1_reserved_drone_differs_from_the_sagas_drone() -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    event = history.event("m1", sagas.ASSIGNED, S.ASSIGNED, drone_id="d1")
    history.transition(event, (Kind.ASSIGNMENT, "d2", history.reservation("m1", "d2", leased=True, attempt=1)))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I1"}
    assert "d2 is reserved for order m1, attempt 1, but its saga (ASSIGNED) names d1" in texts(report)


def test_i1_saga_moves_on_without_its_reservation() -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    history.assign("m1", "d1")
    history.abandon("m1")
    history.transition(history.event("m1", sagas.COMPENSATED, S.PENDING))
    assert broken(check(history.changes, complete=False)) == {"I1"}


def test_i1_reservation_for_an_order_without_a_saga() -> None:
    history = led()
    history.write((Kind.ASSIGNMENT, "d1", Reservation("d1", "m9", 1, history.epoch, True)))
    assert broken(check(history.changes, complete=False)) == {"I1"}


# --- I2 ---------------------------------------------------------------------------------------------------------------


def test_i2_drone_carries_two_orders() -> None:
    history = to_loading("m1", "d1")
    history.submit(order("m2"))
    history.accept(order("m2"))
    history.transition(history.event("m2", sagas.ASSIGNED, S.ASSIGNED, drone_id="d1"))
    history.transition(history.event("m2", sagas.CLEARED, S.LOADING, journal_id="j1"))
    report = check(history.changes, complete=False)
    assert "I2" in broken(report)
    assert "d1 is loading or carrying m1 and m2 at once" in texts(report)


def test_i2_reservation_under_another_drones_key() -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    event = history.event("m1", sagas.ASSIGNED, S.ASSIGNED, drone_id="d1")
    history.transition(event, (Kind.ASSIGNMENT, "d1", history.reservation("m1", "d7", leased=True, attempt=1)))
    assert broken(check(history.changes, complete=False)) == {"I2"}


# --- I3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accepted", "where"), [(False, "in the inbox"), (True, "PENDING")])
def test_i3_order_that_never_ends(accepted: bool, where: str) -> None:
    history = led()
    history.submit(order())
    if accepted:
        history.accept(order())
    report = check(history.changes, complete=True)
    assert broken(report) == {"I3"}
    assert f"order m1 never ended; it is {where}" in texts(report)


def test_i3_order_vanishes_from_the_inbox() -> None:
    history = led()
    history.submit(order())
    history.write((Kind.INBOX_ORDER, "m1", None))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I3"}
    assert report.violations[0].revisions == (2, 3)


def test_i3_saga_deleted_before_its_end() -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    history.write((Kind.SAGA, "m1", None))
    report = check(history.changes, complete=False)
    assert "I3" in broken(report)
    assert "the saga of order m1 was deleted in PENDING" in texts(report)


def test_i3_second_end() -> None:
    history = delivered()
    history.write((Kind.SAGA, "m1", history.tampered("m1", status=S.FAILED, reason="changed my mind")))
    report = check(history.changes, complete=True)
    assert "order m1 had ended DELIVERED and then became FAILED" in texts(report)
    assert {"I3", "I6"} <= broken(report)


def test_i3_failed_without_a_reason() -> None:
    history = to_loading()
    history.release("m1", sagas.FAILED, S.FAILED)
    report = check(history.changes, complete=True)
    assert broken(report) == {"I3"}
    assert "FAILED without a reason" in texts(report)


def test_i3_ended_but_drone_still_reserved() -> None:
    history = to_loading()
    history.transition(history.event("m1", sagas.FAILED, S.FAILED, reason="drone_lost_with_package"))
    report = check(history.changes, complete=True)
    assert broken(report) == {"I3"}
    assert "order m1 is FAILED, but d1 is still reserved for it" in texts(report)


@pytest.mark.parametrize("ended", [True, False])
def test_i3_cancel_request_stays_until_its_order_has_ended(ended: bool) -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    history.write((Kind.INBOX_CANCEL, "m1", CancelRequest("m1", 101.0)))
    taken = (Kind.INBOX_CANCEL, "m1", None)
    if ended:
        history.transition(history.event("m1", sagas.CANCELLED, S.CANCELLED), taken)
    else:
        history.write(taken)
    report = check(history.changes, complete=False)
    assert broken(report) == (set() if ended else {"I3"})


# --- I4 ---------------------------------------------------------------------------------------------------------------


def test_i4_write_by_a_deposed_leader() -> None:
    history = led()
    deposed = history.epoch
    history.submit(order())
    history.accept(order())
    history.leader("orchestrator_b")
    history.transition(history.event("m1", sagas.CANCELLED, S.CANCELLED, epoch=deposed))
    report = check(history.changes, complete=True)
    assert broken(report) == {"I4"}
    assert report.invariants["I4"] == 2  # saga and event
    assert "sagas/m1 was written by epoch 1, but epoch 4 was in office" in texts(report)


def test_i4_write_without_a_leader() -> None:
    history = led()
    history.submit(order())
    history.write((Kind.LEADER, "", None))
    history.accept(order())
    report = check(history.changes, complete=False)
    assert broken(report) == {"I4"}
    assert "nobody was in office" in texts(report)


def test_i4_reservation_with_a_stale_epoch() -> None:
    history = led()
    history.leader("orchestrator_b")
    history.submit(order())
    history.accept(order())
    event = history.event("m1", sagas.ASSIGNED, S.ASSIGNED, drone_id="d1")
    history.transition(event, (Kind.ASSIGNMENT, "d1", Reservation("d1", "m1", 1, 1, True)))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I4"}
    assert "assignments/d1 was written by epoch 1" in texts(report)


def test_i4_epoch_decreases() -> None:
    history = led()
    history.leader("orchestrator_b")
    history.submit(order())
    history.accept(order())
    history.transition(history.event("m1", sagas.CANCELLED, S.CANCELLED, epoch=1))
    report = check(history.changes, complete=False)
    assert "event m1/2 has epoch 1 after one of epoch 2" in texts(report)


def test_i4_firm_reservation_deleted_without_a_step() -> None:
    history = to_loading()
    history.write((Kind.ASSIGNMENT, "d1", None))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I4"}
    assert "the firm reservation of d1 for m1 was deleted without a step of its saga" in texts(report)


def test_i4_leased_reservation_deleted_along_with_another_sagas_step() -> None:
    history = led()
    for name in ("m1", "m2"):
        history.submit(order(name))
        history.accept(order(name))
    history.assign("m1", "d1")
    history.transition(history.event("m2", sagas.CANCELLED, S.CANCELLED), (Kind.ASSIGNMENT, "d1", None))
    assert broken(check(history.changes, complete=False)) == {"I4"}


def test_i4_drone_obeys_a_deposed_leader() -> None:
    journal = journal_history("d1", "j1", [GoalAccepted(order(), 1, 7), Cleared("m1", 1, 5)])
    report = check(led().changes, [journal], complete=True)
    assert broken(report) == {"I4"}
    assert "d1 (journal j1) obeyed epoch 5 after epoch 7" in texts(report)


def test_i4_drone_obeys_a_leader_after_hearing_of_its_successor() -> None:
    journal = journal_history("d1", "j1", [EpochRaised(9), GoalAccepted(order(), 1, 5)])
    assert broken(check(led().changes, [journal], complete=True)) == {"I4"}


# --- I5 ---------------------------------------------------------------------------------------------------------------


def test_i5_cleared_again_while_the_package_may_be_on_board() -> None:
    history = to_loading()
    again = replace(history.event("m1", sagas.CLEARED, S.LOADING), from_status=S.DISPATCHED)
    history.write((Kind.EVENT, f"m1/{again.n}", again))
    report = check(history.changes, complete=False)
    assert {"I5", "I6"} == broken(report)
    assert "order m1, attempt 1: cleared to load while an earlier load may be out" in texts(report)


def test_i5_delivered_twice() -> None:
    history = delivered()
    again = history.event("m1", sagas.DELIVERED, S.DELIVERED)
    history.write((Kind.EVENT, f"m1/{again.n}", again))
    report = check(history.changes, complete=True)
    assert "order m1 was delivered twice" in texts(report)
    assert {"I5", "I6"} == broken(report)


def test_i5_cleared_on_a_reservation_that_may_expire() -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    history.assign("m1", "d1")
    history.transition(history.event("m1", sagas.CLEARED, S.LOADING, journal_id="j1"))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I5"}
    assert "cleared for d1 without a firm reservation" in texts(report)


def test_i5_cleared_without_a_journal() -> None:
    history = to_loading(journal_id="")
    report = check(history.changes, complete=False)
    assert broken(report) == {"I5"}
    assert "cleared to no journal" in texts(report)


CARRIED = (("cleared", "m1", 1), ("loaded", "m1", 1), ("dropping", "m1", 1), ("dropped", "m1", 1))


def test_i5_journals_agree_with_the_store() -> None:
    good = JournalHistory("d1", "j1", CARRIED)
    idle = JournalHistory("d2", "j2", ())
    assert check(delivered().changes, [good, idle], complete=True).ok


def test_i5_dropped_twice() -> None:
    journals = [JournalHistory("d1", "j1", CARRIED), JournalHistory("d2", "j2", CARRIED)]
    report = check(delivered().changes, journals, complete=True)
    assert broken(report) == {"I5"}
    assert "order m1 was dropped 2 times, by d1 (attempt 1) and d2 (attempt 1)" in texts(report)


def test_i5_dropped_twice_by_the_same_drone() -> None:
    report = check(delivered().changes, [JournalHistory("d1", "j1", (*CARRIED, CARRIED[-1]))], complete=True)
    assert broken(report) == {"I5"}
    assert "dropped 2 times" in texts(report)


def test_i5_loaded_but_never_cleared() -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    history.assign("m1", "d1")
    report = check(history.changes, [JournalHistory("d1", "j1", (("loaded", "m1", 1),))], complete=False)
    assert broken(report) == {"I5"}
    assert "d1 (journal j1) loaded order m1, attempt 1, which was never cleared" in texts(report)


def test_i5_loaded_on_another_journals_clearance() -> None:
    report = check(to_loading().changes, [JournalHistory("d1", "j9", (("loaded", "m1", 1),))], complete=False)
    assert broken(report) == {"I5"}
    assert "but d1 (journal j1) was cleared" in texts(report)


def second_attempt() -> History:
    history = to_loading()
    history.load("m1")
    history.abandon("m1")
    history.compensate("m1")
    history.assign("m1", "d2")
    history.clear("m1", "j2")
    return history


def test_i5_loaded_by_a_second_drone_while_the_first_still_holds_it() -> None:
    second = JournalHistory("d2", "j2", (("loaded", "m1", 2),))
    kept = JournalHistory("d1", "j1", (("loaded", "m1", 1),))
    report = check(second_attempt().changes, [kept, second], complete=False)
    assert broken(report) == {"I5"}
    assert "d2 loaded it (attempt 2) although d1 still held it (attempt 1)" in texts(report)


def test_i5_loaded_by_a_second_drone_after_the_first_brought_it_back() -> None:
    second = JournalHistory("d2", "j2", (("loaded", "m1", 2),))
    returned = JournalHistory("d1", "j1", (("loaded", "m1", 1), ("returned", "m1", 1)))
    assert check(second_attempt().changes, [second, returned], complete=False).ok


def test_i5_load_before_the_history_began_is_no_violation() -> None:
    history = delivered()
    history.write((Kind.SAGA, "m1", None), *((Kind.EVENT, f"m1/{n}", None) for n in range(1, 7)))
    history.submit(order("m2"))
    report = check(history.compacted(), [JournalHistory("d1", "j1", CARRIED)], complete=False)
    assert report.ok


def test_a_drones_journal_shows_what_happened_to_its_packages() -> None:
    entries = [
        GoalAccepted(order(), 1, 3),
        Cleared("m1", 1, 3),
        Loaded("m1", 1),
        Closed("m1", 1, Outcome.RETURNED, 9.0, "recalled"),
        Acknowledged("m1", 1),
        GoalAccepted(order(), 2, 4),
        Closed("m1", 2, Outcome.NOT_LOADED, 10.0),
        GoalAccepted(order(), 3, 4),
        Cleared("m1", 3, 5),
        Loaded("m1", 3),
        Dropping("m1", 3),
        Closed("m1", 3, Outcome.DELIVERED, 11.0),
    ]
    history = journal_history("d1", "j1", entries)
    assert [kind for kind, _, _ in history.entries] == [
        *("cleared", "loaded", "returned"),
        "closed",
        *("cleared", "loaded", "dropping", "dropped"),
    ]
    assert history.epochs == (3, 3, 4, 4, 5)


# --- I6 ---------------------------------------------------------------------------------------------------------------


def test_i6_stored_state_differs_from_the_events() -> None:
    history = to_loading()
    history.write((Kind.SAGA, "m1", history.tampered("m1", journal_id="j2", updated_at=1.0)))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I6"}
    assert report.invariants["I6"] == 1
    assert "journal_id is 'j2', events say 'j1'" in texts(report)
    assert "updated_at is 1.0" in texts(report)


def test_i6_event_number_missing() -> None:
    history = to_loading()
    event = replace(history.event("m1", sagas.LOADED, S.IN_TRANSIT), n=6)
    history.write((Kind.EVENT, "m1/6", event))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I6"}
    assert "event m1/6 does not follow" in texts(report)


def test_i6_event_without_its_saga() -> None:
    history = to_loading()
    history.write((Kind.EVENT, "m1/5", history.event("m1", sagas.LOADED, S.IN_TRANSIT)))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I6"}
    assert "status is" in texts(report)


def test_i6_saga_without_events() -> None:
    history = to_loading()
    saga = history.living[Kind.SAGA, "m1"]._replace(mod_revision=2)
    report = check([history.changes[0], StoreChange(2, (saga,))], complete=False)
    assert "the saga of order m1 has no events" in texts(report)


def test_i6_event_overwritten() -> None:
    history = to_loading()
    first = history.living[Kind.EVENT, "m1/1"].value
    history.write((Kind.EVENT, "m1/1", first))
    report = check(history.changes, complete=False)
    assert "event m1/1 was written again" in texts(report)
    assert broken(report) == {"I6"}


def test_i6_event_deleted_before_the_end() -> None:
    history = to_loading()
    history.write((Kind.EVENT, "m1/1", None))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I6"}
    assert "event m1/1 was deleted while its order is LOADING" in texts(report)


def test_i6_event_under_the_wrong_key() -> None:
    history = to_loading()
    event = history.event("m1", sagas.LOADED, S.IN_TRANSIT)
    saga = sagas.apply(history.sagas["m1"], event)
    history.write((Kind.SAGA, "m1", saga), (Kind.EVENT, "m2/5", event))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I6"}
    assert "the event under m2/5 is m1/5" in texts(report)


@pytest.mark.parametrize("kind", list(Kind))
def test_i6_unreadable_value_is_reported_and_not_used(kind: Kind) -> None:
    history = to_loading()
    key = {Kind.SAGA: "m1", Kind.ASSIGNMENT: "d1", Kind.EVENT: "m1/5", Kind.LEADER: ""}.get(kind, "x")
    history.write((kind, key, Corrupt(b"\xff{", "not JSON")))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I6"}
    assert f"{kind.value}/{key} cannot be read: not JSON" in texts(report)


def test_i6_value_does_not_match_the_type_of_its_key() -> None:
    history = to_loading()
    history.write((Kind.SAGA, "m1", order()))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I6"}
    assert "not a Saga but a Order" in texts(report)


def test_i6_compacted_history_lacks_events_of_an_open_order() -> None:
    history = to_loading()
    del history.living[Kind.EVENT, "m1/2"]
    assert "I6" in broken(check(history.compacted(), complete=False))


# --- I7 ---------------------------------------------------------------------------------------------------------------


def test_i7_two_messages_for_one_order() -> None:
    history = led()
    history.submit(order("m1", "order-1"))
    history.write((Kind.INBOX_ORDER, "m2", order("m2", "order-1")))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I7"}
    assert "order order-1 has two messages, m1 and m2" in texts(report)
    assert report.violations[0].revisions == (2, 3)


def test_i7_uniqueness_key_points_elsewhere() -> None:
    history = led()
    history.submit(order("m1", "order-1"))
    history.write((Kind.ORDER_INDEX, "order-1", "m2"))
    assert broken(check(history.changes, complete=False)) == {"I7"}


def test_i7_message_accepted_with_two_payloads() -> None:
    history = led()
    history.submit(order("m1"))
    history.submit(replace(order("m1"), package_weight_kg=2.0))
    report = check(history.changes, complete=False)
    assert broken(report) == {"I7"}
    assert "message m1 was taken with two different orders" in texts(report)


def test_i7_repeat_at_another_time_is_the_same_order() -> None:
    history = led()
    history.submit(order("m1"))
    history.accept(replace(order("m1"), submitted_at=200.0, trace_context="00-1-2-01"))
    assert check(history.changes, complete=False).ok


def test_i7_order_returns_to_the_inbox_after_it_had_a_saga() -> None:
    history = delivered()
    history.submit(order())
    report = check(history.changes, complete=True)
    assert broken(report) == {"I7"}
    assert "came into the inbox again" in texts(report)


def test_i7_second_saga_before_the_first_is_retired() -> None:
    history = to_loading()
    history.write((Kind.SAGA, "m1", None))
    del history.sagas["m1"]
    history.accept(order())
    report = check(history.changes, complete=False)
    assert "I7" in broken(report)
    assert "second saga" in texts(report)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_history_must_be_in_order() -> None:
    changes = delivered().changes
    with pytest.raises(HistoryOutOfOrder, match="revision 2 after 3"):
        check([changes[0], changes[2], changes[1]], complete=False)


def test_all_violations_are_counted_and_the_first_are_listed() -> None:
    history = led()
    for n in range(MAX_LISTED + 5):
        history.write((Kind.INBOX_ORDER, f"m{n}", order(f"m{n}")))
    report = check(history.changes, complete=True)
    assert report.invariants["I3"] == MAX_LISTED + 5
    assert len(report.violations) == MAX_LISTED


@pytest.mark.slow
def test_the_cost_per_event_does_not_grow_with_the_history() -> None:
    cost_us: list[float] = []
    for orders in (1_670, 16_700):
        history = led()
        for n in range(orders):
            history.deliver_from_start(order(f"m{n}"), f"d{n % 100}", "j1")
        started_s = time.process_time()
        report = check(iter(history.changes), complete=True)
        cost_us.append((time.process_time() - started_s) / report.events * 1e6)
        assert report.ok
        assert report.events > 6 * orders - 1
    assert cost_us[1] < 4 * cost_us[0]


# --- edge cases -------------------------------------------------------------------------------------------------------


def test_i3_drone_reserved_for_an_order_that_has_ended() -> None:
    history = delivered()
    history.write((Kind.ASSIGNMENT, "d2", history.reservation("m1", "d2", leased=True)))
    report = check(history.changes, complete=True)
    assert "I3" in broken(report)


def test_i4_drone_may_follow_one_leader_after_another() -> None:
    journal = journal_history("d1", "j1", [GoalAccepted(order(), 1, 5), Cleared("m1", 1, 7)])
    assert "I4" not in broken(check(led().changes, [journal], complete=False))


def test_i5_delivered_but_never_loaded() -> None:
    history = led()
    history.submit(order())
    history.accept(order())
    history.assign("m1", "d1")
    event = history.event("m1", sagas.DELIVERED, S.DELIVERED)
    gone = (Kind.ASSIGNMENT, "d1", None)
    history.write((Kind.SAGA, "m1", history.tampered("m1", status=S.DELIVERED)), (Kind.EVENT, "m1/3", event), gone)
    report = check(history.changes, complete=True)
    assert "order m1 was delivered without having been loaded" in texts(report)
    assert "I5" in broken(report)


def test_i5_return_without_a_load_counts_as_no_load() -> None:
    journal = JournalHistory("d2", "j2", (("returned", "m1", 1),))
    assert "I5" not in broken(check(delivered().changes, [journal], complete=True))


def test_i6_history_may_begin_after_an_ended_order_lost_its_first_events() -> None:
    history = delivered()
    for number in (1, 2):
        history.write((Kind.EVENT, f"m1/{number}", None))
    assert broken(check(history.compacted(), complete=True)) == set()


def test_i7_order_under_the_key_of_another() -> None:
    history = led()
    history.write((Kind.INBOX_ORDER, "m1", order("m2")), (Kind.ORDER_INDEX, "order-m2", "m1"))
    report = check(history.changes, complete=False)
    assert "I7" in broken(report)
    assert "the order under m1 says that it is m2" in texts(report)


def test_i7_retiring_one_of_two_orders_with_the_same_id_keeps_the_others_claim() -> None:
    history = delivered()
    second = order("m2", "order-m1")
    history.write((Kind.INBOX_ORDER, "m2", second))
    history.accept(second)
    history.transition(history.event("m2", sagas.CANCELLED, S.CANCELLED, reason="why"))
    history.retire("m2")
    report = check(history.changes, complete=True)
    assert "order order-m1 has two messages, m1 and m2" in texts(report)
    assert "given away while its message m1 had not been retired" in texts(report)
