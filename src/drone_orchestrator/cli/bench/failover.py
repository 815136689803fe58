"""``fleetctl bench failover``: the time without a leader after it dies, hangs or hands over.

A time runs from the fault (the signal, or the request to hand over) to the next leader's first committed assignment, as
seen by a watch on the store in this process. To give the next leader something to assign, and not to measure the
arrival of orders, the shop submits :data:`PROBES` orders right after the fault. In a handover it waits until the old
leader has stepped down, which would otherwise assign them itself. No round begins before two thirds of the drones are
idle. A steady trickle of orders keeps deliveries in flight, which the next leader has to adopt.

A round also waits until two standbys hear the current leader and the drones, because a replica that has just started
may not hear them yet. Rounds follow each other faster than real leaders die, and a replica takes over on suspicion at
most once in 30 s. So a replica that was hung is restarted once it has shown that it is a standby again. ``lease_only``
is a second fleet in the same run, whose replicas ignore missing heartbeats.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.markup import escape

from ...bringup import leftovers, town
from ...bringup.fleet_config import load, save
from ...bringup.plan import FleetOptions
from ...core import saga as sagas
from ...core.types import SagaEvent, SagaStatus, StoreChange
from ...core.view import CurrentLeader
from ...telemetry.logs import HEARS_DRONES, STANDING_BY
from ..audit import print_report
from ..fleet_run import cause, running
from ..output import Failure, Output
from ..trial.run_record import Observer, RunRecord
from ..trial.shop import Document, Habits, HttpShop
from . import charts

WITH_HEARTBEATS = ("kill", "hang", "handover")
LEASE_ONLY = "lease_only"
KINDS = (*WITH_HEARTBEATS, LEASE_ONLY)
LEASE_TTL_S = 5.0
#: Longer than the lease, so that missing heartbeats have no effect.
NO_HEARTBEATS_S = 30.0
TIME_SCALE = 100.0
TRICKLE_PER_S = 2.0
PROBES = 3
#: Near the depot and light, so that any free drone can fly any order without charging first.
PLACES = tuple(place for place in town.PLACES if place[0] in ("Chase Center", "Potrero Hill", "General Hospital"))
WEIGHT_KG = 1.0
PROBE_PERIOD_S = 0.01
#: Longer than a takeover, so that the victim's restart does not slow down the measurement.
DOWN_S = 1.5
HANG_S = 2.0
#: A standby that hears the leader and the drones has loaded its view, or does so at the same time.
SETTLE_S = 0.5
ASSIGNED_WITHIN_S = 20.0
READY_WITHIN_S = 60.0
DRAINED_WITHIN_S = 120.0
_POLL_S = 0.01


class Broken(click.ClickException):
    """Failed measurement: the expected event did not happen. Exit code 1."""

    exit_code = 1


def failover(out: Output, kills: int, drones: int, seed: int, picture_path: Path | None) -> None:
    """Run ``fleetctl bench failover``."""
    with leftovers.temporary_folder() as folder:
        document = _measure(out, kills, drones, seed, folder)
    _summarise(out, document)
    if picture_path is not None:
        charts.save(picture_path, picture(document))
    out.result(document)
    raise SystemExit(1 if document["aborted"] or document["violations"] else 0)


def _measure(out: Output, kills: int, drones: int, seed: int, folder: Path) -> dict[str, Any]:
    try:
        # One class, hence one lane: any free drone can fly any order.
        fleet = load()
        config = save(folder / "fleet.yaml", replace(fleet, classes=fleet.classes[:1]))
        options = FleetOptions(
            drones=drones,
            region=fleet.region,
            fleet_config=str(config),
            http_port=0,
            time_scale=TIME_SCALE,
            lease_ttl_s=LEASE_TTL_S,
            drones_per_process=max(3, -(-drones // 4)),
            monitor=False,
            etcd_compaction="",  # the audit at the end reads the whole history
        )
    except ValueError as error:
        raise Failure(str(error)) from error
    by_lease = replace(options, heartbeat_timeout_s=NO_HEARTBEATS_S)
    runs = [_FailoverRun(out, options, WITH_HEARTBEATS, seed), _FailoverRun(out, by_lease, (LEASE_ONLY,), seed)]
    samples_s: dict[str, list[float]] = {}
    for run in runs:
        samples_s |= run.go(kills)
    return result(samples_s, sum(run.aborted for run in runs), sum(run.violations for run in runs))


def result(samples_s: Mapping[str, Sequence[float]], aborted: int, violations: int) -> dict[str, Any]:
    """Return the figures of each kind of round (times in s, none empty) and the rounds themselves."""
    figures = {
        kind: {
            "n": len(times),
            "p50_s": round(float(np.percentile(times, 50)), 3),
            "p99_s": round(float(np.percentile(times, 99)), 3),
            "max_s": round(max(times), 3),
        }
        for kind, times in samples_s.items()
    }
    ratio = float(np.percentile(samples_s[LEASE_ONLY], 50) / np.percentile(samples_s["kill"], 50))
    return {
        **figures,
        "ratio_p50": round(ratio, 2),
        "aborted": aborted,
        "violations": violations,
        "samples_s": {kind: [round(time_s, 4) for time_s in times] for kind, times in samples_s.items()},
    }


def picture(document: Mapping[str, Any]) -> str:
    """Return one dot per round of a :func:`result`, as SVG."""
    labels = {"hang": "hung", "kill": "killed", "handover": "handed over", LEASE_ONLY: "killed, lease only"}
    rows = {labels[kind]: document["samples_s"][kind] for kind in KINDS}
    note = (
        f"median of killed by lease alone: {document['ratio_p50']:g} times as long (lease {LEASE_TTL_S:g} s); "
        f"deliveries aborted: {document['aborted']}, invariants broken: {document['violations']}"
    )
    return charts.draw(
        "Failover: until the next leader's first assignment",
        charts.Dots("s from the fault (each dot a round, each bar a median)", rows, log=True),
        note=note,
    )


def _summarise(out: Output, document: Mapping[str, Any]) -> None:
    for kind in KINDS:
        each = document[kind]
        times = "   ".join(f"{name} {each[f'{name}_s']:.3f} s" for name in ("p50", "p99", "max"))
        out.say(f"{kind:<10}   n {each['n']:>3}   {times}")
    out.say(
        f"by lease alone {document['ratio_p50']:g} times as long; "
        f"aborted: {document['aborted']}, violations: {document['violations']}"
    )


def _orders(rng: random.Random) -> Iterator[Document]:
    for number in itertools.count(1):
        _, lat, lon = rng.choice(PLACES)
        yield {
            "order_id": f"BENCH-{number:06d}",
            "destination": {"lat": lat, "lon": lon},
            "package_weight_kg": WEIGHT_KG,
        }


@dataclass
class _FailoverRecord(RunRecord):
    """Run record that also notes when each epoch began and made its first assignment (monotonic clock of this process,
    s)."""

    office_at_s: dict[int, float] = field(default_factory=dict)
    assigned_at_s: dict[int, float] = field(default_factory=dict)

    def hear(self, change: StoreChange) -> None:
        now_s = time.monotonic()
        leaders = len(self.leaders)
        for entry in change.entries:
            if isinstance(entry.value, SagaEvent) and entry.value.type == sagas.ASSIGNED:
                self.assigned_at_s.setdefault(entry.value.epoch, now_s)
        super().hear(change)
        for _, _, epoch in self.leaders[leaders:]:
            self.office_at_s.setdefault(epoch, now_s)


class _OrderStream:
    """The shop's schedule: a trickle, and :data:`PROBES` orders at once when a leader is gone."""

    def __init__(self) -> None:
        self._next_at_s = 0.0
        self._probes = 0
        self._leaderless: Callable[[], bool] = lambda: True

    def probe(self, leaderless: Callable[[], bool]) -> None:
        """Submit the probes as soon as ``leaderless()``: a leader would assign them to the drones that the next leader
        must find free."""
        self._leaderless, self._probes = leaderless, PROBES

    def may_order(self) -> bool:
        if self._probes and self._leaderless():
            self._probes -= 1
            return True
        now_s = time.monotonic()
        if now_s < self._next_at_s:
            return False
        self._next_at_s = now_s + 1.0 / TRICKLE_PER_S
        return True


class _FailoverRun:
    """Rounds on one fleet, with the fate of its orders: ``aborted`` and ``violations`` are known after :meth:`go`."""

    def __init__(self, out: Output, options: FleetOptions, kinds: Sequence[str], seed: int) -> None:
        self.aborted = 0
        self.violations = 0
        self._out = out
        self._options = options
        self._kinds = kinds
        self._seed = seed
        self._record = _FailoverRecord()
        self._load = _OrderStream()
        self._logs_from: dict[str, int] = {}
        self._lives_from: dict[str, int] = {}  # where the log of the running process begins
        self._ended: set[str] = set()
        self._died: list[str] = []

    def go(self, rounds: int) -> dict[str, list[float]]:
        """Run ``rounds`` of each kind in turn and return the times of each (s)."""
        from ...ros import fleet_client, lifecycle_client

        samples_s: dict[str, list[float]] = {kind: [] for kind in self._kinds}
        with ExitStack() as stack:
            self._fleet = stack.enter_context(running(self._options, self._out, on_exit=self._exited))
            os.environ.update(self._fleet.environment)
            self._observer = stack.enter_context(Observer(self._fleet, self._record))
            self._operator: lifecycle_client.LifecycleClient = stack.enter_context(fleet_client.LifecycleSession())
            if len(fleet_client.drones(timeout_s=READY_WITHIN_S, expected=self._options.drones)) < self._options.drones:
                raise Broken(f"not every drone was heard within {READY_WITHIN_S:g} s")
            shop = stack.enter_context(self._shop())
            for index in range(rounds):
                for kind in self._kinds:
                    samples_s[kind].append(self._round(kind, index))
            self._drain(shop)
            self._judge()
        return samples_s

    def _shop(self) -> HttpShop:
        return HttpShop(
            self._fleet.url,
            _orders(random.Random(self._seed)),
            name="bench",
            seed=self._seed,
            period_s=PROBE_PERIOD_S,
            habits=Habits(again=0.0),
            may_order=self._load.may_order,
        )

    # --- a round ------------------------------------------------------------------------------------------------

    def _round(self, kind: str, index: int) -> float:
        leadership = self._ready()
        leader, epoch = leadership.holder, leadership.epoch
        faults: dict[str, Callable[[str], float]] = {
            "kill": self._kill,
            LEASE_ONLY: self._kill,
            "hang": self._hang,
            "handover": self._terminate if index % 2 else self._deactivate,
        }
        self._load.probe(lambda: kind != "handover" or self._observer.leadership() != leadership)
        began_s = faults[kind](leader)
        successor = self._await(
            lambda: min((e for e in self._record.assigned_at_s if e > epoch), default=0),
            ASSIGNED_WITHIN_S,
            f"{kind}: no new leader assigned an order",
        )
        took_s = self._record.assigned_at_s[successor] - began_s
        elected_s = self._record.office_at_s[successor] - began_s
        self._out.say(f"{kind:<10} {leader}: next leader after {elected_s:.3f} s, its first assignment {took_s:.3f} s")
        if kind == "hang":
            self._wake(leader, successor, began_s + HANG_S)
        elif kind == "handover" and not index % 2:
            self._operator.activate(leader)
        return took_s

    def _kill(self, leader: str) -> float:
        self._end(leader)
        began_s = time.monotonic()
        self._fleet.kill(leader, respawn_delay_s=DOWN_S)
        return began_s

    def _terminate(self, leader: str) -> float:
        self._end(leader)
        began_s = time.monotonic()
        self._fleet.terminate(leader, respawn_delay_s=DOWN_S)
        return began_s

    def _hang(self, leader: str) -> float:
        self._mark(leader)
        began_s = time.monotonic()
        self._fleet.signal(leader, signal.SIGSTOP)
        return began_s

    def _deactivate(self, leader: str) -> float:
        self._mark(leader)
        self._operator.find(leader)
        began_s = time.monotonic()
        if not self._operator.deactivate(leader):
            raise Broken(f"{leader} refused to hand over")
        return began_s

    def _wake(self, hung: str, epoch: int, at_s: float) -> None:
        """Wake the process, wait until it is a standby of its successor, then restart it (see the module's
        docstring)."""
        time.sleep(max(0.0, at_s - time.monotonic()))
        self._fleet.signal(hung, signal.SIGCONT)
        self._await(lambda: self._stands_by(hung, epoch), READY_WITHIN_S, f"{hung} did not step down after its hang")
        self._end(hung)
        self._fleet.kill(hung, respawn_delay_s=0.0)

    # --- waiting ------------------------------------------------------------------------------------------------

    def _ready(self) -> CurrentLeader:
        """Wait until two standbys hear the leader and enough drones are free; return the leader."""
        replicas = self._fleet.names("orchestrator")

        def ready() -> CurrentLeader | None:
            leader, busy = self._observer.look(lambda view: (view.leadership, len(view.reservations)))
            if leader is None or busy > self._options.drones // 3:
                return None
            warm = [
                name
                for name in replicas
                if name != leader.holder and self._stands_by(name, leader.epoch) and self._hears_drones(name)
            ]
            return leader if len(warm) == len(replicas) - 1 else None

        found: CurrentLeader = self._await(ready, READY_WITHIN_S, "the fleet was not ready for the next round")
        time.sleep(SETTLE_S)
        return found

    def _stands_by(self, name: str, epoch: int) -> bool:
        return self._said(name, self._logs_from, STANDING_BY.format(epoch=epoch))

    def _hears_drones(self, name: str) -> bool:
        return self._said(name, self._lives_from, HEARS_DRONES)

    def _said(self, name: str, marks: Mapping[str, int], words: str) -> bool:
        """Return True if the process has logged this since ``marks`` (bytes of its log)."""
        with (self._fleet.log_dir / f"{name}.log").open("rb") as log:
            log.seek(marks.get(name, 0))
            said = log.read().decode(errors="replace")
        return any(line.endswith(words) for line in said.splitlines())

    def _await(self, look: Callable[[], Any], timeout_s: float, otherwise: str) -> Any:
        """Wait for and return a result of ``look``. Raises :class:`Broken` with ``otherwise`` if there is none."""
        deadline = time.monotonic() + timeout_s
        while not (found := look()):
            self._fleet.check()
            if self._died:
                raise Broken(f"{', '.join(self._died)}: ended by itself")
            if time.monotonic() > deadline:
                raise Broken(f"{otherwise} within {timeout_s:g} s")
            time.sleep(_POLL_S)
        return found

    def _mark(self, name: str) -> None:
        """Mark the end of the process's log; only later lines count."""
        self._logs_from[name] = (self._fleet.log_dir / f"{name}.log").stat().st_size

    def _end(self, name: str) -> None:
        self._mark(name)
        self._lives_from[name] = self._logs_from[name]
        self._ended.add(name)

    def _exited(self, name: str, code: int) -> None:
        """Handle the supervisor's report of an ended process; one that was not ended here is a finding."""
        if name in self._ended:
            self._ended.discard(name)
        else:
            self._died.append(f"{name} ({cause(code)})")

    # --- afterwards ---------------------------------------------------------------------------------------------

    def _drain(self, shop: HttpShop) -> None:
        shop.finish(DRAINED_WITHIN_S)
        if shop.trouble:
            raise Broken(f"could not submit: {shop.trouble[0]}")

        def drained() -> bool:
            ended = {saga.message_id for saga in self._observer.sagas() if saga.status.is_terminal}
            return ended >= set(shop.accepted.values())

        self._await(drained, DRAINED_WITHIN_S, "not every order ended")

    def _judge(self) -> None:
        """Count aborted deliveries: no drone was harmed, so a leader caused every second attempt and failed order."""
        report, unreadable = self._observer.audit()
        self.violations = len(report.violations) + len(unreadable)
        print_report(self._out, report)
        for line in unreadable:
            self._out.say(f"[red]journal not read[/red] {escape(line)}")
        for saga in self._observer.sagas():
            if saga.attempt > 1 or saga.status is not SagaStatus.DELIVERED:
                self.aborted += 1
                story = [e for e in self._record.events if e.message_id == saga.message_id and e.reason]
                reasons = ", ".join(f"{event.type}: {event.reason}" for event in story)
                self._out.say(f"[red]aborted[/red] {escape(f'{saga.order_id}, attempt {saga.attempt}: {reasons}')}")
