"""``fleetctl order watch``: follows one order, or all open orders, to their end."""

from __future__ import annotations

import time
from typing import Any

from ...core.types import Corrupt, SagaEvent, SagaStatus
from ...core.view import FleetView, OrderView
from ...ports import StoreError
from ..context import Target, open_store
from ..live_view import Follower, following, stale
from ..output import Output, shown
from .views import as_dict, by_age, event_line, find

#: Histories read per request.
_BATCH = 50


def watch(out: Output, target: Target, order_id: str | None, timeout_s: float) -> None:
    """Run ``fleetctl order watch``."""
    deadline = time.monotonic() + timeout_s
    if order_id is not None:
        with open_store(target) as store:
            one = find(store, order_id)
            if one.status.is_terminal:  # nothing to follow: print its history
                for event in store.events(one.order.message_id):
                    out.say(event_line(event))
                out.result(as_dict(one))
                raise SystemExit(0 if one.status is SagaStatus.DELIVERED else 1)
    with following(target) as follower:
        watched = Watched(follower, out, one.order.message_id if order_id is not None else None)
        ended = watched.run(deadline)
        orders = watched.orders()
    delivered = all(view.status is SagaStatus.DELIVERED for view in orders)
    document: dict[str, Any] = as_dict(orders[0]) if order_id and orders else {"orders": [as_dict(v) for v in orders]}
    if not ended:
        left = sum(not view.status.is_terminal for view in orders)
        out.say(f"[yellow]not ended within {timeout_s:g} s: {left} of {len(orders)}[/yellow]")
    elif order_id is None:
        out.say(f"{len(orders)} orders ended" if orders else "no order is open")
    out.result(document)
    raise SystemExit(0 if ended and delivered else 1)


class Watched:
    """The followed orders. Prints each event once, even if a gap in the watch hid it."""

    def __init__(self, follower: Follower, out: Output, message_id: str | None) -> None:
        self._follower = follower
        self._out = out
        self._only = message_id
        self._shown: dict[str, int] = {}
        self._last: dict[str, OrderView] = {}
        self._gone: set[str] = set()
        self._warned = False

    def run(self, deadline_s: float) -> bool:
        """Follow until all have ended, which returns true, or until ``deadline_s`` (monotonic)."""
        while True:
            news, freshness = self._follower.look(self._news)
            if warning := stale(freshness):
                if not self._warned:
                    self._out.say(warning)
                self._warned = True
            else:
                self._warned = False
                self._print(news)
                if all(row.status.is_terminal or key in self._gone for key, row in self._last.items()):
                    return True
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return False
            self._follower.wait(min(1.0, remaining_s))

    def orders(self) -> list[OrderView]:
        """Return the followed orders as they are now."""
        return list(self._last.values())

    def _news(self, view: FleetView) -> list[OrderView]:
        """Return the orders with events not yet shown. An order that left the store has ended, seen or not."""
        rows = {row.order.message_id: row for row in by_age(view)}
        for message_id, row in rows.items():
            known = message_id in self._last
            if known or message_id == self._only or (self._only is None and not row.status.is_terminal):
                self._last[message_id] = row
        self._gone = self._last.keys() - rows.keys()
        return [r for m, r in self._last.items() if r.saga and r.saga.event_count > self._shown.get(m, 0)]

    def _print(self, news: list[OrderView]) -> None:
        for start in range(0, len(news), _BATCH):
            rows = news[start : start + _BATCH]
            try:
                histories = self._follower.store.histories([row.order.message_id for row in rows])
            except StoreError:
                return  # unavailable now; they are shown later
            for row, history in zip(rows, histories, strict=True):
                done = self._shown.get(row.order.message_id, 0)
                order_id = row.order.order_id if self._only is None else ""
                for event in history[done:]:
                    unreadable = (
                        f"[red]unreadable event[/red] {shown(event.reason)}" if isinstance(event, Corrupt) else ""
                    )
                    self._out.say(event_line(event, order_id) if isinstance(event, SagaEvent) else unreadable)
                self._shown[row.order.message_id] = len(history)
