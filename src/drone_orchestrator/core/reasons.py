"""All reasons that the core gives for a failed, parked, cancelled or repeated order, and for a refused goal.

The values are stored and go over the wire; they never change. Two kinds of reasons are open sets and not listed here:
faults named by flight controllers, and texts of people who cancel an order or decide about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Consequence(str, Enum):
    """Consequence of a reason for the order."""

    FAILS = "fails"  # it ends as FAILED
    PARKS = "parks"  # it waits for a person
    RETRIES = "retries"  # the attempt is undone, and the order waits for its next one
    CANCELS = "cancels"  # it ends as CANCELLED


class Reason(str, Enum):
    """A machine-readable reason of a step in an order's life, with its consequence and its meaning.

    Steps and outcomes carry the plain text (``str``), as the store does, because others may give reasons of their own.
    """

    consequence: Consequence
    meaning: str

    def __new__(cls, value: str, consequence: Consequence, meaning: str) -> Reason:
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.consequence = consequence
        reason.meaning = meaning
        return reason

    def __str__(self) -> str:
        return str(self._value_)

    DEADLINE_EXCEEDED = "deadline_exceeded", Consequence.FAILS, "The deadline passed before the package was loaded."
    ATTEMPTS_EXHAUSTED = "attempts_exhausted", Consequence.FAILS, "`max_attempts` attempts were undone before loading."
    NO_CAPABLE_DRONE = "no_capable_drone", Consequence.FAILS, "No class of the fleet can fly it, even fully charged."
    NO_FLY_ZONE = "no_fly_zone", Consequence.FAILS, "A no-fly zone that was added after it was accepted is in its way."
    DRONE_LOST_WITH_PACKAGE = (
        "drone_lost_with_package",
        Consequence.FAILS,
        "The drone has been silent for `lost_grace_s` since it was cleared to load. The package may be with it.",
    )

    DRONE_GROUNDED_WITH_PACKAGE = (
        "drone_grounded_with_package",
        Consequence.PARKS,
        "The drone is heard but has been grounded for `lost_grace_s` since it was cleared to load.",
    )
    JOURNAL_LOST_WITH_PACKAGE = (
        "journal_lost_with_package",
        Consequence.PARKS,
        "The drone came back without the journal that was cleared to load. It cannot know what happened.",
    )
    PACKAGE_MISSING = (
        "package_missing",
        Consequence.PARKS,
        "A person let the drone fly again, and its bay is empty. The drone cannot know where the package is.",
    )
    OUTCOME_CONTRADICTED = (
        "outcome_contradicted",
        Consequence.PARKS,
        "The drone reports that it does not have the package, but its payload sensor shows one, or showed it before.",
    )
    RECALL_NOT_OBEYED = (
        "recall_not_obeyed",
        Consequence.PARKS,
        "The drone is heard and flies, but ignored `max_recall_tries` recalls.",
    )
    GOAL_UNKNOWN_TO_DRONE = (
        "drone_knows_nothing_of_it",
        Consequence.PARKS,
        "The drone is healthy and has its journal, but has reported neither the order nor its outcome for "
        "`lost_grace_s`.",
    )

    NO_PROGRESS_WITH_PACKAGE = (
        "no_progress_with_package",
        Consequence.PARKS,
        "The drone is heard and has the goal, but has stayed in one phase of it for longer than any flight takes.",
    )

    RESERVATION_EXPIRED = (
        "reservation_expired",
        Consequence.RETRIES,
        "The drone's reservation ran out before it was cleared to load: it was silent, or there was no leader.",
    )
    GOAL_NOT_ACCEPTED = (
        "goal_not_accepted",
        Consequence.RETRIES,
        "The drone did not accept `max_goal_tries` goals.",
    )
    NO_PROGRESS = (
        "no_progress",
        Consequence.RETRIES,
        "The drone is heard and has the goal, but did not get on with it. It was recalled before it had the package.",
    )
    DRONE_TWICE = (
        "drone_twice",
        Consequence.RETRIES,
        "Two processes speak for the drone, before it was cleared to load: a cloned disk, or one id given twice.",
    )
    DRONE_GROUNDED = "drone_grounded", Consequence.RETRIES, "The drone was grounded before it was cleared to load."
    PACKAGE_NOT_CLEARED = (
        "package_not_cleared",
        Consequence.RETRIES,
        "The drone sensed a package for which it had no clearance, and grounded itself.",
    )
    NOT_LOADED = "not_loaded", Consequence.RETRIES, "The drone closed the goal without loading, and gave no reason."
    FAULT_BEFORE_LOADING = (
        "fault_before_loading",
        Consequence.RETRIES,
        "The drone had a fault before it was cleared to load, and gave no reason.",
    )
    RETURNED = "returned", Consequence.RETRIES, "The drone brought the package back, and gave no reason."
    RECALLED = "recalled", Consequence.RETRIES, "The drone was recalled: it did not load, or brought the package back."
    SUPERSEDED = (
        "superseded",
        Consequence.RETRIES,
        "The attempt, or the drone's goal, has been replaced by a newer one.",
    )
    REFUSED = "refused", Consequence.RETRIES, "The leader refused clearance, and gave no reason."
    CLEARED_TO_ANOTHER_JOURNAL = (
        "cleared_to_another_journal",
        Consequence.RETRIES,
        "The leader refused clearance: this attempt was cleared to a journal that the drone no longer has.",
    )
    NO_JOURNAL = "no_journal", Consequence.RETRIES, "The leader refused clearance: the drone named no journal."
    UNKNOWN_ORDER = "unknown_order", Consequence.RETRIES, "The leader refused clearance: the store has no such order."

    CUSTOMER_REQUEST = "customer_request", Consequence.CANCELS, "The customer cancelled the order."

    @classmethod
    def that(cls, consequence: Consequence) -> tuple[Reason, ...]:
        """Return the reasons that have this consequence, in the order of this list."""
        return tuple(reason for reason in cls if reason.consequence is consequence)


#: Why a drone is ``GROUNDED`` that a person took out of service, or whose program has let it go.
OUT_OF_SERVICE = "out_of_service"


class RefusalCause(IntEnum):
    """Cause of a refused goal: where the fault lies. The numbers are those of ``drone_interfaces/msg/GoalRefusal``."""

    UNSPECIFIED = 0  # unknown: counted against nothing
    ORDER = 1  # no drone of this class will take the order
    LEADER = 2  # the leader that sent the goal is outdated, or commands another fleet
    CONFIGURATION = 3  # leader and drone disagree about the drone's class
    DRONE = 4  # only this one counts against the drone's breaker
    BUSY = 5  # the drone is well, but takes no goal at the moment


class GoalRefusal(str, Enum):
    """Reason why a drone refuses a goal, with its cause and its meaning. The drone's state reports it to the leader."""

    cause: RefusalCause
    meaning: str

    def __new__(cls, value: str, cause: RefusalCause, meaning: str) -> GoalRefusal:
        refusal = str.__new__(cls, value)
        refusal._value_ = value
        refusal.cause = cause
        refusal.meaning = meaning
        return refusal

    def __str__(self) -> str:
        return str(self._value_)

    INVALID_ORDER = "invalid_order", RefusalCause.ORDER, "No drone can fly the order as it arrived."
    TOO_HEAVY = (
        "too_heavy",
        RefusalCause.CONFIGURATION,
        "The package is too heavy for the drone's class as the drone knows it.",
    )
    INVALID = "invalid", RefusalCause.LEADER, "The goal's attempt or epoch is not positive."
    OTHER_FLEET = "other_fleet", RefusalCause.LEADER, "The goal carries no fleet id, and the drone has a fleet."
    STALE_EPOCH = "stale_epoch", RefusalCause.LEADER, "The drone has heard a leader with a higher epoch."
    CLOSED = "closed", RefusalCause.LEADER, "This attempt, or a later one, has ended at the drone."
    SUPERSEDED = "superseded", RefusalCause.LEADER, "The drone flies a later attempt at the order."
    TOO_MANY_OUTCOMES = (
        "too_many_unacknowledged_outcomes",
        RefusalCause.LEADER,
        "No leader has acknowledged the drone's last 64 outcomes.",
    )
    BUSY = "busy", RefusalCause.BUSY, "The drone has another order, or this one beyond its pickup."
    STARTING = "starting", RefusalCause.BUSY, "The drone has not compared its journal with its payload sensor yet."
    NOT_ACTIVE = "not_active", RefusalCause.BUSY, "An operator has taken the drone out of service."
    GROUNDED = "grounded", RefusalCause.DRONE, "The drone is grounded."
    JOURNAL_UNUSABLE = "journal_unusable", RefusalCause.DRONE, "The drone's journal cannot be written."

    @classmethod
    def of(cls, cause: RefusalCause) -> tuple[GoalRefusal, ...]:
        """Return the refusals that have this cause, in the order of this list."""
        return tuple(refusal for refusal in cls if refusal.cause is cause)


class RecallRefusal(str, Enum):
    """Reason why a drone does not obey a recall. The drone logs it; the leader gets only the refusal."""

    STALE_EPOCH = "stale_epoch"  # the drone has heard a later leader
    NOT_THE_CURRENT_GOAL = "not_the_current_goal"
    TOO_LATE = "too_late"  # the package is being dropped, or is gone

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class RefusedGoal:
    """A goal that a drone refused: one attempt at an order, sent by the leader of ``epoch``."""

    message_id: str
    attempt: int
    epoch: int
    cause: RefusalCause
    reason: str
