"""One trace per order, from the HTTP or ROS request to the drone's drop, across processes and restarts.

The order carries the W3C ``traceparent`` of its request through the store and in every goal, so each component that
works on the order can add spans. No component keeps a span open: a span is recorded when it is finished, and the id of
a span with children is derived from order, attempt and name (:func:`derived`). A new leader or a restarted drone
therefore continues the same tree.

:mod:`.tracer_setup` creates the tracer, :mod:`.order_traces` records the leader's spans.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from ..core.types import Order

Attributes = Mapping[str, str | int | float | bool]

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")

# Spans that have children. Their ids are derived from these names.
DISPATCH = "dispatch"
DELIVERY = "delivery"
CLEARANCE = "clearance"


class Request(Protocol):
    """The span of a request while it is being answered."""

    context: str
    """Its ``traceparent``."""

    def finish(self, name: str, status: int) -> None:
        """Name the span after the route and set the response status; 5xx marks the span as an error."""


class Tracer(Protocol):
    """A recorder of spans. Thread-safe; never blocks; never raises if the collector is unreachable."""

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
        """Record a finished span.

        ``parent`` and ``own`` are ``traceparent``s; without ``own`` the span gets a random id. Times are wall clock, in
        s. A non-empty ``error`` marks the span as failed and gives the reason.
        """

    def request(self, name: str, parent: str, attributes: Attributes) -> AbstractContextManager[Request | None]:
        """Open the span of a request. Inside the context, :func:`current` is the span's ``traceparent``.

        A malformed ``parent`` is ignored.
        """

    def close(self) -> None:
        """Flush the remaining spans, for a bounded time."""


class NoTracer:
    """A tracer that records nothing."""

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


# --- contexts ---------------------------------------------------------------------------------------------------------


def ids_of(traceparent: str) -> tuple[str, str] | None:
    """Return ``(trace_id, span_id)`` in hexadecimal; ``None`` if ``traceparent`` is malformed."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return None
    return match[1], match[2]


def derived(context: str, order_message_id: str, attempt: int, name: str) -> str:
    """Return the ``traceparent`` of span ``name`` of one attempt at an order; ``context`` is the order's own."""
    ids = ids_of(context)
    if ids is None:
        return ""
    digest = hashlib.sha256(f"{ids[0]}/{order_message_id}/{attempt}/{name}".encode()).hexdigest()
    return f"{context[:36]}{digest[:16]}{context[52:]}"


@dataclass(frozen=True, slots=True)
class _ActiveRequest:
    tracer: Tracer
    context: str


_ACTIVE: ContextVar[_ActiveRequest | None] = ContextVar("drone_orchestrator_trace", default=None)


def current() -> str:
    """Return the ``traceparent`` of the request being answered; ``""`` outside a request."""
    active = _ACTIVE.get()
    return active.context if active else ""


@contextmanager
def activated(tracer: Tracer, context: str) -> Iterator[None]:
    """Make ``context`` the :func:`current` one and record each :func:`step` with ``tracer``."""
    token = _ACTIVE.set(_ActiveRequest(tracer, context))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Record a part of the current request as a span; do nothing outside a request."""
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


def order_attributes(order: Order, attempt: int) -> dict[str, str | int | float | bool]:
    """Return the attributes of every span of an order."""
    return {"order_id": order.order_id, "message_id": order.message_id, "attempt": attempt}
