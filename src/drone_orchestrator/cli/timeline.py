"""The picture of a run: who flew what when, who led, and what was killed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ..core.types import SagaEvent, SagaStatus

if TYPE_CHECKING:
    from .demo import Chronicle

#: Colours that stay apart in grey and for the colour-blind (after Okabe and Ito).
_COLOURS = {
    SagaStatus.ASSIGNED: "#bbbbbb",
    SagaStatus.DISPATCHED: "#56b4e9",
    SagaStatus.LOADING: "#f0e442",
    SagaStatus.IN_TRANSIT: "#009e73",
    SagaStatus.COMPENSATING: "#cc79a7",
}
_LEADERS = ("#0072b2", "#e69f00", "#999999")


def draw(chronicle: Chronicle, path: Path) -> None:
    """Write the picture; it is empty, but there, for a run without events."""
    start = min((event.at for event in chronicle.events), default=0.0)
    end = max((event.at for event in chronicle.events), default=1.0)
    drones = sorted({e.drone_id for e in chronicle.events if e.drone_id}, key=lambda d: (len(d), d))
    figure, (top, main) = plt.subplots(
        2,
        1,
        figsize=(12, 2.4 + 0.42 * max(len(drones), 1)),
        sharex=True,
        height_ratios=(1, max(len(drones), 1)),
        layout="constrained",
    )
    _draw_leaders(top, chronicle, start, end)
    _draw_orders(main, chronicle.events, drones, start)
    for axes in (top, main):
        for at, kind, _ in chronicle.kills:
            axes.axvline(at - start, color="#d55e00", linestyle="-" if kind == "leader" else "--", linewidth=1.5)
    for index, (at, kind, name) in enumerate(chronicle.kills):
        text = "leader killed" if kind == "leader" else f"{name} killed"
        top.annotate(
            text,
            (at - start, 0.5),
            textcoords="offset points",
            xytext=(3, 4 + 11 * (index % 2)),
            fontsize=8,
            color="#d55e00",
        )
    handles = [Patch(color=colour, label=status.value) for status, colour in _COLOURS.items()]
    main.legend(handles=handles, ncols=len(handles), loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    main.set_xlabel("s since the first order was accepted")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_leaders(axes: Axes, chronicle: Chronicle, start: float, end: float) -> None:
    holders = sorted({holder for _, holder, _ in chronicle.leaders})
    changes = [(max(at, start), holder, epoch) for at, holder, epoch in chronicle.leaders]
    killed = [at for at, kind, _ in chronicle.kills if kind == "leader"]
    for index, (at, holder, epoch) in enumerate(changes):
        until = changes[index + 1][0] if index + 1 < len(changes) else end
        until = min([until, *(k for k in killed if k > at)])
        colour = _LEADERS[holders.index(holder) % len(_LEADERS)]
        axes.barh(0, until - at, left=at - start, height=0.8, color=colour)
        axes.text(at - start, 0, f" {holder} · epoch {epoch}", va="center", fontsize=8, color="white")
    axes.set_yticks([0], ["leader"])
    axes.set_ylim(-0.5, 1.6)
    _tidy(axes)


def _draw_orders(axes: Axes, events: list[SagaEvent], drones: list[str], start: float) -> None:
    rows = {drone: row for row, drone in enumerate(reversed(drones))}
    by_order: dict[str, list[SagaEvent]] = {}
    names: dict[str, str] = {}
    for event in events:
        by_order.setdefault(event.message_id, []).append(event)
        if event.order is not None:
            names[event.message_id] = event.order.order_id.rsplit("-", 1)[-1]
    for message_id, history in by_order.items():
        history = sorted(history, key=lambda e: e.n)
        for event, following in itertools.pairwise(history):
            colour = _COLOURS.get(event.to_status)
            if colour is None or event.drone_id not in rows:
                continue
            row = rows[event.drone_id]
            axes.barh(row, following.at - event.at, left=event.at - start, height=0.7, color=colour)
            if event.to_status is SagaStatus.IN_TRANSIT:
                axes.text(event.at - start, row, f" {names.get(message_id, '')}", va="center", fontsize=7)
    axes.set_yticks(list(rows.values()), list(rows))
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
