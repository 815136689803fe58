"""The intake by itself: which failures it retries, and what it answers if retries do not help."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_fixtures import Gateway, order_document

from drone_orchestrator.core.types import CancelRequest, Order
from drone_orchestrator.intake.answers import Result
from drone_orchestrator.ports import FateUnknown, StoreDenied, StoreUnavailable, Submitted
from drone_orchestrator.store.reader import CorruptRecord


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway(loaded=False)
    yield made
    made.close()


def failing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[Order]:
    """Let the next submissions fail with ``errors``. Return the list of orders that reach the store."""
    asked: list[Order] = []
    submit, left = gateway.store.submit, list(errors)

    def wrapped(order: Order, *, asked_before: bool = False) -> Submitted:
        asked.append(order)
        if left:
            raise left.pop(0)
        return submit(order, asked_before=asked_before)

    monkeypatch.setattr(gateway.store, "submit", wrapped)
    return asked


def test_an_unknown_fate_is_retried_with_the_very_same_order(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = failing(gateway, monkeypatch, FateUnknown("timed out"), FateUnknown("timed out"))

    answer = gateway.intake.accept(order_document(), "dds")

    assert answer.result is Result.ACCEPTED
    assert len(asked) == 3
    assert len(set(asked)) == 1


def test_the_number_of_retries_is_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = failing(gateway, monkeypatch, *[FateUnknown("timed out")] * 100)

    answer = gateway.intake.accept(order_document(), "dds")

    assert answer.result is Result.STORE_UNAVAILABLE
    assert answer.retry_after_s == gateway.breaker.reset_s
    assert 1 < len(asked) <= 4


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreDenied("no permission")])
def test_a_failure_that_changed_nothing_is_left_to_the_client_to_retry(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    asked = failing(gateway, monkeypatch, error)

    answer = gateway.intake.accept(order_document(), "dds")

    assert answer.result is Result.STORE_UNAVAILABLE
    assert len(asked) == 1
    assert gateway.count("store_unavailable", "dds") == 1


def test_an_unreadable_record_gives_no_retry_interval(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(gateway, monkeypatch, CorruptRecord("sagas/x is not JSON"))

    answer = gateway.intake.accept(order_document(), "http")

    assert (answer.result, answer.retry_after_s) == (Result.UNREADABLE, 0.0)
    assert "sagas/x" in answer.reason


def test_an_unknown_fate_of_a_cancel_request_is_retried(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    document = order_document()
    gateway.intake.accept(document, "http")
    request_cancel, left = gateway.store.request_cancel, [FateUnknown("timed out")]

    def wrapped(request: CancelRequest) -> bool:
        if left:
            raise left.pop()
        return request_cancel(request)

    monkeypatch.setattr(gateway.store, "request_cancel", wrapped)

    answer = gateway.intake.cancel(document["order_id"], "http")

    assert (answer.result, answer.repeated) == (Result.CANCEL_REQUESTED, False)
    assert gateway.intake.cancel(document["order_id"], "http").repeated is True


def test_a_store_that_is_nearly_full_takes_no_new_order_but_knows_the_old_ones(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = order_document()
    assert gateway.intake.accept(known, "dds").result is Result.ACCEPTED
    asked = failing(gateway, monkeypatch)
    monkeypatch.setattr(gateway.intake, "_refusal", lambda: "the store is nearly full (83%)")

    assert gateway.intake.accept(known, "dds").result is Result.ALREADY_ACCEPTED
    answer = gateway.intake.accept(order_document(), "dds")

    assert (answer.result, answer.code) == (Result.STORE_UNAVAILABLE, "store_full")
    assert answer.reason == "the store is nearly full (83%); nothing was written, repeat the same request later"
    assert answer.retry_after_s > 0.0 and asked == []
    assert gateway.intake.cancel(known["order_id"], "dds").result is Result.CANCEL_REQUESTED
