"""Reports a node that is set to simulated time and hears no ``/clock``."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rclpy.node import Node

from ..telemetry.diagnostics import Severity, Status

#: Time (s) that the first message may take.
PATIENCE_S = 3.0
SILENT = "use_sim_time is set, but no /clock is heard: all stamps are 0"
HEARD = "/clock is heard"
HINT = "start what publishes /clock, or set use_sim_time to false"


class SimClock:
    """Watch on the simulated time of ``node``. It logs once that no time comes, and once that it does after all.

    A clock that stands still is not reported: a paused world has one.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._began_s = time.monotonic()
        self._missed = False

    def statuses(self) -> Iterable[Status]:
        """Return one status, ``clock``; none for a node that uses the machine's time."""
        clock = self._node.get_clock()
        if not clock.ros_time_is_active:
            return []
        if clock.now().nanoseconds > 0:
            if self._missed:
                self._missed = False
                self._node.get_logger().info(HEARD)
            return [Status("clock", Severity.OK, HEARD)]
        if time.monotonic() < self._began_s + PATIENCE_S:
            return []
        if not self._missed:
            self._missed = True
            self._node.get_logger().warning(f"{SILENT}; {HINT}")
        return [Status("clock", Severity.WARN, SILENT, HINT)]
