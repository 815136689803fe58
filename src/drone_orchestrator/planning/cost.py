"""Costs of assigning an order to a drone, and of leaving an order out.

The objective is the weighted delivery time. An order's weight is its :func:`~drone_orchestrator.core.planner.urgency`,
which also decided that it is considered in this round. A deadline adds weight while it can still be met.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.planner import PlannedOrder
from ..core.types import DroneReport, FleetSpec
from .arrays import BoolArray, FloatArray
from .energy import delivery_time_s
from .feasibility import rows_by_class
from .legs import Legs

PRESSURE_S = 600.0  # a deadline with less slack than this adds weight
LATE_S = 600.0  # missing the deadline counts as this much extra delivery time
MAX_DELIVERY_S = 1e6  # no delivery takes longer
LEFT_OUT_FACTOR = 2.0  # an order left out counts as delivered this many times later than the slowest pair


def delivery_times_s(fleet: FleetSpec, drones: Sequence[DroneReport], legs: Legs) -> FloatArray:
    """Return seconds ``(n, m)`` until drone ``i`` would drop order ``j``; infinite for drones of an unknown class."""
    times_s = np.full(legs.to_pickup_m.shape, np.inf)
    for drone_class, rows in rows_by_class(fleet, drones):
        times_s[rows] = delivery_time_s(legs.to_pickup_m[rows], legs.loaded_m, drone_class)
    return times_s


def weights(orders: Sequence[PlannedOrder], times_s: FloatArray, feasible: BoolArray) -> FloatArray:
    """Return the weight ``(m,)`` of each order: > 0, and growing with its age without bound.

    ``times_s`` and ``feasible`` are ``(n, m)``. A deadline's pressure doubles the weight as the slack left by the
    fastest free drone goes to zero. A deadline that can no longer be met adds none, and the order ages like the others.
    """
    age_s = _ages_s(orders)
    urgency = np.array([o.urgency for o in orders], dtype=np.float64)
    fastest_s = np.min(times_s, axis=0, where=feasible, initial=MAX_DELIVERY_S)
    slack_s = _deadlines_s(orders) - age_s - fastest_s
    pressure = np.where(slack_s >= 0.0, np.clip(1.0 - slack_s / PRESSURE_S, 0.0, 1.0), 0.0)
    return np.asarray(urgency * (1.0 + pressure), dtype=np.float64)


def costs(orders: Sequence[PlannedOrder], times_s: FloatArray, feasible: BoolArray) -> FloatArray:
    """Return the cost ``(n, m)`` of assigning order ``j`` to drone ``i``, relative to leaving the order out; 0 for
    infeasible pairs.

    It is ``weight * (time + lateness - left_out)``: negative for every feasible pair, and lower for heavier orders.
    Costs are relative so that heavy orders come first: with plain weighted times, unimportant orders would be cheapest.
    """
    left_out_s = LEFT_OUT_FACTOR * (float(np.max(times_s, where=feasible, initial=0.0)) + LATE_S)
    lateness_s = LATE_S * (times_s > _deadlines_s(orders) - _ages_s(orders))
    relative_s = times_s + lateness_s - left_out_s
    return np.where(feasible, relative_s * weights(orders, times_s, feasible), 0.0)


def _ages_s(orders: Sequence[PlannedOrder]) -> FloatArray:
    return np.array([max(o.age_s, 0.0) for o in orders], dtype=np.float64)


def _deadlines_s(orders: Sequence[PlannedOrder]) -> FloatArray:
    """Return seconds from submission to deadline, infinite without one."""
    return np.array([np.inf if o.order.deadline_s is None else o.order.deadline_s for o in orders], dtype=np.float64)
