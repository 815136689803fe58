"""Hears the findings of all processes of a fleet on ``/diagnostics``."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from ..telemetry.findings import PREFIX, HeardFindings, OpenFinding, from_values
from . import names, qos

#: Bytes of every message that carries a finding. The others, nearly all, are not worth decoding.
_MARK = f": {PREFIX}".encode()


def listen_to_findings(node: Node, heard: HeardFindings, region: str) -> None:
    """Subscribe to ``/diagnostics``, and record in ``heard`` what processes of this namespace and ``region`` report."""
    space = node.get_namespace().strip("/")

    def hear(raw: bytes) -> None:
        if _MARK in raw:
            for process, finding in findings_in(deserialize_message(raw, DiagnosticArray), space, region):
                if process != node.get_name():
                    heard.hear(process, finding)

    node.create_subscription(DiagnosticArray, names.DIAGNOSTICS, hear, qos.diagnostics(), raw=True, **qos.options())


def findings_in(array: DiagnosticArray, space: str, region: str) -> Iterator[tuple[str, OpenFinding]]:
    """Yield each process of namespace ``space`` and ``region`` with a finding that the message reports."""
    for status in array.status:
        finding = from_values(status.message, {pair.key: pair.value for pair in status.values}, region)
        if finding is not None and is_of(status, space):
            yield process_of(status, space), finding


def is_of(status: DiagnosticStatus, space: str) -> bool:
    """Return whether a node in namespace ``space`` reports ``status``."""
    owner, _, _ = status.name.partition(": ")
    return bool(owner.rpartition("/")[0] == space)


def process_of(status: DiagnosticStatus, space: str) -> str:
    """Return the name of the node that reports ``status``."""
    return str(status.name.removeprefix(f"{space}/").partition(": ")[0])
