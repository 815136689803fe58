"""A whole fleet of real processes on real etcd and DDS: orders are delivered, whichever process is killed."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from drone_orchestrator.bringup.local_fleet import LocalFleet, dies_with_parent
from drone_orchestrator.bringup.plan import STOP_ORDER, FleetOptions
from drone_orchestrator.cli.audit import audit_store, read_journals
from drone_orchestrator.store import EtcdStore

pytestmark = [pytest.mark.ros, pytest.mark.etcd, pytest.mark.timeout(600)]

CITY_HALL = {"lat": 37.7749, "lon": -122.4194}
NEAR = {"lat": 37.7605, "lon": -122.4009}
FAR_PICKUP = {"lat": 37.7631, "lon": -122.4586}


def wait_for(what: Callable[[], Any], timeout_s: float, why: str) -> Any:
    """Return the first true value of ``what()``. Polls, because there is no event to wait for."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        pause.wait(0.05)
    raise AssertionError(f"not within {timeout_s} s: {why}")


class Fleet(LocalFleet):
    """A fleet under test, with a shop's and an operator's view of it."""

    # Generous, for a busy machine: a process must end by itself, however long it takes.
    stop_role_s = stop_all_s = 60.0

    def ready(self) -> Fleet:
        def answers() -> bool:
            self.check()
            try:
                return httpx.get(f"{self.url}/readyz", timeout=30.0).status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(answers, 180.0, "the gateway is ready")
        return self

    @property
    def store(self) -> EtcdStore:
        return EtcdStore(self.options.etcd_endpoints.split(","), self.options.region)

    def post(self, order_id: str, **fields: Any) -> httpx.Response:
        document = {"order_id": order_id, "destination": NEAR, "package_weight_kg": 1.2, **fields}
        return httpx.post(f"{self.url}/orders", json=document, timeout=60.0)

    def order(self, order_id: str) -> dict[str, Any]:
        document: dict[str, Any] = httpx.get(f"{self.url}/orders/{order_id}", timeout=60.0).json()
        return document

    def wait_status(self, order_id: str, *statuses: str, timeout_s: float = 180.0) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.order(order_id)
            return found if found["status"] in statuses else None

        found: dict[str, Any] = wait_for(there, timeout_s, f"{order_id} is {' or '.join(statuses)}")
        return found

    def leader(self) -> str | None:
        return self.fleetctl("leader")["holder"]

    def fleetctl(self, *args: str, code: int = 0) -> dict[str, Any]:
        environment = {**os.environ, **self.environment, "ETCD_ENDPOINTS": self.options.etcd_endpoints}
        done = subprocess.run(
            [sys.executable, "-m", "drone_orchestrator.cli.main", *args, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, done.stderr
        document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
        return document

    def host_of(self, drone_id: str) -> str:
        return next(n for n in self.names("drones") if drone_id in self.spec(n).parameters["drone_ids"])

    def wait_complete(self) -> None:
        """Wait until every process runs, also those that are restarted after a kill."""
        wait_for(lambda: all(self.pid(name) for name in self.names()), 90.0, "every process runs")

    def assert_shut_down(self) -> None:
        """Check that every process ran until the end, and that they ended by themselves in reverse order of start."""
        assert [spec.name for spec, code in self.told_to_end if code != 0] == []
        assert sorted(spec.name for spec, _ in self.told_to_end) == sorted(self.names())
        assert list(dict.fromkeys(spec.role for spec, _ in self.told_to_end)) == list(STOP_ORDER)

    def audit(self) -> None:
        """Check the invariants on the whole history."""
        journals, unreadable = read_journals(Path(self.options.data_dir))
        assert unreadable == []
        store = self.store
        try:
            report = audit_store(store, journals, complete=False)
        finally:
            store.close()
        assert report.violations == ()


def options(**changes: Any) -> FleetOptions:
    values: dict[str, Any] = {
        "drones": 3,
        "http_port": 0,
        "time_scale": 40.0,
        "lease_ttl_s": 2.0,
        "reservation_ttl_s": 3.0,
        "drones_per_process": 1,
    }
    return FleetOptions(**{**values, **changes})


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet(options()) as fleet:
        yield fleet.ready()
        fleet.wait_complete()
    fleet.assert_shut_down()  # after all those kills


@pytest.fixture(autouse=True)
def invariants_hold(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "fleet" in request.fixturenames and request.node.get_closest_marker("tampers") is None:
        request.getfixturevalue("fleet").audit()


def etcdctl(fleet: Fleet, *args: str) -> str:
    command = ["etcdctl", "--endpoints", fleet.options.etcd_endpoints, *args]
    environment = {**os.environ, "ETCDCTL_API": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_article_s_order_is_delivered_and_visible_everywhere(fleet: Fleet) -> None:
    answer = fleet.post("ORD-2026-001", destination=CITY_HALL, package_weight_kg=2.3)
    assert answer.status_code == 202
    message_id = answer.json()["message_id"]
    flying = fleet.wait_status("ORD-2026-001", "LOADING", "IN_TRANSIT", "DELIVERED")
    prefix = f"/drone_orchestrator/{fleet.options.region}/"
    # The store as it was when the drone was cleared: the order has moved on since.
    events = json.loads(etcdctl(fleet, "get", "--prefix", f"{prefix}events/{message_id}/", "--write-out=json"))["kvs"]
    types = {json.loads(base64.b64decode(event["value"]))["type"]: event["mod_revision"] for event in events}
    keys = etcdctl(fleet, "get", "--prefix", prefix, "--keys-only", f"--rev={types['cleared']}").split()
    assert f"{prefix}sagas/{message_id}" in keys
    assert f"{prefix}orders/ORD-2026-001" in keys
    assert f"{prefix}assignments/{flying['drone_id']}" in keys
    assert f"{prefix}events/{message_id}/000001" in keys
    assert f"{prefix}leader" in keys
    saga = json.loads(etcdctl(fleet, "get", f"{prefix}sagas/{message_id}", "--print-value-only"))
    wanted = {"message_id", "order_id", "status", "attempt", "drone_id", "epoch", "reason", "order"}
    assert wanted | {"created_at", "updated_at"} <= set(saga)

    def heard() -> set[str]:
        return {drone["drone_id"] for drone in fleet.fleetctl("drones")["drones"] if drone["heard"]}

    wait_for(lambda: heard() == {"drone_1", "drone_2", "drone_3"}, 90.0, "every drone is heard")
    done = fleet.wait_status("ORD-2026-001", "DELIVERED")
    assert (done["attempt"], done["message_id"]) == (1, message_id)
    types = [event["type"] for event in fleet.fleetctl("events", "ORD-2026-001")["events"]]
    assert types[0] == "accepted" and types[-1] == "delivered" and "cleared" in types


def test_every_replica_in_service_is_active_whether_or_not_it_leads(fleet: Fleet) -> None:
    wait_for(fleet.leader, 90.0, "a replica leads")
    assert lifecycle_states(fleet) == dict.fromkeys(fleet.names("orchestrator"), "active")


def test_after_a_planned_handover_the_old_leader_campaigns_again_when_told(fleet: Fleet) -> None:
    before = wait_for(fleet.leader, 90.0, "a replica leads")
    after = fleet.fleetctl("leader", "--handover")
    assert after["handed_over_by"] == before != after["holder"]
    assert lifecycle_states(fleet)[before] == "inactive"
    assert fleet.post("AFTER-HANDOVER").status_code == 202
    fleet.wait_status("AFTER-HANDOVER", "DELIVERED")
    activate(fleet, before)


def test_orders_in_flight_survive_the_leader_s_death(fleet: Fleet) -> None:
    old = wait_for(fleet.leader, 90.0, "a replica leads")
    assert fleet.post("IN-THE-AIR", destination=CITY_HALL).status_code == 202
    fleet.wait_status("IN-THE-AIR", "IN_TRANSIT")
    assert fleet.kill(old)
    done = fleet.wait_status("IN-THE-AIR", "DELIVERED")
    assert done["attempt"] == 1
    new = fleet.fleetctl("leader")
    assert new["holder"] is not None
    epochs = [event["epoch"] for event in fleet.fleetctl("events", "IN-THE-AIR")["events"]]
    assert epochs == sorted(epochs) and len(set(epochs)) == 2


def test_an_order_whose_drone_dies_before_loading_goes_to_another(fleet: Fleet) -> None:
    # The pickup is far from the depot, so that there is time to kill the drone on its way there.
    assert fleet.post("DIES-EARLY", pickup=FAR_PICKUP, destination=CITY_HALL).status_code == 202
    first = fleet.wait_status("DIES-EARLY", "DISPATCHED")["drone_id"]
    assert fleet.kill(fleet.host_of(first), respawn_delay_s=20.0)
    done = fleet.wait_status("DIES-EARLY", "DELIVERED")
    assert done["attempt"] == 2 and done["drone_id"] != first
    reasons = [event["reason"] for event in fleet.fleetctl("events", "DIES-EARLY")["events"]]
    assert "reservation_expired" in reasons
    wait_for(lambda: fleet.pid(fleet.host_of(first)), 90.0, "the dead drone's process is back")


def test_a_drone_that_dies_after_loading_finishes_its_own_order(fleet: Fleet) -> None:
    assert fleet.post("DIES-LATE", destination=CITY_HALL).status_code == 202
    drone = fleet.wait_status("DIES-LATE", "IN_TRANSIT")["drone_id"]
    assert fleet.kill(fleet.host_of(drone), respawn_delay_s=4.0)
    done = fleet.wait_status("DIES-LATE", "DELIVERED")
    assert (done["attempt"], done["drone_id"]) == (1, drone)


def test_an_order_is_cancelled_on_its_way_to_the_package(fleet: Fleet) -> None:
    assert fleet.post("CANCELLED", pickup=FAR_PICKUP, destination=CITY_HALL).status_code == 202
    fleet.wait_status("CANCELLED", "DISPATCHED")
    assert httpx.delete(f"{fleet.url}/orders/CANCELLED", timeout=60.0).status_code == 202
    fleet.wait_status("CANCELLED", "CANCELLED")


def test_memory_stays_within_the_documented_bound(fleet: Fleet) -> None:
    for name in fleet.names():
        pid = fleet.pid(name)
        assert pid is not None
        resident_mib = psutil.Process(pid).memory_info().rss / 2**20
        assert resident_mib < (150 if fleet.spec(name).role == "orchestrator" else 200), name


@pytest.mark.tampers
def test_an_unreadable_saga_is_reported_and_stops_no_other_order(fleet: Fleet) -> None:
    assert fleet.post("SPOILT", pickup=FAR_PICKUP).status_code == 202
    message_id = fleet.wait_status("SPOILT", "DISPATCHED")["message_id"]
    key = f"/drone_orchestrator/{fleet.options.region}/sagas/{message_id}"
    sound = etcdctl(fleet, "get", key, "--print-value-only").strip()
    etcdctl(fleet, "put", key, "{not json")
    assert fleet.post("NEXT-TO-IT").status_code == 202
    fleet.wait_status("NEXT-TO-IT", "DELIVERED")
    found = fleet.fleetctl("audit", code=1)
    assert found["invariants"]["I6"] > 0
    assert any(message_id in violation["text"] for violation in found["violations"])
    etcdctl(fleet, "put", key, sound)
    fleet.wait_status("SPOILT", "DELIVERED")


def test_orders_are_accepted_without_any_orchestrator_and_delivered_once_there_is_one() -> None:
    with Fleet(options(replicas=0, drones=1)) as fleet:
        fleet.ready()
        assert fleet.post("EARLY").status_code == 202
        assert fleet.order("EARLY")["status"] == "PENDING"
        late = start_node(fleet, "orchestrator", f"etcd_endpoints:={fleet.options.etcd_endpoints}")
        try:
            assert fleet.wait_status("EARLY", "DELIVERED")["attempt"] == 1
            fleet.audit()
        finally:
            late.terminate()
            assert late.wait(90) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_dead_or_hung_leader_is_replaced_long_before_its_lease_is_over(number: int) -> None:
    """With a lease of a minute, only missing heartbeats can replace a leader within three quarters of it."""
    with Fleet(options(replicas=3, drones=1, lease_ttl_s=60.0)) as fleet:
        fleet.ready()
        wait_for(fleet.leader, 90.0, "a replica leads")
        assert fleet.post("BEFORE").status_code == 202
        fleet.wait_status("BEFORE", "DELIVERED")  # by now the standbys have heard heartbeats
        leader = fleet.fleetctl("leader")
        old, epoch = leader["holder"], leader["epoch"]
        assert fleet.signal(old, number)
        wait_for(lambda: fleet.fleetctl("leader")["epoch"] > epoch, 45.0, "another one leads")
        assert fleet.post("AFTER").status_code == 202
        fleet.wait_status("AFTER", "DELIVERED")
        if number == signal.SIGSTOP:
            fleet.signal(old, signal.SIGCONT)
            stepped_down = f"no longer leading (epoch {epoch})"
            wait_for(lambda: stepped_down in (fleet.log_dir / f"{old}.log").read_text(), 90.0, "the old one stands by")
        fleet.audit()


def test_two_fleets_on_one_machine_do_not_hear_each_other_and_shut_down_in_reverse() -> None:
    with Fleet(options(replicas=1, drones=1)) as one, Fleet(options(replicas=1, drones=2)) as other:
        for fleet in (one, other):
            fleet.ready()
            assert fleet.post("SAME-NAME").status_code == 202
        for fleet, count in ((one, 1), (other, 2)):
            fleet.wait_status("SAME-NAME", "DELIVERED")
            heard = wait_for(lambda fleet=fleet: fleet.fleetctl("drones")["drones"], 90.0, "a drone is heard")
            assert len(heard) <= count
            fleet.audit()
    for fleet in (one, other):
        fleet.assert_shut_down()


# --- helpers that speak ROS: in a process of their own, for the domain is the fleet's ---------------------------------

_LIFECYCLE = """
import json, sys
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
rclpy.init()
node = rclpy.create_node("operator")
def call(kind, name, request):
    client = node.create_client(kind, name)
    assert client.wait_for_service(60.0), name
    for _ in range(10):  # a server drops its answer to a client that it has not discovered yet
        future = client.call_async(request)
        rclpy.spin_until_future_complete(node, future, timeout_sec=5.0)
        if future.done():
            return future.result()
    raise SystemExit(f"{name} does not answer")
if sys.argv[1] == "activate":
    call(ChangeState, f"/{sys.argv[2]}/change_state",
         ChangeState.Request(transition=Transition(label="activate")))
    print("{}")
else:
    names = sys.argv[2:]
    print(json.dumps({n: call(GetState, f"/{n}/get_state", GetState.Request()).current_state.label for n in names}))
rclpy.try_shutdown()
"""


def _lifecycle(fleet: Fleet, *args: str) -> dict[str, str]:
    environment = {**os.environ, **fleet.environment}
    command = [sys.executable, "-c", _LIFECYCLE, *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    states: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return states


def lifecycle_states(fleet: Fleet) -> dict[str, str]:
    return _lifecycle(fleet, "states", *fleet.names("orchestrator"))


def activate(fleet: Fleet, name: str) -> None:
    _lifecycle(fleet, "activate", name)


def start_node(fleet: Fleet, executable: str, *parameters: str) -> subprocess.Popen[bytes]:
    arguments = [word for parameter in parameters for word in ("-p", parameter)]
    command = [
        *dies_with_parent(),
        sys.executable,
        "-m",
        f"drone_orchestrator.nodes.{executable}",
        "--ros-args",
        *arguments,
    ]
    return subprocess.Popen(command, env={**os.environ, **fleet.environment})
