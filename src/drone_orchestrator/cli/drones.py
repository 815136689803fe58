"""``fleetctl drones``: drones as they report over DDS and as the store has them; taking one out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table

from ..core.policies import DRONE_SILENT_S
from ..core.reasons import OUT_OF_SERVICE
from ..core.types import Breaker, BreakerState, DroneReport, Reservation
from ..core.view import FleetView
from .context import Target, open_store
from .live_view import Follower, following, show, stale
from .output import Failure, Output, shown
from .ros_session import Heard, hearing, operating

if TYPE_CHECKING:
    from ..ros.fleet_client import FleetListener


def drone_rows(view: FleetView, heard: Heard, only: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return a document per drone that is heard or stored, sorted by name; only those named in ``only``, if any."""
    reserved = {id_: held.value for id_, held in view.reservations.items()}
    breakers = {id_: stored.value for id_, stored in view.breakers.items()}
    names = set(only) or {*heard, *reserved, *breakers}
    return [
        {**_row(n, heard.get(n), reserved.get(n)), **_breaker(breakers.get(n))} for n in sorted(names, key=_natural)
    ]


def _natural(name: str) -> tuple[str, int, str]:
    """Return a sort key that puts drone_10 after drone_9."""
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    return head, int(digits) if digits else 0, name


def _breaker(breaker: Breaker | None) -> dict[str, Any]:
    if breaker is None:
        return {"breaker": BreakerState.CLOSED.value, "failures": 0, "open_until": None}
    until = breaker.open_until if breaker.state is BreakerState.OPEN else None
    return {"breaker": breaker.state.value, "failures": breaker.failures, "open_until": until}


def _row(drone_id: str, heard: tuple[DroneReport, float] | None, reservation: Reservation | None) -> dict[str, Any]:
    reserved_for = reservation.message_id if reservation else None
    if heard is None:
        unknown = "drone_class", "phase", "grounded_reason", "journal_id", "highest_epoch", "energy_wh", "position"
        blank = dict.fromkeys(unknown)
        return {**blank, "drone_id": drone_id, "message_id": reserved_for, "package_on_board": False, "heard": False}
    report, age_s = heard
    return {
        "drone_id": drone_id,
        "drone_class": report.drone_class,
        "phase": report.phase.name,
        "grounded_reason": report.grounded_reason or None,
        "message_id": report.message_id or reserved_for,
        "package_on_board": report.package_on_board,
        "energy_wh": report.energy_wh if math.isfinite(report.energy_wh) else None,
        "position": {"lat": report.position.lat_deg, "lon": report.position.lon_deg},
        "journal_id": report.journal_id,
        "highest_epoch": report.highest_epoch,
        "heard": age_s <= DRONE_SILENT_S,
    }


def drones_table(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Table:
    """Return a table of drones. ``names``: order ids by message id."""
    table = Table("drone", "class", "phase", "breaker", "order", "package", "energy", "position", box=None)
    for row in rows:
        position, breaker = row["position"], row["breaker"]
        phase = OUT_OF_SERVICE if row.get("grounded_reason") == OUT_OF_SERVICE else str(row["phase"] or "")
        order = row["message_id"]
        table.add_row(
            shown(row["drone_id"]),
            shown(row["drone_class"] or "–"),
            _phase(phase) if row["heard"] else f"[red]not heard[/red] {phase}",
            "closed" if breaker == BreakerState.CLOSED.value else f"[red]{breaker}",
            shown(names.get(order, order) if order else "–"),
            "on board" if row["package_on_board"] else "–",
            f"{row['energy_wh']:.0f} Wh" if row["energy_wh"] is not None else "–",
            f"{position['lat']:.5f}, {position['lon']:.5f}" if position else "–",
        )
    return table


def _phase(phase: str) -> str:
    colour = {"IDLE": "dim", "GROUNDED": "red", OUT_OF_SERVICE: "yellow"}.get(phase, "cyan")
    return f"[{colour}]{phase}[/]"


def order_names(view: FleetView) -> dict[str, str]:
    """Return the order ids, by message id, of the orders that have a drone."""
    held = [reservation.value.message_id for reservation in view.reservations.values()]
    orders = {message_id: view.order_of(message_id) for message_id in held}
    return {message_id: order.order_id for message_id, order in orders.items() if order is not None}


def drones(
    out: Output,
    target: Target,
    names: tuple[str, ...],
    take_out: bool,
    bring_back: bool,
    live: bool,
    wait_s: float,
    namespace: str,
) -> None:
    """Run ``fleetctl drones``."""
    if take_out or bring_back:
        if take_out and bring_back:
            raise Failure("--take-out or --bring-back, not both")
        if not names:
            raise Failure("name the drones: fleetctl drones drone_3 --take-out")
        _change_drones(out, target, names, namespace, take_out)
        return
    if live:
        with following(target) as follower, hearing(target, namespace) as ear:
            _drones_live(out, follower, ear, names)
    with open_store(target) as store, hearing(target, namespace) as ear:
        view = FleetView.of(store.snapshot())
        if names:
            ear.wait_for(frozenset(names), wait_s)
        else:
            ear.wait_quiet(wait_s)
        heard = ear.drones(view.fleet)
    rows = drone_rows(view, heard, names)
    if names and not any(row["heard"] or row["message_id"] for row in rows):
        raise Failure(f"{', '.join(names)}: not heard within {wait_s:g} s, and not in the store")
    out.console.print(drones_table(rows, order_names(view)) if rows else f"no drone heard within {wait_s:g} s")
    out.result({"drones": rows})


def _drones_live(out: Output, follower: Follower, ear: FleetListener, names: tuple[str, ...]) -> None:
    told: dict[str, str] = {}

    def draw() -> RenderableType:
        (rows, orders), freshness = follower.look(lambda v: (drone_rows(v, ear.drones(v.fleet), names), order_names(v)))
        busy = sum(1 for row in rows if row["message_id"])
        foot = stale(freshness) or f"[dim]{len(rows)} drones, {busy} with an order · Ctrl-C ends it[/dim]"
        return Group(drones_table(rows, orders) if rows else "no drone is heard yet", "", foot)

    def lines() -> list[str]:
        news = []
        for row in follower.look(lambda v: drone_rows(v, ear.drones(v.fleet), names))[0]:
            word = f"{row['phase'] if row['heard'] else 'not heard'} {row['message_id'] or ''}".rstrip()
            if told.get(row["drone_id"]) != word:
                told[row["drone_id"]] = word
                news.append(f"{shown(row['drone_id'])}  {shown(word)}")
        return news

    show(out, follower, draw, lines)


def _change_drones(out: Output, target: Target, names: tuple[str, ...], namespace: str, take_out: bool) -> None:
    """Deactivate or activate drones, like ``ros2 lifecycle set`` does."""
    changed = []
    with operating(target, namespace) as operator:
        for name in names:
            operator.find(name)
        for name in names:
            if not (operator.deactivate(name) if take_out else operator.activate(name)):
                state = "taken out" if take_out else "brought back"
                raise Failure(f"{name} refused: it is {state} already, or still starting")
            changed.append(name)
            out.say(f"{shown(name)} {'takes no new order' if take_out else 'takes orders again'}")
    out.result({"drones": changed, "taken_out": take_out})
