"""An order reaches the store alone or in a group, and its client cannot tell which."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gateway_fixtures import Gateway, order_document

from drone_orchestrator.core.types import Order
from drone_orchestrator.intake.answers import Answer
from drone_orchestrator.intake.submission import Submission
from drone_orchestrator.ports import FateUnknown, StoreUnavailable

M1, M2 = (str(uuid.UUID(int=number)) for number in (1, 2))


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


def counting(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that records how each order goes to the store."""
    ways: list[str] = []
    resolve, submit_all = Submission.resolve, gateway.intake.submit_all

    def alone(submission: Submission) -> Answer:
        ways.append("alone")
        return resolve(submission)

    def together(orders: Any) -> Any:
        ways.append("together")
        return submit_all(orders)

    monkeypatch.setattr(Submission, "resolve", alone)
    gateway.intake.submit_all = together  # type: ignore[method-assign]
    return ways


def test_an_order_and_its_repeat_go_in_groups(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    ways, document = counting(gateway, monkeypatch), order_document(message_id=M1)

    answers = [gateway.http.post("/orders", json=document) for _ in range(2)]

    assert [each.status_code for each in answers] == [202, 200]
    assert answers[0].json() == answers[1].json()
    assert ways == ["together", "together"]
    assert gateway.count("accepted") == gateway.count("already_accepted") == 1


def test_a_repeat_without_a_message_id_is_recognised_alone(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    ways, document = counting(gateway, monkeypatch), order_document(message_id=None)

    answers = [gateway.http.post("/orders", json=document) for _ in range(2)]

    assert [each.status_code for each in answers] == [202, 200]
    assert answers[0].json() == answers[1].json()
    assert ways == ["together", "together", "alone"]


def test_taken_ids_are_conflicts(gateway: Gateway) -> None:
    gateway.http.post("/orders", json=order_document(order_id="o-1", message_id=M1))

    other = gateway.http.post("/orders", json=order_document(order_id="o-1", message_id=M2))
    heavier = gateway.http.post("/orders", json=order_document(order_id="o-1", message_id=M1, package_weight_kg=0.1))

    assert (other.status_code, other.json()["field"]) == (409, "order_id")
    assert (heavier.status_code, heavier.json()["field"]) == (409, "message_id")
    assert gateway.count("conflict") == 2


def test_an_order_that_breaks_a_rule_never_reaches_the_store(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = counting(gateway, monkeypatch)

    answer = gateway.http.post("/orders", json=order_document(package_weight_kg=-1))

    assert (answer.status_code, answer.json()["field"]) == (422, "package_weight_kg")
    assert ways == [] and gateway.count("invalid") == 1


@pytest.mark.parametrize("error", [FateUnknown("no answer"), StoreUnavailable("away")])
def test_an_order_whose_group_failed_is_tried_alone_and_stored_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ways, submit_all = counting(gateway, monkeypatch), gateway.store.submit_all
    landed: list[Order] = []

    def unanswered(orders: Any) -> Any:
        if isinstance(error, FateUnknown):
            submit_all(orders)
        landed.extend(orders)
        return [error] * len(orders)

    gateway.store.submit_all = unanswered  # type: ignore[method-assign]
    answer = gateway.http.post("/orders", json=order_document(order_id="o-1", message_id=None))

    assert answer.status_code == (200 if isinstance(error, FateUnknown) else 202)
    assert ways == ["together", "alone"] and len(landed) == 1
    found = gateway.store.find("o-1")
    assert found is not None and found.order.message_id == answer.json()["message_id"]
    assert len(gateway.store.snapshot().entries) == 2  # the order and its index
    assert gateway.bulkheads.depth("light") <= 1


def test_failed_groups_open_the_breaker(gateway: Gateway) -> None:
    gateway.backend.set_available(False)
    answers = [gateway.http.post("/orders", json=order_document()) for _ in range(4)]

    assert {each.status_code for each in answers} == {503}
    assert gateway.breaker.state == "open"
    gateway.backend.set_available(True)
    gateway.mono.now_s += 10.0
    assert gateway.http.post("/orders", json=order_document()).status_code == 202


def test_an_exception_in_a_group_is_an_internal_error_and_releases_the_places(gateway: Gateway) -> None:
    def broken(orders: Any) -> Any:
        raise RuntimeError("a mistake")

    gateway.store.submit_all = broken  # type: ignore[method-assign]
    answer = gateway.http.post("/orders", json=order_document())

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert {gateway.bulkheads.depth(lane) for lane in gateway.bulkheads.lanes} == {0}


def test_many_concurrent_orders_are_each_stored_once(gateway: Gateway) -> None:
    documents = [order_document() for _ in range(60)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda document: gateway.http.post("/orders", json=document), [*documents, *documents]))

    assert sorted(each.status_code for each in answers) == [200] * 60 + [202] * 60
    assert len(gateway.store.snapshot().entries) == 120
