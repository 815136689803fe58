"""The configuration of rqt and the diagnostic aggregator is valid and names what is really published."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
#: One status of every kind, as published (test/ros/test_diagnostics_topic.py receives them).
NAMES = (
    *(f"saga_monitor: {what}" for what in ("leader", "etcd", "sagas", "records", "breakers")),
    "saga_monitor_here: lane courier",
    "saga_monitor_here: drone drone_1",
    "orchestrator_a: replica",
    "drone_1: executor",
    "order_gateway: intake",
    "saga_monitor: qos",
    "drone_executor: clock",
)
SOURCES = ("telemetry/diagnostics.py", "ros/qos_watch.py", "ros/sim_clock.py")


def analyzers() -> dict[str, dict[str, Any]]:
    text = (ROOT / "config" / "diagnostics" / "aggregator.param.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["/**"]["ros__parameters"]["analyzers"]
    return found


def takes(analyzer: dict[str, Any], name: str) -> bool:
    return any(part in name for part in analyzer["contains"])


@pytest.mark.parametrize("name", [*NAMES, *(f"west/{name}" for name in NAMES)])
def test_every_status_is_in_exactly_one_group(name: str) -> None:
    assert len([key for key, analyzer in analyzers().items() if takes(analyzer, name)]) == 1


def test_every_pattern_matches_a_status() -> None:
    for analyzer in analyzers().values():
        assert analyzer["type"] == "diagnostic_aggregator/GenericAnalyzer" and analyzer["path"]
        for part in analyzer["contains"]:
            assert any(part in name for name in NAMES), part


def test_every_status_in_the_code_is_listed() -> None:
    """The names above are those in the code."""
    code = "".join((ROOT / "src" / "drone_orchestrator" / source).read_text(encoding="utf-8") for source in SOURCES)
    made = set(re.findall(r'\bStatus\(\s*"(\w+)"', code)) | {"lane", "drone"}
    assert made == {re.split(r" (?!.*:)", name.split(": ")[1])[0] for name in NAMES}


def test_the_perspective_starts_the_operators_plugins() -> None:
    document = json.loads((ROOT / "config" / "rqt" / "fleet.perspective").read_text(encoding="utf-8"))
    manager = document["groups"]["pluginmanager"]
    assert set(document) == {"keys", "groups"} and "mainwindow" in document["groups"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    assert set(running) == {
        "rqt_robot_monitor/RobotMonitor",
        "rqt_console/Console",
        "rqt_graph/RosGraph",
        "rqt_topic/TopicPlugin",
    }
    for name, serials in running.items():
        for serial in serials:
            assert f"plugin__{name.replace('/', '__')}__{serial}" in manager["groups"]


def test_every_key_of_the_perspective_is_a_literal() -> None:
    def walk(group: dict[str, Any]) -> None:
        assert set(group) == {"keys", "groups"}
        for key in group["keys"].values():
            assert key["type"] == "repr"
            ast.literal_eval(key["repr"])
        for inner in group["groups"].values():
            walk(inner)

    walk(json.loads((ROOT / "config" / "rqt" / "fleet.perspective").read_text(encoding="utf-8")))
