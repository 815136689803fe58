"""Logs failing calls: one line when a kind of call begins to fail, one when it works again."""

from __future__ import annotations

import logging

from ..ports import StoreDenied


class Outages:
    """Kinds of calls that fail now. Each is logged once when it begins to fail and once when it works again."""

    def __init__(self, logger: logging.Logger) -> None:
        self._log = logger
        self._failing: dict[str, object] = {}
        self.last_failed = False  # the latest call only: a replica that left office never repeats some kinds

    @property
    def failing(self) -> list[str]:
        """Kinds of calls that fail now. Empty if the latest call worked, whatever its kind."""
        return sorted(self._failing) if self.last_failed else []

    @property
    def denied(self) -> str:
        """Refusal of the store's among the failures; empty if there is none."""
        return next((str(error) for error in list(self._failing.values()) if isinstance(error, StoreDenied)), "")

    def note(self, kind: str, error: object | None) -> None:
        """Record that a call of ``kind`` failed with ``error``, or worked (``None``). A race at worst logs it twice."""
        self.last_failed = error is not None
        if error is None:
            if kind in self._failing:
                self._failing.pop(kind, None)
                self._log.info("works again: %s", kind)
        elif kind not in self._failing:
            self._failing[kind] = error
            self._log.warning("could not %s: %s", kind, error)
