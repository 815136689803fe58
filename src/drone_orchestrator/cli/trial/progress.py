"""Progress of a run: a live table in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.live import Live
from rich.table import Table

from ...core.types import SagaStatus
from ..output import Output
from .run_record import Observer

_LINE_PERIOD_S = 5.0


class Display:
    """Progress display, a context manager. ``caption`` adds to the counts of orders. Call :meth:`update` often."""

    def __init__(self, out: Output, observer: Observer, caption: Callable[[], str]) -> None:
        self._out = out
        self._observer = observer
        self._caption = caption
        self._said_at_s = 0.0
        self._live = Live(console=out.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Display:
        self._live.__enter__()
        self.update()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def update(self) -> None:
        if self._out.console.is_terminal:
            self._live.update(self._table())
        elif time.monotonic() - self._said_at_s >= _LINE_PERIOD_S:
            self._said_at_s = time.monotonic()
            self._out.say(f"{self._caption()}: {line(self._observer)}")

    def _table(self) -> Table:
        counts = self._observer.counts()
        table = Table(title="orders", box=None, title_justify="left")
        for status in SagaStatus:
            table.add_column(status.value, justify="right")
        table.add_row(*(str(counts[status]) for status in SagaStatus))
        table.caption = f"{self._caption()} · leader: {self._observer.leader() or '[red]none[/red]'}"
        return table


def line(observer: Observer) -> str:
    """Return the number of orders by status, in words."""
    counts = observer.counts()
    return ", ".join(f"{counts[status]} {status.value}" for status in SagaStatus if counts[status]) or "–"
