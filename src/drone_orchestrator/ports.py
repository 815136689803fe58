"""Protocols that the core's drivers need from the outside: store, fleet, clock.

The store of a region is three protocols, one per role; each part of the system declares the one it needs:

* :class:`StoreReader`: reads the region. The monitor's role.
* :class:`StoreInbox`: also creates orders and requests. The gateway's role.
* :class:`StoreLeader`: reads, campaigns, and commits under a fence. The orchestrator's role.

Compare-and-swap. Every key has a *mod revision*: the revision that changed it last, 0 if it does not exist. A write
names the mod revisions that it was decided on and is applied only if all of them still hold. The store applies it as a
whole or not at all.

* An inbox write expects its keys not to exist. Repeating one is therefore harmless.
* A leader's write also expects the leader key's mod revision to be the one in its *epoch*, the fencing token. Once
  another leader is elected, no write of an earlier epoch can be applied, however late it arrives.

Unreachable is not lost. Every call has a deadline; nothing blocks forever. A call returns or raises one of::

    StoreError
    |-- StoreUnavailable   never sent, or certainly not applied: nothing changed; retry later
    |   `-- BreakerOpen    (runtime.breaker) not sent, because earlier calls failed
    |-- FateUnknown        sent but not answered: it may have happened, or may still happen
    |-- StoreDenied        credentials or permission refused: nothing changed; retrying does not help
    |-- StoreHeld          the fleet is held: no order is taken; nothing changed
    |-- HistoryGone        part of the requested history is compacted
    `-- CorruptRecord      (store.reader) the requested record exists but cannot be read
    ArchiveUnavailable     the archive cannot be written; none of the orders counts as archived

After :class:`FateUnknown` the caller must read, or repeat a write that is harmless to repeat, before it acts on either
outcome. :meth:`StoreLeader.commit` reports the same difference in its fates: ``UNAVAILABLE`` is not applied,
``UNKNOWN`` may be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .core.changes import Change, Fate
from .core.leader.effects import AnswerClearance, Heartbeat, RecallGoal, SendGoal
from .core.types import (
    AcknowledgeOutcome,
    ArchivedOrder,
    CancelRequest,
    Corrupt,
    FleetIdentity,
    Instant,
    Kind,
    LeaderRecord,
    OperatorCommand,
    Order,
    SagaEvent,
    Snapshot,
    StoreChange,
)
from .core.view import OrderView


class StoreError(Exception):
    """Base class of store errors."""


class StoreUnavailable(StoreError):
    """The store is unreachable or has no quorum. The call was not applied and will not be."""


class FateUnknown(StoreError):
    """The call timed out, or the connection broke, after it was sent: it may have happened, or may still happen."""


class StoreHeld(StoreError):
    """The fleet is held, because its store is not the one it was: no order is taken until a person lifts that."""


class HistoryGone(StoreError):
    """Part of the requested history is compacted."""


class StoreDenied(StoreError):
    """The store refused the credentials or the permission. Retrying does not help."""


@dataclass(frozen=True, slots=True)
class CommitResult:
    """Fate of one change. ``revision`` is set if it succeeded, ``error`` if it was refused."""

    fate: Fate
    revision: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Answer to a submitted order. ``created`` false: the same order existed already. ``conflict`` names the id that
    another order uses (``message_id`` or ``order_id``), else ``""``."""

    message_id: str
    created: bool
    conflict: str = ""


class ArchiveUnavailable(Exception):
    """The archive cannot be written. None of the orders counts as archived."""


class OrderArchive(Protocol):
    """Destination of finished orders' histories when they leave the store. Used by one thread."""

    def append(self, orders: Sequence[ArchivedOrder]) -> None:
        """Write ``orders`` and return once all of them are on disk. Raises :class:`ArchiveUnavailable`."""

    def close(self) -> None:
        """Close open files."""


class WatchHandle(Protocol):
    """A running watch."""

    def close(self) -> None:
        """Stop the watch; no callback runs after this returns."""

    def silent_s(self) -> float:
        """Return how long ago (s) the watch last proved that it is alive: that the store answered, and that its
        callbacks return. A quiet store is asked every few seconds."""


class StoreReader(Protocol):
    """Read access to one region's durable state. Reads are linearizable unless stated otherwise."""

    def snapshot(self) -> Snapshot:
        """Read all keys except events, at one revision."""

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
        """Deliver every change after ``after_revision``, in order and without gaps, on a thread of the store.

        A broken stream resumes at the next revision by itself, with back-off. If that revision is compacted, or if a
        callback raises, ``on_snapshot`` gets a fresh snapshot, and the watch continues after it. ``on_health`` reports
        loss and return of the connection. Without ``with_events`` the changes leave out the sagas' events and the index
        of order ids, as a snapshot does. ``only`` restricts the changes to one kind of record; snapshots stay complete.
        """

    def find(self, order_or_message_id: str) -> OrderView | None:
        """Find one order by either id."""

    def events(self, message_id: str) -> list[SagaEvent]:
        """Return the events of one order, oldest first."""

    def histories(self, message_ids: Sequence[str]) -> list[list[SagaEvent | Corrupt]]:
        """Return the events of many orders, order by order. An unreadable event stands in its place as ``Corrupt``."""

    def history(self, after_revision: int = 0, *, gapless: bool = False) -> Iterable[StoreChange]:
        """Yield every change after ``after_revision`` (0: from the oldest revision that is not compacted) until now.

        With ``gapless``, raises :class:`HistoryGone` if any of it is compacted.
        """

    def status(self) -> dict[str, object]:
        """Return reachable endpoints, version, database size and revision, for people and health checks."""

    def close(self) -> None:
        """Close connections and stop threads."""


class StoreInbox(StoreReader, Protocol):
    """Reads, and creates orders and requests for the leader to answer."""

    def submit(self, order: Order) -> Submitted:
        """Put the order in the inbox, once.

        Creates only: an order that is already there is not touched. An unanswered request is repeated once, which
        resolves its fate; :class:`FateUnknown` means that the repetition was not answered either.
        """

    def submit_all(self, orders: Sequence[Order]) -> Sequence[Submitted | StoreError]:
        """Submit many orders in few transactions. Returns the answers of :meth:`submit`, in order.

        An error that :meth:`submit` would raise takes the place of the answer. One order never fails its neighbours.
        """

    def request_cancel(self, request: CancelRequest) -> bool:
        """Put the cancellation in the inbox. ``False``: there is one already."""

    def request_command(self, command: OperatorCommand) -> bool:
        """Put an operator's command about a parked order in the inbox. ``False``: another one is waiting."""


    def lift(self, fleet: FleetIdentity, revision: int) -> bool:
        """Write the key ``fleet``, unchanged since ``revision``, and remove the leader key. ``False``: it was changed.

        An operator's act, which ends a hold: a leader of an earlier generation cannot write afterwards.
        """


class StoreLeader(StoreReader, Protocol):
    """Reads, campaigns for leadership, and commits changes while leading."""

    def campaign(
        self,
        record: LeaderRecord,
        ttl_s: float,
        over_epoch: int = 0,
        fleet: FleetIdentity | None = None,
        fleet_revision: int = 0,
    ) -> int:
        """Put the leader key on a fresh lease of ``ttl_s``. Returns the epoch, or 0 if another replica holds the key.

        ``over_epoch`` 0: expects no leader key; else replaces the leader of exactly that epoch. ``fleet``: also expects
        the key ``fleet`` to be unchanged since ``fleet_revision``, where 0 creates it. After :class:`FateUnknown` this
        replica may lead without knowing it, until the lease expires.
        """

    def hold(self, fleet: FleetIdentity, revision: int, epoch: int = 0) -> bool:
        """Write the key ``fleet`` if it is unchanged since ``revision`` (0: absent), and the leader is still that of
        ``epoch`` (0: any). ``False``: it was not."""

    def refresh_lease(self, epoch: int) -> bool:
        """Renew the leader's lease. ``False``: expired, revoked, or not this epoch's."""

    def resign(self, epoch: int) -> None:
        """Delete the leader key if it still has this epoch, and revoke its lease."""

    def commit(self, epoch: int, changes: Sequence[Change]) -> list[CommitResult]:
        """Commit changes under the fence of ``epoch``, several in one transaction if they fit.

        A change that conflicts never fails its neighbours. Does not raise :class:`StoreUnavailable` or
        :class:`FateUnknown`: the fate of each change says so. A change that was not answered is read back first;
        ``UNKNOWN`` means that reading it back did not settle it.
        """

    def keep_reservations(self, drone_ids: Sequence[str]) -> frozenset[str]:
        """Renew reservation leases. Returns the drones whose lease was renewed; the rest hold none."""

    def compact(self, revision: int) -> None:
        """Forget the history before ``revision``. Does nothing if that is forgotten already. Raises
        :class:`StoreError`."""

    def freshen_leases(self) -> None:
        """Renew idle leases of busy drones, so that their next reservations need no new ones.

        Call it every second or so, off the commit path. Raises :class:`StoreError`; safe to retry.
        """


class Fleet(Protocol):
    """Access to the drones and the other replicas, for the driver. No method may block."""

    def send_goal(self, effect: SendGoal) -> None:
        """Send a goal to its drone. Answered by ``GoalAnswered`` or ``GoalUnreachable``."""

    def recall(self, effect: RecallGoal) -> None:
        """Recall a goal. Best effort: the result shows in the drone's state."""

    def answer_clearance(self, effect: AnswerClearance) -> None:
        """Answer a drone's request for clearance."""

    def acknowledge(self, effect: AcknowledgeOutcome) -> None:
        """Acknowledge a drone's outcome, repeatedly, until the drone no longer reports it."""

    def heartbeat(self, effect: Heartbeat) -> None:
        """Send a heartbeat to the standbys on the calling thread: silence then means that the driver's loop hangs."""

    def start_leading(self, epoch: int) -> None:
        """Act as the leader of ``epoch`` from now on."""

    def stop_leading(self, epoch: int, reason: str) -> None:
        """Stop acting as the leader of ``epoch``."""


class Clock:
    """The monotonic and the wall clock of this machine."""

    def now(self) -> Instant:
        """Read both clocks."""
        return Instant(time.monotonic(), time.time())
