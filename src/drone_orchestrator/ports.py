"""What the drivers of the core need from the outside, as protocols.

Store semantics, for every implementation: a method either returns, or raises :class:`StoreUnavailable` (nothing was
changed) or :class:`FateUnknown` (it may have happened). Every call has a deadline. Nothing blocks for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .core.changes import Change, Fate
from .core.types import (
    ArchivedOrder,
    CancelRequest,
    Corrupt,
    Kind,
    LeaderRecord,
    OperatorCommand,
    Order,
    Saga,
    SagaEvent,
    Snapshot,
    StoreChange,
)


class StoreError(Exception):
    """Base of what a store raises."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or has no quorum; the call changed nothing."""


class FateUnknown(StoreError):
    """The call timed out or the connection broke after it was sent: it may have happened."""


class HistoryGone(StoreError):
    """Part of the history that was asked for is compacted."""


class StoreDenied(StoreError):
    """The store refused the credentials or the permission; trying again does not help."""


@dataclass(frozen=True, slots=True)
class CommitResult:
    """Fate of one change; ``revision`` is set when it succeeded."""

    fate: Fate
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Submitted:
    """Answer of intake. ``created`` false: the very same order was there already. ``conflict`` names the id that is
    taken by another order (``message_id`` or ``order_id``), else ``""``."""

    message_id: str
    created: bool
    conflict: str = ""


@dataclass(frozen=True, slots=True)
class OrderView:
    """What a reader sees of one order: its saga if it has one, else the inbox entry alone."""

    order: Order
    saga: Saga | None
    cancel_requested: bool = False
    revision: int = 0


class ArchiveUnavailable(Exception):
    """The archive cannot be written; none of the orders counts as archived."""


class OrderArchive(Protocol):
    """Where histories go that leave the store. Used by one thread."""

    def append(self, orders: Sequence[ArchivedOrder]) -> None:
        """Return when all of ``orders`` are on disk. Raises :class:`ArchiveUnavailable`."""

    def close(self) -> None:
        """Release what is open."""


class WatchHandle(Protocol):
    def close(self) -> None:
        """Stop the watch; no callback runs after this returns."""


class Store(Protocol):
    """One region's durable state."""

    def snapshot(self) -> Snapshot:
        """All keys but events, at one revision."""

    def watch(
        self,
        after_revision: int,
        on_change: Callable[[StoreChange], None],
        on_snapshot: Callable[[Snapshot], None],
        on_health: Callable[[bool], None] | None = None,
        *,
        with_events: bool = True,
        only: Kind | None = None,
    ) -> WatchHandle:
        """Deliver every change after ``after_revision``, in order, without gaps, on a thread of the store's.

        A broken stream is resumed from the next revision by itself, with back-off. Where that revision is compacted,
        ``on_snapshot`` gets a fresh snapshot and the watch goes on after it.
        ``on_health`` hears of loss and return. Without ``with_events`` the sagas' events are left out of the changes,
        as they are of a snapshot, and so is the index of order ids. ``only``: changes of one kind of records, so that
        the others wake nobody; a snapshot has them all the same.
        """

    def commit(self, epoch: int, changes: Sequence[Change]) -> list[CommitResult]:
        """Commit changes under the fence, several in one transaction where that fits.

        One that conflicts never fails its neighbours. Never raises for a store that is away: the fates say so.
        """

    def campaign(self, record: LeaderRecord, ttl_s: float, over_epoch: int = 0) -> int:
        """Put the leader key on a fresh lease: the epoch, or 0 where somebody else holds it.

        ``over_epoch`` 0: only if there is no leader; else replace the leader of exactly that epoch.
        """

    def refresh_lease(self, epoch: int) -> bool:
        """Keep the lease of the own leadership alive; ``False``: the store knows it no more."""

    def resign(self, epoch: int) -> None:
        """Delete the leader key if it still has this epoch; revoke its lease."""

    def keep_reservations(self, drone_ids: Sequence[str]) -> frozenset[str]:
        """Prolong the leases of drones' reservations. The drones whose was; the others have none to prolong."""

    def freshen_leases(self) -> None:
        """See that the next reservations of drones that are busy need no new leases: to be called every second or so,
        off the way of any commit. Raises what the store raises; nothing is lost then but the time."""

    def submit(self, order: Order) -> Submitted:
        """Intake: put the order in the inbox, once. Resolves an unknown fate by reading."""

    def submit_all(self, orders: Sequence[Order]) -> Sequence[Submitted | StoreError]:
        """The answers of :meth:`submit` to many orders, in order, in few transactions; what it would raise stands in
        the place of the answer. One order never fails its neighbours."""

    def request_cancel(self, request: CancelRequest) -> bool:
        """Intake: put the cancellation in the inbox; ``False`` where it was there already."""

    def request_command(self, command: OperatorCommand) -> bool:
        """Put a person's decision about a parked order in the inbox; ``False`` where one waits already."""

    def find(self, order_or_message_id: str) -> OrderView | None:
        """One order by either id, strongly consistent."""

    def events(self, message_id: str) -> list[SagaEvent]:
        """The events of one order, in order."""

    def histories(self, message_ids: Sequence[str]) -> list[list[SagaEvent | Corrupt]]:
        """The events of many orders, order by order; each whole, or with what cannot be read in its place."""

    def history(self, after_revision: int = 0, *, gapless: bool = False) -> Iterable[StoreChange]:
        """Every change from ``after_revision`` (or from the oldest revision that is not compacted) until now.

        With ``gapless`` it raises :class:`HistoryGone` where any of it is compacted.
        """

    def status(self) -> dict[str, object]:
        """Reachable endpoints, version, database size, revision; for people and health checks."""

    def close(self) -> None:
        """Close connections and stop threads."""
