"""Effects: everything that the orchestrator's core requests of its shell.

There are two families. A :class:`Commit` must be made durable; everything else is sent. An effect that must not be sent
before a commit is durable is *inside* that commit, as ``then``. The core returns it only after the shell has reported
the commit's success, so a shell cannot get the order wrong.

The shell's duties:

* Carry out effects in order.
* Answer every ``Commit`` with exactly one ``CommitDone``. Report a commit whose fate is unclear as unknown; never
  guess.
* Answer ``Archive`` with exactly one ``Archived``, and let no decision wait for it.
* Answer ``Campaign`` with ``CampaignDone``, ``RefreshLease`` with ``LeaseRefreshed`` or ``LeaseLost``.
* Sends may get lost; the core repeats those that matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..changes import Change
from ..types import AcknowledgeOutcome, FleetIdentity, LeaderRecord, Order, Saga, Verdict


@dataclass(frozen=True, slots=True)
class SendGoal:
    """Send the order to the drone as a goal. Harmless to repeat: message id and attempt determine the goal's id."""

    drone_id: str
    order: Order
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class RecallGoal:
    """Ask the drone to close the goal: either not to load the package, or to bring it back."""

    drone_id: str
    message_id: str
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class AnswerClearance:
    """Answer the drone's request ``request_id``."""

    request_id: int
    verdict: Verdict
    epoch: int
    message_id: str
    attempt: int
    journal_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KeepReservation:
    """Renew the lease of the drone's reservation, because the drone was heard."""

    drone_id: str


Send = SendGoal | RecallGoal | AnswerClearance | AcknowledgeOutcome | KeepReservation


@dataclass(frozen=True, slots=True)
class Report:
    """A message to the operator. ``level`` is ``info``, ``warning`` or ``error``."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """``what`` (an order, a drone or a planning round) is set aside because deciding about it raised ``error``.

    The shell reports it with its traceback, and counts it.
    """

    what: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Commit:
    """Make ``change`` durable under the fence ``epoch``. Only its success releases ``then``."""

    commit_id: int
    epoch: int
    change: Change
    then: tuple[Send | Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A terminal saga as stored at ``revision``.

    ``age_s``: time with a leader since then, at least. ``retention_s``: how long it had to stay.
    """

    saga: Saga
    revision: int
    age_s: float = 0.0
    retention_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Make the histories of finished orders durable outside the store. It may take any time."""

    batch_id: int
    epoch: int
    orders: tuple[Ended, ...]


@dataclass(frozen=True, slots=True)
class Compact:
    """Let the store forget its history before ``revision``. It may fail: it is repeated as long as it is needed."""

    revision: int


@dataclass(frozen=True, slots=True)
class Campaign:
    """Try to put the leader key under a lease of ``ttl_s``.

    ``over_epoch`` 0 creates the key; otherwise the suspected leader of exactly that epoch is replaced. It succeeds only
    if the key ``fleet`` is unchanged since ``fleet_revision``; 0 creates that, too, with the value ``fleet``.
    """

    record: LeaderRecord
    ttl_s: float
    over_epoch: int = 0
    fleet: FleetIdentity | None = None
    fleet_revision: int = 0


@dataclass(frozen=True, slots=True)
class HoldFleet:
    """Hold the fleet: write ``fleet`` to its key if that is unchanged since ``revision`` (0: there is none).

    ``epoch`` is the fence, 0 for none. The core repeats it until the view shows a held fleet.
    """

    fleet: FleetIdentity
    revision: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Heartbeat to the standbys. Only the leader's own loop may send it, so silence means that the loop stopped."""

    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class RefreshLease:
    """Renew the leader's lease."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Resign:
    """Delete the leader key if it still has this epoch, and revoke its lease."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StartLeading:
    """The election is won and the view has caught up: become active."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StopLeading:
    """This replica no longer leads: become inactive. ``reason`` is for people."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class FollowAgain:
    """Close the watch of the store, and follow it anew from a snapshot: the watch is dead."""


Effect = (
    Send
    | Commit
    | Archive
    | Compact
    | Campaign
    | HoldFleet
    | Heartbeat
    | RefreshLease
    | Resign
    | StartLeading
    | StopLeading
    | FollowAgain
    | Report
    | SetAside
)
