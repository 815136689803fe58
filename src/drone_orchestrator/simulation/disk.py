"""Journal of a drone in memory: real format and recovery, on bytes that can be torn, damaged and lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from ..core.drone.events import Entry
from ..core.drone.state import DurableState, IllegalEntry, apply
from ..runtime.drone_journal import decode
from ..runtime.journal import Damage, JournalCorrupt, Record, header_line, parse, record_line


class Died(Exception):
    """The drone's program was killed during this append."""


class Disk:
    """Disk of a drone. It survives the program. ``written`` has every record ever durable, by journal identity.

    ``durable`` is the state to which the records of the present journal lead.
    """

    def __init__(self, name: str, rng: Random) -> None:
        self.name = name
        self.data = b""
        self.tear_next = False
        self.durable = DurableState()
        self.written: dict[str, list[Entry]] = {}
        self._rng = rng

    def new_identity(self) -> str:
        identity = f"{self.name}-journal-{len(self.written) + 1}"
        self.written[identity] = []
        self.durable = DurableState()
        return identity

    def append(self, identity: str, record: Mapping[str, Any]) -> None:
        """Write ``record``, or only its beginning if the program dies: then raises :class:`Died`."""
        line = record_line(record)
        kept = self._rng.randint(0, len(line)) if self.tear_next else len(line)
        self.data += line[:kept]
        if kept == len(line):
            entry = decode(dict(record))
            assert entry is not None, "this version writes only what it knows"
            self.written[identity].append(entry)
            with suppress(IllegalEntry):  # a record is missing before it, so the drone's own state differs
                self.durable = apply(self.durable, entry)
        if self.tear_next:
            self.tear_next = False
            raise Died

    def lose(self) -> None:
        """Replace the disk with an empty one."""
        self.data = b""

    def damage(self) -> bool:
        """Damage one byte before the last record. ``False`` if there is only one, as that would look like a tear."""
        end = self.data[:-1].rfind(b"\n")
        if end <= 0:
            return False
        at = self._rng.randrange(end)
        self.data = self.data[:at] + bytes([self.data[at] ^ 0x55]) + self.data[at + 1 :]
        return True


class MemoryJournal:
    """Implements :class:`~drone_orchestrator.runtime.drone_journal.OpenJournal` on a :class:`Disk`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.identity = ""
        self.records: tuple[Record, ...] = ()
        self.damage: Damage | None = None
        if not disk.data:
            self._begin(disk.new_identity(), ())
            return
        try:
            contents = parse(disk.data, disk.name)
        except JournalCorrupt as error:
            self.begin_anew(str(error))
            return
        self.identity, self.records = contents.identity, contents.records
        if contents.torn_bytes:
            disk.data = disk.data[: contents.good_bytes]
            self.damage = Damage(f"{disk.name}: cut off {contents.torn_bytes} bytes")

    def append(self, record: Mapping[str, Any]) -> None:
        self._disk.append(self.identity, record)

    def rewrite(self, records: Iterable[Mapping[str, Any]], headroom_bytes: int = 0) -> None:
        self._begin(self.identity, records)

    def begin_anew(self, reason: str) -> None:
        self.records = ()
        self.damage = Damage(reason, Path(f"{self._disk.name}.corrupt"))
        self._begin(self._disk.new_identity(), ())

    def close(self) -> None:
        """Do nothing: bytes need no closing."""

    def _begin(self, identity: str, records: Iterable[Mapping[str, Any]]) -> None:
        self.identity = identity
        self._disk.data = header_line(identity) + b"".join(record_line(record) for record in records)
