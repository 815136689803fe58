"""Append-only file that survives the death of its writer at any instant.

One record per line, framed by :mod:`.framing`. The first line is the header. It holds the journal's *identity*, a UUID
created with the file: a drone that returns with another identity has lost its memory.

``append`` returns when the record is on disk. Opening returns when all records are: a process that was killed before
its sync leaves a record that can be read, but that a power loss still takes. A record is written with one call and ends
with its only newline, so a torn write is a last line that is cut short or does not match its CRC. Opening the journal
cuts it off, because its ``append`` never returned. Any other damage means that records are lost on which other
components rely. The file is then kept as ``<name>.corrupt-<n>``, and a journal with a new identity begins.
"""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .framing import Locked, Record, lock_beside, parse_line, record_line, sync_folder, sync_found

FORMAT = "drone_orchestrator.journal"
VERSION = 1


class JournalError(Exception):
    """Base of the errors of a journal. The text is one line."""


class JournalLocked(JournalError):
    """Another process has opened the journal."""


class JournalUnusable(JournalError):
    """The file or its folder cannot be read or written, or a newer program wrote it. Nothing has changed."""


class JournalWriteFailed(JournalError):
    """A record may or may not be on disk. Do nothing that depends on it: stop, and read the journal again."""


class JournalCorrupt(JournalError):
    """Records that were written are damaged or missing."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Damage found on opening. ``kept_as`` is the damaged file, or ``None`` if only a torn tail was cut off."""

    reason: str
    kept_as: Path | None = None

    @property
    def memory_lost(self) -> bool:
        """``True`` if a journal with a new identity began."""
        return self.kept_as is not None


@dataclass(frozen=True, slots=True)
class Contents:
    """Contents of a journal. ``good_bytes`` is the length of its undamaged beginning, ``last_line`` its last line and
    the offset of that."""

    identity: str
    records: tuple[Record, ...]
    good_bytes: int
    torn_bytes: int = 0
    last_line: tuple[int, bytes] = (0, b"")
    header: Record = field(default_factory=dict)


def read(path: Path) -> Contents:
    """Read a journal without lock and without repair, leaving out a torn tail.

    Raises :class:`JournalCorrupt`, or :class:`JournalUnusable` if it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalUnusable(f"{path}: {error.strerror}") from error
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Contents:
    """Parse the bytes of a journal, leaving out a torn tail. Errors call it ``name``.

    Raises :class:`JournalCorrupt`, or :class:`JournalUnusable` if another version wrote it.
    """
    lines = data.split(b"\n")
    tail = lines.pop()  # what follows the last newline: nothing, or a torn record
    parsed = [parse_line(line) for line in lines]
    if parsed and parsed[-1] is None and not tail:
        parsed.pop()
        tail = lines.pop() + b"\n"
    if _holds_two_records(tail):
        raise JournalCorrupt(f"{name}: the end of the last record but one is damaged")
    bad = next((number for number, record in enumerate(parsed, 1) if record is None), None)
    if bad is not None:
        raise JournalCorrupt(f"{name}: line {bad} is damaged")
    header, *records = [record for record in parsed if record is not None] or [{}]
    if header.get("format") != FORMAT or not isinstance(header.get("identity"), str):
        raise JournalCorrupt(f"{name}: the header is damaged")
    if header.get("version") != VERSION:
        raise JournalUnusable(f"{name}: written in format {header.get('version')}, this program knows {VERSION}")
    good_bytes = len(data) - len(tail)
    last = lines[-1] + b"\n"
    return Contents(header["identity"], tuple(records), good_bytes, len(tail), (good_bytes - len(last), last), header)


def header_line(identity: str, found: Mapping[str, Any] | None = None) -> bytes:
    """Return the first line of a journal. ``found``: the header so far, which may have fields of a newer version."""
    return record_line({**(found or {}), "format": FORMAT, "version": VERSION, "identity": identity})


class Journal:
    """Open journal at ``path``, the only one. Not thread-safe. Create it with :meth:`open`."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self.identity = ""
        self.records: tuple[Record, ...] = ()
        self.damage: Damage | None = None
        self._header: Record = {}
        self._lock_fd = lock_fd
        self._fd = -1

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open the journal; create or repair it if needed. It then has ``records``, and ``damage`` if it was damaged.

        Raises :class:`JournalLocked` and :class:`JournalUnusable`.
        """
        journal = cls(path, _lock(path))
        try:
            journal._load()
        except OSError as error:
            journal.close()
            raise JournalUnusable(f"{path}: {error.strerror}") from error
        except JournalError:
            journal.close()
            raise
        return journal

    def append(self, record: Mapping[str, Any]) -> None:
        """Write ``record`` to disk. Raises :class:`JournalWriteFailed`; after that, every call does."""
        if self._fd < 0:
            raise JournalWriteFailed(f"{self.path}: the journal is closed")
        line = record_line(record)
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(0, "only part of the record was written")
            os.fsync(self._fd)
        except OSError as error:
            os.close(self._fd)
            self._fd = -1
            raise JournalWriteFailed(f"{self.path}: {error.strerror}") from error

    def rewrite(self, records: Iterable[Mapping[str, Any]], headroom_bytes: int = 0) -> None:
        """Replace all records atomically and keep the identity. After a crash the file is the old or the new one.

        Raises :class:`JournalUnusable`, also if ``headroom_bytes`` more could not be written. The journal is then
        unchanged.
        """
        self.records = tuple(dict(record) for record in records)
        try:
            self._begin(self.identity, self.records, headroom_bytes)
        except OSError as error:
            raise JournalUnusable(f"{self.path}: {error.strerror}") from error

    def begin_anew(self, reason: str) -> None:
        """Set the file aside and begin an empty journal with a new identity. Raises :class:`JournalUnusable`."""
        try:
            self._keep_aside(reason)
        except OSError as error:
            raise JournalUnusable(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Release file and lock. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        self._fd = self._lock_fd = -1

    def _load(self) -> None:
        if not self.path.exists():
            self._begin(str(uuid.uuid4()), ())
            return
        try:
            contents = read(self.path)
        except JournalCorrupt as error:
            self._keep_aside(str(error))
            return
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        if contents.torn_bytes:
            os.ftruncate(self._fd, contents.good_bytes)
        sync_found(self.path, contents.last_line)
        self.identity, self.records, self._header = contents.identity, contents.records, contents.header
        if contents.torn_bytes:
            self.damage = Damage(
                f"{self.path}: cut off {contents.torn_bytes} bytes of a record that was never finished"
            )

    def _keep_aside(self, reason: str) -> None:
        number = 1
        while (kept_as := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists():
            number += 1
        os.rename(self.path, kept_as)
        self.records, self._header = (), {}
        self.damage = Damage(reason, kept_as)
        self._begin(str(uuid.uuid4()), ())

    def _begin(self, identity: str, records: Iterable[Mapping[str, Any]], headroom_bytes: int = 0) -> None:
        """Put a new file in place atomically, so that its header is never torn."""
        temporary = self.path.with_name(f"{self.path.name}.new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(os.dup(fd), "wb") as out:
                out.write(header_line(identity, self._header))
                out.writelines(record_line(record) for record in records)
            if headroom_bytes:
                good_bytes = os.fstat(fd).st_size
                if os.write(fd, bytes(headroom_bytes)) != headroom_bytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(fd)
                os.ftruncate(fd, good_bytes)
            os.fsync(fd)
            os.rename(temporary, self.path)
            sync_folder(self.path.parent)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                temporary.unlink()  # else it would use up the little space that is left
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.identity = fd, identity


def _holds_two_records(tail: bytes) -> bool:
    """Return whether ``tail`` is two good records with a damaged newline between: no torn write explains that."""
    text = tail[9:].decode(errors="replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return False
    first = 9 + len(text[:end].encode())
    return parse_line(tail[:first]) is not None and parse_line(tail[first + 1 :].rstrip(b"\n")) is not None


def _lock(path: Path) -> int:
    try:
        return lock_beside(path)
    except Locked:
        raise JournalLocked(f"{path}: another process has opened this journal") from None
    except OSError as error:
        raise JournalUnusable(f"{path}: {error.strerror}") from error
