"""Journal of one drone: entries of :mod:`drone_orchestrator.core.drone.events` in a file of :mod:`.journal`.

A newer version may have written it. This version skips fields and entries that it does not know, and never rewrites a
journal that has any: after an upgrade they are all there. An entry whose writer marked it with a true :data:`CRITICAL`
must not be skipped. The drone then stays out of service, and its journal as it is, until the program that wrote it, or
a later one, opens it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol, get_args

from ..core.drone.events import Closed, Entry, FleetJoined, GoalAccepted
from ..core.drone.state import DurableState, IllegalEntry, compact, fold
from ..core.types import GeoPoint, Order, Outcome, Priority
from .journal import Damage, Journal, JournalCorrupt, JournalUnusable, Record, read

#: A journal with more records than this is compacted on opening.
COMPACT_ABOVE_RECORDS = 20_000

#: After a failed write, a journal is used again only if this much more could be written.
HEADROOM_BYTES = 64 * 1024

#: Field of an entry that a version which does not know it must not skip. No entry of this version has it.
CRITICAL = "critical"

_ENTRY_TYPES: dict[str, type[Any]] = {entry_type.__name__: entry_type for entry_type in get_args(Entry)}
_NAMES = {kind: frozenset(field.name for field in fields(kind)) for kind in (*_ENTRY_TYPES.values(), Order, GeoPoint)}


def encode(entry: Entry) -> Record:
    """Return ``entry`` as a JSON object, with its type under ``entry``."""
    record = {"entry": type(entry).__name__, **asdict(entry)}
    if isinstance(entry, FleetJoined) and not entry.assigned:
        del record["assigned"]  # versions without this field write the same
    if isinstance(entry, GoalAccepted):
        del record["order"]["unknown"]  # what the store keeps for newer versions does not travel to drones
    return record


def decode(record: Record) -> Entry | None:
    """Return the entry of a record: the inverse of :func:`encode`. ``None`` if this version does not know its type.

    Raises :class:`JournalCorrupt`, and :class:`JournalUnusable` for an unknown entry that must not be skipped.
    """
    name = record.get("entry")
    entry_type = _ENTRY_TYPES.get(name) if isinstance(name, str) else None
    if record.get(CRITICAL) and (entry_type is None or CRITICAL not in _NAMES[entry_type]):
        raise JournalUnusable(f"entry {name!r} was written by a newer version, which does not allow to skip it")
    if entry_type is None:
        if not isinstance(name, str):
            raise JournalCorrupt(f"not a journal entry: {record}")
        return None
    try:
        known = _known(record, entry_type)
        if entry_type is GoalAccepted:
            known["order"] = _order(known["order"])
        elif entry_type is Closed:
            known["outcome"] = _outcome(known["outcome"])
        entry: Entry = entry_type(**known)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JournalCorrupt(f"not a journal entry ({error}): {record}") from error
    return entry


def is_understood(record: Record) -> bool:
    """Return whether this version knows everything in ``record``, so that rewriting it would lose nothing."""
    entry = decode(record)
    return entry is not None and _covers(encode(entry), record)


def _covers(known: Any, record: Any) -> bool:
    if isinstance(known, dict) and isinstance(record, dict):
        return all(name in known and _covers(known[name], value) for name, value in record.items())
    return bool(known == record)


def read_entries(path: Path) -> tuple[str, list[Entry]]:
    """Read identity and entries of a journal that may be in use, for audits. Raises what :func:`.journal.read` does."""
    contents = read(path)
    return contents.identity, [entry for record in contents.records if (entry := decode(record)) is not None]


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

        Raises :class:`.journal.JournalUnusable`, also if a newer version's records do not make sense to this one.
        """
        try:
            durable = fold(entry for record in journal.records if (entry := decode(record)) is not None)
            if len(journal.records) > compact_above and all(map(is_understood, journal.records)):
                with suppress(JournalUnusable):  # a long journal works as well as a compact one
                    journal.rewrite(encode(entry) for entry in compact(durable))
        except (JournalCorrupt, IllegalEntry) as error:
            if _is_of_newer_version(journal.records):
                journal.close()
                raise JournalUnusable(f"{name}: written by a newer version, not usable by this one: {error}") from error
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


def _is_of_newer_version(records: Iterable[Record]) -> bool:
    """Return whether a record has a type or a field that this version does not know."""
    for record in records:
        entry_type = _ENTRY_TYPES.get(str(record.get("entry")))
        if entry_type is None or not _NAMES[entry_type].issuperset(record.keys() - {"entry"}):
            return True
    return False


def _known(record: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name in _NAMES[kind]}


def _order(record: Mapping[str, Any]) -> Order:
    pickup = record["pickup"]
    return Order(
        **{
            **_known(record, Order),
            "destination": _point(record["destination"]),
            "pickup": _point(pickup) if pickup else None,
            "priority": _priority(record["priority"]),
            "unknown": "",
        }
    )


def _point(record: Mapping[str, Any]) -> GeoPoint:
    return GeoPoint(**_known(record, GeoPoint))


def _priority(number: int) -> Priority:
    """Return the priority; ``NORMAL`` for one of a newer version, because a drone does not act on it."""
    return Priority(number) if number in Priority.__members__.values() else Priority.NORMAL


def _outcome(number: int) -> Outcome:
    """Return the outcome; ``UNSPECIFIED``, which is never reported, for one of a newer version."""
    return Outcome(number) if number in Outcome.__members__.values() else Outcome.UNSPECIFIED
