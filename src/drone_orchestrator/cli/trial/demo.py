"""``fleetctl demo``: the main job, with the leader and a drone process killed midway, then the audit.

Etcd, the orchestrators, the drones, the monitor and the gateway are separate processes. The shop submits orders over
HTTP, some of them twice, as a retry. The report is based on the store alone.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from rich.markup import escape

from ...bringup import town
from ...bringup.fleet_config import load
from ...bringup.local_fleet import LocalFleet
from ...bringup.plan import FleetOptions, heaviest_kg
from ...core.types import SagaStatus
from ..audit import print_report
from ..fleet_run import running
from ..output import Failure, Output
from . import progress, timeline
from .run_record import Fault, Observer
from .shop import Habits, HttpShop

SUBMIT_PERIOD_S = 0.25
#: A killed process stays down longer than any lease: a standby takes over, and orders not yet loaded go to another
#: drone; packages on board wait for their own.
DOWN_S = 5.0
FLIGHT_STATES = (SagaStatus.ASSIGNED, SagaStatus.DISPATCHED, SagaStatus.LOADING, SagaStatus.IN_TRANSIT)


def demo(
    out: Output,
    drones: int,
    orders: int,
    seed: int,
    leader_kills: int,
    drone_kills: int,
    time_scale: float,
    timeout_s: float,
    folder: Path,
) -> None:
    """Run ``fleetctl demo``."""
    began = time.monotonic()
    try:
        options = FleetOptions(
            drones=drones,
            region=load().region,
            http_port=0,
            time_scale=time_scale,
            lease_ttl_s=3.0,
            reservation_ttl_s=3.0,
            etcd_compaction="",  # the audit at the end reads the whole history
        )
        folder.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(f"--report {folder}: {error.strerror}") from error
    documents = town.orders(orders, seed, heaviest_kg=heaviest_kg(options))
    with (
        running(options, out) as fleet,
        Observer(fleet) as observer,
        HttpShop(fleet.url, documents, name="demo", seed=seed, period_s=SUBMIT_PERIOD_S, habits=Habits()) as shop,
    ):
        out.say(f"orders: {fleet.url}/orders   metrics of every process: {fleet.targets_file}")
        run = _DemoRun(fleet, observer, shop, out, orders, random.Random(seed))
        run.go(leader_kills, drone_kills, timeout_s)
        report, unreadable = observer.audit()
        document = {
            **observer.figures(shop.accepted, report),
            "submitted_twice": len(shop.doubled),
            "kills": [{"kind": _victim(fault), "process": fault.target} for fault in observer.record.faults],
            "wall_s": round(time.monotonic() - began, 1),
        }
    for line in unreadable:
        out.say(f"[yellow]journal not read[/yellow] {escape(line)}")
    print_report(out, report)
    picture = folder / "timeline.png"
    timeline.draw(observer.record, picture)
    path = folder / "report.json"
    document["report"] = str(path.resolve())
    path.write_text(json.dumps(document, indent=2) + "\n")
    _summarise(out, document, picture)
    out.result(document)
    good = report.ok and document["delivered"] == orders and not document["lost"] and not document["duplicates"]
    raise SystemExit(0 if good else 1)


class _DemoRun:
    """One run: kills while the shop orders, until the last order has ended."""

    def __init__(
        self, fleet: LocalFleet, observer: Observer, shop: HttpShop, out: Output, total: int, rng: random.Random
    ) -> None:
        self._fleet = fleet
        self._observer = observer
        self._shop = shop
        self._out = out
        self._total = total
        self._rng = rng

    def go(self, leader_kills: int, drone_kills: int, timeout_s: float) -> None:
        """Run from the first order until the last one has ended."""
        deadline = time.monotonic() + timeout_s
        total = self._total
        schedule = sorted(
            [(total * (i + 1) / (leader_kills + 2), self._kill_leader) for i in range(leader_kills)]
            + [(total * (i + 1.5) / (drone_kills + 2), self._kill_drone) for i in range(drone_kills)],
            key=lambda item: item[0],
        )
        with progress.Display(self._out, self._observer, self._submitted) as display:
            while time.monotonic() < deadline:
                self._fleet.check()
                if self._shop.trouble:
                    raise Failure(f"could not submit: {self._shop.trouble[0]}")
                ended = self._observer.ended()
                if schedule and ended >= schedule[0][0] and schedule[0][1]():
                    schedule.pop(0)
                if ended >= total and not schedule:
                    return
                display.update()
                with self._observer.record.changed:
                    self._observer.record.changed.wait(0.2)
        line = progress.line(self._observer)
        self._out.say(f"[red]not finished within {timeout_s:.0f} s: {self._submitted()}: {line}[/red]")

    def _submitted(self) -> str:
        return f"{len(self._shop.accepted)} of {self._total} submitted"

    def _kill_leader(self) -> bool:
        holder = self._observer.leader()
        return holder is not None and self._kill(holder, leader=True)

    def _kill_drone(self) -> bool:
        """Kill a process whose drone is busy, if there is one."""
        busy = {saga.drone_id for saga in self._observer.sagas() if saga.status in FLIGHT_STATES}
        names = [n for n in self._fleet.names("drones") if busy & set(self._fleet.spec(n).parameters["drone_ids"])]  # type: ignore[arg-type]
        return bool(names) and self._kill(self._rng.choice(names), leader=False)

    def _kill(self, name: str, *, leader: bool) -> bool:
        at = time.time()
        if not self._fleet.kill(name, respawn_delay_s=DOWN_S):
            return False
        self._observer.record.faults.append(Fault(at, "kill", name, DOWN_S, leader))
        what = "the leader" if leader else "drones on their way"
        self._out.say(f"[bold red]SIGKILL[/bold red] {name} ({what})")
        return True


def _victim(fault: Fault) -> str:
    return "leader" if fault.leader else "drones"


def _summarise(out: Output, document: dict[str, Any], picture: Path) -> None:
    out.say(
        f"{document['orders_submitted']} orders submitted, {document['delivered']} delivered, "
        f"{document['failed']} failed, {document['lost']} lost, "
        f"{document['duplicates']} duplicates, {len(document['failovers'])} failover(s)"
    )
    for failover in document["failovers"]:
        first = failover["to_next_assignment_s"]
        tail = f", first assignment after {first} s" if first is not None else ""
        out.say(f"leader killed: next leader after {failover['to_new_leader_s']} s{tail}")
    out.say(f"{document['wall_s']} s; report: {document['report']}, picture: {picture.resolve()}")
