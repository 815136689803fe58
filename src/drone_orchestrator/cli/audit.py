"""``fleetctl audit``: checks I1 to I7 on the store's whole history and on the drones' journals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from ..ports import Store
from ..runtime.drone_journal import read_entries
from ..runtime.journal import JournalError
from ..verification.checker import check
from ..verification.journals import journal_history
from ..verification.records import INVARIANTS, JournalHistory, Report
from .context import Target, json_option, open_store, target_options
from .output import Failure, Output


def read_journals(folder: Path) -> tuple[list[JournalHistory], list[str]]:
    """The journals below ``folder``, whichever drone they are of, and a line for each that cannot be read."""
    found: list[JournalHistory] = []
    unreadable: list[str] = []
    for path in sorted(folder.rglob("*.journal")):
        try:
            identity, entries = read_entries(path)
        except (JournalError, OSError) as error:
            unreadable.append(f"{path}: {error}")
            continue
        found.append(journal_history(path.stem, identity, entries))
    return found, unreadable


def audit_store(store: Store, journals: Sequence[JournalHistory], *, complete: bool) -> Report:
    """Check all that the store still remembers. ``complete``: the run is over, so every order must have ended."""
    return check(store.history(), journals, complete=complete)


def print_report(out: Output, report: Report) -> None:
    """One line per invariant, then the evidence of each violation."""
    table = Table("", "invariant", "violations", box=None)
    for key, count in report.invariants.items():
        mark = "[green]✓" if count == 0 else "[red]✗"
        table.add_row(mark, f"{key} {INVARIANTS[key]}", str(count))
    out.console.print(table)
    for violation in report.violations:
        where = f" (revisions {', '.join(map(str, violation.revisions))})" if violation.revisions else ""
        out.say(f"[red]{violation.invariant}[/red] {violation.text}{where}")


@click.command()
@click.option("--journals", "folder", type=click.Path(path_type=Path, file_okay=False), help="Drones' journals.")
@click.option("--complete", is_flag=True, help="The run is over: every order must have reached its end.")
@target_options
@json_option
def audit(out: Output, target: Target, folder: Path | None, complete: bool) -> None:
    """Check that no order was lost, doubled or left hanging; exit code 1 where one was."""
    if folder is not None and not folder.is_dir():
        raise Failure(f"--journals: {folder} is no folder")
    where = folder or (Path(target.data_dir) if target.data_dir else None)
    journals, unreadable = read_journals(where) if where else ([], [])
    with open_store(target) as store:
        report = audit_store(store, journals, complete=complete)
    out.say(f"{report.orders} orders, {report.events} events, {report.revisions} revisions, {len(journals)} journals")
    print_report(out, report)
    for line in unreadable:
        out.say(f"[yellow]journal not read[/yellow] {line}")
    out.result(
        {
            "orders": report.orders,
            "events": report.events,
            "revisions": report.revisions,
            "journals": len(journals),
            "unreadable_journals": unreadable,
            "invariants": report.invariants,
            "violations": [
                {"invariant": v.invariant, "name": v.name, "text": v.text, "revisions": list(v.revisions)}
                for v in report.violations
            ],
        }
    )
    raise SystemExit(0 if report.ok else 1)
