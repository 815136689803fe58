"""Files and folders that this process made for a run and removes at its end.

They are noted here so that a program that has to end at once can remove them, too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_made: dict[Path, None] = {}


def note(path: Path) -> Path:
    """Note that ``path`` is to be removed, and return it."""
    _made[path] = None
    return path


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, or a file and then its folder if that is empty.

    A path that is gone already is fine.
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
    """Remove everything that is noted."""
    for path in list(_made):
        remove(path)


def new_folder(prefix: str = "drone_orchestrator_", where: Path | None = None) -> Path:
    """Make a temporary folder, and note it."""
    return note(Path(tempfile.mkdtemp(prefix=prefix, dir=where)))


@contextmanager
def temporary_folder(prefix: str = "drone_orchestrator_", where: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder that is removed at the end of the block."""
    folder = new_folder(prefix, where)
    try:
        yield folder
    finally:
        remove(folder)
