"""What a region's store needs of a key-value store with revisions and leases: vocabulary and driver protocol.

Two drivers implement it, etcd and memory. Everything above it (:mod:`.region`) is shared, so the twins execute the
very same description of each transaction. Keys, compares and operations are named tuples, not data classes: a busy
leader makes some ten thousand of them a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..ports import StoreError, WatchHandle


class Compacted(StoreError):
    """The revision asked for is gone; ``revision`` is the oldest that can still be read."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the store's history starts at revision {revision}")
        self.revision = revision


class LeaseGone(StoreError):
    """A put named a lease that has expired; the transaction changed nothing."""


class Expect(NamedTuple):
    """Compare: the key's mod revision is this. 0: the key does not exist (etcd gives an absent key revision 0)."""

    key: str
    mod_revision: int


class Put(NamedTuple):
    """Write a key; ``lease`` 0: on no lease, whatever it was on before."""

    key: str
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """Delete a key, or all keys in ``[key, end)``."""

    key: str
    end: str = ""


Op = Put | Delete


class KeyValue(NamedTuple):
    """A living key. ``lease`` 0: on none."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """Keys as of one revision; those that do not exist are not in ``found``."""

    revision: int
    found: Mapping[str, KeyValue]


@dataclass(frozen=True, slots=True)
class TxnResult:
    """``succeeded``: applied at ``revision``. Otherwise nothing was, and ``found`` has the compared keys if wanted."""

    succeeded: bool
    revision: int
    found: Mapping[str, KeyValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawChange:
    """All keys that one revision changed; ``None``: the key was deleted or its lease expired."""

    revision: int
    keys: tuple[tuple[str, KeyValue | None], ...]


@dataclass(frozen=True, slots=True)
class WatchSink:
    """Where a watch delivers. ``on_compacted`` takes and delivers a snapshot and returns its revision.

    Of keys that begin with one of ``without`` nothing is told; of the revision that changed them it is.
    """

    on_change: Callable[[RawChange], None]
    on_compacted: Callable[[], int]
    on_health: Callable[[bool], None]
    without: tuple[str, ...] = ()


Span = tuple[str, str]


class KeyValueDriver(Protocol):
    """Every call has a deadline and raises :class:`StoreError` types only (see :mod:`..ports`)."""

    def read(self, keys: Sequence[str]) -> Reading:
        """Several keys at one revision, linearizable."""

    def scan(self, spans: Sequence[Span], revision: int = 0) -> tuple[int, list[KeyValue]]:
        """All keys in ``spans`` ``[first, end)``, sorted, at one revision (0: now). Raises :class:`Compacted`."""

    def ranges(self, spans: Sequence[Span]) -> list[list[KeyValue]]:
        """What is in each of many short spans, sorted, linearizable, in few requests. Spans may differ in revision."""

    def txn(self, expects: Sequence[Expect], ops: Sequence[Op], *, read: bool = True) -> TxnResult:
        """Apply ``ops`` if all of ``expects`` hold, else ``read`` the compared keys. Raises :class:`LeaseGone`.

        Without ``read`` nothing is ``found``; the request is smaller by a third.
        """

    def grant_leases(self, ttl_s: float, count: int) -> list[int]:
        """``count`` new leases, asked for in parallel."""

    def keep_leases(self, leases: Sequence[int]) -> list[bool]:
        """Prolong each; ``False``: expired or revoked. One request for all."""

    def revoke_lease(self, lease: int) -> None:
        """Revoke, deleting what hangs on it; one that is gone already is fine."""

    def watch(self, span: Span, after_revision: int, sink: WatchSink) -> WatchHandle:
        """Deliver changes within ``span`` to ``sink`` on a thread, resuming by itself."""

    def history(self, span: Span, after_revision: int, until_revision: int) -> Iterator[RawChange]:
        """Changes within ``span`` of revisions ``(after, until]``, then end. Raises :class:`Compacted`."""

    def status(self) -> dict[str, object]:
        """For people and health checks."""

    def close(self) -> None:
        """Close connections and stop threads."""
