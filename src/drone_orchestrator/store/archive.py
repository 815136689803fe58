"""The archive: append-only files with the complete history of every order that has left the store.

Each line holds one order, framed by :mod:`drone_orchestrator.runtime.framing`. The first line of a file is its header;
the others are numbered from 1, so that a removed line shows. Files are named ``<region>.<writer>.<number>.archive``. A
writer has one file open, begins the next when it is full, and never touches a full one again. An order stays in the
store until :meth:`ArchiveWriter.append` has returned, so a torn last line loses nothing; the next writer cuts it off.
"""

from __future__ import annotations

import glob
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.types import ArchivedOrder
from ..ports import ArchiveUnavailable
from ..runtime.framing import Locked, Record, lock_beside, parse_line, record_line, sync_folder, sync_found
from ..verification.archives import ArchiveRecord
from .codec import event_from_dict, event_to_dict, saga_from_dict, saga_to_dict
from .keys import check_id

FORMAT = "drone_orchestrator.archive"
VERSION = 1
SUFFIX = ".archive"
SEGMENT_BYTES = 16 * 1024**2


class NoArchive(Exception):
    """The file is not an archive, or this program cannot read it. The message names the file and the reason."""


@dataclass(slots=True)
class ArchiveFile:
    """One file of an archive, opened for reading.

    After ``records`` is exhausted, ``torn_bytes`` is the length of an unfinished last record, and ``ends_cleanly``
    is true if the last complete record has its newline.
    """

    path: Path
    region: str
    torn_bytes: int = 0
    ends_cleanly: bool = True

    @classmethod
    def open(cls, path: Path) -> ArchiveFile:
        """Open ``path``. Raises :class:`NoArchive`."""
        try:
            with path.open("rb") as file:
                header = parse_line(file.readline().rstrip(b"\n")) or {}
        except OSError as error:
            raise NoArchive(f"{path}: {error.strerror}") from error
        if header.get("format") != FORMAT or not isinstance(header.get("region"), str):
            raise NoArchive(f"{path}: not an archive of orders, or its header is damaged")
        if header.get("version") != VERSION:
            raise NoArchive(f"{path}: written in format {header.get('version')}, this program knows {VERSION}")
        return cls(path, header["region"])

    def records(self) -> Iterator[ArchiveRecord]:
        """Yield every order and every damaged line in the file. Raises :class:`NoArchive`."""
        expected = 1
        for number, record in self._lines():
            source = f"{self.path}:{number}"
            if record is None:
                expected += 1
                yield ArchiveRecord(source, damage="the line does not match its checksum")
                continue
            n = record.get("n")
            if n != expected:
                yield ArchiveRecord(source, damage=f"must be record {expected}, got record {n}")
            expected = n + 1 if isinstance(n, int) else expected + 1
            try:
                yield ArchiveRecord(source, order=_from_record(record))
            except ValueError as error:
                yield ArchiveRecord(source, damage=f"unreadable: {error}")

    def _lines(self) -> Iterator[tuple[int, Record | None]]:
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    whole = parse_line(line.removesuffix(b"\n"))
                    if number > 1 and line.endswith(b"\n"):
                        yield number, whole
                    elif number > 1 and (whole or parse_line(line[:-1])):
                        # Only the newline is missing or damaged.
                        self.ends_cleanly = False
                        yield number, whole
                    elif number > 1:
                        self.torn_bytes = len(line)
        except OSError as error:
            raise NoArchive(f"{self.path}: {error.strerror}") from error


class ArchiveWriter:
    """Appends to the archive in ``folder``. Opens no file before the first order. Not thread-safe.

    ``writer`` is the name of the writing replica. Only one process at a time may use a name.
    """

    def __init__(
        self,
        folder: Path,
        region: str,
        writer: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._region = check_id(region, "region")
        self._stem = f"{region}.{re.sub(r'[^A-Za-z0-9_-]', '_', writer)}"
        self._segment_bytes = segment_bytes
        self._wall_clock = wall_clock
        self._lock_fd = self._fd = -1
        self._size = self._records = 0

    def append(self, orders: Sequence[ArchivedOrder]) -> None:
        """See :meth:`drone_orchestrator.ports.OrderArchive.append`."""
        try:
            if self._fd < 0:
                self._open()
            at = self._wall_clock()
            lines = (_to_record(order, n, at) for n, order in enumerate(orders, self._records + 1))
            self._write(b"".join(map(record_line, lines)))
        except Locked as error:
            raise ArchiveUnavailable(f"{error}: another process is writing to this archive") from error
        except OSError as error:
            raise ArchiveUnavailable(f"{error.filename or self._folder / self._stem}: {error.strerror}") from error
        self._records += len(orders)
        if self._size >= self._segment_bytes:
            self._close_file()

    def close(self) -> None:
        """Release file and lock. Idempotent."""
        self._close_file()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
            os.fsync(self._fd)
        except OSError:
            # An unknown part is on disk. The next file repeats the records, which is harmless.
            self._close_file()
            raise
        self._size += len(data)

    def _open(self) -> None:
        """Continue the last file of an earlier process, or begin a new one. A file that failed is not used again."""
        is_first = self._lock_fd < 0
        if is_first:
            self._lock_fd = lock_beside(self._folder / self._stem)
        numbers = (_number(path) for path in self._folder.glob(f"{glob.escape(self._stem)}.*{SUFFIX}"))
        number = max(numbers, default=0)
        if not (is_first and number and self._go_on(self._path(number))):
            self._begin(self._path(number + 1))

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._stem}.{number:06d}{SUFFIX}"

    def _go_on(self, path: Path) -> bool:
        """Open the last file and cut off a torn tail. ``False``: it is full or damaged, and is not changed."""
        if path.stat().st_size >= self._segment_bytes:
            return False
        try:
            file = ArchiveFile.open(path)
            records = list(file.records())
        except NoArchive:
            return False
        if not file.ends_cleanly or any(record.damage for record in records):
            return False
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            self._size = os.fstat(fd).st_size - file.torn_bytes
            if file.torn_bytes:
                os.ftruncate(fd, self._size)
            sync_found(path)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._records = fd, len(records)
        return True

    def _begin(self, path: Path) -> None:
        """Create a new file with its header, atomically: a header is never torn."""
        header = record_line(
            {"format": FORMAT, "version": VERSION, "identity": str(uuid.uuid4()), "region": self._region}
        )
        temporary = path.with_name(f"{path.name}.new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            if os.write(fd, header) != len(header):
                raise OSError(0, "only part of the header was written", str(temporary))
            os.fsync(fd)
            os.rename(temporary, path)
            sync_folder(self._folder)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._size, self._records = fd, len(header), 0

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def find_archives(path: Path) -> list[Path]:
    """Return the file itself, or all archive files below a folder. Raises :class:`NoArchive` if there is none."""
    found = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path] if path.exists() else []
    if not found:
        raise NoArchive(f"{path}: contains no archive")
    return found


def _number(path: Path) -> int:
    digits = path.name.removesuffix(SUFFIX).rpartition(".")[2]
    return int(digits) if digits.isdecimal() else 0


def _to_record(order: ArchivedOrder, n: int, at: float) -> Record:
    return {
        "n": n,
        "archived_at": at,
        "revision": order.revision,
        "age_s": round(order.age_s, 3),
        "retention_s": order.retention_s,
        "saga": saga_to_dict(order.saga),
        "events": [event_to_dict(event) for event in order.events],
    }


def _from_record(record: Record) -> ArchivedOrder:
    revision, events = record.get("revision"), record.get("events")
    if not isinstance(revision, int) or isinstance(revision, bool) or not isinstance(events, list):
        raise ValueError("revision or events are missing")
    saga = saga_from_dict(record.get("saga"))
    age_s, retention_s = _seconds(record.get("age_s")), _seconds(record.get("retention_s"))
    return ArchivedOrder(saga, tuple(map(event_from_dict, events)), revision, age_s, retention_s)


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
