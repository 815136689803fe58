"""Detects network interfaces that came up after the process started, which Fast DDS would never use.

Fast DDS reads the interfaces once per process and ignores those without an address or carrier. A known interface may go
down and come back. One that was down at the start is never used, not even by a new ROS context. Only a new process
uses it (:class:`.process.StartAgain`).
"""

from __future__ import annotations

import socket
import time

import psutil
from rclpy.node import Node

from . import names

#: (interface, IPv4 address). DDS runs on IPv4 unless a transport profile says otherwise. IPv6 addresses do not count:
#: they come and go with every container.
Address = tuple[str, str]

#: An address counts once it has been there for this long (s), so that a loose cable causes no restarts.
SETTLE_S = 2.0
#: A peer that publishes every second is unreachable after this silence (s). Also the shortest time between restarts.
SILENCE_S = 5.0


def usable_addresses() -> frozenset[Address]:
    """Return the IPv4 addresses of interfaces that are up and have carrier, including the loopback."""
    stats = psutil.net_if_stats()
    return frozenset(
        (name, each.address)
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if each.family == socket.AF_INET and name in stats and stats[name].isup
    )


class NetworkWatch:
    """Decides when restarting the process would give it a network that it cannot use now.

    That is the case if a stable address was not there at the start *and* no peer is heard. A process that hears a peer
    needs no other interface, and a restart would only interrupt it. All times are seconds of one monotonic clock.

    Read ``at_start`` before ROS is initialised; otherwise an address that appears in between is missed.
    """

    def __init__(self, at_start: frozenset[Address], now_s: float) -> None:
        self._at_start = at_start
        self._heard_at_s = now_s
        self._since_s: dict[Address, float] = {}

    def heard(self, now_s: float) -> None:
        """Record that a peer outside this process was heard."""
        self._heard_at_s = now_s

    def missing(self, usable: frozenset[Address], now_s: float) -> list[Address]:
        """Return the addresses among ``usable`` that justify a restart, sorted."""
        self._since_s = {each: self._since_s.get(each, now_s) for each in usable - self._at_start}
        if now_s - self._heard_at_s < SILENCE_S:
            return []
        return sorted(each for each, since_s in self._since_s.items() if now_s - since_s >= SETTLE_S)


def late_interfaces(node: Node, network: NetworkWatch | None) -> str:
    """Return a sentence about interfaces that a process without drones misses; empty if it misses none.

    A process that has discovered a drone hears its peers.
    """
    if network is None:
        return ""
    now_s = time.monotonic()
    if node.count_publishers(names.DRONE_STATES):
        network.heard(now_s)
    found = ", ".join(f"{address} on {interface}" for interface, address in network.missing(usable_addresses(), now_s))
    return f"no drone is heard, and DDS does not use {found}, which came up after the start" if found else ""
