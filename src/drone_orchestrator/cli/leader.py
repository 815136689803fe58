"""``fleetctl leader``: the leader as stored, and handover."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from ..core.view import FleetView
from ..ports import StoreReader
from .context import Target, open_store
from .live_view import Follower, following, show, stale
from .output import Failure, Output, duration, shown
from .ros_session import operating

SUCCESSOR_WITHIN_S = 30.0


def leader(out: Output, target: Target, handover: bool, bring_back: str | None, live: bool, namespace: str) -> None:
    """Run ``fleetctl leader``."""
    if live:
        if handover or bring_back:
            raise Failure("--watch cannot be combined with --handover or --bring-back")
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
    """Let an orchestrator campaign again. If it does already, there is nothing to do."""
    with operating(target, namespace) as operator:
        operator.find(name)
        operator.activate(name)
    out.say(f"{shown(name)} campaigns again")


def _hand_over(
    store: StoreReader, target: Target, before: dict[str, Any], namespace: str
) -> tuple[dict[str, Any], float]:
    """Hand over. Returns the next leader, and the time (s) from the request to its election."""
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
    raise Failure(f"no orchestrator took over within {SUCCESSOR_WITHIN_S:g} s: is a standby running?")


def leader_document(view: FleetView) -> dict[str, Any]:
    """Return the leader as JSON; without one, ``holder`` is ``None``."""
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
    """Return the leader as one line."""
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
