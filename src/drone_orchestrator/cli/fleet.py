"""``fleetctl drones`` and ``fleetctl leader``: the fleet as seen in etcd and over DDS."""

from __future__ import annotations

import time
from typing import Any

import click
from rich.table import Table

from ..core.types import Breaker, BreakerState, DroneReport, LeaderRecord, Reservation
from ..core.view import FleetView
from ..ports import Store
from .context import Target, json_option, open_store, ros_environment, target_options
from .output import Failure, Output

SUCCESSOR_WITHIN_S = 30.0


def _view(store: Store) -> FleetView:
    view = FleetView()
    view.load(store.snapshot())
    return view


@click.command()
@click.option("--namespace", default="/", show_default=True, help="ROS namespace of the fleet.")
@click.option("--wait", "wait_s", default=2.0, show_default=True, help="Seconds to listen for drones.")
@target_options
@json_option
def drones(out: Output, target: Target, namespace: str, wait_s: float) -> None:
    """Show every drone: what it says of itself, and what it is reserved for."""
    ros_environment(target)
    from ..nodes import observer

    with open_store(target) as store:
        view = _view(store)
    reports = {r.drone_id: r for r in observer.drones(namespace=namespace, timeout_s=wait_s)}
    reserved = {e.id: e.value for e in view.reservations.values() if isinstance(e.value, Reservation)}
    breakers = {e.id: e.value for e in view.breakers.values() if isinstance(e.value, Breaker)}
    rows = [
        {**_row(drone_id, reports.get(drone_id), reserved.get(drone_id)), **_breaker(breakers.get(drone_id))}
        for drone_id in sorted({*reports, *reserved, *breakers})
    ]
    table = Table("drone", "class", "phase", "breaker", "order", "package", "energy", "position", box=None)
    for row in rows:
        position = row["position"]
        table.add_row(
            row["drone_id"],
            row["drone_class"] or "–",
            row["phase"] or "[red]not heard",
            "closed" if row["breaker"] == BreakerState.CLOSED.value else f"[red]{row['breaker']}",
            row["message_id"] or "–",
            "on board" if row["package_on_board"] else "–",
            f"{row['energy_wh']:.0f} Wh" if row["energy_wh"] is not None else "–",
            f"{position['lat']:.5f}, {position['lon']:.5f}" if position else "–",
        )
    out.console.print(table if rows else f"no drone heard within {wait_s:g} s")
    out.result({"drones": rows})


def _breaker(breaker: Breaker | None) -> dict[str, Any]:
    if breaker is None:
        return {"breaker": BreakerState.CLOSED.value, "failures": 0, "open_until": None}
    until = breaker.open_until if breaker.state is BreakerState.OPEN else None
    return {"breaker": breaker.state.value, "failures": breaker.failures, "open_until": until}


def _row(drone_id: str, report: DroneReport | None, reservation: Reservation | None) -> dict[str, Any]:
    reserved_for = reservation.message_id if reservation else None
    if report is None:
        blank = dict.fromkeys(("drone_class", "phase", "journal_id", "energy_wh", "position"))
        return {**blank, "drone_id": drone_id, "message_id": reserved_for, "package_on_board": False, "heard": False}
    return {
        "drone_id": drone_id,
        "drone_class": report.drone_class,
        "phase": report.phase.name,
        "message_id": report.message_id or reserved_for,
        "package_on_board": report.package_on_board,
        "energy_wh": report.energy_wh,
        "position": {"lat": report.position.lat_deg, "lon": report.position.lon_deg},
        "journal_id": report.journal_id,
        "heard": True,
    }


@click.command()
@click.option("--handover", is_flag=True, help="Make the leader hand over, and wait for its successor.")
@click.option("--namespace", default="/", show_default=True, help="ROS namespace of the fleet.")
@target_options
@json_option
def leader(out: Output, target: Target, handover: bool, namespace: str) -> None:
    """Show who leads, since when and with which epoch."""
    with open_store(target) as store:
        before = _leader(store)
        if not handover:
            _show(out, before)
            return
        if before["holder"] is None:
            raise Failure("there is no leader to hand over")
        ros_environment(target)
        after, took_s = _hand_over(store, before, namespace)
    _show(out, {**after, "handed_over_by": before["holder"], "handover_s": round(took_s, 3)})


def _hand_over(store: Store, before: dict[str, Any], namespace: str) -> tuple[dict[str, Any], float]:
    """The next leader, and how long after the request (s) it held the office."""
    from ..nodes import observer

    try:
        with observer.Operator(namespace) as operator:
            operator.find(before["holder"])
            began = time.monotonic()
            if not operator.deactivate(before["holder"]):
                raise Failure(f"{before['holder']} refused to hand over")
            while time.monotonic() < began + SUCCESSOR_WITHIN_S:
                after = _leader(store)
                if after["holder"] is not None and after["epoch"] != before["epoch"]:
                    return after, time.monotonic() - began
                time.sleep(0.01)
    except observer.Unreachable as error:
        raise Failure(str(error)) from error
    raise Failure(f"nobody took over within {SUCCESSOR_WITHIN_S:g} s: is a standby running?")


def _leader(store: Store) -> dict[str, Any]:
    entry = _view(store).leader
    record = entry.value if entry is not None else None
    if entry is None or not isinstance(record, LeaderRecord):
        return {"holder": None, "epoch": 0, "instance_id": None, "since": None}
    return {
        "holder": record.holder,
        "epoch": entry.mod_revision,
        "instance_id": record.instance_id,
        "since": record.since,
    }


def _show(out: Output, document: dict[str, Any]) -> None:
    if document["holder"] is None:
        out.say("no leader: orders are accepted, nothing is decided")
    else:
        since = f"for {time.time() - document['since']:.0f} s"
        out.say(f"[bold]{document['holder']}[/bold] leads {since}, epoch {document['epoch']}")
        if "handed_over_by" in document:
            out.say(f"{document['handed_over_by']} handed over in {document['handover_s']} s")
    out.result(document)
