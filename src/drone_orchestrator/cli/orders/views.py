"""Orders and their events as text and as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from ...core.types import SagaEvent, SagaStatus
from ...core.view import FleetView, OrderView
from ...ports import StoreReader
from ...store.codec import event_to_dict, order_to_dict, saga_to_dict
from ..output import Failure, Output, duration, shown

COLOURS = {
    SagaStatus.DELIVERED: "green",
    SagaStatus.FAILED: "red",
    SagaStatus.CANCELLED: "yellow",
    SagaStatus.COMPENSATING: "magenta",
}
_BAR_CELLS = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def find(store: StoreReader, order_id: str) -> OrderView:
    """Find one order by either id. Raises :class:`Failure` if there is none."""
    view = store.find(order_id)
    if view is None:
        raise Failure(f"there is no order {order_id} (fleetctl order list shows those that there are)")
    return view


def coloured(state: SagaStatus, text: str = "") -> str:
    """Return the status, or ``text`` in its colour."""
    return f"[{COLOURS.get(state, 'cyan')}]{text or state.value}[/]"


def as_dict(view: OrderView) -> dict[str, object]:
    """Return the order as a document: its saga in its stored form, or the same main fields before it has a saga."""
    if view.saga is not None:
        document = dict(saga_to_dict(view.saga))
    else:
        document = {
            "message_id": view.order.message_id,
            "order_id": view.order.order_id,
            "status": SagaStatus.PENDING.value,
            "attempt": 0,
            "drone_id": None,
            "reason": None,
            "parked": False,
            "order": order_to_dict(view.order),
            "created_at": view.order.submitted_at,
            "updated_at": view.order.submitted_at,
        }
    document["cancel_requested"] = view.cancel_requested
    return document


def by_age(view: FleetView) -> list[OrderView]:
    """Return every readable order of the region, the oldest first."""
    return sorted(view.orders(), key=lambda row: (row.order.submitted_at, row.order.message_id))


def orders_table(rows: Iterable[OrderView], now_s: float) -> Table:
    """Return a table with a line per order; ages as of ``now_s`` (wall clock)."""
    table = Table("order", "status", "drone", "attempt", "kg", "priority", "in state", "age", box=None)
    for row in rows:
        saga, state = row.saga, row.status
        notes = [" (parked)"] if saga and saga.parked else []
        if row.cancel_requested and not state.is_terminal:
            notes.append(" (cancelling)")
        since_s = saga.updated_at if saga else row.order.submitted_at
        table.add_row(
            shown(row.order.order_id),
            coloured(state, f"{state.value}{''.join(notes)}"),
            shown((saga.drone_id if saga else None) or "–"),
            str(saga.attempt if saga else 0),
            f"{row.order.package_weight_kg:g}",
            row.order.priority.name.lower(),
            "–" if state.is_terminal else duration(max(0.0, now_s - since_s)),
            duration(max(0.0, now_s - row.order.submitted_at)),
        )
    return table


def order_table(view: OrderView) -> Table:
    """Return a table with all fields of one order."""
    document, order = as_dict(view), view.order
    table = Table(show_header=False, box=None)

    def row(name: str, value: object) -> None:
        table.add_row(f"[bold]{name}", shown("–" if value is None or value == "" else value))

    row("order_id", order.order_id)
    row("message_id", order.message_id)
    table.add_row("[bold]status", coloured(view.status))
    for name in ("parked", "attempt", "drone_id", "reason", "cancel_requested"):
        row(name, document.get(name))
    row("destination", f"{order.destination.lat_deg:.5f}, {order.destination.lon_deg:.5f}")
    row("weight", f"{order.package_weight_kg:g} kg")
    row("priority", order.priority.name.lower())
    row("drone_class", order.drone_class)
    row("deadline", f"{order.deadline_s:g} s after it was submitted" if order.deadline_s is not None else None)
    row("submitted", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(order.submitted_at)))
    return table


def lasted_s(history: Sequence[SagaEvent], now_s: float) -> list[float]:
    """Return the duration (s) of the state after each event, until the next one or now.

    It is 0 after the last event of an ended order.

    Leaders date events by their own clocks, which may differ: a negative duration counts as 0.
    """
    ends = [event.at for event in history[1:]]
    if history:
        ends.append(history[-1].at if history[-1].to_status.is_terminal else now_s)
    return [max(0.0, end - event.at) for event, end in zip(history, ends, strict=True)]


def events_as_dicts(history: Sequence[SagaEvent], now_s: float) -> list[dict[str, Any]]:
    """Return the stored records, each with ``lasted_s``."""
    spans_s = lasted_s(history, now_s)
    return [{**event_to_dict(e), "lasted_s": round(s, 3)} for e, s in zip(history, spans_s, strict=True)]


def timeline(history: Sequence[SagaEvent], now_s: float) -> Table:
    """Return a table with a line per event: time, type, resulting state and its duration."""
    spans_s = lasted_s(history, now_s)
    longest_s = max(spans_s, default=0.0)
    table = Table("when", "after", "event", "state", "lasted", "", "attempt", "drone", "epoch", "reason", box=None)
    table.columns[1].justify = table.columns[4].justify = "right"
    for event, span_s in zip(history, spans_s, strict=True):
        table.add_row(
            clock(event.at),
            f"+{duration(max(0.0, event.at - history[0].at))}",
            event.type,
            coloured(event.to_status),
            "" if event.to_status.is_terminal else duration(span_s),
            bar(span_s / longest_s if longest_s else 0.0),
            str(event.attempt),
            shown(event.drone_id or "–"),
            str(event.epoch),
            shown(event.reason or ""),
        )
    return table


def print_timeline(out: Output, view: OrderView, history: Sequence[SagaEvent]) -> None:
    """Print the timeline and its total."""
    if not history:
        out.say("no events yet: the order waits in the inbox for a leader")
        return
    now_s = time.time()
    out.console.print(timeline(history, now_s))
    whole_s = (history[-1].at if view.status.is_terminal else now_s) - history[0].at
    word = "after" if view.status.is_terminal else "for"
    attempts = f", {history[-1].attempt} attempts" if history[-1].attempt > 1 else ""
    out.say(f"{coloured(view.status)} {word} {duration(max(0.0, whole_s))}{attempts}")


def event_line(event: SagaEvent, order_id: str = "") -> str:
    """Return an event as one line, for a live view."""
    who = f"{shown(order_id)}  " if order_id else ""
    drone = f" by {shown(event.drone_id)}" if event.drone_id else ""
    reason = f" ({shown(event.reason)})" if event.reason else ""
    state = coloured(event.to_status, f"{event.to_status.value:<12}")
    head = f"{clock(event.at)}  {who}{event.n:>2}  {event.type:<14} → {state}"
    return f"{head} attempt {event.attempt}{drone}{reason}  epoch {event.epoch}"


def clock(at_s: float) -> str:
    """Return the local time of day, to the millisecond."""
    return time.strftime("%H:%M:%S", time.localtime(at_s)) + f".{int(at_s % 1 * 1000):03d}"


def bar(share: float) -> str:
    """Return a bar of ``share`` (0 to 1) of the full length, to an eighth of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR_CELLS * 8)
    return _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
