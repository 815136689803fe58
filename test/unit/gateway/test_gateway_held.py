"""A held fleet takes no orders and is not ready, while everything can still be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from gateway_fixtures import Gateway, order_document

from drone_orchestrator.core.types import FleetIdentity, LeaderRecord
from drone_orchestrator.store.kv import Delete


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


def test_a_held_fleet_turns_orders_away_and_still_answers_questions(gateway: Gateway) -> None:
    accepted = gateway.http.post("/orders", json=order_document())
    assert accepted.status_code == 202
    fleet = FleetIdentity("7e4c8f5e-0d7e-4b38-9c44-2a7f3de1b605", held="the store was restored from a backup")
    assert gateway.store.campaign(LeaderRecord("a", "1", 0.0), 60.0, 0, fleet)
    until(lambda: gateway.http.get("/readyz").status_code == 503)
    assert "held" in gateway.http.get("/readyz").json()["reasons"]["fleet"]
    for _ in range(10):  # the breaker of the store must not open: the store is well
        answer = gateway.http.post("/orders", json={**order_document(), "order_id": "another"})
        assert answer.status_code == 503 and "the fleet is held" in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) > 0
    message_id = accepted.json()["message_id"]
    assert gateway.http.get(f"/orders/{message_id}").status_code == 200


def test_a_gateway_that_sees_the_identity_of_its_fleet_deleted_takes_no_orders(gateway: Gateway) -> None:
    """No replica runs that could record the hold."""
    fleet = FleetIdentity("7e4c8f5e-0d7e-4b38-9c44-2a7f3de1b605")
    assert gateway.store.campaign(LeaderRecord("a", "1", 0.0), 60.0, 0, fleet)
    until(lambda: gateway.http.get("/readyz").status_code == 200)
    gateway.store._driver.txn((), (Delete(gateway.store.keys.fleet),))
    until(lambda: gateway.http.get("/readyz").status_code == 503)
    assert "lost the identity" in gateway.http.get("/readyz").json()["reasons"]["fleet"]
    answer = gateway.http.post("/orders", json=order_document())
    assert answer.status_code == 503 and "lost the identity" in answer.json()["detail"]


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
    raise AssertionError("the condition never held")
