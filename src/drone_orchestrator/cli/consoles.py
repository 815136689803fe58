"""Consoles and progress bars of rich, for :mod:`.output`."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Line width of output that is not a terminal, so that it is not wrapped.
_WIDE = 1000


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # for `main`, which ends quietly


def of_people(stderr: bool) -> Console:
    """Return the console of people's output, as wide as a line may be if it is no terminal."""
    console = _Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    return console


def progress_bar() -> Progress:
    """Return a bar on stderr, which shows nothing if that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_Console(stderr=True, highlight=False),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
