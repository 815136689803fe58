"""Picture of a run: leaders, drones and their orders, faults and their targets over time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ...core.types import SagaEvent, SagaStatus

if TYPE_CHECKING:
    from .run_record import Fault, RunRecord

#: Colours that differ in grey and for the colour-blind (after Okabe and Ito).
_COLOURS = {
    SagaStatus.ASSIGNED: "#bbbbbb",
    SagaStatus.DISPATCHED: "#56b4e9",
    SagaStatus.LOADING: "#f0e442",
    SagaStatus.IN_TRANSIT: "#009e73",
    SagaStatus.COMPENSATING: "#cc79a7",
}
_LEADERS = ("#0072b2", "#e69f00", "#999999")
_FAULT_COLOURS = {
    "kill": "#d55e00",
    "restart": "#e69f00",
    "hang": "#cc79a7",
    "etcd_cut": "#0072b2",
    "etcd_slow": "#56b4e9",
    "etcd_kill": "#000000",
    "etcd_pause": "#777777",
    "dds_cut": "#009e73",
}
_ROW_IN = 0.42
_FAULT_ROW_IN = 0.28


def draw(record: RunRecord, path: Path) -> None:
    """Write the picture; a run without events gives an empty one."""
    start = min((event.at for event in record.events), default=0.0)
    end = max((event.at for event in record.events), default=1.0)
    drones = sorted({e.drone_id for e in record.events if e.drone_id}, key=lambda d: (len(d), d))
    targets = sorted({fault.target for fault in record.faults})
    heights = (0.8, _ROW_IN * max(len(drones), 1), _FAULT_ROW_IN * max(len(targets), 1))
    width_in = min(max(12.0, 0.16 * (end - start)), 40.0)
    figure, (top, main, below) = plt.subplots(
        3, 1, figsize=(width_in, 2.0 + sum(heights)), sharex=True, height_ratios=heights, layout="constrained"
    )
    _draw_leaders(top, record, start, end)
    _draw_orders(main, record.events, drones, start)
    _draw_faults(below, record.faults, targets, start)
    for fault in record.faults:
        if fault.leader:
            for axes in (top, main):
                axes.axvline(fault.at - start, color=_FAULT_COLOURS[fault.kind], linewidth=1.0, alpha=0.7)
    kinds = [kind for kind in _FAULT_COLOURS if any(fault.kind == kind for fault in record.faults)]
    handles = [Patch(color=colour, label=status.value) for status, colour in _COLOURS.items()]
    figure.legend(handles=handles, ncols=len(handles), loc="outside upper center", frameon=False)
    handles = [Patch(color=_FAULT_COLOURS[kind], label=kind) for kind in kinds]
    if handles:
        figure.legend(handles=handles, ncols=len(handles), loc="outside lower center", frameon=False)
    below.set_xlabel("s since the first order was accepted")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_faults(axes: Axes, faults: list[Fault], targets: list[str], start: float) -> None:
    """Draw a bar per fault in the row of its target; a star marks the leader at that time."""
    rows = {target: row for row, target in enumerate(reversed(targets))}
    for fault in faults:
        row, colour = rows[fault.target], _FAULT_COLOURS[fault.kind]
        axes.barh(row, fault.hold_s, left=fault.at - start, height=0.6, color=colour)
        if fault.leader:
            axes.text(fault.at - start, row, "★", va="center", ha="right", fontsize=8, color=colour)
    axes.set_yticks(list(rows.values()), list(rows), fontsize=8)
    axes.set_ylabel("faults (★ leader)", fontsize=8)
    _tidy(axes)


def _draw_leaders(axes: Axes, record: RunRecord, start: float, end: float) -> None:
    holders = sorted({holder for _, holder, _ in record.leaders})
    changes = [(max(at, start), holder, epoch) for at, holder, epoch in record.leaders]
    killed = [fault.at for fault in record.faults if fault.leader and fault.is_final]
    for index, (at, holder, epoch) in enumerate(changes):
        until = changes[index + 1][0] if index + 1 < len(changes) else end
        until = min([until, *(k for k in killed if k > at)])
        colour = _LEADERS[holders.index(holder) % len(_LEADERS)]
        (bar,) = axes.barh(0, until - at, left=at - start, height=0.8, color=colour)
        text = axes.text(
            at - start, 0, f" {holder} · epoch {epoch}", va="center", fontsize=8, color="white", clip_on=True
        )
        text.set_clip_path(bar)
    axes.set_yticks([0], ["leader"])
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
