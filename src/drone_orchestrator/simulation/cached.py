"""Client of the in-memory store that shares decoded values with the other clients, since all read the same bytes."""

from __future__ import annotations

from ..core.types import Entry
from ..store import MemoryBackend, MemoryStore
from ..store.kv import KeyValue


class CachedStore(MemoryStore):
    """Store client that shares ``decoded`` (by key and revision) with the others. Entries are immutable."""

    def __init__(
        self,
        backend: MemoryBackend,
        region: str,
        client: str,
        *,
        reservation_ttl_s: float = 10.0,
        decoded: dict[tuple[str, int], Entry],
    ) -> None:
        super().__init__(backend, region, client, reservation_ttl_s=reservation_ttl_s)
        self._decoded = decoded

    def _entry(self, key: str, kv: KeyValue | None, revision: int) -> Entry:
        known = self._decoded.get((key, revision))
        if known is None:
            known = self._decoded[key, revision] = super()._entry(key, kv, revision)
        return known
