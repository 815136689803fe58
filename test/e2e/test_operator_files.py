"""A mistake in a file that people write ends any program with exit code 2 and one line, before etcd is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.bringup.paths import default_fleet_config

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600)]

PACKAGED = default_fleet_config().read_text(encoding="utf-8")
ZONE = PACKAGED[PACKAGED.index("  yerba_buena_island:") : PACKAGED.index("drone_classes:")]
MISTAKES = {
    "zone twice": (PACKAGED.replace(ZONE, ZONE + ZONE), "no_fly_zones.yerba_buena_island: must be unique"),
    "no pattern": (PACKAGED[: PACKAGED.index("pattern:")], "pattern is missing"),
    "radius": (PACKAGED.replace("8000.0", "8_000"), "service_radius_m: YAML readers differ on 8_000"),
    "empty": ("", "must not be empty"),
}


def run(tmp_path: Path, module: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program that would leave a trace if it started an etcd."""
    etcd = tmp_path / "etcd"
    etcd.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    etcd.chmod(0o755)
    command = [sys.executable, "-m", f"drone_orchestrator.{module}", *args]
    environment = {**os.environ, "ETCD_BIN": str(etcd), "XDG_RUNTIME_DIR": str(tmp_path), "ROS_DOMAIN_ID": "9"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert not (tmp_path / "started").exists(), "etcd was started"
    return done


def refused(done: subprocess.CompletedProcess[str], path: Path, says: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 or (len(lines) == 2 and lines[0].endswith(lines[1].partition(": ")[2])), done.stderr
    assert str(path) in lines[-1] and says in lines[-1]


@pytest.mark.parametrize("name", MISTAKES)
def test_up_refuses_the_description_before_it_starts_a_process(tmp_path: Path, name: str) -> None:
    text, says = MISTAKES[name]
    path = tmp_path / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    refused(run(tmp_path, "cli.main", "up", "--http-port", "0", "--config", str(path)), path, says)


@pytest.mark.parametrize("executable", ["orchestrator", "drone_executor", "saga_monitor", "order_gateway"])
def test_every_node_refuses_the_description(tmp_path: Path, executable: str) -> None:
    text, says = MISTAKES["zone twice"]
    path = tmp_path / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    drones = ["-p", "drone_ids:=[drone_1]"] if executable == "drone_executor" else []
    done = run(tmp_path, f"nodes.{executable}", "--ros-args", "-p", f"fleet_config:={path}", *drones)
    refused(done, path, says)  # a lifecycle node logs it, too


def test_the_gateway_refuses_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# keys\nshop:00ff\n", encoding="utf-8")
    done = run(tmp_path, "nodes.order_gateway", "--ros-args", "-p", f"order_keys_file:={path}")
    refused(done, path, f"{path}:2: a key must have at least 16 bytes, got 2")


ORDER = {"order_id": "a", "destination": {"lat": 37.77, "lon": -122.41}, "package_weight_kg": 1.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1: must not be empty"),
        ("[\n\n}", "3: not JSON"),
        (json.dumps([ORDER, ORDER], indent=1).replace('"lon"', '"lat"', 1), "6: [0].destination.lat: must be unique"),
        (json.dumps([ORDER, {**ORDER, "weight": 1}], indent=1), "17: order 2: weight: unknown"),
        (json.dumps({**ORDER, "package_weight_kg": "1"}, indent=1), "7: order 1: package_weight_kg: must be a number"),
        ('{"order_id":\n NaN}', "2: order_id: must be a finite number"),
    ],
)
def test_orders_in_a_file_are_refused_with_their_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "orders.json"
    path.write_text(text, encoding="utf-8")
    done = run(tmp_path, "cli.main", "order", "submit", "--etcd", "127.0.0.1:1", str(path))
    refused(done, path, f"{path}:{says}")
