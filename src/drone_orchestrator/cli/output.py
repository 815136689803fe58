"""Output of every command: text for people through rich, or one JSON object on the last line of stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

#: A longer message is cut.
_SHOWN_CHARS = 400


class Failure(click.ClickException):
    """A usage or precondition error: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        text = " ".join(self.format_message().split())
        print(f"fleetctl: {printable(text)[:_SHOWN_CHARS]}", file=sys.stderr)


class Output:
    """Text and result of a command. With ``as_json``, text goes to stderr and stdout has the JSON object only."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def console(self) -> Console:
        """The console for text."""
        from . import consoles  # rich takes a while to import, and --help needs none

        return consoles.of_people(stderr=self.as_json)

    def say(self, text: str) -> None:
        """Print a line of rich's markup. Escape foreign text first, see :func:`shown`."""
        self.console.print(text)

    def progress(self, total: int | None, what: str) -> Progress:
        """Return a progress bar on stderr, a context manager with one task. It shows nothing outside a terminal."""
        from . import consoles

        bar = consoles.progress_bar()
        bar.add_task(what, total=total)
        return bar

    def result(self, document: Mapping[str, object]) -> None:
        """Print the result for programs. Does nothing without ``--json``."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, allow_nan=False, default=str) + "\n")
            sys.stdout.flush()


def printable(text: str) -> str:
    """Return ``text`` with control characters and lone surrogates escaped."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(text: object) -> str:
    """Return foreign text, safe in rich's markup and on a terminal."""
    from rich.markup import escape

    return escape(printable(str(text)))


def duration(seconds: float) -> str:
    """Format a span of time for people: ``0.08 s``, ``12 s``, ``3 min 04 s``, ``2 h 05 min``, ``3 d 04 h``."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24:02d} h"
