"""``GET /fleet`` over the in-memory store: live and reserved drones, lanes, breakers, and alerts."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_fixtures import Clock, Gateway, Leader, order_document

from drone_orchestrator.core.changes import BreakerChange, Reserve
from drone_orchestrator.core.saga import ABANDONED, ASSIGNED, FAILED, PARKED
from drone_orchestrator.core.types import Breaker, BreakerState, GeoPoint, Phase, SagaStatus
from drone_orchestrator.gateway.live_drones import FORGOTTEN_AFTER_S, MAX_DRONES, LiveDrone, LiveDrones

S = SagaStatus


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


def accepted(gateway: Gateway, **changes: Any) -> str:
    response = gateway.http.post("/orders", json=order_document(**changes))
    assert response.status_code == 202, response.text
    gateway.wait_shown()
    return str(response.json()["message_id"])


def fleet(gateway: Gateway) -> dict[str, Any]:
    response = gateway.http.get("/fleet")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def alerts(gateway: Gateway) -> dict[str, dict[str, Any]]:
    return {alert["code"]: alert for alert in fleet(gateway)["alerts"]}


def heard(drone_id: str = "drone_1", **changes: Any) -> LiveDrone:
    return LiveDrone(drone_id, changes.pop("drone_class", "light"), changes.pop("phase", Phase.IDLE), **changes)


# --- drones ----------------------------------------------------------------------------------------------------------


def test_a_drone_is_shown_as_last_reported(gateway: Gateway) -> None:
    message_id = accepted(gateway, order_id="lunch")
    gateway.live.hear(
        heard(
            phase=Phase.TO_DESTINATION,
            position=GeoPoint(37.7, -122.4),
            altitude_m=60.0,
            energy_wh=30.0,
            package_on_board=True,
            message_id=message_id,
        )
    )
    gateway.mono.now_s += 0.25

    (drone,) = fleet(gateway)["drones"]

    assert drone["phase"] == "TO_DESTINATION"
    assert drone["position"] == {"lat": 37.7, "lon": -122.4, "altitude_m": 60.0}
    assert drone["energy_fraction"] == 0.3
    assert drone["package_on_board"] is True
    assert (drone["message_id"], drone["order_id"]) == (message_id, "lunch")
    assert drone["destination"] == {"lat": 37.78, "lon": -122.41}
    assert drone["breaker"] == "closed"
    assert drone["heard_s"] == 0.25


def test_a_reserved_drone_is_shown_even_if_it_was_never_heard(gateway: Gateway) -> None:
    leader = Leader(gateway)
    saga = leader.take_up(accepted(gateway))
    leader.step(saga, ASSIGNED, S.ASSIGNED, drone_id="drone_7", reservation=Reserve("drone_7"))

    (drone,) = fleet(gateway)["drones"]

    assert (drone["drone_id"], drone["message_id"], drone["epoch"]) == ("drone_7", saga.message_id, leader.epoch)
    assert (drone["position"], drone["heard_s"], drone["phase"]) == (None, None, "UNSPECIFIED")
    assert "drone_silent" not in alerts(gateway)
    gateway.wall.now_s += 6.0
    assert alerts(gateway)["drone_silent"]["subject"] == "drone_7"


def test_the_course_is_computed_from_the_last_two_positions() -> None:
    live = LiveDrones(Clock())

    def course(lat: float, lon: float) -> float | None:
        live.hear(heard(position=GeoPoint(lat, lon)))
        return live.drones()[0][0].heading_rad

    assert course(0.0, 179.9999) is None
    assert course(0.0, -179.9999) == pytest.approx(0.0)  # east, across the antimeridian
    assert course(0.001, -179.9999) == pytest.approx(math.pi / 2)
    assert course(0.001, -179.9999) == pytest.approx(math.pi / 2)  # standing still, it keeps its course
    assert course(0.0, -179.9999) == pytest.approx(-math.pi / 2)


def test_live_drones_are_bounded_and_forgotten() -> None:
    clock = Clock()
    live = LiveDrones(clock)
    for number in range(MAX_DRONES + 5):
        live.hear(heard(f"drone_{number}"))
    assert len(live.drones()) == MAX_DRONES
    clock.now_s += FORGOTTEN_AFTER_S
    live.hear(heard("drone_9"))
    clock.now_s += 1.0
    assert [drone.drone_id for drone, _ in live.drones()] == ["drone_9"]


# --- lanes, breakers, counts -----------------------------------------------------------------------------------------


def test_lanes_and_counts_follow_the_orders(gateway: Gateway) -> None:
    leader = Leader(gateway)
    accepted(gateway)
    saga = leader.take_up(accepted(gateway))
    leader.step(saga, ASSIGNED, S.ASSIGNED, drone_id="drone_1")

    body = fleet(gateway)

    assert body["lanes"] == [{"drone_class": "light", "waiting": 1, "in_flight": 1, "bound": 1000, "level": "CLEAR"}]
    assert (body["orders"]["PENDING"], body["orders"]["ASSIGNED"], body["orders"]["DELIVERED"]) == (1, 1, 0)
    assert (body["depot"], body["service_radius_m"]) == ({"lat": 37.77, "lon": -122.42}, 10_000.0)
    (zone,) = body["no_fly_zones"]
    assert (zone["name"], zone["polygon"][1]) == ("zoo", {"lat": 37.7, "lon": -122.41})
    assert body["leader"] == {
        "holder": "orchestrator_a",
        "instance_id": "1",
        "epoch": leader.epoch,
        "since": 77.0,
    }


# --- alerts ----------------------------------------------------------------------------------------------------------


def test_with_a_leader_and_a_live_drone_there_is_no_alert(gateway: Gateway) -> None:
    Leader(gateway)
    gateway.wait_shown()
    gateway.live.hear(heard())

    assert fleet(gateway)["alerts"] == []


def test_a_class_without_a_live_drone_is_an_alert_while_its_orders_wait(gateway: Gateway) -> None:
    Leader(gateway)
    gateway.wait_shown()
    gateway.wall.now_s += 10.0
    assert "class_unmanned" not in alerts(gateway)

    accepted(gateway, order_id="lunch")
    began_s = gateway.wall.now_s
    alert = alerts(gateway)["class_unmanned"]
    assert (alert["severity"], alert["subject"], alert["since"]) == ("warning", "light", began_s)
    assert alert["summary"] == "no drone of class light is heard: its orders wait"
    gateway.wall.now_s += 5.0
    assert alerts(gateway)["class_unmanned"]["since"] == began_s

    gateway.live.hear(heard())
    assert "class_unmanned" not in alerts(gateway)


def test_a_missing_leader_is_an_alert_until_there_is_one(gateway: Gateway) -> None:
    gateway.wall.now_s += 10.0
    alert = alerts(gateway)["no_leader"]
    assert (alert["severity"], alert["since"]) == ("critical", 1000.0)

    Leader(gateway)
    gateway.wait_shown()

    assert "no_leader" not in alerts(gateway)


def test_parked_and_failed_orders_raise_alerts(gateway: Gateway) -> None:
    leader = Leader(gateway)
    gateway.wall.now_s = 5000.0
    parked = leader.take_up(accepted(gateway, order_id="stuck"))
    parked = leader.step(parked, ASSIGNED, S.ASSIGNED, drone_id="drone_1")
    parked = leader.step(parked, ABANDONED, S.COMPENSATING, target=S.PENDING)
    leader.step(parked, PARKED, S.COMPENSATING, reason="nobody answers")
    failed = leader.take_up(accepted(gateway))
    leader.step(failed, FAILED, S.FAILED, reason="nobody can fly it")

    found = alerts(gateway)

    assert found["order_parked"]["severity"] == "critical"
    assert found["order_parked"]["subject"] == parked.message_id
    assert "stuck" in found["order_parked"]["summary"] and "nobody answers" in found["order_parked"]["summary"]
    assert (found["order_failed"]["severity"], found["order_failed"]["since"]) == ("warning", 5000.0)
    gateway.wall.now_s += 3601.0
    assert alerts(gateway).keys() == {"order_parked"}


def test_an_open_breaker_is_an_alert_with_its_drone(gateway: Gateway) -> None:
    leader = Leader(gateway)
    saga = leader.take_up(accepted(gateway))
    opened = BreakerChange(Breaker("drone_3", BreakerState.OPEN, leader.epoch, 3, 1, 9e9), 0)
    leader.step(saga, FAILED, S.FAILED, reason="test", breaker=opened)

    body = fleet(gateway)

    assert {"service": "drone_3", "state": "open"} in body["breakers"]
    assert {"service": "etcd", "state": "closed"} in body["breakers"]
    assert alerts(gateway)["breaker_open"]["subject"] == "drone_3"


def test_a_silent_drone_with_a_package_is_a_critical_alert(gateway: Gateway) -> None:
    gateway.live.hear(heard(package_on_board=True))
    gateway.live.hear(heard("drone_2"))
    gateway.mono.now_s += 6.0
    gateway.live.hear(heard("drone_3"))

    silent = [alert for alert in fleet(gateway)["alerts"] if alert["code"] == "drone_silent"]

    assert [(alert["subject"], alert["severity"]) for alert in silent] == [
        ("drone_1", "critical"),
        ("drone_2", "warning"),
    ]


def test_an_open_breaker_is_an_alert_at_once(gateway: Gateway) -> None:
    gateway.backend.set_available(False)
    for _ in range(4):
        gateway.http.get("/orders/x")

    body = fleet(gateway)

    assert body["alerts"][0]["code"] == "store_unreachable"
    assert {"service": "etcd", "state": "open"} in body["breakers"]


# --- searching, steps ------------------------------------------------------------------------------------------------


def test_orders_are_found_by_a_part_of_either_id_and_newest_first(gateway: Gateway) -> None:
    made = []
    for name in ("Pizza-1", "pizza-2", "sushi-1"):
        gateway.wall.now_s += 1.0
        made.append(accepted(gateway, order_id=name, message_id=str(uuid.uuid4())))

    def listed(**parameters: Any) -> list[str]:
        page = gateway.http.get("/orders", params=parameters).json()
        return [order["order_id"] for order in page["orders"]]

    assert listed(q="pizza") == ["Pizza-1", "pizza-2"]
    assert listed(q="pizza", newest="true") == ["pizza-2", "Pizza-1"]
    assert listed(q=made[2][3:20]) == ["sushi-1"]
    assert listed(q="burger") == []


def test_orders_listed_newest_first_are_paginated(gateway: Gateway) -> None:
    names = []
    for _ in range(5):
        gateway.wall.now_s += 1.0
        names.append(accepted(gateway))
    pages, cursor = [], None
    while True:
        parameters = {"newest": "true", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = gateway.http.get("/orders", params=parameters).json()
        pages.append([order["message_id"] for order in page["orders"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [id_ for page in pages for id_ in page] == names[::-1]


def test_the_steps_of_an_order_are_found_by_either_id(gateway: Gateway) -> None:
    message_id = accepted(gateway, order_id="lunch")
    assert gateway.http.get("/orders/lunch/events").json() == {"events": []}
    saga = Leader(gateway).take_up(message_id)

    for id_ in ("lunch", message_id):
        (step,) = gateway.http.get(f"/orders/{id_}/events").json()["events"]
        assert (step["order_id"], step["sequence"], step["to_status"]) == ("lunch", 1, "PENDING")
        assert step["message_id"] == saga.message_id
    assert gateway.http.get("/orders/nothing/events").json()["code"] == "not_found"


# --- why an order waits ----------------------------------------------------------------------------------------------


def test_an_order_without_a_drone_shows_since_when_and_why_it_waits(gateway: Gateway) -> None:
    leader = Leader(gateway)
    message_id = accepted(gateway)
    gateway.wait_shown()
    gateway.live.hear(heard(phase=Phase.GROUNDED))

    shown = gateway.http.get(f"/orders/{message_id}").json()["waiting"]

    assert shown["since"] == gateway.wall.now_s
    detail = "is grounded until a person has seen to it"
    assert shown["reasons"] == [{"code": "drone_grounded", "drone_id": "drone_1", "detail": detail}]

    leader.step(leader.take_up(message_id), ASSIGNED, S.ASSIGNED, drone_id="drone_1")
    gateway.wait_shown()
    assert gateway.http.get(f"/orders/{message_id}").json()["waiting"] is None
