"""The network of one running drone process is cut and restored, and its orders are delivered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from drone_orchestrator.cli.trial import network_namespaces


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    try:
        network_namespaces.way_in()
    except network_namespaces.NoNamespace as error:
        pytest.skip(str(error))


def run_inside(program: str, timeout_s: float) -> dict[str, Any]:
    """Run ``program`` on a private network, and return its last line of output, decoded from JSON."""
    preamble = "import sys\nfrom drone_orchestrator.cli.trial import network_namespaces\n"
    enter = "if not network_namespaces.inside():\n"
    enter += "    network_namespaces.enter(network_namespaces.way_in(), [sys.executable, *sys.orig_argv[1:]])\n"
    done = subprocess.run(
        [sys.executable, "-c", preamble + enter + program],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


_ECHO = """
import json, socket, subprocess
network = network_namespaces.NamespaceNetwork()
SERVER = '''
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7411))
print("ready", flush=True)
while True:
    data, sender = s.recvfrom(100)
    s.sendto(data, sender)
'''
servers = {}
for host in ("cut", "whole"):
    network.add(host)
    command = [*network.prefix(host), sys.executable, "-c", SERVER]
    servers[host] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert servers[host].stdout.readline() == "ready\\n"
ADDRESSES = {"cut": "10.213.0.2", "whole": "10.213.0.3"}
def answers(host, tries=1):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        for _ in range(tries):
            try:
                sock.sendto(b"?", (ADDRESSES[host], 7411))
                if sock.recvfrom(100)[0] == b"?":
                    return True
            except OSError:
                pass
        return False
found = {"before": [answers("cut", 60), answers("whole", 60)]}
network.pull("cut")
found["pulled"] = [answers("cut", 2), answers("whole", 60)]
found["lives"] = servers["cut"].poll() is None
network.plug("cut")
found["plugged"] = [answers("cut", 60), answers("whole", 60)]
for server in servers.values():
    server.terminate()
    server.wait()
network.close()
print(json.dumps(found))
"""


def test_a_pulled_cable_cuts_off_one_host_and_its_processes_keep_running() -> None:
    found = run_inside(_ECHO, 180.0)
    assert found["before"] == [True, True]
    assert found["pulled"] == [False, True]
    assert found["lives"]
    assert found["plugged"] == [True, True]


def test_a_closed_network_leaves_nothing_in_the_outer_namespace() -> None:
    before = os.listdir("/sys/class/net")
    program = "import json\nnetwork = network_namespaces.NamespaceNetwork()\n"
    program += "network.add('host')\nprint(json.dumps({}))\n"
    run_inside(program, 180.0)
    assert os.listdir("/sys/class/net") == before


_ORDER = """
import json, time, httpx
from drone_orchestrator.bringup.plan import FleetOptions
from drone_orchestrator.cli.trial.tcp_proxy import TcpProxy
from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.cli.trial.chaos import Wires
from drone_orchestrator.cli.trial.run_record import Observer

network = network_namespaces.NamespaceNetwork()
options = FleetOptions(drones=2, http_port=0, time_scale=40.0, lease_ttl_s=2.0, reservation_ttl_s=3.0,
                       drones_per_process=1, replicas=2, monitor=False)

def wait(what, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        fleet.check()
        try:
            if (got := what()):
                return got
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"not within {timeout_s} s: {order()}")

with TcpProxy() as proxy, LocalFleet(options, wiring=Wires(proxy, network)) as fleet:
    def order():
        return httpx.get(f"{fleet.url}/orders/CUT-OFF", timeout=30.0).json()
    wait(lambda: httpx.get(f"{fleet.url}/readyz", timeout=30.0).status_code == 200)
    document = {"order_id": "CUT-OFF", "package_weight_kg": 1.2, "pickup": {"lat": 37.7631, "lon": -122.4586},
                "destination": {"lat": 37.7749, "lon": -122.4194}}
    wait(lambda: httpx.post(f"{fleet.url}/orders", json=document, timeout=30.0).status_code in (200, 202))
    first = wait(lambda: order()["status"] == "DISPATCHED" and order())["drone_id"]
    host = next(n for n in fleet.names("drones") if first in fleet.spec(n).parameters["drone_ids"])
    pid = fleet.pid(host)
    network.pull(host)
    second = wait(lambda: order()["attempt"] == 2 and order()["drone_id"])
    lives = fleet.pid(host) == pid
    network.plug(host)
    done = wait(lambda: order()["status"] == "DELIVERED" and order())
    with Observer(fleet) as observer:
        report, unreadable = observer.audit()
network.close()
print(json.dumps({"first": first, "second": second, "lives": lives, "done": done["drone_id"],
                  "violations": [v.text for v in report.violations], "unreadable": unreadable}))
"""


@pytest.mark.ros
@pytest.mark.etcd
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_order_of_a_drone_that_is_cut_off_before_loading_goes_to_another_one() -> None:
    found = run_inside(_ORDER, 570.0)
    assert found["lives"]
    assert found["first"] != found["second"] == found["done"]
    assert (found["violations"], found["unreadable"]) == ([], [])


_BOOT = """
import json, os, pathlib, subprocess, tempfile, time
os.environ.update(FASTDDS_BUILTIN_TRANSPORTS="UDPv4", ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET", ROS_DOMAIN_ID="77")
network = network_namespaces.NamespaceNetwork()
network.add("late")
network.pull("late")
with tempfile.TemporaryDirectory() as folder:
    os.environ["ROS_LOG_DIR"] = folder
    log = pathlib.Path(folder, "stderr.log")
    command = [sys.executable, "-m", "drone_orchestrator.nodes.drone_executor", "--ros-args",
               "-p", "drone_ids:=[drone_1]", "-p", f"data_dir:={folder}"]
    with log.open("w") as stderr:
        process = subprocess.Popen([*network.prefix("late"), *command], stderr=stderr)

    def wait(what, timeout_s=80.0):
        deadline = time.monotonic() + timeout_s
        while not (got := what()) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        return got

    # The journal is opened by a node's first transition: by then ROS has read the interfaces.
    booted = wait(lambda: os.path.exists(f"{folder}/drones/drone_1.journal"))
    network.plug("late")
    import rclpy
    from drone_interfaces.msg import DroneState
    from drone_orchestrator.ros import names, qos
    rclpy.init()
    node = rclpy.create_node("listener")
    heard = []
    node.create_subscription(DroneState, names.DRONE_STATES, heard.append, qos.state())
    wait(lambda: rclpy.spin_once(node, timeout_sec=0.1) or heard)
    lives = process.poll() is None
    process.terminate()
    code = process.wait(80.0)
    node.destroy_node()
    rclpy.shutdown()
    said = [line for line in log.read_text().splitlines() if "starting again" in line]
network.close()
print(json.dumps({"booted": booted, "heard": [state.drone_id for state in heard][:1], "lives": lives, "code": code,
                  "said": said}))
"""


@pytest.mark.ros
@pytest.mark.slow
def test_a_drone_process_that_booted_without_network_is_heard_once_there_is_one() -> None:
    found = run_inside(_BOOT, 280.0)
    assert found["booted"]
    assert found["heard"] == ["drone_1"]
    assert found["lives"] and found["code"] == 0
    [line] = found["said"]
    assert "no leader is heard" in line and "10.213.0.2 on eth0" in line
