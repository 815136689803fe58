"""Files and folders that this process creates for a run and removes at its end.

They are registered here so that a program that must end at once can also remove them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_made: dict[Path, None] = {}


def note(path: Path) -> Path:
    """Register ``path`` for removal, and return it."""
    _made[path] = None
    return path


def remove(path: Path) -> None:
    """Remove a folder with its contents, or a file and then its folder if that is empty.

    Does nothing if the path no longer exists.
    """
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            path.unlink()
            path.parent.rmdir()
        except OSError:
            pass  # it is gone, or there is more in its folder
    _made.pop(path, None)


def noted() -> bool:
    """Return whether anything is left to remove."""
    return bool(_made)


def remove_all() -> None:
    """Remove everything registered."""
    for path in list(_made):
        remove(path)


def new_folder(prefix: str = "drone_orchestrator_", where: Path | None = None) -> Path:
    """Create a temporary folder and register it."""
    return note(Path(tempfile.mkdtemp(prefix=prefix, dir=where)))


@contextmanager
def temporary_folder(prefix: str = "drone_orchestrator_", where: Path | None = None) -> Iterator[Path]:
    """Create a temporary folder that is removed at the end of the block."""
    folder = new_folder(prefix, where)
    try:
        yield folder
    finally:
        remove(folder)
