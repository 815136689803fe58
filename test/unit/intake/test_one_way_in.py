"""Every order is parsed once and admitted once, through every interface and with every outcome."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gateway_fixtures import FLEET, Gateway, order_document

from drone_orchestrator.core import admission
from drone_orchestrator.intake import intake as intake_module
from drone_orchestrator.intake.bulkheads import Bulkheads
from drone_orchestrator.ports import FateUnknown

M1 = str(uuid.UUID(int=1))
ONCE = {"parsed": 1, "checked": 1, "entered": 1}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the orders parsed, checked against the fleet, and admitted to a lane."""
    found: Counter[str] = Counter()

    def count(name: str, call: Any) -> Any:
        def counting(*args: Any, **options: Any) -> Any:
            found[name] += 1
            return call(*args, **options)

        return counting

    monkeypatch.setattr(intake_module, "parse_order", count("parsed", admission.parse_order))
    monkeypatch.setattr(intake_module, "check_serviceable", count("checked", admission.check_serviceable))
    monkeypatch.setattr(Bulkheads, "enter", count("entered", Bulkheads.enter))
    return found


def group_fails(gateway: Gateway, *, committed: bool) -> None:
    """Let every group end without an answer, after or instead of its commit."""
    submit_all = gateway.store.submit_all

    def unanswered(orders: Any) -> Any:
        if committed:
            submit_all(orders)
        return [FateUnknown("no answer")] * len(orders)

    gateway.store.submit_all = unanswered  # type: ignore[method-assign]


def places_held(gateway: Gateway) -> int:
    return sum(gateway.bulkheads.depth(lane) for lane in gateway.bulkheads.lanes)


# --- HTTP -------------------------------------------------------------------------------------------------------------


def test_an_order_in_a_group_is_parsed_and_admitted_once(gateway: Gateway, counts: Counter[str]) -> None:
    assert gateway.http.post("/orders", json=order_document()).status_code == 202

    assert counts == ONCE


@pytest.mark.parametrize("message_id", [None, M1])
@pytest.mark.parametrize("committed", [True, False])
def test_an_order_whose_group_gave_no_answer_is_parsed_and_admitted_once(
    gateway: Gateway, counts: Counter[str], committed: bool, message_id: str | None
) -> None:
    group_fails(gateway, committed=committed)

    answer = gateway.http.post("/orders", json=order_document(order_id="o-1", message_id=message_id))

    assert answer.status_code == (200 if committed else 202)
    assert counts == ONCE
    found = gateway.store.find("o-1")
    assert found is not None and found.order.message_id == answer.json()["message_id"]
    gateway.wait_shown()
    assert places_held(gateway) == 1  # the order itself


def test_a_repeat_recognised_by_its_order_id_is_parsed_and_admitted_once(
    gateway: Gateway, counts: Counter[str]
) -> None:
    document = order_document()
    gateway.http.post("/orders", json=document)
    counts.clear()

    assert gateway.http.post("/orders", json=document).status_code == 200

    assert counts == ONCE


def test_an_order_that_no_drone_can_fly_is_parsed_once(gateway: Gateway, counts: Counter[str]) -> None:
    assert gateway.http.post("/orders", json=order_document(package_weight_kg=100.0)).status_code == 422

    assert counts == {"parsed": 1, "checked": 1}


def test_an_order_whose_lane_is_full_is_parsed_once(counts: Counter[str]) -> None:
    fleet = replace(FLEET, classes=tuple(replace(each, max_waiting=1) for each in FLEET.classes))
    gateway = Gateway(fleet=fleet)
    gateway.http.post("/orders", json=order_document())
    gateway.wait_shown()
    counts.clear()

    assert gateway.http.post("/orders", json=order_document()).status_code == 429

    assert counts == ONCE
    gateway.close()


def test_an_order_that_meets_an_open_breaker_is_parsed_once(gateway: Gateway, counts: Counter[str]) -> None:
    gateway.backend.set_available(False)
    while gateway.breaker.state != "open":
        gateway.http.get("/orders/o-1")

    assert gateway.http.post("/orders", json=order_document()).status_code == 503

    assert counts == ONCE
    assert places_held(gateway) == 0


def test_an_invalid_document_is_parsed_once(gateway: Gateway, counts: Counter[str]) -> None:
    assert gateway.http.post("/orders", json={"colour": "red"}).status_code == 422

    assert counts == {"parsed": 1}


# --- ROS --------------------------------------------------------------------------------------------------------------


def test_an_order_from_the_service_is_parsed_and_admitted_once(gateway: Gateway, counts: Counter[str]) -> None:
    pytest.importorskip("rclpy")
    import ros_orders

    message = ros_orders.order_msg(order_document(order_id="o-1"))
    message.priority = message.HIGH

    answer = ros_orders.submit_by_service(gateway, message)

    assert answer.result == answer.ACCEPTED
    assert counts == ONCE
    shown = gateway.http.get("/orders/o-1").json()["order"]
    assert (shown["package_weight_kg"], shown["priority"], shown["deadline_s"]) == (1.2, "high", None)


def test_an_order_from_the_topic_is_parsed_and_admitted_once(gateway: Gateway, counts: Counter[str]) -> None:
    pytest.importorskip("rclpy")
    import ros_orders

    ros_orders.publish(gateway, "order.submit", order_document(order_id="o-1"), M1)

    assert gateway.count("accepted", "dds_topic") == 1
    assert counts == ONCE
    found = gateway.store.find("o-1")
    assert found is not None and found.order.message_id == M1
