"""``fleetctl order …`` and ``fleetctl events``: orders, straight from and to the store, leader or not."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ..bringup import fleet_config
from ..core.admission import InvalidOrder, check_serviceable, parse_order
from ..core.types import CancelRequest, CommandAction, OperatorCommand, Saga, SagaStatus
from ..core.view import FleetView
from ..planning.planner import AssignmentPlanner
from ..ports import OrderView, Store
from ..store.codec import event_to_dict, order_to_dict, saga_to_dict
from .context import Target, json_option, open_store, target_options
from .output import Failure, Output

_COLOURS = {
    SagaStatus.DELIVERED: "green",
    SagaStatus.FAILED: "red",
    SagaStatus.CANCELLED: "yellow",
    SagaStatus.COMPENSATING: "magenta",
}
#: How long a leader may take to act on a person's decision.
_DECISION_S = 15.0


@click.group()
def order() -> None:
    """Submit, follow and cancel orders."""


@order.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--to", "destination", metavar="LAT,LON", help="Destination, in degrees.")
@click.option("--weight", "weight_kg", metavar="KG", type=float, help="Weight of the package.")
@click.option("--id", "order_id", help="Your name for the order; made up where it is missing.")
@click.option("--priority", type=click.Choice(["low", "normal", "high", "urgent"]))
@click.option("--class", "drone_class", help="Class of drone that shall fly it.")
@click.option("--deadline", "deadline_s", metavar="S", type=float, help="Seconds after which it is worth nothing.")
@click.option("--message-id", help="UUID that makes a repeat harmless.")
@click.option("--config", "config", help="Fleet description to check against.")
@target_options
@json_option
def submit(out: Output, target: Target, file: Path | None, config: str | None, **fields: Any) -> None:
    """Submit one order, or those of a JSON FILE (an order, or a list of them)."""
    documents = _read_orders(file) if file else [_from_options(fields)]
    try:
        spec = fleet_config.load(config)
    except fleet_config.FleetConfigError as error:
        raise Failure(str(error)) from error
    planner = AssignmentPlanner()
    parsed = []
    for number, document in enumerate(documents, 1):
        try:
            item = parse_order(document, now_s=time.time(), new_id=lambda: str(uuid.uuid4()))
            check_serviceable(item, spec, planner.capable)
        except InvalidOrder as error:
            where = f"{file}, order {number}: " if file else ""
            raise Failure(f"{where}{error}") from error
        parsed.append(item)
    answers: list[dict[str, object]] = []
    with open_store(target) as store:
        for item in parsed:
            done = store.submit(item)
            if done.conflict:
                raise Failure(f"{item.order_id}: its {done.conflict} is taken by another order")
            view = store.find(done.message_id)
            answers.append(_as_dict(view) if view else {"message_id": done.message_id, "order_id": item.order_id})
            word = "accepted" if done.created else "was accepted before"
            out.say(f"{item.order_id} {word} as {done.message_id}")
    out.result(answers[0] if not file else {"orders": answers})


@order.command()
@click.argument("order_id")
@target_options
@json_option
def show(out: Output, target: Target, order_id: str) -> None:
    """Show one order by order id or message id."""
    with open_store(target) as store:
        view = _find(store, order_id)
        history = store.events(view.order.message_id)
    document = _as_dict(view)
    table = Table(show_header=False, box=None)
    for key in ("order_id", "message_id", "status", "parked", "attempt", "drone_id", "reason", "cancel_requested"):
        table.add_row(f"[bold]{key}", str(document.get(key) if document.get(key) is not None else "–"))
    out.console.print(table)
    if not out.as_json:
        _print_events(out, [event_to_dict(event) for event in history])
    out.result(document)


@order.command("list")
@click.option("--status", type=click.Choice([s.value for s in SagaStatus], case_sensitive=False))
@click.option("--parked", is_flag=True, help="Only those that wait for a person's decision.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000))
@target_options
@json_option
def list_(out: Output, target: Target, status: str | None, parked: bool, limit: int) -> None:
    """List orders, the newest last."""
    with open_store(target) as store:
        view = FleetView()
        view.load(store.snapshot())
    rows: list[OrderView] = []
    for entry in view.sagas.values():
        if isinstance(entry.value, Saga):
            rows.append(OrderView(entry.value.order, entry.value, entry.id in view.cancels, entry.mod_revision))
    for entry in view.inbox.values():
        if entry.value is not None and hasattr(entry.value, "order_id"):
            rows.append(OrderView(entry.value, None, entry.id in view.cancels, entry.mod_revision))  # type: ignore[arg-type]
    rows = [row for row in rows if status is None or _status(row).value == status.upper()]
    rows = [row for row in rows if not parked or (row.saga is not None and row.saga.parked)]
    rows.sort(key=lambda row: (row.order.submitted_at, row.order.message_id))
    rows = rows[-limit:]
    table = Table("order", "status", "drone", "attempt", "kg", "age", box=None)
    for row in rows:
        state = _status(row)
        saga = row.saga
        table.add_row(
            row.order.order_id,
            f"[{_COLOURS.get(state, 'cyan')}]{state.value}{' (parked)' if saga and saga.parked else ''}",
            (saga.drone_id if saga else None) or "–",
            str(saga.attempt if saga else 0),
            f"{row.order.package_weight_kg:g}",
            f"{time.time() - row.order.submitted_at:.0f} s",
        )
    out.console.print(table if rows else "no orders")
    out.result({"orders": [_as_dict(row) for row in rows]})


@order.command()
@click.argument("order_id")
@target_options
@json_option
def cancel(out: Output, target: Target, order_id: str) -> None:
    """Ask for an order to be cancelled; what comes of it shows in its status."""
    with open_store(target) as store:
        view = _find(store, order_id)
        if _status(view).is_terminal:
            raise Failure(f"{order_id} is {_status(view).value} already")
        created = store.request_cancel(CancelRequest(view.order.message_id, time.time()))
        view = _find(store, order_id)
    out.say("cancellation requested" if created else "cancellation was requested before")
    out.result(_as_dict(view))


@order.command()
@click.argument("order_id")
@target_options
@json_option
def retry(out: Output, target: Target, order_id: str) -> None:
    """Have the compensation of a parked order tried again, say after its drone was mended."""
    _decide(out, target, order_id, CommandAction.RETRY)


@order.command()
@click.argument("order_id")
@click.option(
    "--package",
    "where",
    required=True,
    type=click.Choice([a.value for a in CommandAction if a is not CommandAction.RETRY]),
    help="What became of the package: back in its depot, with the customer, or not to be found.",
)
@target_options
@json_option
def resolve(out: Output, target: Target, order_id: str, where: str) -> None:
    """Say what became of a parked order's package, having looked.

    `returned` lets the order be flown again (or ends it, if it was cancelled); it is refused while its drone could
    still load the package: ground the drone first.
    """
    _decide(out, target, order_id, CommandAction(where))


def _decide(out: Output, target: Target, order_id: str, action: CommandAction) -> None:
    """Put a person's decision on record, and wait until the leader has acted on it."""
    with open_store(target) as store:
        before = _find(store, order_id)
        if before.saga is None or not before.saga.parked:
            raise Failure(f"{order_id} is {_status(before).value} and not parked: there is nothing to decide")
        command = OperatorCommand(before.order.message_id, action, time.time(), getpass.getuser())
        if not store.request_command(command):
            out.say("a decision waits already; it is carried out first")
        deadline = time.monotonic() + _DECISION_S
        while time.monotonic() < deadline:
            view = FleetView()
            view.load(store.snapshot())
            saga = view.saga_of(before.order.message_id)
            if saga is None or saga.event_count > before.saga.event_count:
                after = _find(store, order_id)
                out.say(f"{order_id} is {_status(after).value} now")
                out.result(_as_dict(after))
                return
            if before.order.message_id not in view.commands:
                raise Failure(f"the leader refused: the drone of {order_id} may still load it, or is not heard")
            time.sleep(0.2)
    raise Failure(f"no leader acted within {_DECISION_S:g} s; the decision stays on record and will be carried out")


@order.command()
@click.argument("order_id")
@click.option("--timeout", "timeout_s", default=3600.0, show_default=True, help="Give up after so many seconds.")
@target_options
@json_option
def watch(out: Output, target: Target, order_id: str, timeout_s: float) -> None:
    """Follow one order to its end; exit code 1 where it does not end as DELIVERED."""
    deadline = time.monotonic() + timeout_s
    shown = 0
    with open_store(target) as store:
        while True:
            view = _find(store, order_id)
            history = store.events(view.order.message_id)
            _print_events(out, [event_to_dict(event) for event in history[shown:]])
            shown = len(history)
            if _status(view).is_terminal or time.monotonic() >= deadline:
                break
            time.sleep(0.3)
    out.result(_as_dict(view))
    raise SystemExit(0 if _status(view) is SagaStatus.DELIVERED else 1)


@click.command()
@click.argument("order_id")
@target_options
@json_option
def events(out: Output, target: Target, order_id: str) -> None:
    """Show every event of one order."""
    with open_store(target) as store:
        view = _find(store, order_id)
        history = [event_to_dict(event) for event in store.events(view.order.message_id)]
    _print_events(out, history)
    out.result({"message_id": view.order.message_id, "order_id": view.order.order_id, "events": history})


def _find(store: Store, order_id: str) -> OrderView:
    view = store.find(order_id)
    if view is None:
        raise Failure(f"there is no order {order_id}")
    return view


def _status(view: OrderView) -> SagaStatus:
    return view.saga.status if view.saga else SagaStatus.PENDING


def _as_dict(view: OrderView) -> dict[str, object]:
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


def _print_events(out: Output, history: list[dict[str, Any]]) -> None:
    for event in history:
        when = time.strftime("%H:%M:%S", time.localtime(event["at"])) + f".{int(event['at'] % 1 * 1000):03d}"
        drone = f" by {event['drone_id']}" if event.get("drone_id") else ""
        reason = f" ({event['reason']})" if event.get("reason") else ""
        head = f"{when}  {event['n']:>2}  {event['type']:<14} → {event['to_status']:<12}"
        out.say(f"{head} attempt {event['attempt']}{drone}{reason}  epoch {event['epoch']}")


def _read_orders(file: Path) -> list[Any]:
    def refuse(text: str) -> None:
        raise ValueError(f"{text} is not a number")

    try:
        document = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Failure(f"{file}: not JSON: {error}") from error
    return document if isinstance(document, list) else [document]


def _from_options(fields: dict[str, Any]) -> dict[str, object]:
    destination, weight_kg = fields.pop("destination"), fields.pop("weight_kg")
    if destination is None or weight_kg is None:
        raise Failure("give a FILE, or --to LAT,LON and --weight KG")
    try:
        lat, lon = (float(part) for part in destination.split(","))
    except ValueError:
        raise Failure(f"--to: {destination!r} is not LAT,LON") from None
    document: dict[str, object] = {
        "order_id": fields.pop("order_id") or f"CLI-{uuid.uuid4().hex[:12]}",
        "destination": {"lat": lat, "lon": lon},
        "package_weight_kg": weight_kg,
    }
    document.update({key: value for key, value in fields.items() if value is not None})
    return document
