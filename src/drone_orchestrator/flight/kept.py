"""The small file in which a flight controller keeps its state across restarts of its process.

It is a convenience: a file that cannot be written never stops a drone. Three things keep it safe to believe:

* A change of payload counts only once it is on disk: a controller calls :meth:`KeptFile.save` with ``durable`` first,
  and reports the change only if that succeeded.
* A durable state is also kept as ``<name>.durable``. It takes over if the file itself is damaged or missing: the
  frequent saves in between are not synced, so a power loss may leave the file empty or torn.
* A state that an earlier process left is made durable before it is used: that process may have died before its sync.
"""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..runtime.framing import sync_folder, sync_found
from .controller import FlightError, Log

#: Time (s) between two writes of the file, besides the durable ones; also between two attempts at a durable one.
SAVE_PERIOD_S = 1.0

KeptT = TypeVar("KeptT")


class KeptFile(Generic[KeptT]):
    """Reads and replaces the file at ``path``, whose content is one dataclass ``kind`` of numbers. No path, no file.

    ``may_forget``: see :class:`~drone_orchestrator.flight.controller.FlightSetup`. ``log`` gets a
    warning about damage and failed writes.
    """

    def __init__(
        self, path: Path | None, kind: type[KeptT], *, may_forget: bool = False, log: Log | None = None
    ) -> None:
        self._path = path
        self._kind = kind
        self._may_forget = may_forget
        self._log: Log = log or logging.getLogger(__name__)
        self._saved: KeptT | None = None
        self._owes_durable = self._fails = False

    def read(self) -> KeptT | None:
        """Return the kept state, ``None`` if there is none.

        Raises :class:`FlightError` if the file and its durable copy are damaged, and ``may_forget`` is off.
        """
        if self._path is None:
            return None
        durable_path = self._durable_path(self._path)
        try:
            return self._parse(self._path)
        except FileNotFoundError:
            if not durable_path.exists():
                return None
            damage = f"{self._path}: the file is missing"
        except (OSError, ValueError, TypeError) as error:
            damage = f"{self._path}: not a flight state ({error})"
        try:
            kept = self._parse(durable_path)
        except (OSError, ValueError, TypeError):
            self._forget(self._path, damage)
            return None
        self._log.warning(f"{damage}; continuing from the last durable state")
        return kept

    def save(self, kept: KeptT, *, durable: bool) -> bool:
        """Replace the file in one step; ``durable``: also against power loss. Return whether it succeeded."""
        if self._path is None or (kept == self._saved and not durable):
            return True
        durable = durable or self._owes_durable
        content = json.dumps(asdict(kept))  # type: ignore[call-overload]  # a type variable cannot say "a dataclass"
        try:
            if durable:
                _replace(self._durable_path(self._path), content, sync=True)
            _replace(self._path, content, sync=durable)
            if durable:
                sync_folder(self._path.parent)
        except OSError as error:
            self._owes_durable = durable
            if not self._fails:
                self._log.warning(
                    f"{self._path}: {error.strerror}; the drone continues without saving its flight state"
                )
            self._fails = True
            return False
        if self._fails:
            self._log.info(f"{self._path}: the flight state is saved again")
        self._saved, self._owes_durable, self._fails = kept, False, False
        return True

    def _forget(self, path: Path, damage: str) -> None:
        if not self._may_forget:
            raise FlightError(f"{damage}; check where the drone is and whether it is loaded")
        number = 1
        while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
            number += 1
        try:
            path.rename(aside)
            self._log.warning(f"{damage}; kept as {aside}, the drone starts anew at the depot")
        except OSError as error:
            self._log.warning(f"{damage}, and cannot be renamed ({error.strerror}); the drone starts anew at the depot")

    def _parse(self, path: Path) -> KeptT:
        sync_found(path)
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known: dict[str, Any] = {}
        for field in fields(self._kind):  # type: ignore[arg-type]
            if field.name not in content:
                continue  # an optional one; the constructor refuses any other
            value = known[field.name] = content[field.name]
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number and not (value is None and "None" in str(field.type)):
                raise ValueError(f"{field.name} is {value!r}")
        return self._kind(**known)

    @staticmethod
    def _durable_path(path: Path) -> Path:
        return path.with_name(f"{path.name}.durable")


def _replace(path: Path, content: str, *, sync: bool) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8") as out:
        out.write(content)
        if sync:
            out.flush()
            os.fsync(out.fileno())
    temporary.replace(path)
