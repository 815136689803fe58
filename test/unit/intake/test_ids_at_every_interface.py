"""The same id means the same order at every interface, in upper or lower case."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway_fixtures import Gateway, order_document

pytest.importorskip("rclpy")

import ros_orders
from fastapi.responses import PlainTextResponse

from drone_orchestrator.cli.orders.views import find
from drone_orchestrator.core.admission import parse_order
from drone_orchestrator.core.types import CommandAction, OperatorCommand
from drone_orchestrator.gateway.streams import Streams

SMALL = "7b1f1c0e-3f0a-4f57-9d59-6c1a52a3a0a1"
CAPITAL = SMALL.upper()
Document = dict[str, Any]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


# Each submits an order with a message id and returns whether it is new.


def by_body(gateway: Gateway, document: Document, id_: str) -> bool:
    answer = gateway.http.post("/orders", json={**document, "message_id": id_})
    assert answer.json()["message_id"] == SMALL
    return bool(answer.status_code == 202)


def by_key(gateway: Gateway, document: Document, id_: str) -> bool:
    answer = gateway.http.post("/orders", json=document, headers={"Idempotency-Key": id_})
    assert answer.json()["message_id"] == SMALL
    return bool(answer.status_code == 202)


def by_body_and_key(gateway: Gateway, document: Document, id_: str) -> bool:
    body, headers = {**document, "message_id": id_}, {"Idempotency-Key": id_.swapcase()}
    answer = gateway.http.post("/orders", json=body, headers=headers)
    return bool(answer.status_code == 202)


def by_service(gateway: Gateway, document: Document, id_: str) -> bool:
    answer = ros_orders.submit_by_service(gateway, ros_orders.order_msg(document), id_)
    assert answer.message_id == SMALL
    return bool(answer.result == answer.ACCEPTED)


def by_topic(gateway: Gateway, document: Document, id_: str) -> bool:
    before = gateway.count("accepted", "dds_topic")
    ros_orders.publish(gateway, "order.submit", {**document, "message_id": id_.swapcase()}, id_)
    assert gateway.count("malformed", "dds_topic") == 0
    return gateway.count("accepted", "dds_topic") > before


def by_command_line(gateway: Gateway, document: Document, id_: str) -> bool:
    order = parse_order({**document, "message_id": id_}, now_s=1.0, new_id="")
    return gateway.store.submit(order).created


SUBMIT = [by_body, by_key, by_body_and_key, by_service, by_topic, by_command_line]


@pytest.mark.parametrize("again", SUBMIT)
@pytest.mark.parametrize("first", SUBMIT)
def test_a_repeat_is_recognised_across_all_interfaces(gateway: Gateway, first: Any, again: Any) -> None:
    document = order_document()

    assert first(gateway, document, CAPITAL) is True
    assert again(gateway, document, SMALL) is False
    assert again(gateway, document, CAPITAL) is False


# Each returns whether the order is found by an id.


def shown(gateway: Gateway, id_: str) -> bool:
    return bool(gateway.http.get(f"/orders/{id_}").status_code == 200)


def history_shown(gateway: Gateway, id_: str) -> bool:
    return bool(gateway.http.get(f"/orders/{id_}/events").status_code == 200)


def listed(gateway: Gateway, id_: str) -> bool:
    gateway.wait_shown()
    return len(gateway.http.get("/orders", params={"q": id_}).json()["orders"]) == 1


def deleted(gateway: Gateway, id_: str) -> bool:
    return bool(gateway.http.delete(f"/orders/{id_}").status_code == 202)


def cancelled_by_service(gateway: Gateway, id_: str) -> bool:
    answer = ros_orders.cancel_by_service(gateway, id_)
    return bool(answer.result == answer.REQUESTED and answer.message_id == SMALL)


def cancelled_by_topic(gateway: Gateway, id_: str) -> bool:
    ros_orders.publish(gateway, "order.cancel", {"id": id_}, str(uuid.uuid4()))
    return gateway.count("cancel_requested", "dds_topic") == 1


def found_by_command_line(gateway: Gateway, id_: str) -> bool:
    view = find(gateway.store, id_)
    return gateway.store.request_command(OperatorCommand(view.order.message_id, CommandAction.RETRY, 1.0))


FIND = [shown, history_shown, listed, deleted, cancelled_by_service, cancelled_by_topic, found_by_command_line]


@pytest.mark.parametrize("id_", [SMALL, CAPITAL, CAPITAL[:8] + SMALL[8:]])
@pytest.mark.parametrize("door", FIND)
def test_an_order_is_found_through_every_interface(gateway: Gateway, door: Callable[..., bool], id_: str) -> None:
    assert by_body(gateway, order_document(), CAPITAL)

    assert door(gateway, id_) is True


def test_events_of_an_order_are_selected_by_its_id_in_upper_case(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Streams, "response", lambda _, after, message_id: PlainTextResponse(message_id))

    assert gateway.http.get("/events", params={"message_id": CAPITAL}).text == SMALL


@pytest.mark.parametrize("door", [shown, history_shown, deleted, cancelled_by_service])
def test_a_uuid_that_is_an_order_id_keeps_its_upper_case(gateway: Gateway, door: Callable[..., bool]) -> None:
    gateway.http.post("/orders", json=order_document(order_id=CAPITAL, message_id=str(uuid.UUID(int=1))))

    assert gateway.http.get(f"/orders/{CAPITAL}").json()["order_id"] == CAPITAL
    assert door(gateway, SMALL) is False
