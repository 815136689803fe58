"""The small file in which a flight controller keeps what must survive its process."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from .controller import FlightError

#: Time between two writes of the file, besides those that something depends on.
SAVE_PERIOD_S = 1.0

KeptT = TypeVar("KeptT")


class KeptFile(Generic[KeptT]):
    """Reads and replaces the file at ``path``, whose content is one dataclass ``kind`` of numbers. No path, no file.

    Every method raises :class:`FlightError` where the file cannot be used.
    """

    def __init__(self, path: Path | None, kind: type[KeptT]) -> None:
        self._path = path
        self._kind = kind
        self._saved: KeptT | None = None

    def read(self) -> KeptT | None:
        """What was kept; ``None`` where nothing was."""
        if self._path is None:
            return None
        try:
            return self._kind(**json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FlightError(f"{self._path}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise FlightError(
                f"{self._path}: not a flight state ({error}); where is the drone, and is it loaded?"
            ) from error

    def save(self, kept: KeptT, *, durable: bool) -> None:
        """Replace the file in one step; ``durable``: also against power loss."""
        if self._path is None or (kept == self._saved and not durable):
            return
        temporary = self._path.with_name(f"{self._path.name}.new")
        content: dict[str, Any] = asdict(kept)  # type: ignore[call-overload]  # a type variable cannot say "a dataclass"
        try:
            with temporary.open("w", encoding="utf-8") as out:
                json.dump(content, out)
                if durable:
                    out.flush()
                    os.fsync(out.fileno())
            temporary.replace(self._path)
            self._saved = kept
        except OSError as error:
            raise FlightError(f"{self._path}: {error.strerror}") from error
