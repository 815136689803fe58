"""Journal of one drone: entries of :mod:`drone_orchestrator.core.drone.events` in a file of :mod:`.journal`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, get_args

from ..core.drone.events import Closed, Entry, GoalAccepted
from ..core.drone.state import DurableState, IllegalEntry, compact, fold
from ..core.types import GeoPoint, Order, Outcome, Priority
from .journal import Damage, Journal, JournalCorrupt, JournalUnusable, Record, read

#: A journal with more records than this is compacted on opening.
COMPACT_ABOVE_RECORDS = 20_000

#: After a failed write, a journal is used again only if this much more could be written.
HEADROOM_BYTES = 64 * 1024

_ENTRY_TYPES: dict[str, type[Any]] = {entry_type.__name__: entry_type for entry_type in get_args(Entry)}


def encode(entry: Entry) -> Record:
    """Return ``entry`` as a JSON object, with its type under ``entry``."""
    return {"entry": type(entry).__name__, **asdict(entry)}


def decode(record: Record) -> Entry:
    """Return the entry of a record: the inverse of :func:`encode`. Raises :class:`JournalCorrupt`."""
    fields = dict(record)
    try:
        entry_type = _ENTRY_TYPES[fields.pop("entry")]
        if entry_type is GoalAccepted:
            fields["order"] = _order(fields["order"])
        elif entry_type is Closed:
            fields["outcome"] = Outcome(fields["outcome"])
        entry: Entry = entry_type(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalCorrupt(f"not a journal entry ({error}): {record}") from error
    return entry


def read_entries(path: Path) -> tuple[str, list[Entry]]:
    """Read identity and entries of a journal that may be in use, for audits. Raises what :func:`.journal.read` does."""
    contents = read(path)
    return contents.identity, [decode(record) for record in contents.records]


class OpenJournal(Protocol):
    """Open journal: a :class:`.journal.Journal`, or the simulation's journal in memory."""

    identity: str
    records: tuple[Record, ...]
    damage: Damage | None

    def append(self, record: Mapping[str, Any]) -> None: ...

    def rewrite(self, records: Iterable[Mapping[str, Any]], headroom_bytes: int = 0) -> None: ...

    def begin_anew(self, reason: str) -> None: ...

    def close(self) -> None: ...


class DroneJournal:
    """Open journal, and the state that its entries led to when it was opened."""

    def __init__(self, journal: OpenJournal, durable: DurableState) -> None:
        self._journal = journal
        self.durable = durable

    @classmethod
    def open(cls, path: Path, compact_above: int = COMPACT_ABOVE_RECORDS) -> DroneJournal:
        """Open the journal at ``path``; create, repair or compact it if needed. Check :attr:`damage` afterwards.

        Raises :class:`.journal.JournalLocked` and :class:`.journal.JournalUnusable`.
        """
        return cls.recover(Journal.open(path), str(path), compact_above)

    @classmethod
    def reopen(cls, path: Path) -> DroneJournal:
        """Open a journal after a failed write, as :meth:`open` does.

        All records are rewritten, with room for more. Until that succeeds the journal stays closed: the disk may still
        be full, and a record that was read back may exist only in the page cache.
        """
        journal = Journal.open(path)
        try:
            journal.rewrite(journal.records, headroom_bytes=HEADROOM_BYTES)
        except BaseException:
            journal.close()
            raise
        return cls.recover(journal, str(path))

    @classmethod
    def recover(cls, journal: OpenJournal, name: str, compact_above: int = COMPACT_ABOVE_RECORDS) -> DroneJournal:
        """Fold the records of ``journal``, and compact it. An empty journal replaces one with impossible records.

        Raises :class:`.journal.JournalUnusable`.
        """
        try:
            durable = fold(decode(record) for record in journal.records)
            if len(journal.records) > compact_above:
                with suppress(JournalUnusable):  # a long journal works as well as a compact one
                    journal.rewrite(encode(entry) for entry in compact(durable))
        except (JournalCorrupt, IllegalEntry) as error:
            journal.begin_anew(f"{name}: {error}")
            durable = DurableState()
        except BaseException:
            journal.close()
            raise
        return cls(journal, durable)

    @property
    def identity(self) -> str:
        return self._journal.identity

    @property
    def damage(self) -> Damage | None:
        return self._journal.damage

    def append(self, entry: Entry) -> None:
        """Write ``entry``, and return once it is on disk. Raises :class:`.journal.JournalWriteFailed`."""
        self._journal.append(encode(entry))

    def close(self) -> None:
        """Release file and lock. Idempotent."""
        self._journal.close()


def _order(fields: dict[str, Any]) -> Order:
    pickup = fields["pickup"]
    return Order(
        **{
            **fields,
            "destination": GeoPoint(**fields["destination"]),
            "pickup": GeoPoint(**pickup) if pickup else None,
            "priority": Priority(fields["priority"]),
        }
    )
