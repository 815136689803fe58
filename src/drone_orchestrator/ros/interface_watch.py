"""Noticing that this process misses a network interface that came up after it started.

Fast DDS reads the interfaces once in a process's life, and leaves out those without an address or without carrier. One
that it has seen may go and come back; one that was down at the start is never used, not even by a new ROS context.
Only a new process helps (:class:`.process.StartAgain`).
"""

from __future__ import annotations

import socket

import psutil

#: (interface, IPv4 address). DDS runs on IPv4 unless a transport profile says otherwise, and so the IPv6 addresses that
#: come and go with every container's cable do not count.
Address = tuple[str, str]

#: An address counts once it has been there for so long: a loose cable is no network.
SETTLE_S = 2.0
#: A peer that speaks every second is out of reach after so long. Also the least time between two starts.
SILENCE_S = 5.0


def usable_addresses() -> frozenset[Address]:
    """The IPv4 addresses of the interfaces that are up and have carrier, the loopback among them."""
    stats = psutil.net_if_stats()
    return frozenset(
        (name, each.address)
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if each.family == socket.AF_INET and name in stats and stats[name].isup
    )


class NetworkWatch:
    """Tells when a new start would reach a network that this process cannot use.

    That is when an address has come to stay that was not there at the start, *and* nobody is heard: who is heard needs
    no other interface, and a new start would only interrupt. All times are seconds of one monotonic clock.

    ``at_start`` must have been read before ROS was initialised, or an address that came in between would be missed.
    """

    def __init__(self, at_start: frozenset[Address], now_s: float) -> None:
        self._at_start = at_start
        self._heard_at_s = now_s
        self._since_s: dict[Address, float] = {}

    def heard(self, now_s: float) -> None:
        """A peer outside this process was heard."""
        self._heard_at_s = now_s

    def missing(self, usable: frozenset[Address], now_s: float) -> list[Address]:
        """Look at what is ``usable`` now; the addresses that are worth a new start, sorted, empty for none."""
        self._since_s = {each: self._since_s.get(each, now_s) for each in usable - self._at_start}
        if now_s - self._heard_at_s < SILENCE_S:
            return []
        return sorted(each for each, since_s in self._since_s.items() if now_s - since_s >= SETTLE_S)
