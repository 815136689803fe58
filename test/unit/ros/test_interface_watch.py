"""When a process restarts because a network interface came up after it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy")  # the watch is only used with ROS

from drone_orchestrator.ros import interface_watch
from drone_orchestrator.ros.interface_watch import SETTLE_S, SILENCE_S, NetworkWatch, usable_addresses

LO = ("lo", "127.0.0.1")
ETH = ("eth0", "10.0.0.7")
WIFI = ("wlan0", "10.1.0.7")
LATE = SILENCE_S + SETTLE_S


def test_a_late_interface_is_missing_while_no_message_arrives() -> None:
    watch = NetworkWatch(frozenset({LO}), 0.0)
    assert watch.missing(frozenset({LO}), SILENCE_S) == []
    assert watch.missing(frozenset({LO, ETH}), LATE) == []
    assert watch.missing(frozenset({LO, ETH}), LATE + SETTLE_S - 0.1) == []
    assert watch.missing(frozenset({LO, ETH}), LATE + SETTLE_S) == [ETH]


def test_a_new_process_waits_before_it_restarts() -> None:
    watch = NetworkWatch(frozenset({LO}), 0.0)
    assert watch.missing(frozenset({LO, ETH}), 0.1) == []
    assert watch.missing(frozenset({LO, ETH}), SILENCE_S - 0.1) == []
    assert watch.missing(frozenset({LO, ETH}), SILENCE_S) == [ETH]


def test_no_interface_is_missing_while_messages_arrive() -> None:
    watch = NetworkWatch(frozenset({LO, WIFI}), 0.0)
    for second in range(100):
        watch.heard(second)
        assert watch.missing(frozenset({LO, WIFI, ETH}), second + 0.5) == []


def test_an_interface_is_missing_when_the_used_one_has_gone() -> None:
    watch = NetworkWatch(frozenset({LO, WIFI}), 0.0)
    watch.heard(100.0)
    assert watch.missing(frozenset({LO, WIFI, ETH}), 100.0) == []
    assert watch.missing(frozenset({LO, ETH}), 100.0 + SILENCE_S) == [ETH]


def test_an_interface_known_since_the_start_may_go_and_come_back() -> None:
    watch = NetworkWatch(frozenset({LO, ETH}), 0.0)
    assert watch.missing(frozenset({LO}), LATE) == []
    assert watch.missing(frozenset({LO, ETH}), 2 * LATE) == []
    assert watch.missing(frozenset({LO, ETH}), 3 * LATE) == []


def test_a_known_interface_with_another_address_is_missing() -> None:
    watch = NetworkWatch(frozenset({LO, ETH}), 0.0)
    renewed = ("eth0", "10.0.0.8")
    assert watch.missing(frozenset({LO, renewed}), LATE) == []
    assert watch.missing(frozenset({LO, renewed}), LATE + SETTLE_S) == [renewed]


def test_an_unstable_interface_is_not_missing() -> None:
    watch = NetworkWatch(frozenset({LO}), 0.0)
    now_s = LATE
    for _ in range(50):
        assert watch.missing(frozenset({LO, ETH}), now_s) == []
        assert watch.missing(frozenset({LO, ETH}), now_s + SETTLE_S * 0.9) == []
        now_s += SETTLE_S
        assert watch.missing(frozenset({LO}), now_s) == []


def test_the_loopback_is_usable_and_every_address_is_ipv4() -> None:
    usable = usable_addresses()
    assert LO in usable
    assert all(address.count(".") == 3 for _, address in usable)


class Graph:
    """A node that has discovered this many drones."""

    def __init__(self, drones: int) -> None:
        self._drones = drones

    def count_publishers(self, topic: str) -> int:
        return self._drones


@pytest.mark.parametrize(("drones", "says"), [(0, "10.0.0.7 on wlan0"), (3, "")])
def test_a_process_without_drones_reports_an_interface_that_it_misses(
    monkeypatch: pytest.MonkeyPatch, drones: int, says: str
) -> None:
    network = interface_watch.NetworkWatch(frozenset(), 0.0)
    monkeypatch.setattr(interface_watch, "usable_addresses", lambda: frozenset({("wlan0", "10.0.0.7")}))
    node: Any = Graph(drones)
    for now_s in (10.0, 10.0 + interface_watch.SETTLE_S):
        monkeypatch.setattr(interface_watch.time, "monotonic", lambda now_s=now_s: now_s)
        said = interface_watch.late_interfaces(node, network)
    assert says in said and bool(said) == bool(says)
