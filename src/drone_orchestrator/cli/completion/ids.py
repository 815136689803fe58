"""Shell completion of the ids of orders, drones and orchestrators, from the running fleet.

A shell waits for the answer while the user types. It comes within a second or not at all, and never with an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from ..output import printable

#: Limit (s) for everything: finding the fleet, asking its store, making the list.
_ANSWER_WITHIN_S = 1.0
_MOST = 200

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(kind: str) -> Complete:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from . import known_ids  # gRPC takes a while to import, and --help needs none

        given = ctx.params
        found: dict[str, str] = {}

        def ask() -> None:
            try:
                found.update(known_ids.find(kind, given.get("endpoints"), given.get("region")))
            except Exception:  # no list is better than a message while the user types
                return

        worker = threading.Thread(target=ask, daemon=True)
        worker.start()
        worker.join(_ANSWER_WITHIN_S)
        if worker.is_alive():
            return []
        fitting = [name for name in found if name.startswith(incomplete)]
        return [CompletionItem(name, help=printable(found[name])) for name in fitting[:_MOST]]

    return complete


order_ids = _completer("orders")
parked_ids = _completer("parked")
drone_ids = _completer("drones")
leader_ids = _completer("leaders")
