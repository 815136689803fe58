"""``fleetctl bench plan``: the time of a planning round, and the quality of its plans."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence

import click
import numpy as np

from ...bringup import fleet_config, town
from ...core.planner import Pairing, PlannedOrder
from ...core.types import DroneReport, FleetSpec, GeoPoint, Order, Phase
from ...planning.cost import delivery_times_s
from ...planning.legs import measure
from ...planning.planner import AssignmentPlanner, GreedyPlanner
from ..output import Output

#: Share of the benchmark's orders that have a deadline, and how tight those are.
DEADLINE_SHARE = 0.3
DEADLINES_S = (240.0, 900.0)


def plan(out: Output, drones: int, orders: int, rounds: int, seed: int) -> None:
    """Run ``fleetctl bench plan``."""
    fleet = fleet_config.load()
    rng = random.Random(seed)
    took_ms: list[float] = []
    flown_s = {"assignment": 0.0, "greedy": 0.0}
    late = {"assignment": 0, "greedy": 0}
    with click.progressbar(range(rounds), label="planning", file=sys.stderr) as bar:
        for _ in bar:
            reports, waiting = _scene(fleet, drones, orders, rng)
            began = time.perf_counter()
            best = AssignmentPlanner().plan(fleet, reports, waiting)
            took_ms.append((time.perf_counter() - began) * 1e3)
            for name, pairs in (("assignment", best), ("greedy", GreedyPlanner().plan(fleet, reports, waiting))):
                times_s = _times_s(fleet, reports, waiting, pairs)
                flown_s[name] += float(np.mean(list(times_s.values()) or [0.0]))
                late[name] += _late(waiting, times_s)
    p50_ms, p99_ms = (float(np.percentile(took_ms, q)) for q in (50, 99))
    ratio = flown_s["assignment"] / flown_s["greedy"] if flown_s["greedy"] else 1.0
    out.say(f"{drones} drones × {orders} orders, {rounds} rounds: p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms")
    out.say(f"mean time to deliver against greedy: {ratio:.3f}; late: {late['assignment']} against {late['greedy']}")
    out.result(
        {
            "drones": drones,
            "orders": orders,
            "p50_ms": round(p50_ms, 3),
            "p99_ms": round(p99_ms, 3),
            "delivery_time_ratio": round(ratio, 4),
            "late_orders": late["assignment"],
            "late_orders_greedy": late["greedy"],
        }
    )


def _scene(
    fleet: FleetSpec, drones: int, orders: int, rng: random.Random
) -> tuple[list[DroneReport], list[PlannedOrder]]:
    """Return free drones, half of them on their way home, and waiting orders all over the town."""
    reports = []
    for index in range(drones):
        drone_class = fleet.classes[index % len(fleet.classes)]
        home = rng.random() < 0.5
        _, lat, lon = rng.choice(town.PLACES)
        position = fleet.depot if home else GeoPoint(lat, lon)
        energy_wh = drone_class.battery_wh * rng.uniform(0.6, 1.0)
        phase = Phase.IDLE if home else Phase.RETURNING
        reports.append(DroneReport(f"drone_{index}", drone_class.name, "journal", 1, phase, position, energy_wh))
    waiting = []
    for index in range(orders):
        _, lat, lon = rng.choice(town.PLACES)
        place = GeoPoint(lat + rng.uniform(-0.01, 0.01), lon + rng.uniform(-0.01, 0.01))
        deadline_s = rng.uniform(*DEADLINES_S) if rng.random() < DEADLINE_SHARE else None
        order = Order(f"m{index}", f"o{index}", place, rng.uniform(0.2, 2.8), 0.0, deadline_s=deadline_s)
        waiting.append(PlannedOrder(order, age_s=rng.uniform(0.0, 120.0)))
    return reports, waiting


def _times_s(
    fleet: FleetSpec, reports: Sequence[DroneReport], waiting: Sequence[PlannedOrder], pairs: Sequence[Pairing]
) -> dict[str, float]:
    """Return the delivery time (s) of each order that the plan serves, by message id."""
    rows = {report.drone_id: row for row, report in enumerate(reports)}
    columns = {planned.order.message_id: column for column, planned in enumerate(waiting)}
    times_s = delivery_times_s(fleet, reports, measure(fleet, reports, [w.order for w in waiting]))
    return {p.message_id: float(times_s[rows[p.drone_id], columns[p.message_id]]) for p in pairs}


def _late(waiting: Sequence[PlannedOrder], times_s: dict[str, float]) -> int:
    """Return the number of orders with a deadline that the plan misses or does not serve."""
    never = float("inf")
    return sum(
        1
        for planned in waiting
        if planned.order.deadline_s is not None
        and planned.age_s + times_s.get(planned.order.message_id, never) > planned.order.deadline_s
    )
