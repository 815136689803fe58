"""``fleetctl top``: the whole fleet on one screen: leader, orders, lanes' load, drones, and what happened last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.rule import Rule

from ..core.types import SagaStatus
from ..core.view import FleetView
from .context import Target
from .drones import drone_rows, drones_table, order_names
from .leader import leader_document, leader_line
from .live_view import Follower, following, show, stale
from .orders.views import by_age, coloured, orders_table
from .output import Output
from .ros_session import hearing

if TYPE_CHECKING:
    from ..ros.fleet_client import FleetListener

#: Lines of the screen besides drones and orders.
_FRAME_LINES = 11


def top(out: Output, target: Target, namespace: str) -> None:
    """Run ``fleetctl top``."""
    with following(target) as follower, hearing(target, namespace) as ear:
        screen = _Screen(out, target, follower, ear)
        show(out, follower, screen.draw, screen.lines)


class _Screen:
    def __init__(self, out: Output, target: Target, follower: Follower, ear: FleetListener) -> None:
        self._out = out
        self._target = target
        self._follower = follower
        self._ear = ear
        self._told = ""

    def draw(self) -> RenderableType:
        picture, freshness = self._follower.look(self._picture)
        rows, orders, counts = picture["drones"], picture["orders"], picture["counts"]
        room = max(4, self._out.console.height - _FRAME_LINES)
        drones_shown = rows[: max(2, room // 2)]
        orders_shown = orders[-max(2, room - len(drones_shown)) :]
        more_drones = f", {len(rows) - len(drones_shown)} not shown" if len(rows) > len(drones_shown) else ""
        more_orders = f", {len(orders) - len(orders_shown)} not shown" if len(orders) > len(orders_shown) else ""
        return Group(
            f"[bold]{self._target.region}[/bold]   {leader_line(picture['leader'])}",
            Columns([f"{coloured(state)} {counts[state]}" for state in SagaStatus], padding=(0, 2)),
            Rule(f"drones: {len(rows)}, {picture['busy']} with an order{more_drones}", align="left"),
            drones_table(drones_shown, picture["names"]) if rows else "[dim]no drone is heard yet[/dim]",
            Rule(f"open orders: {len(orders)}{more_orders}", align="left"),
            orders_table(orders_shown, time.time()) if orders else "[dim]none[/dim]",
            "",
            stale(freshness) or f"[dim]revision {freshness.revision} · Ctrl-C ends it[/dim]",
        )

    def lines(self) -> list[str]:
        picture, _ = self._follower.look(self._picture)
        counts = (
            ", ".join(f"{picture['counts'][s]} {s.value}" for s in SagaStatus if picture["counts"][s]) or "no orders"
        )
        busy = f"{picture['busy']} of {len(picture['drones'])} drones busy"
        line = f"{picture['leader']['holder'] or 'no leader'}; {counts}; {busy}"
        if line == self._told:
            return []
        self._told = line
        return [f"{time.strftime('%H:%M:%S')}  {line}"]

    def _picture(self, view: FleetView) -> dict[str, Any]:
        rows = drone_rows(view, self._ear.drones(view.fleet))
        return {
            "leader": leader_document(view),
            "drones": rows,
            "busy": sum(1 for row in rows if row["message_id"]),
            "names": order_names(view),
            "orders": [row for row in by_age(view) if not row.status.is_terminal],
            "counts": view.counts(),
        }
