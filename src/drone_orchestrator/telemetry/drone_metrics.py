"""Metrics and spans of the drones of a process: phases, outcomes, charge, and their part of each order's trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import Gauge, Histogram

from ..core.reasons import GoalRefusal
from ..core.types import DeliveryOutcome, DroneClass, Order, Outcome, Phase
from . import tracing
from .metrics import Metrics

_SPANS = {
    Phase.TO_PICKUP: "fly to pickup",
    Phase.AWAITING_CLEARANCE: tracing.CLEARANCE,
    Phase.LOADING: "load",
    Phase.TO_DESTINATION: "fly to destination",
    Phase.DROPPING: "drop",
    Phase.BRINGING_BACK: "bring back",
}


T = TypeVar("T")


class _Children(dict[Phase, T]):
    """Series of a metric by phase, each made on first use, so that a phase never entered is not exposed."""

    def __init__(self, look_up: Callable[[Phase], T]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, phase: Phase) -> T:
        child = self[phase] = self._look_up(phase)
        return child


class HostTelemetry:
    """The metrics that the drones of one process share. Their timer fires every ``period_s``.

    ``mono`` and ``wall`` read the clocks. All times are in seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        drone_class: DroneClass,
        tracer: tracing.Tracer,
        period_s: float,
        *,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = metrics
        self.drone_class = drone_class
        self.tracer = tracer
        self.mono = mono
        self.wall = wall
        self._period_s = period_s
        self._heard_at_s = mono()
        self._due_s: float | None = None
        self._lateness = metrics.loop_lateness_seconds()
        self._epoch = metrics.leader_epoch()
        # Looked up once: a process with many busy drones sees a thousand phase changes a second.
        self.gauges: Mapping[Phase, Gauge] = _Children(
            lambda phase: metrics.drones(drone_class=drone_class.name, phase=phase.name.lower())
        )
        self.seconds: Mapping[Phase, Histogram] = _Children(
            lambda phase: metrics.drone_phase_seconds(phase=phase.name.lower())
        )
        metrics.leader_silence_seconds().set_function(lambda: self.mono() - self._heard_at_s)

    def drone(self, drone_id: str) -> FlightTelemetry:
        """Return the metrics and spans of one drone."""
        return FlightTelemetry(self, drone_id)

    def leader_heard(self, epoch: int) -> None:
        """Record that a leader's state arrived."""
        self._heard_at_s = self.mono()
        self._epoch.set(epoch)

    def ticked(self) -> None:
        """Record that the timer that drives the drones fired."""
        now_s = self.mono()
        if self._due_s is not None:
            self._lateness.observe(max(0.0, now_s - self._due_s))
        self._due_s = now_s + self._period_s


@dataclass(slots=True)
class _Goal:
    order: Order
    attempt: int
    epoch: int
    began_s: float
    resumed: bool


class FlightTelemetry:
    """The metrics and spans of one drone; its node calls the methods as things happen."""

    def __init__(self, host: HostTelemetry, drone_id: str) -> None:
        self._host = host
        self._drone_id = drone_id
        self._phase: Phase | None = None
        self._phase_began_mono_s = self._phase_began_s = 0.0
        self._goal: _Goal | None = None
        self._unacknowledged: dict[tuple[str, int], tuple[str, float, _Goal]] = {}
        self._energy = host.metrics.drone_energy(drone=drone_id)

    def begin(self, phase: Phase, order: Order | None, attempt: int, epoch: int) -> None:
        """Start in ``phase``, with the goal that the drone's journal remembers, if any."""
        self._enter(phase)
        if order is not None:
            self._goal = _Goal(order, attempt, epoch, self._host.wall(), resumed=True)

    def end(self) -> None:
        """Stop: this process no longer flies the drone."""
        self._leave()
        self._phase = None

    def charged(self, energy_wh: float) -> None:
        """Record the energy in the battery."""
        self._energy.set(energy_wh / self._host.drone_class.battery_wh)

    def goal_accepted(self, order: Order, attempt: int, epoch: int) -> None:
        """Record an accepted goal. The same goal again changes nothing."""
        known = self._goal
        if known is None or (known.order.message_id, known.attempt) != (order.message_id, attempt):
            self._goal = _Goal(order, attempt, epoch, self._host.wall(), resumed=False)

    def goal_refused(self, refusal: GoalRefusal) -> None:
        """Record a refused goal."""
        self._host.metrics.goals_refused(cause=refusal.cause.name.lower(), reason=refusal.value).inc()

    def phase_changed(self, phase: Phase) -> None:
        """Record a change of phase."""
        self._record_phase()
        self._leave()
        self._enter(phase)

    def goal_ended(self, outcome: DeliveryOutcome) -> None:
        """Record the outcome of the goal, which awaits acknowledgement. Call it before the change of phase."""
        self._host.metrics.drone_outcomes(outcome=outcome.outcome.name.lower()).inc()
        goal = self._goal
        if goal is None or (goal.order.message_id, goal.attempt) != (outcome.message_id, outcome.attempt):
            return
        self._record_phase()
        self._goal = None
        error = "" if outcome.outcome is Outcome.DELIVERED else outcome.why
        delivery = self._record_span(tracing.DELIVERY, goal, tracing.DISPATCH, goal.began_s, error)
        if delivery:
            self._unacknowledged[outcome.message_id, outcome.attempt] = (delivery, self._host.wall(), goal)

    def acknowledged(self, outstanding: Iterable[tuple[str, int]]) -> None:
        """Record which outcomes are outstanding; the leader has acknowledged the others."""
        if not self._unacknowledged:
            return
        waiting = set(outstanding)
        for key in [key for key in self._unacknowledged if key not in waiting]:
            delivery, ended_s, goal = self._unacknowledged.pop(key)
            self._host.tracer.span(
                "outcome acknowledged",
                delivery,
                began_s=ended_s,
                ended_s=self._host.wall(),
                attributes=self._attributes(goal),
            )

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._phase_began_mono_s, self._phase_began_s = self._host.mono(), self._host.wall()
        self._gauge(phase).inc()

    def _leave(self) -> None:
        if self._phase is not None:
            self._gauge(self._phase).dec()
            took_s = self._host.mono() - self._phase_began_mono_s
            self._host.seconds[self._phase].observe(took_s)

    def _gauge(self, phase: Phase) -> Gauge:
        return self._host.gauges[phase]

    def _record_phase(self) -> None:
        goal, name = self._goal, _SPANS.get(self._phase or Phase.UNSPECIFIED)
        if goal is not None and name is not None:
            self._record_span(name, goal, tracing.DELIVERY, max(self._phase_began_s, goal.began_s))
            goal.resumed = False

    def _record_span(self, name: str, goal: _Goal, parent: str, began_s: float, error: str = "") -> str:
        """Record a span of the goal below its span ``parent``. Return its ``traceparent``; ``""`` without tracing."""
        context, order = goal.order.trace_context, goal.order
        if not self._host.tracer.enabled or not context:
            return ""
        own = tracing.derived(context, order.message_id, goal.attempt, name)
        self._host.tracer.span(
            name,
            tracing.derived(context, order.message_id, goal.attempt, parent),
            began_s=began_s,
            ended_s=self._host.wall(),
            own=own,
            attributes=self._attributes(goal),
            error=error,
        )
        return own

    def _attributes(self, goal: _Goal) -> tracing.Attributes:
        attributes: dict[str, str | int | float | bool] = tracing.order_attributes(goal.order, goal.attempt)
        return {**attributes, "drone": self._drone_id, "epoch": goal.epoch, "resumed": goal.resumed}
