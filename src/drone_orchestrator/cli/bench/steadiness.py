"""``fleetctl bench steadiness``: whether a busy machine looks like a dead leader.

One busy process per core calculates at the fleet's own priority while the fleet serves a light load. No leader dies, so
any change of leader is a false alarm. This process, which is as starved as the others, measures the heartbeats.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ...bringup import town
from ...bringup.fleet_config import load
from ...bringup.local_fleet import LocalFleet, dies_with_parent
from ...bringup.plan import FleetOptions, heaviest_kg
from ...runtime.signals import interrupts_held_back
from ..fleet_run import running
from ..output import Failure, Output
from ..trial.run_record import Observer
from ..trial.shop import Habits, HttpShop

ORDERS_PER_S = 0.5
TIME_SCALE = 50.0
REPORT_EVERY_S = 30.0
_BUSY = "while True: pass"


def steadiness(out: Output, minutes: float, drones: int, hogs: int | None) -> None:
    """Run ``fleetctl bench steadiness``."""
    hogs = len(os.sched_getaffinity(0)) if hogs is None else hogs
    try:
        options = FleetOptions(drones=drones, region=load().region, http_port=0, time_scale=TIME_SCALE)
    except ValueError as error:
        raise Failure(str(error)) from error
    with running(options, out) as fleet:
        document = _measure(fleet, out, 60.0 * minutes, hogs)
    out.say(
        f"{document['takeovers']} takeovers in {minutes:g} min beside {hogs} busy processes; between two heartbeats "
        f"p50 {document['gap_p50_s']} s, p99 {document['gap_p99_s']} s, max {document['gap_max_s']} s"
    )
    out.result({"minutes": minutes, "busy_processes": hogs, **document})
    raise SystemExit(1 if document["takeovers"] or not document["heartbeats"] else 0)


def _measure(fleet: LocalFleet, out: Output, seconds: float, hogs: int) -> dict[str, Any]:
    os.environ.update(fleet.environment)
    from ...ros.fleet_client import HeartbeatListener

    options = fleet.options
    number = int(seconds * ORDERS_PER_S) + 1
    documents = town.orders(number, 1, heaviest_kg=heaviest_kg(options))
    with ExitStack() as stack:
        observer = stack.enter_context(Observer(fleet))
        ear = stack.enter_context(HeartbeatListener())
        stack.enter_context(
            HttpShop(fleet.url, documents, name="bench", seed=1, period_s=1.0 / ORDERS_PER_S, habits=Habits(again=0.0))
        )
        _await_leader(observer)
        stack.enter_context(busy(hogs))
        leaders = len(observer.record.leaders)
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            fleet.check()
            out.say(f"{left_s:.0f} s left, {len(observer.record.leaders) - leaders} takeovers")
            time.sleep(min(left_s, REPORT_EVERY_S))
        takeovers = len(observer.record.leaders) - leaders
        return {"takeovers": takeovers, "delivered": observer.ended(), **gaps(ear.gaps_s())}


def gaps(gaps_s: Sequence[float]) -> dict[str, Any]:
    """Return the number of heartbeats and the times between them (s; ``None`` without heartbeats)."""
    if not gaps_s:
        return {"heartbeats": 0, "gap_p50_s": None, "gap_p99_s": None, "gap_max_s": None}
    p50, p99 = (round(float(np.percentile(gaps_s, q)), 4) for q in (50, 99))
    return {"heartbeats": len(gaps_s) + 1, "gap_p50_s": p50, "gap_p99_s": p99, "gap_max_s": round(max(gaps_s), 4)}


def _await_leader(observer: Observer, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    with observer.record.changed:
        while observer.leader() is None:
            if not observer.record.changed.wait(deadline - time.monotonic()) and time.monotonic() > deadline:
                raise Failure(f"no leader was elected within {timeout_s:g} s")


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run ``count`` busy processes at this process's priority within the context."""
    command = [*dies_with_parent(), sys.executable, "-c", _BUSY]
    with interrupts_held_back():
        hogs = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
