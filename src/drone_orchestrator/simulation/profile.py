"""Sizes of simulated regions, and rates of their faults. Each seed draws its own conditions from a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from .chance import Chance

T = TypeVar("T")

#: Kinds of faults that strike at random moments, by the name under which reports count them.
FAULTS = (
    "replica_crash",
    "replica_stop",
    "replica_hang",
    "partition",
    "partition_one_way",
    "store_outage",
    "store_outage_one_client",
    "store_answer_lost",
    "store_request_late",
    "watch_broken",
    "compaction",
    "lease_expired",
    "clock_jump",
    "foreign_leader",
    "drone_crash",
    "drone_hang",
    "drone_fault",
    "drone_dead",
    "journal_torn",
    "journal_lost",
    "journal_damaged",
    "handover",
    "archive_full",
    "leader_unheard",
    "drone_refuses",
)

#: Kinds that make a leader useless. They take minutes to show, so they have a profile of their own.
LEADER_FAULTS = ("watch_dead", "replica_deaf")

#: Kinds that keep an order waiting beside its drone. They have a profile of their own for the same reason.
DRONE_FAULTS = ("drone_stuck",)

#: Longer than any shop takes to repeat an order (s).
RETENTION_S = 250.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes, durations (s) and rates. ``fault_period_s`` is the mean time between two faults of a kind that is on."""

    name: str = "standard"
    replicas: int = 3
    drones: int = 10
    orders: int = 60
    safety_s: float = 600.0
    liveness_s: float = 3000.0
    fault_period_s: float = 100.0
    fault_share: float = 0.5  # the chance of each kind to be on in a seed
    max_dead_drones: int = 2
    service_radius_m: float = 800.0
    cancel_share: float = 0.15
    repeat_share: float = 0.15
    conflict_share: float = 0.1
    deadline_share: float = 0.25
    lost_grace_s: float = 60.0
    state_period_s: float = 2.0
    turn_delay_s: float = 0.1  # longest time from an event to the leader's turn that takes it
    standby_turn_delay_s: float = 0.6
    max_events: int = 400_000
    default_budgets: bool = False  # the leader has the bounds with which it is shipped, not shorter ones
    always: tuple[str, ...] = ()  # kinds that are on in every seed, beside those of ``FAULTS`` that it draws
    calm_spare_s: float | None = None  # without faults, an order with this long until its deadline is delivered

    def without_faults(self) -> Profile:
        """Return the same region, in which nothing ever fails."""
        return replace(self, fault_share=0.0, always=())


STANDARD = Profile()

#: Few drones and orders, and constant faults: finds a broken core within seconds.
INTENSE = Profile(
    name="intense",
    drones=4,
    orders=30,
    safety_s=180.0,
    liveness_s=3000.0,
    fault_period_s=30.0,
    fault_share=0.6,
    max_dead_drones=1,
    service_radius_m=250.0,
    cancel_share=0.25,
    repeat_share=0.3,
    lost_grace_s=40.0,
    state_period_s=1.0,
    max_events=200_000,
)

#: No faults: only concurrency is left.
CALM = Profile(name="calm", drones=4, orders=20, safety_s=300.0, fault_share=0.0, calm_spare_s=500.0)

#: Like ``INTENSE``, but with the budgets that a leader has by default. A lost drone takes half an hour to give up.
DEFAULTS = replace(INTENSE, name="defaults", liveness_s=9000.0, max_events=400_000, default_budgets=True)

#: Nothing fails but what a leader perceives: its watch, and its hearing.
OFFICE = Profile(
    name="office", drones=4, orders=30, safety_s=900.0, fault_period_s=300.0, fault_share=0.0, always=LEADER_FAULTS
)

#: Nothing fails but drones that are heard and do not get on.
STUCK = Profile(
    name="stuck", drones=4, orders=30, safety_s=1800.0, fault_period_s=200.0, fault_share=0.0, always=DRONE_FAULTS
)

PROFILES = {profile.name: profile for profile in (STANDARD, INTENSE, CALM, DEFAULTS, OFFICE, STUCK)}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of one seed. ``periods_s`` maps each kind of fault that is on to its mean period."""

    periods_s: Mapping[str, float]
    message_delay_s: float  # longest
    message_loss: float  # chance of each message
    message_repeat: float
    store_delay_s: float  # longest, one way
    watch_delay_s: float
    reservation_ttl_s: float
    lease_ttl_s: float
    heartbeats: bool  # else only its lease shows that a leader is dead
    compact_above: int  # records in a drone's journal
    retention_s: float | None  # how long ended orders stay in the store; ``None``: forever

    @classmethod
    def draw(cls, profile: Profile, chance: Chance) -> Conditions:
        """Draw the conditions of one seed. Some kinds stay off: constant faults hide defects that need quiet."""

        def one_of(name: str, choices: Sequence[T]) -> T:
            return chance.of("condition", name).choice(choices)

        on = [kind for kind in FAULTS if chance.of("fault", kind, "on").random() < profile.fault_share]
        on += profile.always
        shares = {kind: chance.of("fault", kind, "period").choice((0.5, 1.0, 2.0)) for kind in on}
        rough = profile.fault_share > 0.0
        return cls(
            periods_s={kind: profile.fault_period_s * share for kind, share in shares.items()},
            message_delay_s=one_of("message_delay", (0.02, 0.3, 1.5)) if rough else 0.02,
            message_loss=one_of("message_loss", (0.0, 0.02, 0.2)) if rough else 0.0,
            message_repeat=one_of("message_repeat", (0.0, 0.1, 0.4)) if rough else 0.0,
            store_delay_s=one_of("store_delay", (0.005, 0.05, 0.4)) if rough else 0.005,
            watch_delay_s=one_of("watch_delay", (0.01, 0.2, 1.0)) if rough else 0.01,
            reservation_ttl_s=one_of("reservation_ttl", (4.0, 10.0)),
            lease_ttl_s=one_of("lease_ttl", (3.0, 5.0)),
            heartbeats=one_of("heartbeats", (False, True)),
            compact_above=one_of("compact_above", (20, 20_000)),
            retention_s=one_of("retention", (None, RETENTION_S)),
        )

    def calmed(self) -> Conditions:
        """Return the same conditions without faults."""
        return replace(
            self,
            periods_s={},
            message_delay_s=0.02,
            message_loss=0.0,
            message_repeat=0.0,
            store_delay_s=0.005,
            watch_delay_s=0.02,
        )
