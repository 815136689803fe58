"""Creates the tracer selected by the environment. Off by default.

The OpenTelemetry SDK is imported only if the environment configures an exporter.
"""

from __future__ import annotations

import os

from .tracing import NoTracer, Tracer


class TracingError(Exception):
    """Tracing is configured but cannot work. The text is one line that says what to change."""


def from_environment(service: str, instance: str, region: str) -> Tracer:
    """Return the tracer that OpenTelemetry's environment variables configure.

    Tracing is on if ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` is set, or if
    ``OTEL_TRACES_EXPORTER`` is ``otlp``. It is off if ``OTEL_SDK_DISABLED`` is ``true`` or the exporter is ``none``.
    Raises :class:`TracingError`.
    """
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or exporter == "none" or not (endpoint or exporter):
        return NoTracer()
    if exporter not in ("", "otlp"):
        raise TracingError(f"OTEL_TRACES_EXPORTER must be otlp (over gRPC) or none, got {exporter!r}")
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "grpc"):
        raise TracingError(f"OTEL_EXPORTER_OTLP_PROTOCOL must be grpc, got {protocol!r}")
    try:
        from .otel import OtelTracer
    except ImportError as error:
        raise TracingError(
            f"OTEL_* variables enable tracing, but {error.name} is not installed: "
            "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-grpc"
        ) from error
    return OtelTracer(service, {"service.instance.id": instance, "region": region})
