"""``fleetctl order …`` and ``fleetctl events``: read and write orders in the store, with or without a leader."""

from __future__ import annotations

import getpass
import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...bringup import fleet_config
from ...bringup.operator_files import FileRefused, decode, json_line, parse_json, read_text
from ...core.admission import KEY_NAMESPACE, InvalidOrder, check_serviceable, parse_order
from ...core.lanes import why_waiting
from ...core.policies import DRONE_SILENT_S
from ...core.types import CancelRequest, CommandAction, OperatorCommand, Order, SagaStatus
from ...core.view import FleetView, OrderView
from ...planning.planner import AssignmentPlanner
from ..context import Target, open_store
from ..live_view import following, show, stale
from ..output import Failure, Output, shown
from .views import (
    as_dict,
    by_age,
    coloured,
    events_as_dicts,
    find,
    order_table,
    orders_table,
    print_timeline,
)

#: Time (s) allowed for the leader to act on an operator's command.
_DECISION_S = 15.0
#: Maximum size of a file of orders, which is read whole.
_MAX_FILE_BYTES = 32 << 20
#: An order is said to wait for a drone only after listening for this long.
_LISTEN_S = 2.0


def submit(out: Output, target: Target, file: Path | None, config: str | None, **fields: Any) -> None:
    """Run ``fleetctl order submit``."""
    if file is not None and any(value is not None for value in fields.values()):
        raise Failure("give a FILE, or one order by --to and --weight, not both")
    text = _read(file) if file else None
    documents = [_from_options(fields)] if text is None else _documents(text, file)
    orders = _check(documents, file, text, config or target.fleet_config)
    answers: list[dict[str, object]] = []
    with open_store(target) as store, out.progress(len(orders), "submitting") as bar:
        for item in orders:
            done = store.submit(item)
            if done.conflict:
                taken = done.conflict if done.conflict == "order_id" or fields["message_id"] else "order_id"
                before = f"; the {len(answers)} before it are accepted" if answers else ""
                raise Failure(f"{item.order_id}: its {taken} is taken by another order{before}")
            view = store.find(done.message_id)
            answers.append(as_dict(view) if view else {"message_id": done.message_id, "order_id": item.order_id})
            word = "accepted" if done.created else "was accepted before"
            out.say(f"{shown(item.order_id)} {word} as {done.message_id}")
            bar.advance(bar.task_ids[0])
    out.result(answers[0] if not file else {"orders": answers})


def _check(documents: list[Any], file: Path | None, text: str | None, config: str) -> list[Order]:
    try:
        spec = fleet_config.load(config)
    except FileRefused as error:
        raise Failure(str(error)) from error
    planner = AssignmentPlanner()
    orders = []
    for number, document in enumerate(documents, 1):
        try:
            item = parse_order(document, now_s=time.time(), new_id=_message_id(document))
            check_serviceable(item, spec, planner.capable)
        except InvalidOrder as error:
            raise Failure(f"{_place(file, text, number, error.field)}{error}") from error
        orders.append(item)
    return orders


def _message_id(document: object) -> str:
    """Return the same id for the same order id, so that a partly submitted file can be submitted again."""
    name = document.get("order_id") if isinstance(document, Mapping) else None
    return str(uuid.uuid5(KEY_NAMESPACE, f"fleetctl {name!a}"))


def show_(out: Output, target: Target, order_id: str) -> None:
    """Run ``fleetctl order show``."""
    with open_store(target) as store:
        view = find(store, order_id)
        history = store.events(view.order.message_id)
    reason = _why_waiting(target, view)
    out.console.print(order_table(view))
    if reason:
        out.say(f"[yellow]waits: {shown(reason)}[/yellow]")
    out.say("")
    print_timeline(out, view, history)
    out.result({**as_dict(view), **({"waits": reason} if reason else {})})


def _why_waiting(target: Target, view: OrderView) -> str | None:
    """Listen to the drones, and return why the order has none; ``None`` if that is not known."""
    from ..ros_session import hearing  # takes a while to import

    if view.status is not SagaStatus.PENDING or view.cancel_requested:
        return None
    try:
        fleet = fleet_config.load(target.fleet_config)
        with hearing(target, "/") as ear:
            ear.wait_quiet(_LISTEN_S)
            drones = ear.drones(None)
    except (FileRefused, FileNotFoundError, Failure):
        return None
    if not drones or fleet.region != target.region:
        return None  # the fleet may be in another DDS domain, or of another description
    living = {report.drone_class for report, age_s in drones.values() if age_s <= DRONE_SILENT_S}
    return why_waiting(fleet, view.order, living, AssignmentPlanner().capable)


def list_(out: Output, target: Target, wanted: str | None, is_open: bool, parked: bool, limit: int, live: bool) -> None:
    """Run ``fleetctl order list``."""

    def chosen(view: FleetView) -> list[OrderView]:
        rows = [row for row in by_age(view) if wanted is None or row.status.value == wanted.upper()]
        rows = [row for row in rows if not is_open or not row.status.is_terminal]
        return [row for row in rows if not parked or row.parked][-limit:]

    if live:
        _list_live(out, target, chosen)
    with open_store(target) as store:
        view = FleetView.of(store.snapshot())
    rows = chosen(view)
    out.console.print(orders_table(rows, time.time()) if rows else "no orders")
    if view.corrupt:
        out.say(f"[red]unreadable:[/red] {shown(', '.join(sorted(view.corrupt)))} (fleetctl doctor says more)")
    out.result({"orders": [as_dict(row) for row in rows]})


def _list_live(out: Output, target: Target, chosen: Any) -> None:
    from rich.console import Group, RenderableType  # with the screen only

    told: dict[str, str] = {}
    with following(target) as follower:

        def draw() -> RenderableType:
            rows, freshness = follower.look(chosen)
            shown_rows = rows[-max(1, out.console.height - 4) :]
            more = f"{len(rows) - len(shown_rows)} older ones above · " if len(rows) > len(shown_rows) else ""
            foot = stale(freshness) or f"[dim]{more}{len(rows)} orders · Ctrl-C ends it[/dim]"
            return Group(orders_table(shown_rows, time.time()) if rows else "no orders", "", foot)

        def lines() -> list[str]:
            news = []
            for row in follower.look(chosen)[0]:
                word = f"{coloured(row.status)} {shown(row.saga.drone_id or '') if row.saga else ''}".rstrip()
                if told.get(row.order.message_id) != word:
                    told[row.order.message_id] = word
                    news.append(f"{shown(row.order.order_id)}  {word}")
            return news

        show(out, follower, draw, lines)


def cancel(out: Output, target: Target, order_id: str) -> None:
    """Run ``fleetctl order cancel``."""
    with open_store(target) as store:
        view = find(store, order_id)
        if view.status.is_terminal:
            raise Failure(f"{order_id} is {view.status.value} already")
        created = store.request_cancel(CancelRequest(view.order.message_id, time.time()))
        view = store.find(view.order.message_id) or view
    out.say("cancellation requested" if created else "cancellation was requested before")
    out.result(as_dict(view))


def retry(out: Output, target: Target, order_id: str) -> None:
    """Run ``fleetctl order retry``."""
    _decide(out, target, order_id, CommandAction.RETRY)


def resolve(out: Output, target: Target, order_id: str, where: str) -> None:
    """Run ``fleetctl order resolve``."""
    _decide(out, target, order_id, CommandAction(where))


def _decide(out: Output, target: Target, order_id: str, action: CommandAction) -> None:
    """Record an operator's command, and wait until the leader has acted on it."""
    with open_store(target) as store:
        before = find(store, order_id)
        if before.saga is None or not before.saga.parked:
            raise Failure(f"{order_id} is {before.status.value} and not parked: there is nothing to decide")
        command = OperatorCommand(before.order.message_id, action, time.time(), _user())
        if not store.request_command(command):
            out.say("a decision waits already; it is carried out first")
        deadline = time.monotonic() + _DECISION_S
        while time.monotonic() < deadline:
            view = FleetView.of(store.snapshot())
            saga = view.saga_of(before.order.message_id)
            if saga is None or saga.event_count > before.saga.event_count:
                after = find(store, order_id)
                out.say(f"{shown(order_id)} is {after.status.value} now")
                out.result(as_dict(after))
                return
            if before.order.message_id not in view.commands:
                raise Failure(f"the leader refused: the drone of {order_id} may still load it, or is not heard")
            time.sleep(0.2)
    raise Failure(f"no leader acted within {_DECISION_S:g} s; the decision stays on record and will be carried out")


def events(out: Output, target: Target, order_id: str) -> None:
    """Run ``fleetctl events``."""
    with open_store(target) as store:
        view = find(store, order_id)
        history = store.events(view.order.message_id)
    print_timeline(out, view, history)
    document = {"message_id": view.order.message_id, "order_id": view.order.order_id}
    out.result({**document, "events": events_as_dicts(history, time.time())})


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            return decode(sys.stdin.buffer.read(_MAX_FILE_BYTES + 1), "-", _MAX_FILE_BYTES)
        return read_text(file, _MAX_FILE_BYTES)
    except FileRefused as error:
        raise Failure(str(error)) from error


def _documents(text: str, file: Path | None) -> list[Any]:
    try:
        document = parse_json(text, file)
    except FileRefused as error:
        raise Failure(str(error)) from error
    if document == []:
        raise Failure(f"{file}: there is no order in it")
    return document if isinstance(document, list) else [document]


def _place(file: Path | None, text: str | None, number: int, field: str) -> str:
    """Return where ``field`` of the order of that number stands, as the beginning of an error; empty without a file."""
    if text is None:
        return ""
    order = f"[{number - 1}]" if text.lstrip().startswith("[") else ""
    line = json_line(text, f"{order}.{field}" if order and field else order or field)
    return f"{file}:{line}: order {number}: "


def _from_options(fields: dict[str, Any]) -> dict[str, object]:
    destination, weight_kg = fields.pop("destination"), fields.pop("weight_kg")
    if destination is None or weight_kg is None:
        raise Failure("give a FILE, or --to LAT,LON and --weight KG")
    try:
        lat, lon = (float(part) for part in destination.split(","))
    except ValueError:
        raise Failure(f"--to: {destination!r} is not LAT,LON") from None
    document: dict[str, object] = {
        "order_id": f"CLI-{uuid.uuid4().hex[:12]}",
        "destination": {"lat": lat, "lon": lon},
        "package_weight_kg": weight_kg,
    }
    document.update({key: value for key, value in fields.items() if value is not None})
    return document


def _user() -> str:
    """Return the name of this user, or its number without an entry in the user database."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError until Python 3.12
        return f"uid {os.getuid()}"
