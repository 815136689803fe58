"""Metrics endpoint and tracer of a node process, and their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..telemetry import tracer_setup
from ..telemetry.endpoint import EndpointTaken, MetricsEndpoint
from ..telemetry.metrics import Metrics
from ..telemetry.tracing import Tracer
from .params import Param
from .process import ConfigurationError

PARAMETERS = (
    Param("metrics_host", "127.0.0.1", "Address of the metrics endpoint. 0.0.0.0: every network."),
    Param("metrics_port", 0, "Port that serves /metrics to Prometheus. 0: none.", lo=0, hi=65535),
)


def serve(metrics: Metrics, values: Mapping[str, Any]) -> MetricsEndpoint | None:
    """Serve ``metrics`` at the address in ``values`` (of :data:`PARAMETERS`). Return ``None`` if the port is 0.

    Raises :class:`ConfigurationError` if the port is taken.
    """
    if not values["metrics_port"]:
        return None
    try:
        return MetricsEndpoint(metrics.registry, values["metrics_host"], values["metrics_port"])
    except EndpointTaken as error:
        raise ConfigurationError(str(error)) from error


def trouble(endpoint: MetricsEndpoint | None) -> str:
    """Return why the metrics are not served at the moment; empty if they are, or are not to be."""
    failing = endpoint.trouble if endpoint is not None else ""
    return f"metrics are not served: {failing}" if failing else ""


def tracer(service: str, instance: str, region: str) -> Tracer:
    """Return the tracer selected by the environment. Raises :class:`ConfigurationError` if it is unavailable."""
    try:
        return tracer_setup.from_environment(service, instance, region)
    except tracer_setup.TracingError as error:
        raise ConfigurationError(str(error)) from error
