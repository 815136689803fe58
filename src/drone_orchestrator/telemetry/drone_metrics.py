"""What the drones of a process count and trace: phases, outcomes, charge, each attempt's part of its order's trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import Gauge, Histogram

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
    """The children of a metric by phase, each looked up when it is first wanted: what never was is not shown."""

    def __init__(self, look_up: Callable[[Phase], T]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, phase: Phase) -> T:
        child = self[phase] = self._look_up(phase)
        return child


class HostTelemetry:
    """What the drones of one process share. Their timer fires every ``period_s``.

    ``mono`` and ``wall`` read the clocks. All times in seconds.
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
        # Looked up once: drones change their phases a thousand times a second where many are busy.
        self.gauges: Mapping[Phase, Gauge] = _Children(
            lambda phase: metrics.drones(drone_class=drone_class.name, phase=phase.name.lower())
        )
        self.seconds: Mapping[Phase, Histogram] = _Children(
            lambda phase: metrics.drone_phase_seconds(phase=phase.name.lower())
        )
        metrics.leader_silence_seconds().set_function(lambda: self.mono() - self._heard_at_s)

    def drone(self, drone_id: str) -> FlightTelemetry:
        """What one drone tells."""
        return FlightTelemetry(self, drone_id)

    def leader_heard(self, epoch: int) -> None:
        """A leader's state arrived."""
        self._heard_at_s = self.mono()
        self._epoch.set(epoch)

    def ticked(self) -> None:
        """The timer that drives the drones has fired."""
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
    """What one drone tells, as its node sees it happen."""

    def __init__(self, host: HostTelemetry, drone_id: str) -> None:
        self._host = host
        self._drone_id = drone_id
        self._phase: Phase | None = None
        self._phase_began_mono_s = self._phase_began_s = 0.0
        self._goal: _Goal | None = None
        self._unacknowledged: dict[tuple[str, int], tuple[str, float, _Goal]] = {}
        self._energy = host.metrics.drone_energy(drone=drone_id)

    def begin(self, phase: Phase, order: Order | None, attempt: int, epoch: int) -> None:
        """The drone is up, perhaps in the middle of a goal that its journal remembers."""
        self._enter(phase)
        if order is not None:
            self._goal = _Goal(order, attempt, epoch, self._host.wall(), resumed=True)

    def end(self) -> None:
        """The drone is not flown by this process any more."""
        self._leave()
        self._phase = None

    def charged(self, energy_wh: float) -> None:
        """What the battery holds now."""
        self._energy.set(energy_wh / self._host.drone_class.battery_wh)

    def goal_accepted(self, order: Order, attempt: int, epoch: int) -> None:
        """The drone has taken a goal; the same one again changes nothing."""
        known = self._goal
        if known is None or (known.order.message_id, known.attempt) != (order.message_id, attempt):
            self._goal = _Goal(order, attempt, epoch, self._host.wall(), resumed=False)

    def phase_changed(self, phase: Phase) -> None:
        """The drone does something else now."""
        self._tell_phase()
        self._leave()
        self._enter(phase)

    def goal_ended(self, outcome: DeliveryOutcome) -> None:
        """The goal is over; its outcome waits to be acknowledged. Comes before the change of phase."""
        self._host.metrics.drone_outcomes(outcome=outcome.outcome.name.lower()).inc()
        goal = self._goal
        if goal is None or (goal.order.message_id, goal.attempt) != (outcome.message_id, outcome.attempt):
            return
        self._tell_phase()
        self._goal = None
        error = "" if outcome.outcome is Outcome.DELIVERED else outcome.why
        delivery = self._tell(tracing.DELIVERY, goal, tracing.DISPATCH, goal.began_s, error)
        if delivery:
            self._unacknowledged[outcome.message_id, outcome.attempt] = (delivery, self._host.wall(), goal)

    def acknowledged(self, outstanding: Iterable[tuple[str, int]]) -> None:
        """These outcomes are still waiting; those that have left are on record with the leader."""
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

    def _tell_phase(self) -> None:
        goal, name = self._goal, _SPANS.get(self._phase or Phase.UNSPECIFIED)
        if goal is not None and name is not None:
            self._tell(name, goal, tracing.DELIVERY, max(self._phase_began_s, goal.began_s))
            goal.resumed = False

    def _tell(self, name: str, goal: _Goal, parent: str, began_s: float, error: str = "") -> str:
        """Tell a span of the goal, a child of its span ``parent``; its traceparent, ``""`` where it is not traced."""
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
        said: dict[str, str | int | float | bool] = tracing.order_attributes(goal.order, goal.attempt)
        return {**said, "drone": self._drone_id, "epoch": goal.epoch, "resumed": goal.resumed}
