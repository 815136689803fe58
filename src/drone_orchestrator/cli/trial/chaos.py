"""``fleetctl chaos``: faults on real processes while orders arrive, then recovery.

The seed draws a schedule of faults. They hit real processes, their TCP connections to etcd (through proxies of the
run), etcd's members, and the drones' network (in namespaces of the run). At the end every accepted order must have
ended, and the invariants are checked on the whole history.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from ...bringup import dds, town
from ...bringup.fleet_config import load
from ...bringup.local_fleet import FleetError, LocalFleet
from ...bringup.plan import FleetOptions, ProcessSpec, heaviest_kg
from ...core.types import SagaStatus
from ...store.codec import event_to_dict
from ...verification.records import CheckReport
from ..audit import print_report
from ..commands.fault_kinds import KINDS
from ..fleet_run import cause, running
from ..output import Failure, Output
from . import faults, network_namespaces, progress, timeline
from .network_namespaces import NamespaceNetwork, NoNamespace
from .run_record import Fault, Observer
from .shop import Habits, HttpShop
from .tcp_proxy import TcpProxy

LEASE_TTL_S = 3.0
#: Attempts of an order; so many that bad luck does not end one.
MAX_ATTEMPTS = 1000
COUNTERS = 3
PERIOD_S = 0.6
#: A shop that is not served waits, so that the orders left after the faults can be flown in bounded time.
OPEN_PER_DRONE = 2
MAX_ORDERS = 20_000
_TICK_S = 0.05


def chaos(
    out: Output,
    seconds: float,
    seed: int,
    drones: int,
    etcd_members: str,
    kinds: tuple[str, ...] | None,
    cancels: bool,
    time_scale: float,
    settle_s: float,
    folder: Path,
) -> None:
    """Run ``fleetctl chaos``."""
    began = time.monotonic()
    kinds = kinds or tuple(KINDS)
    network = None
    if "dds_cut" in kinds:
        network = own_network(out)
        kinds = kinds if network else tuple(kind for kind in kinds if kind != "dds_cut")
        if not kinds:
            raise Failure("--faults: nothing is left to do")
    try:
        options = FleetOptions(
            drones=drones,
            region=load().region,
            http_port=0,
            time_scale=time_scale,
            lease_ttl_s=LEASE_TTL_S,
            reservation_ttl_s=3.0,
            max_attempts=MAX_ATTEMPTS,
            etcd_members=int(etcd_members),
            etcd_compaction="",  # the audit at the end reads the whole history
        )
        folder.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(f"--report {folder}: {error.strerror}") from error
    habits = Habits(again=0.25, conflicts=0.1, cancels=0.2 if cancels else 0.0)
    run = _ChaosRun(out, options, network, seed, habits)
    try:
        document, good = run.go(kinds, seconds, settle_s, folder)
    finally:
        if network is not None:
            network.close()
    document["wall_s"] = round(time.monotonic() - began, 1)
    path = folder / "report.json"
    document["report"] = str(path.resolve())
    path.write_text(json.dumps(document, indent=2) + "\n")
    _summarise(out, document, good, folder)
    out.result(document)
    raise SystemExit(0 if good else 1)


def own_network(out: Output) -> NamespaceNetwork | None:
    """Return the run's own network, ``None`` if the machine allows none. The first call restarts this program inside
    it."""
    try:
        if not network_namespaces.inside():
            network_namespaces.enter(network_namespaces.way_in(), [sys.executable, *sys.orig_argv[1:]])
        return NamespaceNetwork()
    except NoNamespace as error:
        out.say(f"[yellow]dds_cut is left out[/yellow]: {escape(str(error))}")
        return None


class Wires:
    """Connections of the fleet: each process reaches etcd through its own proxy, each drone process is a host of its
    own."""

    def __init__(self, proxy: TcpProxy, network: NamespaceNetwork | None) -> None:
        self._proxy = proxy
        self._network = network
        self._hosts: set[str] = set()
        # Between hosts DDS must use more than loopback; the namespace contains it.
        self.environment = dds.across_hosts() if network else {}

    def endpoints(self, process: str, members: Sequence[str]) -> Sequence[str]:
        return self._proxy.listen(process, members)

    def prefix(self, spec: ProcessSpec) -> Sequence[str]:
        if self._network is None or spec.role != "drones":
            return ()
        if spec.name not in self._hosts:
            self._network.add(spec.name)
            self._hosts.add(spec.name)
        return self._network.prefix(spec.name)


class _ChaosRun:
    """One run: faults while the shop orders, then healing, then the verdict."""

    def __init__(
        self, out: Output, options: FleetOptions, network: NamespaceNetwork | None, seed: int, habits: Habits
    ) -> None:
        self._out = out
        self._options = options
        self._network = network
        self._seed = seed
        self._habits = habits
        self._injector: faults.ChaosInjector | None = None
        self._fleet: LocalFleet | None = None
        self._crashes: list[dict[str, Any]] = []

    def go(self, kinds: Sequence[str], seconds: float, settle_s: float, folder: Path) -> tuple[dict[str, Any], bool]:
        """Run it. Return the ``--json`` document, and True if all went well."""
        visible = self._network is None  # a fleet on its own network cannot be reached from outside
        with (
            TcpProxy() as proxy,
            running(
                self._options,
                self._out,
                wiring=Wires(proxy, self._network),
                on_exit=self._exited,
                visible=visible,
            ) as fleet,
            Observer(fleet) as observer,
            self._shop(fleet, observer) as shop,
        ):
            self._fleet = fleet
            self._injector = injector = faults.ChaosInjector(fleet, proxy, self._network, observer.leader)
            specs = [fleet.spec(name) for name in fleet.names()]
            plans = faults.schedule(self._seed, seconds, kinds, specs, self._options.etcd_members)
            began_at = time.time()
            try:
                self._disturb(observer, shop, injector, plans, seconds)
                answered, settled_s = self._settle(observer, shop, settle_s)
            except FleetError:
                self._keep_logs(fleet, folder)
                raise
            report, unreadable = observer.audit()
            document = self._document(observer, shop, report, began_at)
            document["settled_s"] = settled_s
            good = report.ok and answered and settled_s is not None and not unreadable and self._all_well(document)
            if not good:
                document["unfinished"] = _unfinished(observer)
                self._keep_logs(fleet, folder)
        for line in unreadable:
            self._out.say(f"[yellow]journal not read[/yellow] {escape(line)}")
        print_report(self._out, report)
        timeline.draw(observer.record, folder / "timeline.png")
        return document, good

    def _keep_logs(self, fleet: LocalFleet, folder: Path) -> None:
        """Copy the logs before the fleet removes them."""
        shutil.rmtree(folder / "log", ignore_errors=True)
        shutil.copytree(fleet.log_dir, folder / "log")

    def _shop(self, fleet: LocalFleet, observer: Observer) -> HttpShop:
        def may_order() -> bool:
            return sum(observer.counts().values()) - observer.ended() < OPEN_PER_DRONE * self._options.drones

        return HttpShop(
            fleet.url,
            town.orders(MAX_ORDERS, self._seed, heaviest_kg=heaviest_kg(self._options)),
            name="chaos",
            seed=self._seed,
            period_s=PERIOD_S,
            habits=self._habits,
            counters=COUNTERS,
            may_order=may_order,
        )

    def _disturb(
        self,
        observer: Observer,
        shop: HttpShop,
        injector: faults.ChaosInjector,
        plans: list[faults.FaultPlan],
        seconds: float,
    ) -> None:
        """Inject faults as they become due until ``seconds`` are over, then undo all of them."""
        began_s = time.monotonic()

        def caption() -> str:
            left_s = seconds - (time.monotonic() - began_s)
            now = ", ".join(f"{fault.kind} {fault.target}" for fault in injector.active) or "no fault"
            return f"{len(shop.accepted)} submitted · {left_s:.0f} s of faults left · now: {now}"

        pending = list(plans)
        try:
            with progress.Display(self._out, observer, caption) as display:
                while (now_s := time.monotonic() - began_s) < seconds:
                    self._check()
                    due = list(itertools.takewhile(lambda plan: plan.at_s <= now_s, pending))
                    del pending[: len(due)]
                    for fault in injector.tick(due, now_s):
                        observer.record.faults.append(fault)
                        self._out.say(f"[bold red]{now_s:6.1f} s[/bold red]  {_described(fault)}")
                    display.update()
                    time.sleep(_TICK_S)
        finally:
            injector.heal()

    def _settle(self, observer: Observer, shop: HttpShop, settle_s: float) -> tuple[bool, float | None]:
        """Return True if every request of the shop was answered, and the time (s) until every order had ended, if
        so."""
        began_s = time.monotonic()
        deadline = began_s + settle_s
        self._out.say("everything is healed; waiting for the last orders")
        answered = shop.finish(settle_s)
        wanted = set(shop.accepted.values())

        def ended() -> bool:
            done = {saga.message_id for saga in observer.sagas() if saga.status.is_terminal}
            open_orders = sum(observer.counts().values()) - observer.ended()
            return wanted <= done and open_orders == 0

        with progress.Display(self._out, observer, lambda: f"{len(shop.accepted)} submitted · healed") as display:
            while not ended():
                self._check()
                if time.monotonic() > deadline:
                    self._out.say(f"[red]not finished {settle_s:.0f} s after the last fault[/red]")
                    return answered, None
                display.update()
                with observer.record.changed:
                    observer.record.changed.wait(0.2)
        return answered, round(time.monotonic() - began_s, 1)

    def _check(self) -> None:
        assert self._fleet is not None
        self._fleet.check()

    def _exited(self, name: str, code: int) -> None:
        """Handle the supervisor's report of an ended process; one that no fault explains is a finding."""
        if self._injector is not None and self._injector.expects_end_of(name):
            return
        last = self._fleet.last_line(name) if self._fleet and not name.startswith("etcd_") else ""
        self._crashes.append({"at": time.time(), "process": name, "cause": cause(code), "last_line": last})
        self._out.say(f"[red]{name} ended by itself ({cause(code)})[/red] {escape(last)}")

    def _document(self, observer: Observer, shop: HttpShop, report: CheckReport, began_at: float) -> dict[str, Any]:
        return {
            **observer.figures(shop.accepted, report),
            "faults": [
                {
                    "at_s": round(fault.at - began_at, 2),
                    "kind": fault.kind,
                    "target": fault.target,
                    "for_s": fault.hold_s,
                    "leader": fault.leader,
                    "how": fault.how,
                }
                for fault in observer.record.faults
            ],
            "submitted_twice": len(shop.doubled),
            "misused_keys_refused": len(shop.refused),
            "cancellations": len(shop.cancelled),
            "unexpected_answers": shop.trouble,
            "crashes": [{**crash, "at": round(crash["at"] - began_at, 2)} for crash in self._crashes],
        }

    def _all_well(self, document: dict[str, Any]) -> bool:
        """Return True if no order was lost or doubled, and all that were not cancelled are delivered: every fault
        heals."""
        open_ended = document["lost"] or document["duplicates"] or document["failed"] or document["unexpected_answers"]
        undelivered = document["orders_submitted"] - document["delivered"]
        return not open_ended and 0 <= undelivered == document["cancelled"] <= document["cancellations"]


def _unfinished(observer: Observer) -> list[dict[str, Any]]:
    """Return the history of every order that was neither delivered nor cancelled."""
    fine = (SagaStatus.DELIVERED, SagaStatus.CANCELLED)
    return [
        {
            "message_id": saga.message_id,
            "order_id": saga.order_id,
            "status": saga.status.value,
            "attempt": saga.attempt,
            "drone_id": saga.drone_id,
            "reason": saga.reason,
            "events": [event_to_dict(e) for e in observer.record.events if e.message_id == saga.message_id],
        }
        for saga in observer.sagas()
        if saga.status not in fine
    ]


def _described(fault: Fault) -> str:
    what = f"{fault.kind} [bold]{fault.target}[/bold]" + (" (the leader)" if fault.leader else "")
    return f"{what} for {fault.hold_s:.1f} s" + (f", {fault.how}" if fault.how else "")


def _summarise(out: Output, document: dict[str, Any], good: bool, folder: Path) -> None:
    out.say(
        f"{len(document['faults'])} faults; {document['orders_submitted']} orders submitted, "
        f"{document['delivered']} delivered, {document['cancelled']} cancelled, {document['failed']} failed, "
        f"{document['lost']} lost, {document['duplicates']} duplicates; {document['reassigned']} reassigned"
    )
    for trouble in document["unexpected_answers"]:
        out.say(f"[red]unexpected answer[/red] {escape(trouble)}")
    if document["settled_s"] is not None:
        out.say(f"the last order ended {document['settled_s']} s after the last fault")
    verdict = "[bold green]all well[/bold green]" if good else f"[bold red]not well[/bold red]; logs: {folder / 'log'}"
    picture = folder / "timeline.png"
    out.say(f"{verdict}; {document['wall_s']} s; report: {document['report']}, picture: {picture.resolve()}")
