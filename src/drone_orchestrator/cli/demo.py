"""``fleetctl demo``: the main job for real, with a leader and a drone process killed in the middle, checked afterwards.

Everything is a process of its own: etcd, the orchestrators, the drones, the monitor, the gateway. Orders go in over
HTTP, some of them twice, as a shop retries. What happened is read from the store alone.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
from rich.live import Live
from rich.table import Table

from ..bringup import town
from ..bringup.fleet_config import FleetConfigError, load
from ..bringup.plan import FleetOptions
from ..bringup.runner import LocalFleet
from ..core.types import Entry, Kind, LeaderRecord, Saga, SagaEvent, SagaStatus, StoreChange
from ..core.view import FleetView
from ..runtime.projection import Projection
from ..store import EtcdStore
from ..verification.records import Report
from . import timeline
from .audit import audit_store, print_report, read_journals
from .context import json_option
from .output import Failure, Output
from .up import running

SUBMIT_PERIOD_S = 0.25
RETRY_S = 0.2
#: What was killed stays down longer than any lease: a standby takes over, and what a drone had not loaded yet goes to
#: another one; what was on board waits for its own.
DOWN_S = 5.0
FLIGHT_STATES = (SagaStatus.ASSIGNED, SagaStatus.DISPATCHED, SagaStatus.LOADING, SagaStatus.IN_TRANSIT)


@dataclass
class Chronicle:
    """What happened when, as the store told it; times by this machine's wall clock, in s."""

    events: list[SagaEvent] = field(default_factory=list)
    leaders: list[tuple[float, str, int]] = field(default_factory=list)  # (seen at, holder, epoch)
    kills: list[tuple[float, str, str]] = field(default_factory=list)  # (at, kind, process)
    assigned: list[tuple[float, int]] = field(default_factory=list)  # (seen at, epoch)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def hear(self, change: StoreChange) -> None:
        """A listener of the projection, on the store's thread."""
        now = time.time()
        with self.changed:
            for entry in change.entries:
                self._note(entry, now)
            self.changed.notify_all()

    def _note(self, entry: Entry, now: float) -> None:
        if isinstance(entry.value, SagaEvent):
            self.events.append(entry.value)
            if entry.value.type == "assigned":
                self.assigned.append((now, entry.value.epoch))
        elif entry.kind is Kind.LEADER and isinstance(entry.value, LeaderRecord):
            self.leaders.append((now, entry.value.holder, entry.mod_revision))

    def failovers(self) -> list[dict[str, Any]]:
        """How long each killed leader was missed: to the next leader, and to that one's first assignment."""
        out: list[dict[str, Any]] = []
        for at, kind, _ in self.kills:
            if kind != "leader":
                continue
            successor = next(((seen, epoch) for seen, _, epoch in self.leaders if seen > at), None)
            if successor is None:
                continue
            seen, epoch = successor
            first = next((t for t, e in self.assigned if e >= epoch), None)
            out.append(
                {
                    "kind": "kill",
                    "to_new_leader_s": round(seen - at, 3),
                    "to_next_assignment_s": round(first - at, 3) if first is not None else None,
                }
            )
        return out


@click.command()
@click.option("--drones", default=6, show_default=True, type=click.IntRange(1, 100))
@click.option("--orders", default=24, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--seed", default=1, show_default=True, help="Of the orders and of whom to kill.")
@click.option("--leader-kills", default=1, show_default=True, type=click.IntRange(0, 20))
@click.option("--drone-kills", default=1, show_default=True, type=click.IntRange(0, 20))
@click.option("--time-scale", default=50.0, show_default=True, help="Flight so many times faster than life.")
@click.option("--timeout", "timeout_s", default=240.0, show_default=True, help="Give up after so many seconds.")
@click.option(
    "--report",
    "folder",
    default=Path("reports/demo"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report.",
)
@json_option
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
    """Run a fleet, submit orders, kill the leader and a drone process, and check that nothing was lost or doubled."""
    began = time.monotonic()
    try:
        options = FleetOptions(
            drones=drones,
            region=load().region,
            http_port=0,
            time_scale=time_scale,
            lease_ttl_s=3.0,
            reservation_ttl_s=3.0,
            drones_per_process=max(2, -(-drones // 8)),
        )
        folder.mkdir(parents=True, exist_ok=True)
    except (FleetConfigError, ValueError) as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(f"--report {folder}: {error.strerror}") from error
    with running(options, out) as fleet:
        run = _Run(fleet, out, town.orders(orders, seed), random.Random(seed))
        try:
            run.go(leader_kills, drone_kills, timeout_s)
            report = run.audit()
            document = run.document(report, time.monotonic() - began)
        finally:
            run.close()
    print_report(out, report)
    picture = folder / "timeline.png"
    timeline.draw(run.chronicle, picture)
    path = folder / "report.json"
    document["report"] = str(path.resolve())
    path.write_text(json.dumps(document, indent=2) + "\n")
    _summarise(out, document, picture)
    out.result(document)
    good = report.ok and document["delivered"] == orders and not document["lost"] and not document["duplicates"]
    raise SystemExit(0 if good else 1)


class _Run:
    """One run: submits, kills, waits, and reads from the store how it went."""

    def __init__(self, fleet: LocalFleet, out: Output, documents: list[dict[str, object]], rng: random.Random) -> None:
        self.chronicle = Chronicle()
        self._fleet = fleet
        self._out = out
        self._documents = documents
        self._rng = rng
        self._accepted: dict[str, str] = {}  # order id -> message id
        self._doubled: set[str] = set()
        self._stopped = threading.Event()
        self._trouble: BaseException | None = None
        self._store = EtcdStore(fleet.options.etcd_endpoints.split(","), fleet.options.region)
        self._projection = Projection(self._store, listener=self.chronicle.hear)
        self._projection.start()
        self._submitter = threading.Thread(target=self._submit_all, name="shop", daemon=True)

    def close(self) -> None:
        self._stopped.set()
        if self._submitter.is_alive():
            self._submitter.join()
        self._projection.close()
        self._store.close()

    def go(self, leader_kills: int, drone_kills: int, timeout_s: float) -> None:
        """From the first order to the last one's end."""
        deadline = time.monotonic() + timeout_s
        if not self._projection.wait_loaded(10.0):
            raise Failure("the store was not there within 10 s")
        self._note_leader()
        self._submitter.start()
        total = len(self._documents)
        schedule = sorted(
            [(total * (i + 1) / (leader_kills + 2), self._kill_leader) for i in range(leader_kills)]
            + [(total * (i + 1.5) / (drone_kills + 2), self._kill_drone) for i in range(drone_kills)],
            key=lambda item: item[0],
        )
        with Live(self._picture(), console=self._out.console, refresh_per_second=4, transient=True) as live:
            shown_at = 0.0
            while time.monotonic() < deadline:
                self._fleet.check()
                if self._trouble is not None:
                    raise Failure(f"could not submit: {self._trouble}")
                ended = self._ended()
                if schedule and ended >= schedule[0][0] and schedule[0][1]():
                    schedule.pop(0)
                if ended >= total and not schedule:
                    return
                live.update(self._picture())
                if not self._out.console.is_terminal and time.monotonic() - shown_at >= 5.0:
                    shown_at = time.monotonic()
                    self._out.say(self._line())
                with self.chronicle.changed:
                    self.chronicle.changed.wait(0.2)
        self._out.say(f"[red]not finished within {timeout_s:.0f} s: {self._line()}[/red]")

    def _note_leader(self) -> None:
        """Whoever leads already is in the snapshot, and no change will tell of it."""
        entry = self._look(lambda view: view.leader)
        with self.chronicle.changed:
            if entry is not None and isinstance(entry.value, LeaderRecord) and not self.chronicle.leaders:
                self.chronicle.leaders.append((time.time(), entry.value.holder, entry.mod_revision))

    def audit(self) -> Report:
        folder = Path(self._fleet.options.data_dir)
        journals, unreadable = read_journals(folder)
        for line in unreadable:
            self._out.say(f"[yellow]journal not read[/yellow] {line}")
        return audit_store(self._store, journals, complete=True)

    def document(self, report: Report, wall_s: float) -> dict[str, Any]:
        """The figures of the contract."""
        sagas = self._look(lambda view: [e.value for e in view.sagas.values() if isinstance(e.value, Saga)])
        counts = Counter(saga.status for saga in sagas)
        ended = {saga.message_id for saga in sagas if saga.status.is_terminal}
        delivered = Counter(event.message_id for event in self.chronicle.events if event.type == "delivered")
        per_order = Counter(saga.order_id for saga in sagas)
        duplicates = sum(n - 1 for n in per_order.values()) + sum(n - 1 for n in delivered.values())
        return {
            "orders_submitted": len(self._accepted),
            "delivered": counts[SagaStatus.DELIVERED],
            "cancelled": counts[SagaStatus.CANCELLED],
            "failed": counts[SagaStatus.FAILED],
            "lost": sum(1 for message_id in self._accepted.values() if message_id not in ended),
            "duplicates": duplicates,
            "submitted_twice": len(self._doubled),
            "failovers": self.chronicle.failovers(),
            "kills": [{"kind": kind, "process": name} for _, kind, name in self.chronicle.kills],
            "reassigned": sum(1 for saga in sagas if saga.attempt > 1),
            "invariants": report.invariants,
            "violations": [v.text for v in report.violations],
            "wall_s": round(wall_s, 1),
        }

    # --- the shop's thread --------------------------------------------------------------------------------------

    def _submit_all(self) -> None:
        try:
            with httpx.Client(base_url=self._fleet.url, timeout=5.0) as client:
                for document in self._documents:
                    again = self._rng.random() < 0.25
                    self._submit(client, document)
                    if again:
                        self._doubled.add(str(document["order_id"]))
                        self._submit(client, document)
                    if self._stopped.wait(SUBMIT_PERIOD_S):
                        return
        except BaseException as error:
            self._trouble = error

    def _submit(self, client: httpx.Client, document: dict[str, object]) -> None:
        """As a careful shop does: try until there is an answer, with the same key every time."""
        key = f"demo-{document['order_id']}"
        while not self._stopped.is_set():
            try:
                answer = client.post("/orders", json=document, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                self._stopped.wait(RETRY_S)
                continue
            if answer.status_code in (200, 202):
                self._accepted[str(document["order_id"])] = answer.json()["message_id"]
                return
            if answer.status_code not in (429, 503):
                raise RuntimeError(f"{document['order_id']}: {answer.status_code} {answer.text}")
            self._stopped.wait(RETRY_S)

    # --- whom to kill -------------------------------------------------------------------------------------------

    def _kill_leader(self) -> bool:
        record = self._look(lambda view: view.leader.value if view.leader is not None else None)
        if not isinstance(record, LeaderRecord):
            return False
        return self._kill("leader", record.holder)

    def _kill_drone(self) -> bool:
        """A process with a drone that is on an order, if there is one."""
        sagas = self._look(lambda view: [e.value for e in view.sagas.values() if isinstance(e.value, Saga)])
        busy = {saga.drone_id for saga in sagas if saga.status in FLIGHT_STATES}
        names = [n for n in self._fleet.names("drones") if busy & set(self._fleet.spec(n).parameters["drone_ids"])]  # type: ignore[arg-type]
        return bool(names) and self._kill("drones", self._rng.choice(names))

    def _kill(self, kind: str, name: str) -> bool:
        at = time.time()
        if not self._fleet.kill(name, respawn_delay_s=DOWN_S):
            return False
        self.chronicle.kills.append((at, kind, name))
        what = "the leader" if kind == "leader" else "drones on their way"
        self._out.say(f"[bold red]SIGKILL[/bold red] {name} ({what})")
        return True

    # --- progress -----------------------------------------------------------------------------------------------

    def _look(self, select: Callable[[FleetView], Any]) -> Any:
        return self._projection.read(select)[0]

    def _counts(self) -> Counter[SagaStatus]:
        def count(view: FleetView) -> Counter[SagaStatus]:
            found = Counter(e.value.status for e in view.sagas.values() if isinstance(e.value, Saga))
            found[SagaStatus.PENDING] += len(view.inbox)
            return found

        counts: Counter[SagaStatus] = self._look(count)
        return counts

    def _ended(self) -> int:
        return sum(n for status, n in self._counts().items() if status.is_terminal)

    def _line(self) -> str:
        counts = self._counts()
        parts = [f"{counts[status]} {status.value}" for status in SagaStatus if counts[status]]
        return f"{len(self._accepted)}/{len(self._documents)} submitted: " + (", ".join(parts) or "–")

    def _picture(self) -> Table:
        counts = self._counts()
        leader = self._look(lambda view: view.leader.value if view.leader is not None else None)
        table = Table(title="orders", box=None, title_justify="left")
        for status in SagaStatus:
            table.add_column(status.value, justify="right")
        table.add_row(*(str(counts[status]) for status in SagaStatus))
        holder = leader.holder if isinstance(leader, LeaderRecord) else "[red]none[/red]"
        table.caption = f"{len(self._accepted)} of {len(self._documents)} submitted · leader: {holder}"
        return table


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
