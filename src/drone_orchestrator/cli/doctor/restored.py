"""``fleetctl store restored``: compares a restored store with drones and archive, and ends a hold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.types import CancelRequest, DroneReport, FleetIdentity, Outcome
from ...core.view import GENERATIONS, FleetView, recorded_lead, split_epoch
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
    """Knowledge beside the store. ``ended``: by message id, who knows that the order has ended, and how. ``damaged``:
    records of the archive that cannot be read."""

    ended: dict[str, str]
    highest_epoch: int
    damaged: tuple[str, ...] = ()


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
    if folder is not None and not folder.is_dir():
        raise Failure(f"--journals: {folder} is no folder")
    with open_store(target) as store:
        view = FleetView.of(store.snapshot())
        if view.fleet_key is not None and view.fleet is None and view.fleet_key.value is not None:
            raise Failure("the key `fleet` cannot be read: put its value back; without it no drone knows its fleet")
        if view.fleet is None:
            raise Failure("the store has no fleet yet: start an orchestrator, then run this again")
        reports = [] if without_drones else _heard(target, namespace, view.fleet, wait_s)
        journals, unread = read_journals(folder) if folder is not None else ([], [])
        archive = Archives(archives, target.region) if archives else None
        known = evidence(archive, journals, reports)
        unread += [*known.damaged, *archive.torn, *archive.of_others] if archive else []
        closing = to_close(view, known)
        _show(out, view.fleet, reports, closing, known)
        out.say(f"{len(journals)} journals and {archive.files if archive else 0} archive files were read")
        for line in unread:
            out.say(f"[yellow]not read[/yellow] {shown(line)}")
        document = {"held": view.fleet.held, "closed": sorted(closing), "generation": view.fleet.generation}
        if not yes:
            out.say("nothing was changed; repeat with --yes to close these orders and let the fleet go on")
            out.result({**document, "lifted": False, "unread": unread})
            return
        if unread:
            # What is in them would fly again: an order counts as ended only if something read here says so.
            raise Failure("not all of the evidence could be read: repair it, or move it out of these folders")
        generation = lift(store, closing, known)
    out.say(f"the fleet goes on in generation {generation}")
    out.result({**document, "generation": generation, "lifted": True})


def evidence(
    archive: Archives | None, journals: Iterable[JournalHistory], reports: Iterable[DroneReport]
) -> Evidence:
    """Gather the orders that have ended, and the highest epoch that a drone knows."""
    ended: dict[str, str] = {}
    epochs = [0]
    damaged: list[str] = []
    for record in archive or ():
        if record.damage:
            damaged.append(f"{record.source}: {record.damage}")
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
    return Evidence(ended, max(epochs), tuple(damaged))


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
        if generation >= GENERATIONS:
            raise Failure(f"a drone knows the impossible epoch {known.highest_epoch}: give it a new journal first")
        lead = recorded_lead(snapshot.log_lead)
        fleet = replace(view.fleet, held="", generation=generation, log_lead=lead)
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
