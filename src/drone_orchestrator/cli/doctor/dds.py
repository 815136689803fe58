"""Checks that compare etcd, which lists leader and reservations, with what is heard over DDS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...core.lanes import unmanned
from ...core.policies import DRONE_SILENT_S
from ...core.reasons import OUT_OF_SERVICE
from ...core.types import DroneReport, FleetSpec, Phase
from ...core.view import CurrentLeader, FleetView
from ...telemetry.findings import CRITICAL, OpenFinding
from .finding import Finding, error, ok, warning
from .store import skew

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Heard:
    """Drones with the age (s) of their last report; instance, region and clock skew of the leader, if heard.

    ``strangers`` are the senders of each other fleet.

    ``processes`` are those whose diagnostics were heard, ``findings`` what they report to be wrong.
    """

    drones: Mapping[str, tuple[DroneReport, float]]
    leader_instance: str = ""
    leader_region: str = ""
    leader_skew_s: float = 0.0
    processes: frozenset[str] = frozenset()
    findings: Sequence[tuple[str, OpenFinding]] = ()
    strangers: Mapping[str, Sequence[str]] = field(default_factory=dict)


def check_dds(
    view: FleetView, heard: Heard, *, domain: str, region: str, fleet: FleetSpec | None = None
) -> list[Finding]:
    """Compare the store with what is heard."""
    leads = view.leadership
    found = [discovery(leads, heard, domain), drones(view, heard)]
    if fleet is not None and heard.drones:
        found.append(classes(fleet, heard))
    if heard.leader_instance or heard.strangers:
        found.append(same_fleet(view, heard, region))
    if heard.leader_instance:
        found.append(epochs(leads.epoch if leads is not None else 0, heard))
        found.append(skew("leader clock", heard.leader_skew_s, "the leader's clock"))
    return [*found, *reported(heard)]


def reported(heard: Heard) -> list[Finding]:
    """Pass on what the processes of the fleet report about themselves; see docs/runbooks.md."""
    name = "findings"
    if not heard.findings:
        return [ok(name, f"{len(heard.processes)} processes report, and nothing is wrong with them")]
    found = []
    for process, each in heard.findings:
        whose = process if process == each.subject else f"{process}: {each.subject}"
        grade = error if each.severity == CRITICAL else warning
        found.append(grade(name, f"{each.name}: {whose}: {each.text}", each.hint))
    return found


def discovery(leads: CurrentLeader | None, heard: Heard, domain: str) -> Finding:
    """Check that the stored leader is heard here."""
    name = "dds"
    if leads is not None and not heard.leader_instance:
        hint = (
            "the same ROS_DOMAIN_ID, ROS_AUTOMATIC_DISCOVERY_RANGE and RMW_IMPLEMENTATION here as there; "
            "UDP 7400 and up open; multicast, or ROS_STATIC_PEERS"
        )
        whom = "no node" if not heard.drones else f"not {leads.holder}, though {len(heard.drones)} drones"
        return error(name, f"etcd says that {leads.holder} leads, but {whom} is heard in domain {domain}", hint)
    if not heard.leader_instance and not heard.drones:
        return warning(
            name, f"no node is heard in domain {domain}", "start orchestrators and drones, or set ROS_DOMAIN_ID"
        )
    who = f"the leader and {len(heard.drones)} drones" if heard.leader_instance else f"{len(heard.drones)} drones"
    return ok(name, f"{who} heard in domain {domain}")


def same_fleet(view: FleetView, heard: Heard, region: str) -> Finding:
    """Check that the leader heard is the stored one, and that no other fleet is heard in the same domain."""
    hint = "give each fleet a ROS_DOMAIN_ID or a namespace of its own"
    leads, own = view.leadership, f"fleet {view.fleet.fleet_id}" if view.fleet is not None else "a fleet without id"
    if heard.strangers:
        fleet_id, senders = next(iter(sorted(heard.strangers.items())))
        text = f"fleet {fleet_id} is heard here, too, and ignored by {own}: {', '.join(senders[:_SHOWN])}"
        return warning("same fleet", text, f"{hint}; a drone that changes fleets needs its parameter fleet_id")
    if heard.leader_region != region:
        return error("same fleet", f"the leader heard here works for region {heard.leader_region}", hint)
    if leads is None or leads.instance_id != heard.leader_instance:
        text = f"the leader heard here ({heard.leader_instance}) is not the one in this etcd"
        return warning("same fleet", text, f"after a failover, run doctor again; otherwise {hint}")
    return ok("same fleet", f"the leader heard is the one in etcd, of {own}")


def epochs(epoch: int, heard: Heard) -> Finding:
    """Check that no drone has obeyed a later epoch than the leader's: a restored store continues from its backup."""
    ahead = {drone: report.highest_epoch for drone, (report, _) in heard.drones.items() if report.highest_epoch > epoch}
    if epoch and ahead:
        highest = max(ahead.values())
        hint = f"{highest} is of a later store: fleetctl store restored (docs/howto/etcd_backup.md)"
        return error("epochs", f"{len(ahead)} drones have obeyed epoch {highest}, and refuse {epoch}", hint)
    return ok("epochs", f"no drone has seen a later one than {epoch}")


def drones(view: FleetView, heard: Heard) -> Finding:
    """Check that drones with an order are heard, and that heard drones can fly."""
    name = "drones"
    living = {drone for drone, (_, age_s) in heard.drones.items() if age_s <= DRONE_SILENT_S}
    busy = view.reservations.keys()
    silent = sorted(busy - living)
    if silent:
        hint = "its log, its power, its network; an order that was not loaded moves on by itself (docs/operations.md)"
        return error(name, f"silent with an order: {', '.join(silent[:_SHOWN])}", hint)
    waiting = sum(1 for each in view.orders() if each.saga is None or each.saga.drone_id is None)
    if not living:
        return (error if waiting else warning)(name, "none is heard", "start drone_executor; see the check `dds`")
    reports = {drone: report for drone, (report, _) in heard.drones.items() if report.phase is Phase.GROUNDED}
    out = sorted(drone for drone, report in reports.items() if report.grounded_reason == OUT_OF_SERVICE)
    grounded = sorted(reports.keys() - set(out))
    if not grounded and out:
        hint = f"if that is not on purpose: fleetctl drones {out[0]} --bring-back"
        return warning(name, f"out of service: {', '.join(out[:_SHOWN])}", hint)
    if grounded:
        hint = f"repair it, then: fleetctl drones {grounded[0]} --take-out, and the same with --bring-back"
        return warning(name, f"grounded: {', '.join(grounded[:_SHOWN])}", hint)
    return ok(name, f"{len(living)} heard, {len(busy)} with an order")


def classes(fleet: FleetSpec, heard: Heard) -> Finding:
    """Check that every drone class has a drone that is heard."""
    reports = [report for report, age_s in heard.drones.values() if age_s <= DRONE_SILENT_S]
    living = {report.drone_class for report in reports if report.grounded_reason != OUT_OF_SERVICE}
    lacking = unmanned(fleet, living)
    if lacking:
        hint = "start drones of the class, or remove it from the fleet description"
        return warning("drone classes", "; ".join(lacking.values()), hint)
    return ok("drone classes", f"drones of {', '.join(sorted(living))} are heard")
