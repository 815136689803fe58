"""``fleetctl audit``: checks the store's whole history, the drones' journals and archived orders.

It checks I1 to I7, and calls the judges that need nothing but the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ..bringup.plan import ARCHIVE_FOLDER
from ..ports import StoreReader
from ..runtime.drone_journal import read_entries
from ..runtime.journal import JournalError
from ..store.archive import SUFFIX, ArchiveFile, NoArchive, find_archives
from ..verification.archives import ArchiveRecord
from ..verification.checker import check
from ..verification.journals import journal_history
from ..verification.justified_end import JustifiedEnd
from ..verification.park_with_cause import ParkWithCause
from ..verification.records import INVARIANTS, JUDGES, CheckReport, JournalHistory
from .context import Target, open_store
from .output import Failure, Output


class Archives:
    """The archive files of one region below the given paths. Iterating reads them once, order by order."""

    def __init__(self, paths: Sequence[Path], region: str) -> None:
        self.files = 0
        self.torn: list[str] = []
        self.of_others: list[str] = []
        self._region = region
        try:
            # A file may be named twice, or be in a folder that is named as well.
            self._paths = sorted({found.resolve() for path in paths for found in find_archives(path)})
        except NoArchive as error:
            raise Failure(f"--archive: {error}") from error

    def __iter__(self) -> Iterator[ArchiveRecord]:
        for path in self._paths:
            try:
                file = ArchiveFile.open(path)
                if file.region != self._region:
                    self.of_others.append(f"{path}: of region {file.region}")
                    continue
                self.files += 1
                yield from file.records()
            except NoArchive as error:
                yield ArchiveRecord(str(path), damage=str(error))
                continue
            if file.torn_bytes:
                self.torn.append(f"{path}: {file.torn_bytes} bytes of a record that was never finished")


def read_journals(folder: Path) -> tuple[list[JournalHistory], list[str]]:
    """Read all journals below ``folder``. Returns them, and a line for each unreadable one."""
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


def audit_store(
    store: StoreReader,
    journals: Sequence[JournalHistory],
    *,
    complete: bool,
    archive: Iterable[ArchiveRecord] | None = None,
) -> CheckReport:
    """Check the history that the store still has, and the archive.

    ``complete``: the run is over, so every order must have ended.
    """
    history = iter(store.history())
    # The history ends at its first read: what left the store before that is in the archive, which is read later.
    begun = list(islice(history, 1))
    judges = (JustifiedEnd(), ParkWithCause())
    return check(chain(begun, history), journals, complete=complete, archive=archive, judges=judges)


def print_report(out: Output, report: CheckReport) -> None:
    """Print one line per invariant and judge, then the evidence of each violation."""
    table = Table("", "invariant", "violations", box=None)
    names = INVARIANTS | JUDGES
    for key, count in (*report.invariants.items(), *report.judges.items()):
        mark = "[green]✓" if count == 0 else "[red]✗"
        table.add_row(mark, f"{key} {names[key]}", str(count))
    out.console.print(table)
    for violation in report.violations:
        where = f" (revisions {', '.join(map(str, violation.revisions))})" if violation.revisions else ""
        out.say(f"[red]{violation.invariant}[/red] {escape(violation.text)}{where}")


def _say_scope(out: Output, report: CheckReport, journals: int, archive: Archives | None) -> None:
    """Print what was checked, and which archive files were not."""
    out.say(f"{report.orders} orders, {report.events} events, {report.revisions} revisions, {journals} journals")
    if archive is None:
        return
    repeats = f", {report.repeats} archived twice" if report.repeats else ""
    out.say(f"{report.archived} archived orders in {archive.files} files{repeats}")
    for line in (*archive.torn, *archive.of_others):
        out.say(f"[yellow]left out[/yellow] {escape(line)}")


def audit(
    out: Output, target: Target, folder: Path | None, complete: bool, archives: tuple[Path, ...], offline: bool
) -> None:
    """Run ``fleetctl audit``."""
    if folder is not None and not folder.is_dir():
        raise Failure(f"--journals: {folder} is no folder")
    if offline and not archives:
        raise Failure("--offline leaves nothing to check without --archive")
    own = Path(target.data_dir) / ARCHIVE_FOLDER  # of the fleet that runs on this machine
    if target.data_dir and not archives and any(own.glob(f"*{SUFFIX}")):
        archives = (own,)
    archive = Archives(archives, target.region) if archives else None
    # Journals of a running fleet mention orders that its store still has; an archive alone cannot confirm those.
    where = folder or (Path(target.data_dir) if target.data_dir and not offline else None)
    journals, unreadable = read_journals(where) if where else ([], [])
    if offline:
        report = check((), journals, complete=complete, archive=archive)
    else:
        with open_store(target) as store:
            report = audit_store(store, journals, complete=complete, archive=archive)
    _say_scope(out, report, len(journals), archive)
    print_report(out, report)
    for line in unreadable:
        out.say(f"[yellow]journal not read[/yellow] {escape(line)}")
    out.result(_document(report, len(journals), unreadable, archive))
    raise SystemExit(0 if report.ok else 1)


def _document(report: CheckReport, journals: int, unreadable: list[str], archive: Archives | None) -> dict[str, object]:
    return {
        "orders": report.orders,
        "events": report.events,
        "revisions": report.revisions,
        "journals": journals,
        "unreadable_journals": unreadable,
        "archived": report.archived,
        "archived_twice": report.repeats,
        "archive_files": archive.files if archive else 0,
        "invariants": report.invariants,
        "judges": report.judges,
        "violations": [
            {"invariant": v.invariant, "name": v.name, "text": v.text, "revisions": list(v.revisions)}
            for v in report.violations
        ],
    }
