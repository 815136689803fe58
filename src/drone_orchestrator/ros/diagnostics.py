"""Publishes a process's statuses (:mod:`drone_orchestrator.telemetry.diagnostics`) on ``/diagnostics`` every second.

A status is identified by its name, so names begin with that of the node, which is unique in its fleet. Otherwise the
statuses of two machines would replace each other in every tool. ``hardware_id`` is the drone, or the machine.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ..telemetry.diagnostics import Status
from ..telemetry.findings import Findings
from . import names, qos
from .sim_clock import SimClock

PERIOD_S = 1.0

Source = Callable[[], Iterable[Status]]


class Reporter:
    """Publisher of the statuses of ``sources``, named ``<node>: …``, and of ``findings``.

    The topic ``/diagnostics`` is shared by all namespaces, so names begin with the namespace if there is one.
    """

    def __init__(
        self,
        node: Node,
        sources: Sequence[Source],
        findings: Findings | None = None,
    ) -> None:
        self._node = node
        self._findings = findings
        self._space = node.get_namespace().strip("/")
        self._sources = [SimClock(node).statuses, *sources, *([findings.statuses] if findings is not None else [])]
        self._host = socket.gethostname()
        self._publisher = node.create_publisher(DiagnosticArray, names.DIAGNOSTICS, qos.diagnostics(), **qos.options())
        # This clock keeps running while simulated time is paused.
        node.create_timer(PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish all statuses now."""
        if self._findings is not None:
            self._findings.refresh()
        array = DiagnosticArray(status=[self._msg(status) for source in self._sources for status in source()])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _msg(self, status: Status) -> DiagnosticStatus:
        owner, _, what = status.name.rpartition(": ")  # a process may report for several nodes: "drone_1: executor"
        name = f"{owner or self._node.get_name()}: {what}"
        values = [KeyValue(key=key, value=str(value)) for key, value in status.values.items()]
        if status.hint:
            values.insert(0, KeyValue(key="hint", value=status.hint))
        return DiagnosticStatus(
            name=f"{self._space}/{name}" if self._space else name,
            level=bytes([status.severity]),
            message=status.message,
            hardware_id=owner or self._host,
            values=values,
        )


def of_node(owner: str, status: Status) -> Status:
    """Return ``status`` under the name of another node of this process."""
    return replace(status, name=f"{owner}: {status.name}")
