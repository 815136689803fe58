"""Framing of records in files that survive the death of their writer: one line each with a CRC, and a writer's lock.

A line is the CRC-32 of the JSON text in eight hex digits, a space, the JSON, and a newline. A record is whole if and
only if its line matches its CRC and contains no other newline.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Locked(Exception):
    """Another process holds the lock."""


def record_line(record: Mapping[str, Any]) -> bytes:
    """Return ``record`` as one line with its newline. Raises ``ValueError`` for a number that JSON cannot represent."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def parse_line(line: bytes) -> Record | None:
    """Return the record of a line without its newline, or ``None`` if the line does not match its CRC."""
    if len(line) < 10 or line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(line[9:]):
        return None
    try:
        record = json.loads(line[9:])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def lock_beside(path: Path) -> int:
    """Create the folder of ``path`` and lock ``<path>.lock`` until the returned descriptor is closed.

    The lock is a separate file because the guarded file may be replaced. Raises :class:`Locked` and ``OSError``.
    """
    make_folder(path.parent)
    fd = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Locked(str(path)) from None
    return fd


def make_folder(folder: Path) -> None:
    """Create the folder and those above it, so that a power loss cannot take them with all that is written in them."""
    if folder.is_dir():
        return
    if folder != folder.parent:
        make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)


def sync_found(path: Path, last_line: tuple[int, bytes] | None = None) -> None:
    """Make a file that an earlier process left durable, so that its contents can be relied on.

    A process that was killed before its sync may have left them in the page cache only. They can be read until the
    power fails, and vanish after others have acted on them. ``last_line`` is the offset and the bytes of the last
    record: it is written again, because after a *failed* sync the kernel may count a page as written that is not.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC if last_line is None else os.O_WRONLY | os.O_CLOEXEC)
    try:
        if last_line is not None:
            at, line = last_line
            if os.pwrite(fd, line, at) != len(line):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the folder's names to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
