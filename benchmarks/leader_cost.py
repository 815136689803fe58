"""Time a leader's work on an order until a drone is reserved, stage by stage, on one thread and without a store.

    .venv/bin/python benchmarks/leader_cost.py --orders 1000 --rounds 8

Core, planner, records and requests are those of production. A connection that answers at once replaces etcd, so that
nothing waits and nothing else uses the processor: this shows differences that `fleetctl bench throughput` cannot
distinguish from noise. Each stage is the best of the rounds. The baseline of the same run writes and reads records with
Python's own JSON. gRPC, threads and leases are not counted. The last line of stdout has the figures as JSON, in µs per
order.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast
from unittest import mock

from etcd3 import etcdrpc as rpc

from drone_orchestrator.bringup import fleet_config, town
from drone_orchestrator.core.admission import parse_order
from drone_orchestrator.core.leader.effects import Campaign, Commit, Effect
from drone_orchestrator.core.leader.events import (
    CampaignDone,
    CommitDone,
    DroneHeard,
    Event,
    LeaseRefreshed,
    StoreChanged,
    ViewLoaded,
)
from drone_orchestrator.core.leader.orchestrator import Orchestrator
from drone_orchestrator.core.types import (
    DroneReport,
    Entry,
    FleetSpec,
    Instant,
    Kind,
    LeaderRecord,
    Order,
    Phase,
    SagaStatus,
    Snapshot,
    StoreChange,
)
from drone_orchestrator.planning.planner import AssignmentPlanner
from drone_orchestrator.runtime import gc_tuning
from drone_orchestrator.runtime.driver import FULL_GROUP
from drone_orchestrator.store import json_text
from drone_orchestrator.store.connection import Connection
from drone_orchestrator.store.etcd import EtcdDriver
from drone_orchestrator.store.region import RegionStore
from drone_orchestrator.store.watch import WatchStream

EPOCH = 5
STAGES = ("orders in", "decide", "commit", "committed", "echo in", "echo")
T = TypeVar("T")


class Nowhere:
    """Replacement for :class:`Connection`: an etcd that carries out every request at once and records it."""

    names = "nowhere"
    timeout_s = 2.0

    def __init__(self) -> None:
        self.revision = EPOCH
        self.asked: list[tuple[int, Any]] = []

    def call(self, method: object, request: Any, safety: object) -> Any:
        request.SerializeToString()
        self.revision += 1
        self.asked.append((self.revision, request))
        answer = rpc.TxnResponse(succeeded=True)
        answer.header.revision = self.revision
        return answer

    def take_echoes(self) -> list[bytes]:
        """Return the watch responses to all requests since the last call, in wire format."""
        asked, self.asked = self.asked, []
        return [_watch_response(revision, request) for revision, request in asked]


def _watch_response(revision: int, request: Any) -> bytes:
    response = rpc.WatchResponse()
    for operation in request.success:
        kv = response.events.add().kv
        kv.mod_revision = revision
        if operation.HasField("request_put"):
            put = operation.request_put
            kv.key, kv.value, kv.lease = put.key, put.value, put.lease
        else:
            response.events[-1].type = 1
            kv.key = operation.request_delete_range.key
    return bytes(response.SerializeToString())


class LeasesOfNowhere(EtcdDriver):
    """Leases that cost nothing: they are not measured."""

    granted = 0

    def grant_leases(self, ttl_s: float, count: int) -> list[int]:
        first = LeasesOfNowhere.granted + 1
        LeasesOfNowhere.granted += count
        return list(range(first, first + count))


class Stream(WatchStream):
    """Watch stream of prepared responses."""

    def __init__(self, responses: Sequence[bytes], without: tuple[str, ...]) -> None:
        self._responses = responses
        self._without = tuple(prefix.encode() for prefix in without)
        self._after = 0

    def __iter__(self) -> Iterator[Any]:
        for raw in self._responses:
            yield from self._changes(rpc.WatchResponse.FromString(raw).events)


class Leader:
    """Acting leader without a real store, and a stopwatch for each stage."""

    def __init__(self, fleet: FleetSpec) -> None:
        self.fleet = fleet
        self.nowhere = Nowhere()
        self.store = RegionStore(LeasesOfNowhere(cast(Connection, self.nowhere)), fleet.region)
        self.core = Orchestrator(LeaderRecord("bench", uuid.uuid4().hex, 0.0), fleet, AssignmentPlanner())
        self.now_s = 100.0
        self.took_s = dict.fromkeys(STAGES, 0.0)
        keys = self.store.keys
        self._without = (keys.below(Kind.EVENT), keys.below(Kind.ORDER_INDEX))
        effects = self.step([ViewLoaded(Snapshot(1, ()))])
        assert any(isinstance(effect, Campaign) for effect in effects)
        self.step([CampaignDone(EPOCH, self.now_s)])
        record = self.core.election.record
        self.step([StoreChanged(StoreChange(EPOCH, (Entry(Kind.LEADER, "", record, EPOCH),)))])
        assert self.core.epoch == EPOCH

    def step(self, events: Sequence[Event]) -> list[Effect]:
        return self.core.step(events, Instant(self.now_s, 1e9 + self.now_s))

    def timed(self, stage: str, call: Callable[..., T], *arguments: object) -> T:
        began_s = time.perf_counter()
        result = call(*arguments)
        self.took_s[stage] += time.perf_counter() - began_s
        return result

    def hear_of(self, echoes: Sequence[bytes]) -> list[Event]:
        return [StoreChanged(self.store._change(raw)) for raw in Stream(echoes, self._without)]

    def assign_all(self, orders: Sequence[Order]) -> None:
        """Run from the watch responses of new orders to those of their reservations."""
        self.store.submit_all(orders)
        for response in self.nowhere.take_echoes():
            events = self.timed("orders in", self.hear_of, [response])
            self.now_s += 0.001
            commits = _commits(self.timed("decide", self.step, events))
            while commits:
                group, commits = commits[:FULL_GROUP], commits[FULL_GROUP:]
                commits += self._carry_out(group)

    def _carry_out(self, group: list[Commit]) -> list[Commit]:
        changes = [commit.change for commit in group]
        results = self.timed("commit", self.store.commit, EPOCH, changes)
        done = [CommitDone(each, r.fate, r.revision) for each, r in zip(group, results, strict=True)]
        more = _commits(self.timed("committed", self.step, done))
        echoes = self.nowhere.take_echoes()
        events = self.timed("echo in", self.hear_of, echoes)
        return more + _commits(self.timed("echo", self.step, events))


def _commits(effects: Sequence[Effect]) -> list[Commit]:
    return [effect for effect in effects if isinstance(effect, Commit)]


def measure(orders: int, rounds: int) -> dict[str, float]:
    """Return the best time of each stage over ``rounds`` (µs per order)."""
    fleet = fleet_config.load()
    first = replace(fleet.classes[0], max_waiting=orders * rounds, max_in_flight=orders * rounds)
    leader = Leader(replace(fleet, classes=(first,)))
    best = dict.fromkeys(STAGES, float("inf"))
    for number in range(rounds):
        reports = [
            DroneReport(f"d{number}_{i}", first.name, f"j{i}", 0, Phase.IDLE, fleet.depot, first.battery_wh)
            for i in range(orders)
        ]
        leader.step([LeaseRefreshed(EPOCH, leader.now_s), *(DroneHeard(report) for report in reports)])
        if not number:
            gc_tuning.calm()  # as the process of an orchestrator does
        documents = [{**d, "order_id": str(uuid.uuid4()), "package_weight_kg": 1.0} for d in town.orders(orders, 1)]
        fresh = [parse_order(d, now_s=1e9 + leader.now_s, new_id=lambda: str(uuid.uuid4())) for d in documents]
        leader.took_s = dict.fromkeys(STAGES, 0.0)
        leader.assign_all(fresh)
        for order in fresh:
            saga = leader.core.view.saga_of(order.message_id)
            assert saga is not None and saga.status is SagaStatus.ASSIGNED
        best = {stage: min(best[stage], leader.took_s[stage] / orders * 1e6) for stage in STAGES}
    return best


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=1000, help="in a round, and drones (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="the best counts (default: %(default)s)")
    options = parser.parse_args()
    if options.orders < 1 or options.rounds < 1:
        parser.error("orders and rounds must be at least 1")
    if json_text.orjson is None:
        parser.error("orjson is not installed: there would be nothing to compare")
    with mock.patch.multiple(json_text, orjson=None, _load_fast=json_text.load):
        baseline = measure(options.orders, options.rounds)
    figures = measure(options.orders, options.rounds)
    print(f"{'µs per order':16}{'now':>8}{'by json':>10}")
    for stage in STAGES:
        print(f"{stage:16}{figures[stage]:8.1f}{baseline[stage]:10.1f}")
    total, before = sum(figures.values()), sum(baseline.values())
    print(f"{'all':16}{total:8.1f}{before:10.1f}  {before / total:.2f} ×")
    print(json.dumps({"us_per_order": figures, "by_json_us_per_order": baseline, "ratio": round(before / total, 2)}))


if __name__ == "__main__":
    main()
