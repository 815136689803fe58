"""How every command talks: people's output through rich, or one JSON object alone on the last line of stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import click
from rich.console import Console


class Failure(click.ClickException):
    """A usage or precondition error: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        print(f"fleetctl: {' '.join(self.format_message().split())}", file=sys.stderr)


class Output:
    """With ``as_json``, people's output goes to stderr and stdout carries the JSON object only."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text)

    def result(self, document: Mapping[str, object]) -> None:
        """The machine's answer; does nothing without ``--json``."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, allow_nan=False, default=str) + "\n")
            sys.stdout.flush()
