"""Three etcd members: losing one has no effect, losing two is a clear refusal, and no order is lost either way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions
from drone_orchestrator.cli.trial.run_record import Observer

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.slow, pytest.mark.timeout(600)]

NEAR = {"lat": 37.7605, "lon": -122.4009}
DOWN_S = 3600.0  # until the test starts it again


def wait_for(what: Callable[[], bool], why: str, timeout_s: float = 180.0) -> None:
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not what():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {why}"
        pause.wait(0.05)


@pytest.fixture
def fleet() -> Iterator[LocalFleet]:
    options = FleetOptions(
        drones=2, replicas=2, http_port=0, time_scale=80.0, lease_ttl_s=2.0, etcd_members=3, monitor=False
    )
    with LocalFleet(options) as fleet:
        wait_for(lambda: status(fleet, "readyz") == 200, "the gateway is ready")
        yield fleet


def status(fleet: LocalFleet, path: str) -> int:
    fleet.check()
    try:
        return httpx.get(f"{fleet.url}/{path}", timeout=30.0).status_code
    except httpx.TransportError:
        return 0


def post(fleet: LocalFleet, order_id: str) -> httpx.Response:
    document = {"order_id": order_id, "destination": NEAR, "package_weight_kg": 1.0}
    return httpx.post(f"{fleet.url}/orders", json=document, timeout=60.0)


def order(fleet: LocalFleet, order_id: str) -> None:
    """Submit an order as a shop does: repeat the request if it is refused for the moment."""
    wait_for(lambda: post(fleet, order_id).status_code in (200, 202), f"{order_id} is accepted")


def back(fleet: LocalFleet, *members: int) -> None:
    for index in members:
        fleet.etcd.start_member(index)
    wait_for(lambda: fleet.etcd.leader() is not None and not fleet.etcd.ended, "the members are back")


def test_orders_survive_the_leader_a_member_and_the_quorum(fleet: LocalFleet) -> None:
    with Observer(fleet) as observer:
        order(fleet, "BEFORE")
        leader = fleet.etcd.leader()
        assert leader is not None
        fleet.kill_etcd(leader, respawn_delay_s=DOWN_S)
        order(fleet, "LEADER-DOWN")
        wait_for(lambda: fleet.etcd.leader() not in (None, leader), "another member leads")
        order(fleet, "MEMBER-DOWN")

        second = next(index for index in range(3) if index not in fleet.etcd.ended)
        fleet.kill_etcd(second, respawn_delay_s=DOWN_S)
        refusals = [post(fleet, "NO-QUORUM") for _ in range(2)]
        assert [refusal.status_code for refusal in refusals] == [503, 503]
        assert all(int(refusal.headers["Retry-After"]) >= 1 for refusal in refusals)
        assert status(fleet, "readyz") == 503

        back(fleet, leader, second)
        order(fleet, "NO-QUORUM")
        wait_for(lambda: sum(observer.counts().values()) == observer.ended() == 4, "all four orders have ended")
        report, unreadable = observer.audit()
        figures = observer.figures({saga.order_id: saga.message_id for saga in observer.sagas()}, report)
    assert (figures["delivered"], figures["lost"], figures["duplicates"]) == (4, 0, 0)
    assert (figures["violations"], unreadable) == ([], [])


def test_a_killed_etcd_of_the_fleet_is_restarted_with_its_data() -> None:
    ends: list[str] = []
    options = FleetOptions(drones=0, replicas=0, monitor=False, gateway=False)
    with LocalFleet(options, on_exit=lambda name, code: ends.append(f"{name} {code}")) as fleet:
        [endpoint], [pid] = fleet.etcd.endpoints, fleet.etcd.pids
        httpx.post(f"{endpoint}/v3/kv/put", json={"key": "a2V5", "value": "dmFsdWU="}).raise_for_status()
        fleet.kill_etcd(0)
        wait_for(lambda: fleet.etcd.leader() == 0 and fleet.etcd.pids != [pid], "etcd is back")
        found = httpx.post(f"{endpoint}/v3/kv/range", json={"key": "a2V5"}).json()
        assert [kv["value"] for kv in found["kvs"]] == ["dmFsdWU="]
    assert ends == ["etcd_0 -9"]
