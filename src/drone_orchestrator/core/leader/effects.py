"""What the orchestrator's core asks its shell to do.

Two families. A :class:`Commit` is to be made durable; everything else is sent. What must not be sent before something
is durable sits *inside* that commit as ``then``: the core hands it out only when the shell has reported the commit's
success, so a shell cannot get the order wrong.

The shell's duties:

* carry out effects in the order in which they come;
* answer every ``Commit`` with exactly one ``CommitDone``; a commit whose fate it cannot tell is reported as unknown,
  never guessed;
* answer ``Archive`` with exactly one ``Archived``, and let no decision wait for it;
* answer ``Campaign`` with ``CampaignDone``, ``RefreshLease`` with ``LeaseRefreshed`` or ``LeaseLost``;
* sends may get lost; the core repeats what matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..changes import Change
from ..types import AcknowledgeOutcome, LeaderRecord, Order, Saga, Verdict


@dataclass(frozen=True, slots=True)
class SendGoal:
    """Give the drone the order. Repeating it is harmless: its id is (message_id, attempt)."""

    drone_id: str
    order: Order
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class RecallGoal:
    """Ask the drone to close the goal: not load it, or bring it back."""

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
    """Prolong the lease of the drone's reservation: the drone was heard."""

    drone_id: str


Send = SendGoal | RecallGoal | AnswerClearance | AcknowledgeOutcome | KeepReservation


@dataclass(frozen=True, slots=True)
class Report:
    """Something an operator should see. ``level`` is ``info``, ``warning`` or ``error``."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Make ``change`` durable under the fence ``epoch``; ``then`` is released by its success only."""

    commit_id: int
    epoch: int
    change: Change
    then: tuple[Send | Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A terminal saga as stored at ``revision``."""

    saga: Saga
    revision: int


@dataclass(frozen=True, slots=True)
class Archive:
    """Make the histories of orders that have ended durable outside the store. Nothing depends on when."""

    batch_id: int
    epoch: int
    orders: tuple[Ended, ...]


@dataclass(frozen=True, slots=True)
class Campaign:
    """Try to put the leader key under a lease of ``ttl_s``: create it (``over_epoch`` 0), or replace the leader of
    exactly that epoch, who is suspected."""

    record: LeaderRecord
    ttl_s: float
    over_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Tell the standbys that the leader's loop turns. Nothing else may repeat it for the loop."""

    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class RefreshLease:
    """Keep the leader's lease alive."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Resign:
    """Delete the leader key if it still has this epoch, and drop its lease."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StartLeading:
    """The election is won and the view is caught up: become active."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StopLeading:
    """No longer the leader: become inactive. ``reason`` is for people."""

    epoch: int
    reason: str


Effect = Send | Commit | Archive | Campaign | Heartbeat | RefreshLease | Resign | StartLeading | StopLeading | Report
