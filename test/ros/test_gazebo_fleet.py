"""The Gazebo backend flies real orders: real executor, orchestrator, gateway, etcd and DDS.

Gazebo itself is stood in for by a process of its own (``quadrotors.py``) that speaks the topics of Gazebo's bridge.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_fleet import Fleet, wait_for

from drone_orchestrator.bringup.fleet_config import load
from drone_orchestrator.bringup.local_fleet import dies_with_parent
from drone_orchestrator.bringup.plan import FleetOptions
from drone_orchestrator.planning.geo import geo_from_enu

pytestmark = [pytest.mark.ros, pytest.mark.etcd]

SPEED = 6.0
DRONES = ["drone_1", "drone_2"]
DESTINATION_M = (60.0, 45.0)
FLEET = """
region: gazebo_test
depot: {lat_deg: 37.7577, lon_deg: -122.3876}
service_radius_m: 8000.0
drone_classes:
  courier: {max_payload_kg: 3.0, cruise_speed_mps: 15.0, climb_speed_mps: 5.0, cruise_altitude_m: 12.0,
            battery_wh: 550.0, empty_mass_kg: 6.0, hover_power_w: 700.0, load_time_s: 2.0, drop_time_s: 1.0}
pattern: [courier]
"""


class Skies:
    """The process that stands in for Gazebo."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.output = folder / "quadrotors.jsonl"
        command = [
            *dies_with_parent(),
            sys.executable,
            str(Path(__file__).with_name("quadrotors.py")),
            str(SPEED),
            *DRONES,
        ]
        with self.output.open("w") as out:
            self.popen = subprocess.Popen(command, stdout=out, env={**os.environ, **environment})

    @property
    def facts(self) -> list[dict[str, Any]]:
        *lines, _unfinished = self.output.read_text().split("\n")
        return [json.loads(line) for line in lines]

    def touchdowns(self, drone_id: str) -> list[dict[str, Any]]:
        return [fact for fact in self.facts if fact.get("touchdown") == drone_id]

    def up_m(self, drone_id: str) -> float:
        told = [fact["up"][drone_id] for fact in self.facts if "up" in fact]
        return told[-1] if told else 0.0

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()


class GazeboFleet(Fleet):
    """A fleet whose drones are flown by velocity set-points."""

    skies: Skies

    def order_far_away(self, order_id: str) -> None:
        depot = load(self.options.fleet_config).depot
        lat, lon = geo_from_enu(*DESTINATION_M, depot)
        assert self.post(order_id, destination={"lat": float(lat), "lon": float(lon)}).status_code == 202

    def wait_aloft(self, order_id: str) -> str:
        """The drone that carries ``order_id``, once it is well off the ground."""
        drone_id: str = self.wait_status(order_id, "IN_TRANSIT")["drone_id"]
        wait_for(lambda: self.skies.up_m(drone_id) > 8.0, 90.0, f"{drone_id} is in the air")
        return drone_id

    def log(self, drone_id: str) -> str:
        return (self.log_dir / f"{self.host_of(drone_id)}.log").read_text()


def off_m(touchdown: dict[str, Any], place: tuple[float, float]) -> float:
    return math.dist(touchdown["at"], place)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GazeboFleet]:
    folder = tmp_path_factory.mktemp("gazebo")
    (folder / "fleet.yaml").write_text(FLEET)
    options = FleetOptions(
        drones=len(DRONES),
        replicas=1,
        monitor=False,
        region="gazebo_test",
        fleet_config=str(folder / "fleet.yaml"),
        http_port=0,
        drones_per_process=1,
        flight="gazebo",
        use_sim_time=True,
    )
    with GazeboFleet(options) as fleet:
        fleet.skies = Skies(folder, fleet.environment)
        try:
            yield fleet.ready()
        finally:
            fleet.skies.close()


@pytest.fixture(autouse=True)
def invariants_hold(fleet: GazeboFleet) -> Iterator[None]:
    yield
    fleet.audit()


def test_an_order_is_delivered_where_it_should_be_and_the_drone_comes_home(fleet: GazeboFleet) -> None:
    fleet.order_far_away("FLOWN")
    drone_id = fleet.wait_aloft("FLOWN")
    assert fleet.wait_status("FLOWN", "DELIVERED")["attempt"] == 1
    home = (0.0, 0.0) if drone_id == "drone_1" else (3.5, 0.0)
    landed = wait_for(lambda: fleet.skies.touchdowns(drone_id)[1:], 90.0, f"{drone_id} is home")
    assert off_m(fleet.skies.touchdowns(drone_id)[0], DESTINATION_M) < 2.0
    assert off_m(landed[0], home) < 2.0
    # How gently it lands is tested where no clock plays a part; here set-points come late when the machine is busy.
    assert max(each["mps"] for each in fleet.skies.touchdowns(drone_id)) < 4.0


def test_an_executor_killed_in_flight_goes_on_from_odometry(fleet: GazeboFleet) -> None:
    fleet.order_far_away("RESUMED")
    drone_id = fleet.wait_aloft("RESUMED")
    before = len(fleet.skies.touchdowns(drone_id))
    assert fleet.kill(fleet.host_of(drone_id))
    assert fleet.wait_status("RESUMED", "DELIVERED")["attempt"] == 1
    first = fleet.skies.touchdowns(drone_id)[before]
    assert off_m(first, DESTINATION_M) < 2.0, "it landed nowhere else in between"


def test_odometry_that_stops_in_flight_grounds_the_drone_and_says_why(fleet: GazeboFleet) -> None:
    fleet.order_far_away("BLIND")
    drone_id = fleet.wait_aloft("BLIND")
    before = len(fleet.skies.touchdowns(drone_id))
    fleet.skies.popen.send_signal(signal.SIGUSR1)
    try:
        reason = f"{drone_id} is grounded: odometry_lost"
        wait_for(lambda: reason in fleet.log(drone_id), 90.0, "the fault is reported")
        state = next(d for d in fleet.fleetctl("drones")["drones"] if d["drone_id"] == drone_id)
        assert state["phase"] == "GROUNDED"
        assert fleet.skies.up_m(drone_id) > 5.0, "it hovers: blind, it does not dare to come down"
    finally:
        fleet.skies.popen.send_signal(signal.SIGUSR2)
    landed = wait_for(lambda: fleet.skies.touchdowns(drone_id)[before:], 90.0, f"{drone_id} lands once it sees")
    assert off_m(landed[0], DESTINATION_M) > 10.0
