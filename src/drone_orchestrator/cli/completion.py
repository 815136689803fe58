"""``fleetctl completion``, and what completes the ids of orders, drones and orchestrators from the running fleet.

A shell waits for the answer while somebody types: it comes within a second or not at all, and never with an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem, get_completion_class

from ..core.types import LeaderRecord, Order, Saga
from ..core.view import FleetView
from ..store import EtcdStore
from .context import find_target
from .output import printable

#: For everything: finding the fleet, asking its store, and making the list.
_ANSWER_WITHIN_S = 1.0
_STORE_TIMEOUT_S = 0.5
_MOST = 200

Pick = Callable[[FleetView], dict[str, str]]
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete fleetctl's commands, options, and the ids of orders and drones.

    \b
    bash:  fleetctl completion bash > ~/.local/share/bash-completion/completions/fleetctl
    zsh:   fleetctl completion zsh > "${fpath[1]}/_fleetctl"
    fish:  fleetctl completion fish > ~/.config/fish/completions/fleetctl.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    maker = found(root, {}, "fleetctl", "_FLEETCTL_COMPLETE")
    click.echo(maker.source_template % maker.source_vars())


def _orders(view: FleetView) -> dict[str, str]:
    """Order ids, those that are open first, each with its status."""
    sagas = [e.value for e in view.sagas.values() if isinstance(e.value, Saga)]
    sagas.sort(key=lambda saga: (saga.status.is_terminal, -saga.updated_at))
    waiting = [e.value for e in view.inbox.values() if isinstance(e.value, Order)]
    return {order.order_id: "PENDING" for order in waiting} | {s.order_id: s.status.value for s in sagas}


def _parked(view: FleetView) -> dict[str, str]:
    sagas = [e.value for e in view.sagas.values() if isinstance(e.value, Saga)]
    return {saga.order_id: saga.reason or "" for saga in sagas if saga.parked}


def _drones(view: FleetView) -> dict[str, str]:
    names = {*view.reservations, *view.breakers}
    names |= {e.value.drone_id for e in view.sagas.values() if isinstance(e.value, Saga) and e.value.drone_id}
    return {name: "has an order" if name in view.reservations else "" for name in sorted(names)}


def _leaders(view: FleetView) -> dict[str, str]:
    record = view.leader.value if view.leader is not None else None
    return {record.holder: "leads"} if isinstance(record, LeaderRecord) else {}


def _completer(pick: Pick) -> Complete:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = ctx.params
        found: dict[str, str] = {}

        def ask() -> None:
            try:
                target = find_target(given.get("endpoints"), given.get("region"))
                store = EtcdStore(target.endpoints.split(","), target.region, timeout_s=_STORE_TIMEOUT_S)
                try:
                    view = FleetView()
                    view.load(store.snapshot())
                    found.update(pick(view))
                finally:
                    store.close()
            except Exception:  # whatever it is: no list is better than a message between somebody's keystrokes
                return

        worker = threading.Thread(target=ask, daemon=True)
        worker.start()
        worker.join(_ANSWER_WITHIN_S)
        if worker.is_alive():
            return []
        fitting = [name for name in found if name.startswith(incomplete)]
        return [CompletionItem(name, help=printable(found[name])) for name in fitting[:_MOST]]

    return complete


order_ids = _completer(_orders)
parked_ids = _completer(_parked)
drone_ids = _completer(_drones)
leader_ids = _completer(_leaders)
