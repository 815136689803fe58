"""``fleetctl bench scale``: the leader's cost and punctuality with a growing number of drones.

Each point is a separate fleet on real DDS: the drones in a few processes, one leader, one standby. Orders arrive in
proportion to the fleet, so that a drone gets one every :data:`ORDER_EVERY_S`. The baseline is proportional growth from
the smallest fleet of the run.

All drones are of one class, and their journals in memory (:func:`.order_probe.benched`).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from ...bringup.fleet_config import load
from ...bringup.local_fleet import LocalFleet
from ...bringup.plan import FleetOptions
from ..output import Failure, Output
from . import charts
from .order_probe import OrderProbe, benched, percentile_ms

#: Each drone gets an order this often (s), and flies about a third of the time.
ORDER_EVERY_S = 20.0
TIME_SCALE = 40.0
LEAST_RATE_PER_S = 2.0
DESTINATION = {"lat": 37.7605, "lon": -122.4009}
DRONES_PER_PROCESS = 50
HEARTBEAT_PERIOD_S = 0.1
WARM_UP_S = 3.0
HEARD_WITHIN_S = 60.0
ASSIGNED_WITHIN_S = 20.0
#: Limits of the leader: % of a core, ms, ms.
LIMITS = {"leader_cpu_pct": 60.0, "heartbeat_jitter_p99_ms": 100.0, "assign_p99_ms": 250.0}


def scale(out: Output, sizes: tuple[int, ...], seconds: float, picture_path: Path | None) -> None:
    """Run ``fleetctl bench scale``."""
    points = [_measure(out, drones, seconds) for drones in sizes]
    document = {"points": points, "machine": machine()}
    if picture_path is not None:
        charts.save(picture_path, picture(document))
    out.result(document)


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _measure(out: Output, drones: int, seconds: float) -> dict[str, Any]:
    try:
        options = FleetOptions(
            drones=drones,
            replicas=2,
            region=load().region,
            http_port=0,
            time_scale=TIME_SCALE,
            drones_per_process=DRONES_PER_PROCESS,
            monitor=False,
        )
    except ValueError as error:
        raise Failure(str(error)) from error
    label = f"{drones} drones"
    with benched(options, out) as fleet:
        out.say(f"{label}: measuring for {seconds:g} s …")
        point = {"drones": drones, **_point(fleet, drones, seconds)}
    out.say(
        f"{label}: leader {point['leader_cpu_pct']} % of a core, {point['leader_rss_mib']} MiB; heartbeat jitter p99 "
        f"{point['heartbeat_jitter_p99_ms']} ms; assigned p99 {point['assign_p99_ms']} ms; "
        f"{point['host_cpu_pct_per_drone']} % per drone"
    )
    return point


def _point(fleet: LocalFleet, drones: int, seconds: float) -> dict[str, Any]:
    from ...ros import fleet_client  # rclpy is slow to import, and only this needs it

    rate = max(LEAST_RATE_PER_S, drones / ORDER_EVERY_S)
    heard = len(fleet_client.drones(timeout_s=HEARD_WITHIN_S, expected=drones))
    if heard < drones:
        raise Failure(f"only {heard} of {drones} drones were heard within {HEARD_WITHIN_S:.0f} s")
    with OrderProbe(fleet, DESTINATION, "scale") as probe:
        probe.latencies_s(probe.send(rate, WARM_UP_S), ASSIGNED_WITHIN_S)
        leader = probe.leader()
        with fleet_client.HeartbeatListener() as ear:
            if not ear.wait(HEARD_WITHIN_S):
                raise Failure(f"no heartbeat of the leader was heard within {HEARD_WITHIN_S:.0f} s")
            before, began_s = _times_s(fleet), time.monotonic()
            ids = probe.send(rate, seconds)
            after, took_s = _times_s(fleet), time.monotonic() - began_s
            gaps_s = ear.gaps_s()
        pid = fleet.pid(leader) if leader is not None else None
        if pid is None or leader is None or probe.leader() != leader:
            raise Failure("the leader changed while it was measured")
        rss = psutil.Process(pid).memory_info().rss
        latencies_s = probe.latencies_s(ids, ASSIGNED_WITHIN_S)
        busy = probe.under_way()
    if not gaps_s:
        raise Failure(f"fewer than two heartbeats of the leader were heard in {took_s:.1f} s")
    if len(latencies_s) < len(ids):
        raise Failure(f"{len(ids) - len(latencies_s)} of {len(ids)} orders were not assigned in time")
    cpu_pct = {name: 100.0 * (after[name] - before.get(name, 0.0)) / took_s for name in after}
    hosts = sum(cpu_pct[name] for name in fleet.names("drones"))
    standbys = [pct for name, pct in cpu_pct.items() if name.startswith("orchestrator") and name != leader]
    return {
        "leader_cpu_pct": round(cpu_pct[leader], 1),
        "leader_rss_mib": round(rss / 2**20, 1),
        "heartbeat_jitter_p99_ms": jitter_p99_ms(gaps_s, HEARTBEAT_PERIOD_S),
        "assign_p50_ms": percentile_ms(latencies_s, 50),
        "assign_p99_ms": percentile_ms(latencies_s, 99),
        "orders": len(ids),
        "orders_per_s": rate,
        "under_way": busy,
        "host_processes": len(fleet.names("drones")),
        "host_cpu_pct": round(hosts, 1),
        "host_cpu_pct_per_drone": round(hosts / drones, 2),
        "standby_cpu_pct": round(max(standbys, default=0.0), 1),
        "gateway_cpu_pct": round(cpu_pct["order_gateway"], 1),
    }


def jitter_p99_ms(gaps_s: Sequence[float], period_s: float) -> float:
    """Return the 99th percentile of the heartbeats' delay beyond ``period_s`` after the previous one (ms)."""
    return percentile_ms([max(0.0, gap_s - period_s) for gap_s in gaps_s], 99)


def _times_s(fleet: LocalFleet) -> dict[str, float]:
    """Return the CPU time used by each process of the fleet (s)."""
    times = {}
    for name in fleet.names():
        pid = fleet.pid(name)
        if pid is not None:
            used = psutil.Process(pid).cpu_times()
            times[name] = used.user + used.system
    return times


def picture(document: Mapping[str, Any]) -> str:
    """Return the figures by number of drones, with proportional growth for comparison, as SVG."""
    points: Sequence[Mapping[str, Any]] = document["points"]
    smallest = min(points, key=lambda point: point["drones"])
    panels = (
        ("leader_cpu_pct", "leader: % of a core"),
        ("host_cpu_pct", "drone hosts together: % of a core"),
        ("heartbeat_jitter_p99_ms", "heartbeat jitter p99, ms"),
        ("assign_p99_ms", "POST to ASSIGNED p99, ms"),
    )
    lines = []
    for key, label in panels:
        series = {"measured": [(p["drones"], p[key]) for p in points]}
        if label.endswith("of a core") and len(points) > 1:
            per_drone = smallest[key] / smallest["drones"]
            series["in proportion"] = [(p["drones"], per_drone * p["drones"]) for p in points]
        lines.append(charts.Lines("drones", label, series, y_limit=LIMITS.get(key)))
    facts = document["machine"]
    note = f"{facts['cpus']} CPUs, all processes of the fleet on one machine; dashed: what is allowed at 200 drones"
    return charts.draw("One leader, more and more drones", *lines, note=note)
