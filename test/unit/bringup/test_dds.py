"""The environment variables that set up DDS for a local fleet."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from drone_orchestrator.bringup import dds
from drone_orchestrator.ros.environment import PROFILE_VARIABLES


def test_fast_dds_gets_a_profile_with_loopback_udp_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)
    environment = dds.loopback()
    # LOCALHOST would enable shared memory again, despite the profile.
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SYSTEM_DEFAULT"
    files = {environment[variable] for variable in PROFILE_VARIABLES}
    root = ElementTree.parse(files.pop()).getroot()
    assert not files
    name = "{http://www.eprosima.com}"
    assert [each.text for each in root.iter(f"{name}address")] == ["127.0.0.1"]
    assert [each.text for each in root.iter(f"{name}type")] == ["UDPv4"]
    assert [each.text for each in root.iter(f"{name}useBuiltinTransports")] == ["false"]


def test_another_rmw_is_limited_to_the_loopback_by_the_discovery_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    assert dds.loopback() == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
