"""The leader's spans of an order: waiting, assignment, dispatch, clearance, outcome and compensation."""

from __future__ import annotations

from ..core import saga as sagas
from ..core.types import TERMINAL, SagaEvent, SagaStatus
from ..core.view import FleetView
from .replica_metrics import Committed
from .tracing import CLEARANCE, DELIVERY, DISPATCH, Tracer, derived, order_attributes


class OrderTraces:
    """Records the leader's spans of an order as its steps become durable.

    A listener of :class:`.replica_metrics.ReplicaTelemetry`. Calls may come from any thread; those about one order come
    one after another.
    """

    def __init__(self, tracer: Tracer, holder: str) -> None:
        self._tracer = tracer
        self._holder = holder
        self._since: dict[str, float] = {}  # when an order got its present status (wall clock, s)

    def take_over(self, view: FleetView) -> None:
        """Continue the traces of the previous leader."""
        stored = (each.value for each in view.sagas.values())
        self._since = {saga.message_id: saga.updated_at for saga in stored if not saga.status.is_terminal}

    def wants_all(self) -> bool:
        """See :class:`.replica_metrics.Listener`."""
        return True

    def __call__(self, step: Committed) -> None:
        """See :class:`.replica_metrics.Listener`."""
        if not step.order.trace_context:
            return
        for event in step.events:
            self._record(event, step)
        last = step.events[-1]
        if last.to_status in TERMINAL:
            self._since.pop(last.message_id, None)
        else:
            self._since[last.message_id] = step.ended_s

    def _record(self, event: SagaEvent, step: Committed) -> None:
        order, root = step.order, step.order.trace_context
        since_s = self._since.get(order.message_id, order.submitted_at)
        attributes = {**order_attributes(order, event.attempt), "epoch": event.epoch, "orchestrator": self._holder}
        if event.drone_id:
            attributes["drone"] = event.drone_id

        def record(name: str, parent: str, began_s: float, own: str = "", error: str = "") -> None:
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
            record("queue wait", root, since_s, own=waiting)
            record("assign", waiting, step.began_s)
        elif event.type == sagas.GOAL_ACCEPTED:
            record(DISPATCH, root, since_s, own=dispatch)
        elif event.type == sagas.CLEARED:
            if event.from_status is SagaStatus.ASSIGNED:  # the only sign that the goal was accepted
                record(DISPATCH, root, since_s, own=dispatch)
            record("grant clearance", derived(root, order.message_id, event.attempt, CLEARANCE), step.began_s)
        elif event.type == sagas.DELIVERED:
            record("record outcome", derived(root, order.message_id, event.attempt, DELIVERY), step.began_s)
        elif event.type == sagas.ABANDONED and event.from_status is SagaStatus.ASSIGNED:
            record(DISPATCH, root, since_s, own=dispatch, error=event.reason or "abandoned")
        elif event.type in (sagas.COMPENSATED, sagas.RESOLVED):
            record("compensate", root, since_s, error=event.reason or "")
        elif event.type in (sagas.FAILED, sagas.CANCELLED):
            record(event.type, root, step.began_s, error=event.reason or event.type)
