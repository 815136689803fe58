"""``fleetctl drones`` and ``fleetctl leader``: the fleet as seen in etcd and over DDS."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table

from ..core.types import Breaker, BreakerState, DroneReport, Reservation
from ..core.view import FleetView
from ..ports import StoreReader
from .context import Target, open_store, ros_environment
from .live_view import Follower, following, show, stale
from .output import Failure, Output, duration, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ros.fleet_client import FleetListener

SUCCESSOR_WITHIN_S = 30.0
#: A drone repeats its state twice a second by default; one that is silent for so long is not heard any more.
SILENT_AFTER_S = 5.0

Heard = Mapping[str, tuple[DroneReport, float]]

@contextmanager
def hearing(target: Target, namespace: str) -> Iterator[FleetListener]:
    """The fleet's DDS traffic, from now on; a :class:`Failure` where ROS is missing or refuses to start."""
    ros_environment(target)
    try:
        from ..ros import fleet_client
    except ImportError as error:
        raise Failure(f"ROS 2 is not there ({error}): fleetctl doctor says what to do") from error
    try:
        namespace = fleet_client.full_namespace(namespace)
    except ValueError as error:
        raise Failure(f"--namespace: {error}") from error
    with fleet_client.FleetListener(namespace) as ear:
        yield ear


def drone_rows(view: FleetView, heard: Heard, only: Iterable[str] = ()) -> list[dict[str, Any]]:
    """A document per drone that is heard or that the store knows, by name; ``only`` these, if any are named."""
    reserved = {id_: held.value for id_, held in view.reservations.items()}
    breakers = {id_: stored.value for id_, stored in view.breakers.items()}
    names = set(only) or {*heard, *reserved, *breakers}
    return [
        {**_row(n, heard.get(n), reserved.get(n)), **_breaker(breakers.get(n))} for n in sorted(names, key=_natural)
    ]


def _natural(name: str) -> tuple[str, int, str]:
    """Sorts drone_10 behind drone_9."""
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
        blank = dict.fromkeys(("drone_class", "phase", "journal_id", "highest_epoch", "energy_wh", "position"))
        return {**blank, "drone_id": drone_id, "message_id": reserved_for, "package_on_board": False, "heard": False}
    report, age_s = heard
    return {
        "drone_id": drone_id,
        "drone_class": report.drone_class,
        "phase": report.phase.name,
        "message_id": report.message_id or reserved_for,
        "package_on_board": report.package_on_board,
        "energy_wh": report.energy_wh if math.isfinite(report.energy_wh) else None,
        "position": {"lat": report.position.lat_deg, "lon": report.position.lon_deg},
        "journal_id": report.journal_id,
        "highest_epoch": report.highest_epoch,
        "heard": age_s < SILENT_AFTER_S,
    }


def drones_table(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Table:
    """``names``: the order id of each message id, where it is known."""
    table = Table("drone", "class", "phase", "breaker", "order", "package", "energy", "position", box=None)
    for row in rows:
        position, breaker = row["position"], row["breaker"]
        phase = str(row["phase"] or "")
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
    colour = {"IDLE": "dim", "GROUNDED": "red"}.get(phase, "cyan")
    return f"[{colour}]{phase}[/]"


def order_names(view: FleetView) -> dict[str, str]:
    """Order id by message id, of the orders that have a drone."""
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
    """Carry out ``fleetctl drones``."""
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
        heard = ear.drones()
    rows = drone_rows(view, heard, names)
    if names and not any(row["heard"] or row["message_id"] for row in rows):
        raise Failure(f"{', '.join(names)}: nothing is heard of it within {wait_s:g} s, and the store does not know it")
    out.console.print(drones_table(rows, order_names(view)) if rows else f"no drone heard within {wait_s:g} s")
    out.result({"drones": rows})


def _drones_live(out: Output, follower: Follower, ear: FleetListener, names: tuple[str, ...]) -> None:
    told: dict[str, str] = {}

    def draw() -> RenderableType:
        (rows, orders), freshness = follower.look(lambda v: (drone_rows(v, ear.drones(), names), order_names(v)))
        busy = sum(1 for row in rows if row["message_id"])
        foot = stale(freshness) or f"[dim]{len(rows)} drones, {busy} with an order · Ctrl-C ends it[/dim]"
        return Group(drones_table(rows, orders) if rows else "no drone is heard yet", "", foot)

    def lines() -> list[str]:
        news = []
        for row in follower.look(lambda v: drone_rows(v, ear.drones(), names))[0]:
            word = f"{row['phase'] if row['heard'] else 'not heard'} {row['message_id'] or ''}".rstrip()
            if told.get(row["drone_id"]) != word:
                told[row["drone_id"]] = word
                news.append(f"{shown(row['drone_id'])}  {shown(word)}")
        return news

    show(out, follower, draw, lines)


def _change_drones(out: Output, target: Target, names: tuple[str, ...], namespace: str, take_out: bool) -> None:
    """As ``ros2 lifecycle set <drone> deactivate`` or ``activate``, where ROS's own tools are not installed."""
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


@contextmanager
def operating(target: Target, namespace: str) -> Iterator[Any]:
    """Something that changes nodes' lifecycle; who does not answer is a :class:`Failure`."""
    ros_environment(target)
    try:
        from ..ros import fleet_client, lifecycle_client
    except ImportError as error:
        raise Failure(f"ROS 2 is not there ({error}): fleetctl doctor says what to do") from error
    try:
        with fleet_client.LifecycleSession(fleet_client.full_namespace(namespace)) as operator:
            yield operator
    except lifecycle_client.Unreachable as error:
        raise Failure(str(error)) from error
    except ValueError as error:
        raise Failure(f"--namespace: {error}") from error


def leader(out: Output, target: Target, handover: bool, bring_back: str | None, live: bool, namespace: str) -> None:
    """Carry out ``fleetctl leader``."""
    if live:
        if handover or bring_back:
            raise Failure("--watch only looks: leave --handover and --bring-back out")
        with following(target) as follower:
            _leader_live(out, follower)
    with open_store(target) as store:
        if bring_back is not None:
            _bring_back(out, target, bring_back, namespace)
        before = leader_document(FleetView.of(store.snapshot()))
        if not handover:
            _show(out, before)
            return
        if before["holder"] is None:
            raise Failure("there is no leader to hand over")
        after, took_s = _hand_over(store, target, before, namespace)
    _show(out, {**after, "handed_over_by": before["holder"], "handover_s": round(took_s, 3)})


def _bring_back(out: Output, target: Target, name: str, namespace: str) -> None:
    """An orchestrator is told to campaign; it answers "no" to being active by that alone."""
    with operating(target, namespace) as operator:
        operator.find(name)
        operator.activate(name)
    out.say(f"{shown(name)} campaigns again")


def _hand_over(
    store: StoreReader, target: Target, before: dict[str, Any], namespace: str
) -> tuple[dict[str, Any], float]:
    """The next leader, and how long after the request (s) it held the office."""
    with operating(target, namespace) as operator:
        operator.find(before["holder"])
        began = time.monotonic()
        if not operator.deactivate(before["holder"]):
            raise Failure(f"{before['holder']} refused to hand over")
        while time.monotonic() < began + SUCCESSOR_WITHIN_S:
            after = leader_document(FleetView.of(store.snapshot()))
            if after["holder"] is not None and after["epoch"] != before["epoch"]:
                return after, time.monotonic() - began
            time.sleep(0.01)
    raise Failure(f"nobody took over within {SUCCESSOR_WITHIN_S:g} s: is a standby running?")


def leader_document(view: FleetView) -> dict[str, Any]:
    """Who leads, as JSON; ``holder`` is ``None`` where nobody does."""
    leader = view.leadership
    if leader is None:
        return {"holder": None, "epoch": 0, "instance_id": None, "since": None}
    return {
        "holder": leader.holder,
        "epoch": leader.epoch,
        "instance_id": leader.instance_id,
        "since": leader.since,
    }


def leader_line(document: Mapping[str, Any]) -> str:
    """Who leads, in a line."""
    if document["holder"] is None:
        return "[red]no leader[/red]: orders are accepted, nothing is decided"
    since = duration(max(0.0, time.time() - document["since"]))
    return f"[bold]{shown(document['holder'])}[/bold] leads for {since}, epoch {document['epoch']}"


def _leader_live(out: Output, follower: Follower) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def note() -> list[str]:
        document, _ = follower.look(leader_document)
        if seen and seen[-1][1]["epoch"] == document["epoch"] and seen[-1][1]["holder"] == document["holder"]:
            return []
        seen.append((time.strftime("%H:%M:%S"), document))
        return [f"{seen[-1][0]}  {leader_line(document)}"]

    def draw() -> RenderableType:
        note()
        freshness = follower.look(lambda view: None)[1]
        table = Table("seen at", "leader", "epoch", box=None)
        for at, document in seen[-max(1, out.console.height - 6) :]:
            table.add_row(at, shown(document["holder"] or "nobody"), str(document["epoch"]))
        foot = stale(freshness) or f"[dim]{len(seen) - 1} changes · Ctrl-C ends it[/dim]"
        return Group(leader_line(seen[-1][1]), "", table, "", foot)

    show(out, follower, draw, note)


def _show(out: Output, document: dict[str, Any]) -> None:
    out.say(leader_line(document))
    if "handed_over_by" in document:
        out.say(f"{shown(document['handed_over_by'])} handed over in {document['handover_s']} s")
        out.say(f"it does not campaign again until: fleetctl leader --bring-back {shown(document['handed_over_by'])}")
    out.result(document)
