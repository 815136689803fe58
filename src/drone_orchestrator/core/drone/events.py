"""Events, effects and journal entries of one drone's machine.

*Events* report to the machine what happened, *effects* are commands to the shell, *entries* go into the journal.

The shell's duties:

* Carry out effects in order. A :class:`WriteJournal` is on disk (fsync) before the next effect begins. If it cannot be
  written, carry out nothing more and discard the machine.
* Answer :class:`AskClearance` with :class:`ClearanceAnswered`, or not at all: the machine asks again.
* Read the flight controller about ten times a second, and report the reading as :class:`FlightSensed` once all earlier
  commands have reached the controller.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..reasons import GoalRefusal
from ..types import AcknowledgeOutcome, DeliveryOutcome, GeoPoint, Order, Outcome, Verdict

# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GoalRequested:
    """The leader of ``epoch`` sends the order as a goal. ``fleet_id`` is its fleet, empty if it is of an older version;
    so it is in all events from leaders."""

    order: Order
    attempt: int
    epoch: int
    fleet_id: str = ""


@dataclass(frozen=True, slots=True)
class GoalImpossible:
    """The leader of ``epoch`` sent a goal that the shell cannot pass on as :class:`GoalRequested`, because of
    ``refusal``."""

    message_id: str
    attempt: int
    epoch: int
    refusal: GoalRefusal


@dataclass(frozen=True, slots=True)
class RecallRequested:
    """A leader recalls the goal: the drone must close it, or bring its package back.

    An action's cancel carries no epoch, so the shell passes the highest one seen.
    """

    message_id: str
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ClearanceAnswered:
    """A replica answered a request for clearance; the machine judges whether the answer counts."""

    verdict: Verdict
    epoch: int
    message_id: str
    attempt: int
    journal_id: str
    reason: str = ""
    fleet_id: str = ""


@dataclass(frozen=True, slots=True)
class LeaderHeard:
    """The leader's latched state: its epoch, and the outcomes of this drone that it has recorded."""

    epoch: int
    acknowledged: tuple[AcknowledgeOutcome, ...] = ()
    fleet_id: str = ""


@dataclass(frozen=True, slots=True)
class JoinFleet:
    """An operator assigns the drone to a fleet, by its parameter ``fleet_id``."""

    fleet_id: str


@dataclass(frozen=True, slots=True)
class FlightSensed:
    """A reading of the flight controller. ``fault``: machine-readable reason to stay on the ground, or ``""``."""

    at_target: bool
    payload_on_board: bool
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LiftGrounding:
    """A person has checked the drone and lets it fly again."""


@dataclass(frozen=True, slots=True)
class DroneTick:
    """Time passed, and nothing else happened."""


DroneEvent = (
    GoalRequested
    | GoalImpossible
    | RecallRequested
    | ClearanceAnswered
    | LeaderHeard
    | JoinFleet
    | FlightSensed
    | LiftGrounding
    | DroneTick
)

# --- journal entries --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FleetJoined:
    """The drone belongs to this fleet, and obeys its leaders alone.

    A change of fleet forgets the highest epoch and the unacknowledged outcomes: they mean nothing to another store.
    ``assigned``: an operator named the fleet to a drone that had none. That forgets the highest epoch, too, because it
    may be of any store. It keeps the outcomes, because they may be of this fleet.
    """

    fleet_id: str
    assigned: bool = False


@dataclass(frozen=True, slots=True)
class EpochRaised:
    """A higher epoch was seen. Messages of lower ones no longer count."""

    epoch: int


@dataclass(frozen=True, slots=True)
class GoalAccepted:
    """The goal becomes the current one. This also raises the highest epoch to ``epoch``."""

    order: Order
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """Intent to load: clearance of ``epoch`` has arrived. From now on the package may be on board."""

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
    """Intent to drop the package at its destination. A recall is too late now."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """The package must be brought back."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Unloading:
    """Intent to put the package down where it was picked up."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The goal ended with this outcome. It accepts no further clearance and never restarts."""

    message_id: str
    attempt: int
    outcome: Outcome
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A leader has recorded the outcome. The drone only remembers that the goal is closed."""

    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Grounded:
    """The drone accepts no goal until a person lifts the grounding."""

    reason: str


@dataclass(frozen=True, slots=True)
class GroundingLifted:
    """A person allowed the drone to fly again."""


Entry = (
    FleetJoined
    | EpochRaised
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
    """Make ``entry`` durable before any later effect begins."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class AnswerGoal:
    """Answer the goal request.

    ``reason`` is for logs; of a refusal it is a ``GoalRefusal``, which the leader gets with the drone's state.
    """

    accepted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AnswerRecall:
    """Answer the recall. Not ``accepted``: too late, or not the current goal."""

    accepted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AskClearance:
    """Ask the leader whether the package may be loaded."""

    message_id: str
    attempt: int
    journal_id: str
    highest_epoch: int


@dataclass(frozen=True, slots=True)
class GoalEnded:
    """Report the goal's result to its client."""

    outcome: DeliveryOutcome


@dataclass(frozen=True, slots=True)
class Fly:
    """Fly to ``target`` and land or hover there."""

    target: GeoPoint


@dataclass(frozen=True, slots=True)
class Load:
    """Load the package of ``payload_kg``; the payload sensor shows when it is on board."""

    payload_kg: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop the package; the payload sensor shows when it is gone."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Stop and land as soon as it is safe; begin nothing new."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the operator. ``level`` is ``info``, ``warning`` or ``error``."""

    level: str
    text: str


DroneEffect = WriteJournal | AnswerGoal | AnswerRecall | AskClearance | GoalEnded | Fly | Load | Drop | Hold | Notice
