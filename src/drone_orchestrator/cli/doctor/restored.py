"""``fleetctl store restored``: compares a restored store with drones and archive, and ends a hold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.types import CancelRequest, DroneReport, FleetIdentity, Outcome
from ...core.view import FleetView, split_epoch
from ...ports import StoreInbox
from ...verification.records import JournalHistory
from ..audit import Archives, read_journals
from ..context import Target, open_store
from ..output import Failure, Output, shown
from ..ros_session import hearing

ATTEMPTS = 5
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """Knowledge beside the store. ``ended``: by message id, who knows that the order has ended, and how."""

    ended: dict[str, str]
    highest_epoch: int


def restored(
    out: Output,
    target: Target,
    yes: bool,
    archives: Sequence[Path],
    folder: Path | None,
    namespace: str,
    without_drones: bool,
    wait_s: float,
) -> None:
    """Run ``fleetctl store restored``."""
    with open_store(target) as store:
        view = FleetView.of(store.snapshot())
        if view.fleet is None:
            raise Failure("the store has no fleet yet: start an orchestrator, then run this again")
        reports = [] if without_drones else _heard(target, namespace, view.fleet, wait_s)
        journals = read_journals(folder)[0] if folder is not None else []
        known = evidence(Archives(archives, target.region) if archives else None, journals, reports)
        closing = to_close(view, known)
        _show(out, view.fleet, reports, closing, known)
        document = {"held": view.fleet.held, "closed": sorted(closing), "generation": view.fleet.generation}
        if not yes:
            out.say("nothing was changed; repeat with --yes to close these orders and let the fleet go on")
            out.result({**document, "lifted": False})
            return
        generation = lift(store, closing, known)
    out.say(f"the fleet goes on in generation {generation}")
    out.result({**document, "generation": generation, "lifted": True})


def evidence(
    archive: Archives | None, journals: Iterable[JournalHistory], reports: Iterable[DroneReport]
) -> Evidence:
    """Gather the orders that have ended, and the highest epoch that a drone knows."""
    ended: dict[str, str] = {}
    epochs = [0]
    for record in archive or ():
        if record.order is not None:
            ended[record.order.saga.message_id] = f"{record.order.saga.status.value} in the archive"
    for journal in journals:
        epochs += journal.epochs
        dropped = [message_id for kind, message_id, _ in journal.entries if kind == "dropped"]
        ended |= dict.fromkeys(dropped, f"delivered, in the journal of {journal.drone_id}")
    for report in reports:
        epochs.append(report.highest_epoch)
        delivered = [each.message_id for each in report.outcomes if each.outcome is Outcome.DELIVERED]
        ended |= dict.fromkeys(delivered, f"delivered, as {report.drone_id} reports")
    return Evidence(ended, max(epochs))


def to_close(view: FleetView, known: Evidence) -> dict[str, str]:
    """Return the orders that the store has as open and that have ended, with who knows that."""
    open_ = {each.order.message_id for each in view.orders() if not each.status.is_terminal}
    return {message_id: who for message_id, who in known.ended.items() if message_id in open_}


def lift(store: StoreInbox, closing: dict[str, str], known: Evidence) -> int:
    """Close the orders, then lift the hold. Return the new generation. Every step can be repeated."""
    for message_id, who in closing.items():
        store.request_cancel(CancelRequest(message_id, time.time(), f"ended before the restore: {who}"))
    for _ in range(ATTEMPTS):
        snapshot = store.snapshot()
        view = FleetView.of(snapshot)
        if view.fleet is None or view.fleet_key is None:
            break
        generation = max(view.fleet.generation, split_epoch(known.highest_epoch)[0]) + 1
        fleet = replace(view.fleet, held="", generation=generation, log_lead=snapshot.log_lead)
        if store.lift(fleet, view.fleet_key.mod_revision):
            return generation
    raise Failure("the identity of the fleet keeps changing: run this again")


def _heard(target: Target, namespace: str, fleet: FleetIdentity, wait_s: float) -> list[DroneReport]:
    with hearing(target, namespace) as ear:
        ear.wait_quiet(wait_s)
        return [report for report, _ in ear.drones(fleet).values()]


def _show(
    out: Output, fleet: FleetIdentity, reports: Sequence[DroneReport], closing: dict[str, Any], known: Evidence
) -> None:
    out.say(f"fleet {fleet.fleet_id}, generation {fleet.generation}: {shown(fleet.held) or 'not held'}")
    out.say(f"{len(reports)} drones are heard; the highest epoch they know is {known.highest_epoch}")
    carrying = sorted(report.drone_id for report in reports if report.package_on_board)
    if carrying:
        out.say(f"drones with a package on board: {', '.join(map(shown, carrying))}; see to them first")
    out.say(f"{len(closing)} orders are open in the store and have ended:")
    for message_id, who in sorted(closing.items())[:SHOWN]:
        out.say(f"  {shown(message_id)}: {shown(who)}")
    if len(closing) > SHOWN:
        out.say(f"  and {len(closing) - SHOWN} more")
