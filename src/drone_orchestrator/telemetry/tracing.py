"""One trace per order, from the request that brought it to the drone's drop, across processes and their deaths.

The order carries the W3C ``traceparent`` of the request that it came with, through the store and in every goal, so
whoever works on it can add to the trace. Nobody has to keep a span open: spans are told when they are over, and those
that are parents have an id that follows from order, attempt and name (:func:`derived`). A leader that takes over in the
middle, or a drone that starts again, therefore continues the same tree.

Off by default: :func:`from_environment` gives a tracer that does nothing, and the SDK of OpenTelemetry is imported only
where an exporter is configured in the environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from ..core import saga as sagas
from ..core.types import Order, Saga, SagaEvent, SagaStatus
from ..core.view import FleetView
from .replica_metrics import Committed

Attributes = Mapping[str, str | int | float | bool]

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

# Spans that others are children of; their ids are derived from these names.
DISPATCH = "dispatch"
DELIVERY = "delivery"
CLEARANCE = "clearance"


class TracingError(Exception):
    """The environment asks for traces that cannot be had; the text is one line that says what to change."""


class Request(Protocol):
    """The span of a request that is being answered."""

    context: str
    """Its ``traceparent``."""

    def finish(self, name: str, status: int) -> None:
        """What the request turned out to be, and the status that was answered (5xx: an error)."""


class Tracer(Protocol):
    """Where spans go. Thread-safe, never blocks, never raises for want of a collector."""

    enabled: bool

    def span(
        self,
        name: str,
        parent: str,
        *,
        began_s: float,
        ended_s: float,
        own: str = "",
        attributes: Attributes | None = None,
        error: str = "",
    ) -> None:
        """Tell of a span that is over. ``parent`` and ``own`` are ``traceparent``s; without ``own`` its id is random.
        Times by the wall clock (s). ``error`` says why it failed, if it did."""

    def request(self, name: str, parent: str, attributes: Attributes) -> AbstractContextManager[Request | None]:
        """The span of a request; inside, :func:`current` is its context. A ``parent`` that is no traceparent is
        ignored."""

    def close(self) -> None:
        """Send what is left, for a bounded time."""


class NoTracer:
    """Tracing that is off."""

    enabled = False

    def span(
        self,
        name: str,
        parent: str,
        *,
        began_s: float,
        ended_s: float,
        own: str = "",
        attributes: Attributes | None = None,
        error: str = "",
    ) -> None:
        """See :class:`Tracer`."""

    @contextmanager
    def request(self, name: str, parent: str, attributes: Attributes) -> Iterator[Request | None]:
        """See :class:`Tracer`."""
        yield None

    def close(self) -> None:
        """See :class:`Tracer`."""


def from_environment(service: str, instance: str, region: str) -> Tracer:
    """The tracer that OpenTelemetry's environment variables ask for; raises :class:`TracingError`.

    On where ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` is set, or
    ``OTEL_TRACES_EXPORTER`` is ``otlp``; off where ``OTEL_SDK_DISABLED`` is ``true`` or the exporter ``none``.
    """
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or exporter == "none" or not (endpoint or exporter):
        return NoTracer()
    if exporter not in ("", "otlp"):
        raise TracingError(f"OTEL_TRACES_EXPORTER: {exporter!r} is not known; only otlp (over gRPC) and none are")
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "grpc"):
        raise TracingError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not supported; set it to grpc")
    try:
        from .otel import OtelTracer
    except ImportError as error:
        raise TracingError(
            f"traces are asked for by OTEL_* variables, but {error.name} is missing: "
            "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-grpc"
        ) from error
    return OtelTracer(service, {"service.instance.id": instance, "region": region})


# --- contexts ---------------------------------------------------------------------------------------------------------


def ids_of(traceparent: str) -> tuple[str, str] | None:
    """``(trace_id, span_id)`` in hexadecimal digits; ``None`` where it is no traceparent."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    return match[1], match[2]


def derived(context: str, order_message_id: str, attempt: int, name: str) -> str:
    """The traceparent of the span ``name`` of this attempt at the order whose own context is ``context``."""
    ids = ids_of(context)
    if ids is None:
        return ""
    digest = hashlib.sha256(f"{ids[0]}/{order_message_id}/{attempt}/{name}".encode()).hexdigest()
    return f"{context[:36]}{digest[:16]}{context[52:]}"


@dataclass(frozen=True, slots=True)
class _Active:
    tracer: Tracer
    context: str


_ACTIVE: ContextVar[_Active | None] = ContextVar("drone_orchestrator_trace", default=None)


def current() -> str:
    """The traceparent of the request that is being answered here, ``""`` outside one."""
    active = _ACTIVE.get()
    return active.context if active else ""


@contextmanager
def activated(tracer: Tracer, context: str) -> Iterator[None]:
    """Inside, :func:`current` is ``context``, and :func:`step` tells ``tracer``."""
    token = _ACTIVE.set(_Active(tracer, context))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@contextmanager
def step(name: str) -> Iterator[None]:
    """A part of the request that is being answered here; nothing outside one."""
    active = _ACTIVE.get()
    if active is None:
        yield
        return
    began_s, error = time.time(), ""
    try:
        yield
    except Exception as raised:
        error = str(raised) or type(raised).__name__
        raise
    finally:
        active.tracer.span(name, active.context, began_s=began_s, ended_s=time.time(), error=error)


# --- the leader's part ------------------------------------------------------------------------------------------------


class OrderTraces:
    """Tells the spans of an order that the leader knows of, as its steps become durable.

    A listener of :class:`.replica.ReplicaTelemetry`. Calls may come from any thread, those about one order one
    after another.
    """

    def __init__(self, tracer: Tracer, holder: str) -> None:
        self._tracer = tracer
        self._holder = holder
        self._since: dict[str, float] = {}  # when an order came to where it stands, wall clock

    def take_office(self, view: FleetView) -> None:
        """Take over what a predecessor has begun."""
        living = (entry.value for entry in view.sagas.values())
        self._since = {s.message_id: s.updated_at for s in living if isinstance(s, Saga) and not s.status.is_terminal}

    def wants_all(self) -> bool:
        """See :class:`.replica.Listener`."""
        return True

    def __call__(self, step: Committed) -> None:
        """See :class:`.replica.Listener`."""
        if not step.order.trace_context:
            return
        for event in step.events:
            self._tell(event, step)
        last = step.events[-1]
        if last.to_status in (SagaStatus.DELIVERED, SagaStatus.CANCELLED, SagaStatus.FAILED):
            self._since.pop(last.message_id, None)
        else:
            self._since[last.message_id] = step.ended_s

    def _tell(self, event: SagaEvent, step: Committed) -> None:
        order, root = step.order, step.order.trace_context
        since_s = self._since.get(order.message_id, order.submitted_at)
        attributes = {**order_attributes(order, event.attempt), "epoch": event.epoch, "orchestrator": self._holder}
        if event.drone_id:
            attributes["drone"] = event.drone_id

        def told(name: str, parent: str, began_s: float, own: str = "", error: str = "") -> None:
            self._tracer.span(
                name,
                parent,
                began_s=min(began_s, step.ended_s),
                ended_s=step.ended_s,
                own=own,
                attributes=attributes,
                error=error,
            )

        dispatch = derived(root, order.message_id, event.attempt, DISPATCH)
        if event.type == sagas.ASSIGNED:
            waiting = derived(root, order.message_id, event.attempt, "queue wait")
            told("queue wait", root, since_s, own=waiting)
            told("assign", waiting, step.began_s)
        elif event.type == sagas.GOAL_ACCEPTED:
            told(DISPATCH, root, since_s, own=dispatch)
        elif event.type == sagas.CLEARED:
            if event.from_status is SagaStatus.ASSIGNED:  # that the goal was accepted shows by this only
                told(DISPATCH, root, since_s, own=dispatch)
            told("grant clearance", derived(root, order.message_id, event.attempt, CLEARANCE), step.began_s)
        elif event.type == sagas.DELIVERED:
            told("record outcome", derived(root, order.message_id, event.attempt, DELIVERY), step.began_s)
        elif event.type == sagas.ABANDONED and event.from_status is SagaStatus.ASSIGNED:
            told(DISPATCH, root, since_s, own=dispatch, error=event.reason or "abandoned")
        elif event.type in (sagas.COMPENSATED, sagas.RESOLVED):
            told("compensate", root, since_s, error=event.reason or "")
        elif event.type in (sagas.FAILED, sagas.CANCELLED):
            told(event.type, root, step.began_s, error=event.reason or event.type)


def order_attributes(order: Order, attempt: int) -> dict[str, str | int | float | bool]:
    """What every span of an order says of it."""
    return {"order_id": order.order_id, "message_id": order.message_id, "attempt": attempt}
