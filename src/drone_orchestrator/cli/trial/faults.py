"""Faults on the real processes of a fleet: the kinds, their schedule by seed, and how each is injected and undone."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...bringup.local_fleet import LocalFleet
from ...bringup.plan import ProcessSpec
from .network_namespaces import NamespaceNetwork
from .run_record import Fault
from .tcp_proxy import Mode, TcpProxy

#: Duration of each kind of fault (s), from much shorter to much longer than the lease of 3 s.
_HOLD_S = {
    "kill": (0.5, 6.0),
    "hang": (0.5, 8.0),
    "restart": (0.2, 2.0),
    "etcd_cut": (0.5, 8.0),
    "etcd_slow": (2.0, 8.0),
    "etcd_kill": (0.5, 4.0),
    "etcd_pause": (0.5, 5.0),
    "dds_cut": (0.5, 9.0),
}
_SLOW_S = (0.02, 0.6)
_GAP_S = (0.5, 3.5)
_FIRST_S = 1.0
#: Attempts at a fault whose target cannot be hit at the moment (no leader, already hit) before it is skipped.
_RETRY_S = 0.5
_RETRIES = 6
#: An orderly stop may take this long (s) before the pause begins.
_ENDING_S = 12.0

LEADER = "leader"
ALL = "all"
ONE = "member"
QUORUM = "quorum"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Planned fault: ``at_s`` after the start, lasting ``hold_s``. ``target`` may be a role that is resolved when it is
    due (the leader; a kind of etcd outage). ``draw`` in [0, 1) decides what the kind leaves open."""

    at_s: float
    kind: str
    target: str
    hold_s: float
    draw: float
    retries: int = _RETRIES


def schedule(
    seed: int, seconds: float, kinds: Sequence[str], processes: Sequence[ProcessSpec], members: int
) -> list[FaultPlan]:
    """Return the faults of a run in order of time, the same for the same arguments. No kind repeats before all have
    come."""
    rng = random.Random(seed)
    etcd_targets = itertools.cycle([LEADER, ONE, QUORUM] if members > 1 else [ONE])
    out: list[FaultPlan] = []
    bag: list[str] = []
    at_s = _FIRST_S
    while at_s < seconds:
        if not bag:
            bag = rng.sample(list(kinds), len(kinds))
        kind = bag.pop()
        target = next(etcd_targets) if kind in ("etcd_kill", "etcd_pause") else _target(rng, kind, processes)
        hold_s = rng.uniform(*_HOLD_S[kind])
        out.append(FaultPlan(round(at_s, 3), kind, target, round(hold_s, 3), rng.random()))
        at_s += rng.uniform(*_GAP_S)
    return out


def _target(rng: random.Random, kind: str, processes: Sequence[ProcessSpec]) -> str:
    names: dict[str, list[str]] = {}
    for spec in processes:
        names.setdefault(spec.role, []).append(spec.name)
    if kind == "dds_cut":
        return rng.choice(names["drones"])
    shares: list[tuple[float, list[str]]] = [(0.3, [LEADER]), (0.15, names["orchestrator"])]
    shares += [(0.15, names["gateway"]), (0.1, names["monitor"])]
    shares.append((0.3, [ALL]) if kind == "etcd_slow" else (0.3, names["drones"] if kind in _ON_PROCESSES else []))
    shares = [(weight, choices) for weight, choices in shares if choices]
    return rng.choice(rng.choices([choices for _, choices in shares], [weight for weight, _ in shares])[0])


_ON_PROCESSES = ("kill", "hang", "restart")


@dataclass(slots=True)
class _ActiveFault:
    fault: Fault
    ends_at_s: float
    undo: Callable[[], object]


class ChaosInjector:
    """Injector of planned faults. Not thread-safe; :meth:`heal` undoes every active fault."""

    def __init__(
        self, fleet: LocalFleet, proxy: TcpProxy, network: NamespaceNetwork | None, leader: Callable[[], str | None]
    ) -> None:
        self._fleet = fleet
        self._proxy = proxy
        self._network = network
        self._leader = leader
        self._active: dict[tuple[str, str], _ActiveFault] = {}  # by target and means: "process", "etcd", "cable"
        self._downed: dict[str, float] = {}  # process -> time until which its end is expected
        self._waiting: list[FaultPlan] = []

    @property
    def active(self) -> list[Fault]:
        """Return the active faults."""
        return [active.fault for active in self._active.values()]

    def expects_end_of(self, process: str) -> bool:
        """Return True if a fault has just ended this process."""
        return self._downed.get(process, 0.0) > time.monotonic()

    def tick(self, due: Sequence[FaultPlan], now_s: float) -> list[Fault]:
        """Undo the faults that are over, inject those that are ``due``, and return the latter.

        ``now_s`` is on the scale of the plans' ``at_s``.
        """
        for key, active in list(self._active.items()):
            if time.monotonic() >= active.ends_at_s:
                self._undo(key)
        waiting, self._waiting = [*self._waiting, *due], []
        out: list[Fault] = []
        for plan in waiting:
            if plan.at_s > now_s:
                self._waiting.append(plan)
                continue
            done = self._inject(plan)
            out += done
            if not done and plan.retries:
                self._waiting.append(replace(plan, at_s=now_s + _RETRY_S, retries=plan.retries - 1))
        return out

    def heal(self) -> None:
        """Undo every fault. Killed processes are restarted by the supervisor."""
        self._waiting.clear()
        for key in list(self._active):
            self._undo(key)

    def _undo(self, key: tuple[str, str]) -> None:
        self._active.pop(key).undo()

    def _inject(self, plan: FaultPlan) -> list[Fault]:
        if plan.kind in ("etcd_kill", "etcd_pause"):
            return self._hit_etcd(plan)
        leader = self._leader()
        target = leader if plan.target == LEADER else plan.target
        if target is None:
            return []
        fault = Fault(time.time(), plan.kind, target, plan.hold_s, target == leader)
        if plan.kind in _ON_PROCESSES:
            return self._hit_process(fault)
        if plan.kind == "dds_cut":
            return self._pull_cable(fault)
        return self._hit_connections(fault, plan.draw)

    def _on(self, plane: str, fault: Fault, undo: Callable[[], object]) -> list[Fault]:
        self._active[plane, fault.target] = _ActiveFault(fault, time.monotonic() + fault.hold_s, undo)
        return [fault]

    def _hit_process(self, fault: Fault) -> list[Fault]:
        name = fault.target
        if ("process", name) in self._active or self._fleet.pid(name) is None:
            return []
        if fault.kind == "hang":
            self._fleet.signal(name, signal.SIGSTOP)
            return self._on("process", fault, lambda: self._fleet.signal(name, signal.SIGCONT))
        self._downed[name] = time.monotonic() + fault.hold_s + _ENDING_S
        end = self._fleet.kill if fault.kind == "kill" else self._fleet.terminate
        end(name, respawn_delay_s=fault.hold_s)
        return self._on("process", fault, _supervised)

    def _hit_connections(self, fault: Fault, draw: float) -> list[Fault]:
        clients = self._proxy.clients if fault.target == ALL else [fault.target]
        busy = {target for plane, target in self._active if plane == "etcd"}
        if busy & {*clients, ALL}:
            return []
        if fault.kind == "etcd_slow":
            delay_s = _SLOW_S[0] + draw * (_SLOW_S[1] - _SLOW_S[0])
            fault, mode = replace(fault, how=f"{delay_s * 1000:.0f} ms"), Mode.PASS
        else:
            delay_s, mode = 0.0, Mode.REFUSE if draw < 0.5 else Mode.BLACKHOLE
            fault = replace(fault, how=mode.value)
        for client in clients:
            self._proxy.set(client, mode, delay_s=delay_s)

        def undo() -> None:
            for client in clients:
                self._proxy.set(client, Mode.PASS)

        return self._on("etcd", fault, undo)

    def _pull_cable(self, fault: Fault) -> list[Fault]:
        if self._network is None or ("cable", fault.target) in self._active:
            return []
        network, name = self._network, fault.target
        network.pull(name)
        return self._on("cable", fault, lambda: network.plug(name))

    def _hit_etcd(self, plan: FaultPlan) -> list[Fault]:
        etcd = self._fleet.etcd
        if any(plane == "store" for plane, _ in self._active) or etcd.ended:
            return []
        members = list(range(len(etcd.endpoints)))
        first = etcd.leader() if plan.target == LEADER else int(plan.draw * len(members))
        if first is None:
            return []
        hit = members[: len(members) // 2 + 1] if plan.target == QUORUM else [first]
        names = "+".join(f"etcd_{index}" for index in hit)
        how = "" if len(members) == 1 else {LEADER: "its leader", QUORUM: "the quorum"}.get(plan.target, "one of three")
        fault = Fault(time.time(), plan.kind, names, plan.hold_s, how=how)
        for index in hit:
            if plan.kind == "etcd_pause":
                etcd.pause_member(index)
            else:
                self._downed[f"etcd_{index}"] = time.monotonic() + plan.hold_s
                self._fleet.kill_etcd(index, respawn_delay_s=plan.hold_s)

        def undo() -> None:
            for index in hit:
                etcd.resume_member(index)

        return self._on("store", fault, undo if plan.kind == "etcd_pause" else _supervised)


def _supervised() -> None:
    """Do nothing: the fleet's supervisor restarts what was ended."""
