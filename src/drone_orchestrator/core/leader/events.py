"""Events: everything that the orchestrator's shell reports to its core."""

from __future__ import annotations

from dataclasses import dataclass

from ..changes import Fate
from ..policies import DispatchPolicy, RetentionPolicy
from ..types import DroneReport, Snapshot, StoreChange, Verdict
from .effects import AnswerClearance, Archive, Commit


@dataclass(frozen=True, slots=True)
class ViewLoaded:
    """A new snapshot was loaded: at the start, or when the watch could not be resumed."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class StoreChanged:
    """The watch delivered one revision."""

    change: StoreChange


@dataclass(frozen=True, slots=True)
class CommitDone:
    """Answer to a :class:`~drone_orchestrator.core.leader.effects.Commit`. ``error``: why it was refused."""

    commit: Commit
    fate: Fate
    revision: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Archived:
    """Answer to an :class:`~drone_orchestrator.core.leader.effects.Archive`.

    ``refused``: message ids that were not archived, each with the reason. The others are on disk, or had left the store
    before. ``error``: why nothing was archived.
    """

    archive: Archive
    refused: tuple[tuple[str, str], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class CampaignDone:
    """Answer to a ``Campaign``. ``epoch`` 0: not won, or the store is unreachable. ``sent_mono_s``: when the lease was
    requested."""

    epoch: int
    sent_mono_s: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LeaseRefreshed:
    """The lease was renewed. It runs from ``sent_mono_s`` (local monotonic clock), when the request was sent.

    ``watch_silent_s``: how long ago (s) the watch last proved that it is alive.
    """

    epoch: int
    sent_mono_s: float
    watch_silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The lease has expired or was revoked."""

    epoch: int


@dataclass(frozen=True, slots=True)
class LeaderAlive:
    """A heartbeat of the leader of ``epoch`` arrived."""

    epoch: int


@dataclass(frozen=True, slots=True)
class LeaderSilent:
    """The heartbeats of the leader of ``epoch`` have stopped: it died, hangs, or is cut off.

    ``left``: it announced its departure first. A network cut cannot look like that, so this is not just a suspicion.
    """

    epoch: int
    left: bool = False


@dataclass(frozen=True, slots=True)
class OperatorResign:
    """An operator asks this replica to stop leading, and not to campaign until :class:`OperatorCampaign`."""


@dataclass(frozen=True, slots=True)
class OperatorCampaign:
    """An operator asks this replica to campaign again."""


@dataclass(frozen=True, slots=True)
class PoliciesChanged:
    """An operator changed policies. They apply at once, also to orders already waiting. ``None``: unchanged."""

    dispatch: DispatchPolicy | None = None
    retention: RetentionPolicy | None = None


@dataclass(frozen=True, slots=True)
class DroneHeard:
    """A drone's state arrived."""

    report: DroneReport


@dataclass(frozen=True, slots=True)
class ClockHeard:
    """A message of another machine arrived, stamped ``stamp_s`` by its wall clock. Now and then for each is enough."""

    source: str
    stamp_s: float


@dataclass(frozen=True, slots=True)
class GoalAnswered:
    """The drone's action server answered a goal. If it was not ``accepted``, the drone's next report shows why."""

    drone_id: str
    message_id: str
    attempt: int
    accepted: bool


@dataclass(frozen=True, slots=True)
class GoalUnreachable:
    """The goal could not be sent, or was not answered in time."""

    drone_id: str
    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ClearanceRequested:
    """A drone at its pickup asks whether it may load."""

    request_id: int
    drone_id: str
    message_id: str
    attempt: int
    journal_id: str
    highest_epoch: int

    def answer(self, verdict: Verdict, epoch: int, reason: str = "") -> AnswerClearance:
        """Return the answer to this request."""
        return AnswerClearance(
            self.request_id, verdict, epoch, self.message_id, self.attempt, self.journal_id, str(reason)
        )


@dataclass(frozen=True, slots=True)
class SpaceSeen:
    """The store uses this share of its quota; 1.0 if it takes no writes."""

    share: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed, and nothing else happened."""


Event = (
    ViewLoaded
    | StoreChanged
    | CommitDone
    | Archived
    | CampaignDone
    | LeaseRefreshed
    | LeaseLost
    | LeaderAlive
    | LeaderSilent
    | OperatorResign
    | OperatorCampaign
    | PoliciesChanged
    | DroneHeard
    | ClockHeard
    | GoalAnswered
    | GoalUnreachable
    | ClearanceRequested
    | SpaceSeen
    | Tick
)
