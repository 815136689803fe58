"""Publishes a process's statuses (:mod:`drone_orchestrator.telemetry.diagnostics`) on ``/diagnostics`` every second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ..telemetry.diagnostics import Status
from ..telemetry.findings import Findings
from . import names, qos

PERIOD_S = 1.0
#: Prefix of statuses about the whole fleet, which belong to no single node.
FLEET = "drone_orchestrator"

Source = Callable[[], Iterable[Status]]


class Reporter:
    """Publisher of statuses: those of ``own``, named ``<node>: …``, those of the ``fleet``, and ``findings``.

    The topic ``/diagnostics`` is shared by all namespaces, so names begin with the namespace if there is one.
    """

    def __init__(
        self,
        node: Node,
        own: Sequence[Source] = (),
        fleet: Sequence[Source] = (),
        findings: Findings | None = None,
    ) -> None:
        self._node = node
        self._findings = findings
        self._space = node.get_namespace().strip("/")
        self._own = [*own, findings.statuses] if findings is not None else list(own)
        self._fleet = list(fleet)
        self._publisher = node.create_publisher(DiagnosticArray, names.DIAGNOSTICS, qos.diagnostics(), **qos.options())
        # This clock keeps running while simulated time is paused.
        node.create_timer(PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish all statuses now."""
        node = self._node.get_name()
        if self._findings is not None:
            self._findings.refresh()
        statuses = [self._msg(status, FLEET) for source in self._fleet for status in source()]
        statuses += [self._msg(status, node) for source in self._own for status in source()]
        array = DiagnosticArray(status=statuses)
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _msg(self, status: Status, node: str) -> DiagnosticStatus:
        owner, _, what = status.name.rpartition(": ")  # a process may report for several nodes: "drone_1: executor"
        name = f"{owner or node}: {what}"
        values = [KeyValue(key=key, value=str(value)) for key, value in status.values.items()]
        if status.hint:
            values.insert(0, KeyValue(key="hint", value=status.hint))
        return DiagnosticStatus(
            name=f"{self._space}/{name}" if self._space else name,
            level=bytes([status.severity]),
            message=status.message,
            hardware_id=self._space or "fleet",
            values=values,
        )


def of_node(owner: str, status: Status) -> Status:
    """Return ``status`` under the name of another node of this process."""
    return replace(status, name=f"{owner}: {status.name}")
