"""Archive of ended orders, in memory, and full at times."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.types import ArchivedOrder
from ..ports import ArchiveUnavailable


class MemoryArchive:
    """Implements :class:`~drone_orchestrator.ports.OrderArchive`; outlives every replica."""

    def __init__(self) -> None:
        self.full = False
        self.orders: dict[str, ArchivedOrder] = {}

    def append(self, orders: Sequence[ArchivedOrder]) -> None:
        if self.full:
            raise ArchiveUnavailable("no space left on device")
        for order in orders:
            self.orders[order.saga.message_id] = order

    def close(self) -> None:
        """Do nothing: memory needs no closing."""
