"""What the machine of one drone takes in, gives out and writes down.

*Events* tell the machine what happened, *effects* what to do, *entries* are what it writes to its journal.

The shell's duties:

* carry out effects in the order in which they come; a :class:`WriteJournal` is on disk (fsync) before the next effect
  is begun. If it cannot be written, carry out nothing more and die;
* answer :class:`AskClearance` with :class:`ClearanceAnswered`, or not at all: the machine asks again;
* sense the flight controller about ten times a second and tell it as :class:`FlightSensed`, after the commands given
  before have reached it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..types import AcknowledgeOutcome, DeliveryOutcome, GeoPoint, Order, Outcome, Verdict

# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GoalRequested:
    """A leader of ``epoch`` wants the order flown."""

    order: Order
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class RecallRequested:
    """A leader wants the goal closed, or its package back. An action's cancel carries no epoch: the shell then passes
    the highest seen."""

    message_id: str
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ClearanceAnswered:
    """Some process answered a request for clearance; whether it counts is for the machine to judge."""

    verdict: Verdict
    epoch: int
    message_id: str
    attempt: int
    journal_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LeaderHeard:
    """The leader's latched state: its epoch, and the outcomes of this drone that it has on record."""

    epoch: int
    acknowledged: tuple[AcknowledgeOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class FlightSensed:
    """What the flight controller says. ``fault`` is a machine-readable reason to stay on the ground, or ``""``."""

    at_target: bool
    payload_on_board: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LiftGrounding:
    """A person has looked at the drone and lets it fly again."""


@dataclass(frozen=True, slots=True)
class DroneTick:
    """Nothing happened; time passed."""


DroneEvent = (
    GoalRequested | RecallRequested | ClearanceAnswered | LeaderHeard | FlightSensed | LiftGrounding | DroneTick
)

# --- journal entries --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpochRaised:
    """A higher epoch was seen; nothing of a lower one counts any more."""

    epoch: int


@dataclass(frozen=True, slots=True)
class GoalAccepted:
    """The goal is the current one. Raises the highest epoch to ``epoch`` too."""

    order: Order
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """Intent to load: clearance of ``epoch`` has come. From here the package may be on board."""

    message_id: str
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The payload sensor has confirmed the package on board."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Dropping:
    """Intent to let the package go at its destination. A recall is too late now."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """The package is to be brought back."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Unloading:
    """Intent to put the package down where it was picked up."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The goal has ended so. It accepts no clearance any more, and is never begun again."""

    message_id: str
    attempt: int
    outcome: Outcome
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A leader has the outcome on record; only that the goal is closed is remembered."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Grounded:
    """The drone takes no goal until a person lifts this."""

    reason: str


@dataclass(frozen=True, slots=True)
class GroundingLifted:
    """A person let the drone fly again."""


Entry = (
    EpochRaised
    | GoalAccepted
    | Cleared
    | Loaded
    | Dropping
    | Recalled
    | Unloading
    | Closed
    | Acknowledged
    | Grounded
    | GroundingLifted
)

# --- effects ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Make ``entry`` durable; nothing that comes after it may happen before."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class AnswerGoal:
    """Answer the goal request; ``reason`` is for logs."""

    accepted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AnswerRecall:
    """Answer the recall. Not ``accepted``: too late, or not the current goal."""

    accepted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AskClearance:
    """Ask whoever leads whether the package may be loaded."""

    message_id: str
    attempt: int
    journal_id: str
    highest_epoch: int


@dataclass(frozen=True, slots=True)
class GoalEnded:
    """Tell whoever waits for the goal's result."""

    outcome: DeliveryOutcome


@dataclass(frozen=True, slots=True)
class Fly:
    """Fly to ``target`` and land or hover there."""

    target: GeoPoint


@dataclass(frozen=True, slots=True)
class Load:
    """Take the package of ``payload_kg`` on board; the payload sensor tells when it is."""

    payload_kg: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Let the package go; the payload sensor tells when it has gone."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Stop and land as soon as it is safe; begin nothing."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator should see. ``level`` is ``info``, ``warning`` or ``error``."""

    level: str
    text: str


DroneEffect = WriteJournal | AnswerGoal | AnswerRecall | AskClearance | GoalEnded | Fly | Load | Drop | Hold | Notice
