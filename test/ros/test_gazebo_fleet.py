"""The Gazebo backend flies real orders: real executor, orchestrator, gateway, etcd and DDS.

A separate process (``quadrotors.py``) stands in for Gazebo. It has the topics of Gazebo's bridge.
"""

from __future__ import annotations

import json
import math
import os
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

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.timeout(1800)]

#: Generous: each set-point is waited for, and there are hundreds in a flight.
DEADLINE_S = 400.0
SPEED = 6.0
#: Height (m) of a drone in the middle of its climb.
CLIMBING_M = 8.0
DRONES = ["drone_1", "drone_2"]
DESTINATION_M = (32.0, 24.0)
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
            self.popen = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, text=True, env={**os.environ, **environment}
            )
        self._holds = 0

    def tell(self, *commands: str) -> None:
        """Send commands; see ``quadrotors.py``."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("".join(f"{command}\n" for command in commands))
        self.popen.stdin.flush()

    def hold(self) -> None:
        """Let time stand still when the next drone climbs."""
        self._holds += 1
        self.tell(f"hold {CLIMBING_M}")

    def held(self) -> str:
        """Return the id of the drone for which time stands still; empty if it does not yet."""
        ids = [fact["held"] for fact in self.facts if "held" in fact]
        return str(ids[-1]) if len(ids) == self._holds else ""

    @property
    def facts(self) -> list[dict[str, Any]]:
        *lines, _unfinished = self.output.read_text().split("\n")
        return [json.loads(line) for line in lines]

    def touchdowns(self, drone_id: str) -> list[dict[str, Any]]:
        return [fact for fact in self.facts if fact.get("touchdown") == drone_id]

    def up_m(self, drone_id: str) -> float:
        heights_m = [fact["up"][drone_id] for fact in self.facts if "up" in fact]
        return heights_m[-1] if heights_m else 0.0

    def close(self) -> None:
        with self.popen:
            self.popen.kill()


class GazeboFleet(Fleet):
    """A fleet whose drones are flown by velocity set-points."""

    skies: Skies

    def order_far_away(self, order_id: str) -> None:
        depot = load(self.options.fleet_config).depot
        lat, lon = geo_from_enu(*DESTINATION_M, depot)
        assert self.post(order_id, destination={"lat": float(lat), "lon": float(lon)}).status_code == 202

    def hold_in_flight(self, order_id: str) -> str:
        """Order, and return the drone that carries the order once time stands still during its climb."""
        self.skies.hold()
        self.order_far_away(order_id)
        drone_id: str = wait_for(self.skies.held, DEADLINE_S, "a drone climbs")
        assert self.wait_status(order_id, "IN_TRANSIT", timeout_s=DEADLINE_S)["drone_id"] == drone_id
        return drone_id

    def wait_touchdown(self, drone_id: str, number: int) -> dict[str, Any]:
        """Return the ``number``-th touchdown of the drone, counted from 0."""
        found: list[dict[str, Any]] = wait_for(
            lambda: self.skies.touchdowns(drone_id)[number:], DEADLINE_S, f"touchdown {number} of {drone_id}"
        )
        return found[0]

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
    delivered = fleet.wait_status("FLOWN", "DELIVERED", timeout_s=DEADLINE_S)
    drone_id = delivered["drone_id"]
    assert delivered["attempt"] == 1
    home = (0.0, 0.0) if drone_id == "drone_1" else (3.5, 0.0)
    landed = fleet.wait_touchdown(drone_id, 1)
    assert off_m(fleet.skies.touchdowns(drone_id)[0], DESTINATION_M) < 2.0
    assert off_m(landed, home) < 2.0
    assert max(each["mps"] for each in fleet.skies.touchdowns(drone_id)) < 1.0


def test_an_executor_killed_in_flight_goes_on_from_odometry(fleet: GazeboFleet) -> None:
    drone_id = fleet.hold_in_flight("RESUMED")
    before = len(fleet.skies.touchdowns(drone_id))
    assert fleet.kill(fleet.host_of(drone_id))
    fleet.skies.tell("unattended", "go")
    assert fleet.wait_status("RESUMED", "DELIVERED", timeout_s=DEADLINE_S)["attempt"] == 1
    first = fleet.skies.touchdowns(drone_id)[before]
    assert off_m(first, DESTINATION_M) < 2.0, "it landed somewhere else first"
    fleet.wait_touchdown(drone_id, before + 1)


def test_odometry_that_stops_in_flight_grounds_the_drone_and_says_why(fleet: GazeboFleet) -> None:
    drone_id = fleet.hold_in_flight("BLIND")
    before = len(fleet.skies.touchdowns(drone_id))
    fleet.skies.tell("blind", "go")
    try:
        reason = f"{drone_id} is grounded: odometry_lost"
        wait_for(lambda: reason in fleet.log(drone_id), DEADLINE_S, "the fault is reported")
        state = next(d for d in fleet.fleetctl("drones")["drones"] if d["drone_id"] == drone_id)
        assert state["phase"] == "GROUNDED"
        assert fleet.skies.up_m(drone_id) > 5.0, "it must hover: without odometry it must not descend"
    finally:
        fleet.skies.tell("see")
    assert off_m(fleet.wait_touchdown(drone_id, before), DESTINATION_M) > 10.0
