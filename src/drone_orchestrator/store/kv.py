"""Vocabulary and driver protocol of a key-value store with revisions and leases.

Two drivers implement it: etcd and memory. Everything above (:mod:`.region`) is shared, so both execute the same
description of each transaction. Keys, compares and operations are named tuples, not data classes: a busy leader makes
about ten thousand of them per second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..ports import StoreError, StoreUnavailable, WatchHandle


class Compacted(StoreError):
    """The requested revision is compacted; ``revision`` is the oldest readable one."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the store's history starts at revision {revision}")
        self.revision = revision


class LeaseGone(StoreError):
    """A put named an expired lease. The transaction changed nothing."""


class AnotherStore(StoreUnavailable):
    """The store is not the one that was read before: it was emptied, rebuilt or restored. Nothing was changed."""


class Expect(NamedTuple):
    """Expect the key to have this mod revision. 0: the key does not exist (etcd gives an absent key revision 0)."""

    key: str
    mod_revision: int


class Put(NamedTuple):
    """Write a key. ``lease`` 0: without a lease, even if it had one before."""

    key: str
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """Delete a key, or all keys in ``[key, end)``."""

    key: str
    end: str = ""


Op = Put | Delete


class KeyValue(NamedTuple):
    """An existing key. ``lease`` 0: none."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """Keys as of one revision. Absent keys are not in ``found``."""

    revision: int
    found: Mapping[str, KeyValue]


@dataclass(frozen=True, slots=True)
class TxnResult:
    """A transaction, applied at ``revision`` or not at all; then ``found`` has the compared keys, if read."""

    succeeded: bool
    revision: int
    found: Mapping[str, KeyValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawChange:
    """All keys that one revision changed. ``None``: the key was deleted or its lease expired."""

    revision: int
    keys: tuple[tuple[str, KeyValue | None], ...]


class Landmark(NamedTuple):
    """A place in a store's history: a revision, and the newest record that was read up to it.

    The record is the evidence that a store has this place in its history. Another store does not have the same bytes at
    the same revision, even if its revision was raised beyond.
    """

    revision: int
    newest: KeyValue | None = None

    def after(self, change: RawChange) -> Landmark:
        """Return the place after ``change``."""
        put = next((kv for _, kv in change.keys if kv is not None), self.newest)
        return Landmark(change.revision, put)

    def is_in(self, found: KeyValue | None) -> bool:
        """Return whether ``found`` is the newest record of this place."""
        return self.newest is None or (found is not None and found[:3] == self.newest[:3])


@dataclass(frozen=True, slots=True)
class WatchSink:
    """Callbacks of a watch. ``on_compacted`` reads and delivers a snapshot and returns its place; its argument says why
    the store is another one than before, and is empty if it is not known to be.

    Keys with a prefix in ``without`` are left out of changes; their revisions are still delivered.
    """

    on_change: Callable[[RawChange], None]
    on_compacted: Callable[[str], Landmark]
    on_health: Callable[[bool], None]
    without: tuple[str, ...] = ()


Span = tuple[str, str]


class KeyValueDriver(Protocol):
    """A key-value store. Every call has a deadline and raises only :class:`StoreError` types (see :mod:`..ports`)."""

    def read(self, keys: Sequence[str]) -> Reading:
        """Read several keys at one revision, linearizably."""

    def scan(self, spans: Sequence[Span], revision: int = 0) -> tuple[int, list[KeyValue]]:
        """Read all keys in ``spans`` ``[first, end)``, sorted, at one revision (0: now). Raises :class:`Compacted`."""

    def ranges(self, spans: Sequence[Span]) -> list[list[KeyValue]]:
        """Read many short spans, each sorted, linearizably, in few requests. Spans may differ in revision."""

    def txn(self, expects: Sequence[Expect], ops: Sequence[Op], *, read: bool = True) -> TxnResult:
        """Apply ``ops`` if all of ``expects`` hold, else ``read`` the compared keys. Raises :class:`LeaseGone`.

        Without ``read`` nothing is ``found``, and the request is a third smaller.
        """

    def grant_leases(self, ttl_s: float, count: int) -> list[int]:
        """Grant ``count`` new leases in parallel."""

    def keep_leases(self, leases: Sequence[int]) -> list[bool]:
        """Renew leases in one request. ``False``: expired or revoked."""

    def revoke_lease(self, lease: int) -> None:
        """Revoke a lease and delete its keys. Does nothing if the lease no longer exists."""

    def watch(self, span: Span, place: Landmark, sink: WatchSink) -> WatchHandle:
        """Deliver changes within ``span`` after ``place`` to ``sink``, on a thread that resumes after interruptions.

        It resumes only if the store proves that it has the place in its history. If not, the sink starts over.
        """

    def log_lead(self) -> int | None:
        """Return how far the store's log is ahead of its revision; ``None`` if that is not known.

        Every revision takes an entry of the log, so the lead never shrinks while a store lives. A restored store has
        the old revision and a new log: its lead is lower, usually below 0.
        """

    def history(self, span: Span, after_revision: int, until_revision: int) -> Iterator[RawChange]:
        """Yield changes within ``span`` of revisions ``(after, until]``. Raises :class:`Compacted`."""

    def compact(self, revision: int) -> None:
        """Forget the history before ``revision``; do nothing if that is forgotten already."""

    def status(self) -> dict[str, object]:
        """Return the driver's status, for people and health checks: ``db_in_use_bytes`` is the used part of
        ``db_size_bytes``."""

    def close(self) -> None:
        """Close connections and stop threads."""
