"""The fleet's health as plain data: a level, a sentence, and a hint that an operator can act on.

The nodes publish it as ``/diagnostics``. Every function depends on its arguments alone. ``now_s`` is monotonic,
``wall_s`` counts from 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from ..core.lanes import Level, Pressure
from ..core.leader.election import Role
from ..core.policies import DRONE_SILENT_S, LEADER_SILENT_S
from ..core.types import Breaker, BreakerState, DroneReport, FleetSpec, Phase, SagaStatus
from ..core.view import FleetView
from ..runtime.probe import Probe
from ..runtime.projection import Freshness
from ..runtime.vitals import Vitals

#: A call this long (s) means that etcd is slow: commits wait for its disk.
SLOW_STORE_S = 0.25
#: Warn from this size: etcd refuses writes at 2 GiB by default.
LARGE_STORE_BYTES = 1.6e9
#: Warn above this number of commits waiting for the store.
LONG_QUEUE = 256
#: Maximum number of names in a message or value.
MOST_NAMES = 20


class Severity(IntEnum):
    """The levels of ``diagnostic_msgs/DiagnosticStatus``."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Status:
    """One line of diagnostics. ``name`` is its subject, ``hint`` what to do about it; ``values`` are details."""

    name: str
    severity: Severity
    message: str
    hint: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeardDrone:
    """The last report of a drone and the time it arrived (monotonic, s)."""

    report: DroneReport
    at_s: float


# --- the fleet, as its monitor sees it --------------------------------------------------------------------------------


def leader_status(view: FleetView) -> Status:
    """Report who leads."""
    leader = view.leadership
    if leader is None:
        text = "none: orders are accepted, nothing is decided"
        return Status("leader", Severity.ERROR, text, "check that orchestrators run and are not all deactivated")
    values = {"epoch": leader.epoch, "instance": leader.instance_id}
    return Status("leader", Severity.OK, leader.holder, values=values)


def store_status(freshness: Freshness, stale_after_s: float, probe: Probe | None, endpoints: str) -> Status:
    """Report whether etcd is reachable, complete, fast and has space left."""
    values: dict[str, object] = {"revision": freshness.revision, "endpoints": endpoints}
    if probe is not None:
        values |= {"latency_ms": round(probe.latency_s * 1e3, 1), "version": probe.version}
        values |= {"db_size_mib": round(probe.size_bytes / 2**20, 1)}
        values |= {f"member {name}": "there" if there else "away" for name, there in probe.members.items()}
    if freshness.stale_s is None:
        return Status("etcd", Severity.ERROR, "never reached", f"check that etcd runs at {endpoints}", values)
    if freshness.stale_s > stale_after_s:
        text = f"degraded: not heard for {freshness.stale_s:.0f} s; drones finish what they carry"
        text += f" ({freshness.trouble})" if freshness.trouble else ""
        return Status(
            "etcd", Severity.ERROR, text, f"bring back a majority of {endpoints}; nothing else is needed", values
        )
    if probe is None:
        return Status("etcd", Severity.OK, "following", values=values)
    if not probe.reachable:
        return Status("etcd", Severity.ERROR, "no quorum answers", f"bring back a majority of {endpoints}", values)
    away = [name for name, there in probe.members.items() if not there]
    if away:
        text = f"{len(away)} of {len(probe.members)} members away: {', '.join(away)}"
        return Status("etcd", Severity.WARN, text, "bring them back before another one fails", values)
    if probe.size_bytes > LARGE_STORE_BYTES:
        hint = "shorten retention_s, compact and defragment etcd, or raise its quota"
        return Status("etcd", Severity.WARN, f"{probe.size_bytes / 2**20:.0f} MiB large", hint, values)
    if probe.latency_s > SLOW_STORE_S:
        hint = "give etcd its own disk; every decision waits for it"
        return Status("etcd", Severity.WARN, f"slow: a read takes {probe.latency_s * 1e3:.0f} ms", hint, values)
    return Status("etcd", Severity.OK, "following", values=values)


def saga_status(view: FleetView, stuck_after_s: float, wall_s: float) -> Status:
    """Report failed, parked and stuck orders; stuck ones did not change for ``stuck_after_s``."""
    sagas = [stored.value for stored in view.sagas.values()]
    stuck = [s.order_id for s in sagas if not s.status.is_terminal and wall_s - s.updated_at > stuck_after_s]
    parked = [s.order_id for s in sagas if s.parked]
    counts = view.counts()
    failed = counts[SagaStatus.FAILED]
    values: dict[str, object] = {**{status.value: n for status, n in counts.items()}, "inbox": len(view.inbox)}
    values |= {"stuck": _some(stuck), "parked": _some(parked)}
    if parked:
        hint = "`fleetctl order list --parked`, then `fleetctl order retry|resolve ID`"
        return Status("sagas", Severity.ERROR, f"{len(parked)} parked: a person must decide", hint, values)
    if failed:
        hint = "`fleetctl order list --status FAILED`, `fleetctl events ID`; the retention removes them"
        return Status("sagas", Severity.ERROR, f"{failed} failed", hint, values)
    if stuck:
        text = f"{len(stuck)} without a change for {stuck_after_s:.0f} s"
        return Status("sagas", Severity.WARN, text, "`fleetctl events ID` shows what they wait for", values)
    return Status("sagas", Severity.OK, "all moving", values=values)


def record_status(view: FleetView) -> Status:
    """Report records in the store that cannot be read, or that contradict themselves."""
    names = sorted([*view.corrupt, *view.contradictions()])
    if not names:
        return Status("records", Severity.OK, "all readable")
    hint = "repair or remove the keys, then run `fleetctl audit`"
    values = {"keys": _some(names)}
    return Status("records", Severity.ERROR, f"{len(names)} unreadable values are set aside", hint, values)


def lane_statuses(pressures: Iterable[Pressure]) -> list[Status]:
    """Return one status per lane."""
    return [_lane_status(pressure) for pressure in pressures]


def _lane_status(p: Pressure) -> Status:
    values = {
        "waiting": p.waiting,
        "bound": p.bound,
        "in_flight": p.in_flight,
        "retry_after_s": f"{p.retry_after_s:.0f}",
    }
    name, text = f"lane {p.lane}", f"{p.waiting} of {p.bound} wait, {p.in_flight} in flight"
    if p.level is Level.FULL:
        hint = "orders of this class are refused: check that its drones fly, add some, or raise max_waiting"
        return Status(name, Severity.ERROR, f"full: {text}", hint, values)
    if p.level is Level.SLOW_DOWN:
        return Status(name, Severity.WARN, f"filling: {text}", "check that its drones fly, or add some", values)
    if p.level is Level.UNSPECIFIED:
        return Status(name, Severity.STALE, "unknown while the store is unreachable", "see etcd", values)
    return Status(name, Severity.OK, text, values=values)


def breaker_status(view: FleetView, wall_s: float) -> Status:
    """Report the drones that get no orders because they failed too often."""
    known = [stored.value for stored in view.breakers.values()]
    tripped = sorted((b for b in known if b.state is not BreakerState.CLOSED), key=lambda b: b.drone_id)
    values: dict[str, object] = {b.drone_id: _breaker_text(b, wall_s) for b in tripped[:MOST_NAMES]}
    if not tripped:
        return Status("breakers", Severity.OK, "all closed", values=values)
    hint = "the drones' logs say what failed; a breaker closes after a successful trial delivery"
    text = f"{len(tripped)} not closed: {_some([b.drone_id for b in tripped])}"
    return Status("breakers", Severity.WARN, text, hint, values)


def drone_statuses(
    view: FleetView, heard: Mapping[str, HeardDrone], fleet: FleetSpec, now_s: float, wall_s: float
) -> list[Status]:
    """Return one status for each drone that was heard or that an order names."""
    known = sorted({*heard, *(d for d, orders in view.by_drone.items() if orders)})
    return [drone_status(drone_id, view, heard.get(drone_id), fleet, now_s, wall_s) for drone_id in known]


def drone_status(
    drone_id: str, view: FleetView, heard: HeardDrone | None, fleet: FleetSpec, now_s: float, wall_s: float
) -> Status:
    """Report the health of ``drone_id``; ``heard`` is ``None`` if it was never heard."""
    name = f"drone {drone_id}"
    orders = [saga for id_ in view.by_drone.get(drone_id, ()) if (saga := view.saga_of(id_)) is not None]
    carrying = [s.order_id for s in orders if s.journal_id is not None]
    breaker = view.breaker_of(drone_id)
    values: dict[str, object] = {"orders": _some([s.order_id for s in orders])}
    values["breaker"] = _breaker_text(breaker, wall_s) if breaker else BreakerState.CLOSED.value
    silent_s = None if heard is None else now_s - heard.at_s
    if heard is None or silent_s is None or silent_s > DRONE_SILENT_S:
        text = "never heard" if silent_s is None else f"silent for {silent_s:.0f} s"
        values["silent_s"] = "" if silent_s is None else round(silent_s)
        hint = f"check that its process runs and reaches the network: `ros2 lifecycle get /{drone_id}`"
        if carrying:
            return Status(name, Severity.ERROR, f"{text}, and may have {_some(carrying)} on board", hint, values)
        return Status(name, Severity.STALE, text, hint, values)
    report = heard.report
    values |= _report_values(report, fleet, silent_s)
    return _heard_status(name, report, breaker, fleet, values)


def _heard_status(
    name: str, report: DroneReport, breaker: Breaker | None, fleet: FleetSpec, values: Mapping[str, object]
) -> Status:
    drone_class = fleet.drone_class(report.drone_class)
    if report.phase is Phase.GROUNDED:
        again = f"`ros2 lifecycle set /{report.drone_id} deactivate`, then `activate`"
        return Status(name, Severity.ERROR, "grounded", f"its log says why; once it may fly again: {again}", values)
    if drone_class is None:
        hint = "give it and the orchestrators the same fleet configuration"
        return Status(name, Severity.ERROR, f"of class {report.drone_class!r}, which the fleet lacks", hint, values)
    if breaker is not None and breaker.state is not BreakerState.CLOSED:
        text = f"{report.phase.name}; its breaker is {breaker.state.value}"
        return Status(name, Severity.WARN, text, "its log says what failed", values)
    fraction = report.energy_wh / drone_class.battery_wh
    if fraction < drone_class.reserve_fraction:
        text = f"{report.phase.name}; battery at {fraction:.0%}, below its reserve"
        return Status(name, Severity.WARN, text, "it charges at the depot; nothing to do unless it lasts", values)
    return Status(name, Severity.OK, f"{report.phase.name}, battery {fraction:.0%}", values=values)


def _report_values(report: DroneReport, fleet: FleetSpec, silent_s: float) -> dict[str, object]:
    drone_class = fleet.drone_class(report.drone_class)
    battery = f"{report.energy_wh / drone_class.battery_wh:.0%}" if drone_class else ""
    return {
        "class": report.drone_class,
        "phase": report.phase.name,
        "battery": battery,
        "energy_wh": round(report.energy_wh, 1),
        "package_on_board": report.package_on_board,
        "message_id": report.message_id or "",
        "attempt": report.attempt,
        "journal_id": report.journal_id,
        "highest_epoch": report.highest_epoch,
        "silent_s": round(silent_s, 1),
    }


def _breaker_text(breaker: Breaker, wall_s: float) -> str:
    if breaker.state is BreakerState.OPEN:
        return f"open for {max(0.0, breaker.open_until - wall_s):.0f} s more, opened {breaker.trips} times in a row"
    return breaker.state.value


# --- each node about itself -------------------------------------------------------------------------------------------


def replica_status(vitals: Vitals | None, now_s: float) -> Status:
    """Report on an orchestrator; ``vitals`` is ``None`` if it is not configured."""
    if vitals is None:
        return Status(
            "replica", Severity.WARN, "not configured", "`ros2 lifecycle set NODE configure`; its log says why not"
        )
    age_s = None if vitals.committed_at_s is None else now_s - vitals.committed_at_s
    values = {
        "role": vitals.role.value,
        "epoch": vitals.epoch,
        "revision": vitals.revision,
        "queued_commits": vitals.queued,
        "last_commit_s_ago": "" if age_s is None else round(age_s, 1),
    }
    if vitals.failing:
        text = f"cannot {', '.join(vitals.failing)}"
        return Status("replica", Severity.ERROR, text, "see etcd; it continues once etcd is back", values)
    if vitals.set_aside:
        hint = "its log has the errors: `fleetctl events ID` shows the order, or `fleetctl drones` the drone"
        text = f"{len(vitals.set_aside)} set aside after an error: {_some(vitals.set_aside)}"
        return Status("replica", Severity.ERROR, text, hint, values)
    if vitals.role is Role.RETIRED:
        hint = "`ros2 lifecycle set NODE activate` lets it campaign"
        return Status("replica", Severity.WARN, "not campaigning: its node is not active", hint, values)
    if vitals.queued > LONG_QUEUE:
        return Status(
            "replica", Severity.WARN, f"{vitals.queued} commits wait for the store", "see etcd's latency", values
        )
    text = f"leading with epoch {vitals.epoch}" if vitals.role is Role.LEADER else vitals.role.value
    return Status("replica", Severity.OK, text, values=values)


def executor_status(
    *,
    configured: bool,
    active: bool,
    finalized: bool,
    phase: str,
    leader_silent_s: float | None,
    trouble: str = "",
) -> Status:
    """Report on a drone's executor. ``leader_silent_s`` is the time since it heard a leader; ``None``: never.

    ``trouble`` says why it is not configured, or why its journal cannot be written.
    """
    values = {"phase": phase, "leader_silent_s": "" if leader_silent_s is None else round(leader_silent_s, 1)}
    if finalized:
        return Status("executor", Severity.ERROR, "shut down", "start its process again", values)
    if not configured:
        said = f"not configured: {trouble}" if trouble else "not configured"
        return Status("executor", Severity.ERROR, said, "see its log; `ros2 lifecycle set NODE configure`", values)
    if trouble:
        hint = "make room on the disk, or repair it; the drone then goes on by itself"
        return Status("executor", Severity.ERROR, f"takes no commands: {trouble}", hint, values)
    if not active:
        hint = "`ros2 lifecycle set NODE activate`"
        return Status("executor", Severity.WARN, "inactive: takes no orders", hint, values)
    if leader_silent_s is None or leader_silent_s > LEADER_SILENT_S:
        hint = "check that an orchestrator leads and that the network carries DDS"
        return Status("executor", Severity.WARN, "no leader is heard", hint, values)
    return Status("executor", Severity.OK, phase, values=values)


def intake_status(breaker: str, freshness: Freshness) -> Status:
    """Report on a gateway. ``breaker`` is the state of its breaker around the store."""
    stale = "" if freshness.stale_s is None else round(freshness.stale_s, 1)
    values = {"breaker": breaker, "revision": freshness.revision, "stale_s": stale}
    if breaker != "closed" or not freshness.loaded:
        return Status("intake", Severity.ERROR, f"refuses orders: the store's breaker is {breaker}", "see etcd", values)
    if freshness.stale_s:
        text = f"does not follow the store for {freshness.stale_s:.0f} s: {freshness.trouble or 'it is unavailable'}"
        return Status("intake", Severity.WARN, text, "see etcd; a full lane stays full meanwhile", values)
    return Status("intake", Severity.OK, "accepts orders", values=values)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
