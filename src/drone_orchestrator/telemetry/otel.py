"""A tracer on the OpenTelemetry SDK, exporting over OTLP/gRPC. Imported only if tracing is on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from . import tracing

#: Seconds allowed to flush spans at shutdown.
CLOSE_S = 1.5


class _Ids(RandomIdGenerator):
    """Generator of random span ids, unless a particular id is requested for the next span."""

    def __init__(self) -> None:
        self._wanted = threading.local()

    def want(self, span_id: int | None) -> None:
        """Set the id of the next span that this thread starts; ``None``: random."""
        self._wanted.id = span_id

    def generate_span_id(self) -> int:
        return getattr(self._wanted, "id", None) or super().generate_span_id()


class OtelTracer:
    """Implements :class:`~drone_orchestrator.telemetry.tracing.Tracer`.

    The SDK's environment variables set sampler, limits, batches and exporter; ``exporter`` replaces theirs.
    """

    enabled = True

    def __init__(self, service: str, resource: dict[str, str], exporter: SpanExporter | None = None) -> None:
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=Resource.create({**resource, **named}),
            id_generator=self._ids,
            shutdown_on_exit=False,  # it would wait for an unreachable collector
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("drone_orchestrator")

    def span(
        self,
        name: str,
        parent: str,
        *,
        began_s: float,
        ended_s: float,
        own: str = "",
        attributes: tracing.Attributes | None = None,
        error: str = "",
    ) -> None:
        """See :class:`~drone_orchestrator.telemetry.tracing.Tracer`."""
        context = _context(parent)
        if context is None:
            return
        ids = tracing.ids_of(own)
        self._ids.want(int(ids[1], 16) if ids else None)
        try:
            span = self._tracer.start_span(name, context, start_time=_ns(began_s), attributes=dict(attributes or {}))
        finally:
            self._ids.want(None)
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(end_time=_ns(max(began_s, ended_s)))

    @contextmanager
    def request(self, name: str, parent: str, attributes: tracing.Attributes) -> Iterator[tracing.Request | None]:
        """See :class:`~drone_orchestrator.telemetry.tracing.Tracer`."""
        span = self._tracer.start_span(
            name, _context(parent) or Context(), kind=SpanKind.SERVER, attributes=dict(attributes)
        )
        try:
            request = _Request(span)
            with tracing.activated(self, request.context):
                yield request
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, str(error) or type(error).__name__))
            raise
        finally:
            span.end()

    def close(self) -> None:
        """See :class:`~drone_orchestrator.telemetry.tracing.Tracer`."""
        # The exporter retries for longer than a process may take to stop; spans not sent by then are lost.
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


class _Request:
    def __init__(self, span: Span) -> None:
        self._span = span
        own = span.get_span_context()
        self.context = f"00-{own.trace_id:032x}-{own.span_id:016x}-{int(own.trace_flags):02x}"

    def finish(self, name: str, status: int) -> None:
        self._span.update_name(name)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))


def _context(traceparent: str) -> Context | None:
    ids = tracing.ids_of(traceparent)
    if ids is None:
        return None
    flags = TraceFlags(int(traceparent[-2:], 16))
    remote = SpanContext(int(ids[0], 16), int(ids[1], 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
