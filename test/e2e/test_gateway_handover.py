"""``POST /leader/handover`` on a real fleet of two replicas: the other one leads, the old one becomes a standby."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from gateway_process import eventually

from drone_orchestrator.bringup import fleet_config
from drone_orchestrator.bringup.etcd_process import EtcdNotStarted, find_etcd
from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.slow]


def test_leadership_goes_there_and_back_over_http() -> None:
    try:
        find_etcd()
    except EtcdNotStarted as error:
        pytest.skip(str(error))
    options = FleetOptions(drones=2, replicas=2, region=fleet_config.load().region, http_port=0, monitor=False)
    died: list[str] = []
    with (
        LocalFleet(options, on_exit=lambda name, code: died.append(name)) as fleet,
        httpx.Client(base_url=fleet.url, timeout=90.0, trust_env=False) as gateway,
    ):

        def body() -> dict[str, Any]:
            try:
                response = gateway.get("/fleet")
            except httpx.TransportError:
                return {}
            return response.json() if response.status_code == 200 else {}

        def leader() -> dict[str, Any] | None:
            return body().get("leader")

        eventually("a replica leads", leader)
        eventually("the drones are on the map", lambda: len([d for d in body()["drones"] if d["position"]]) == 2)

        # Twice: the second handover needs the old leader as a standby.
        for _ in range(2):
            before = leader()
            assert before is not None
            answer = eventually("no handover is under way", lambda: _handed_over(gateway))
            assert answer == {"holder": before["holder"], "epoch": before["epoch"]}

            def other(was: str = before["holder"]) -> dict[str, Any] | None:
                now = leader()
                return now if now is not None and now["holder"] != was else None

            assert eventually("the other replica leads", other)["epoch"] > before["epoch"]
        assert not died


def _handed_over(gateway: httpx.Client) -> dict[str, Any] | None:
    """Return the answer, or ``None`` while the previous handover is still being completed."""
    response = gateway.post("/leader/handover")
    if response.status_code == 409:
        assert response.json()["code"] == "handover_under_way"
        return None
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer
