"""Records in files that outlive the death of their writer: a line each, guarded by a CRC; one writer, by a lock.

A line is the CRC-32 of the JSON text in eight hex digits, a blank, the JSON, a newline. A record is whole if and only
if its line fits its CRC, and its newline is the only one in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Locked(Exception):
    """Another process holds the lock."""


def record_line(record: Mapping[str, Any]) -> bytes:
    """``record`` as one line, newline included. ``ValueError`` for a number that JSON has not."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def parse_line(line: bytes) -> Record | None:
    """The record of one line without its newline, ``None`` where it does not fit its CRC."""
    if len(line) < 10 or line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(line[9:]):
        return None
    try:
        record = json.loads(line[9:])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def lock_beside(path: Path) -> int:
    """Make the folder of ``path`` and lock ``<path>.lock`` until the descriptor that is returned is closed.

    The lock is a file of its own, because the guarded file may be replaced, and its lock would go with it. Raises
    :class:`Locked` and ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Locked(str(path)) from None
    return fd


def sync_folder(folder: Path) -> None:
    """Return when the folder's names are on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
