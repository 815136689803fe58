"""The mark beside a drone's journal that a person took it out of service. It survives restarts of its process.

The mark is a file of its own, so that it also outlives a journal that is damaged or set aside. It counts as long as it
exists, whatever is in it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from .framing import make_folder, sync_folder


class OutOfServiceMark:
    """The mark at ``path``."""

    def __init__(self, path: Path, wall_clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._wall_clock = wall_clock

    @property
    def is_set(self) -> bool:
        return os.path.lexists(self.path)

    def set(self) -> None:
        """Put the mark on disk, unless it is there. Raises ``OSError``."""
        if self.is_set:
            return
        make_folder(self.path.parent)
        temporary = self.path.with_name(f"{self.path.name}.new")
        with temporary.open("w", encoding="utf-8") as out:
            out.write(json.dumps({"v": 1, "since": self._wall_clock()}))
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(self.path)
        sync_folder(self.path.parent)

    def lift(self) -> None:
        """Remove the mark from disk, if it is there. Raises ``OSError``."""
        if self.is_set:
            self.path.unlink()
            sync_folder(self.path.parent)
