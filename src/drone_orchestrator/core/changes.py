"""The changes of the store that a leader can ask for, and what may become of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .types import Breaker, Kind, Saga, SagaEvent


@dataclass(frozen=True, slots=True)
class Reserve:
    """Create the drone's reservation, on a lease. Conflicts if one exists."""

    drone_id: str


@dataclass(frozen=True, slots=True)
class MakeFirm:
    """Put the reservation back without a lease. Conflicts unless it is unchanged since ``revision``."""

    drone_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Release:
    """Delete the reservation, unchanged since ``revision``; ``revision`` 0 means that it must be gone already."""

    drone_id: str
    revision: int


ReservationChange = Reserve | MakeFirm | Release


@dataclass(frozen=True, slots=True)
class Consume:
    """Delete an inbox entry, unchanged since ``revision``."""

    kind: Kind
    id: str
    revision: int


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """Put a drone's breaker, unchanged since ``revision`` (0: there must be none)."""

    breaker: Breaker
    revision: int


@dataclass(frozen=True, slots=True)
class Transition:
    """One saga's step as one indivisible change of the store.

    ``saga`` is the state after ``events``; ``expected_revision`` the mod revision of the stored saga before (0: there
    must be none). Reservation values are derived from ``saga`` (message id, attempt, epoch).
    """

    saga: Saga
    events: tuple[SagaEvent, ...]
    expected_revision: int
    reservation: ReservationChange | None = None
    consume: tuple[Consume, ...] = ()
    breaker: BreakerChange | None = None

    @property
    def message_id(self) -> str:
        return self.saga.message_id


@dataclass(frozen=True, slots=True)
class Discard:
    """Take requests about an order out of the inbox that call for no step any more, at least one.

    ``unknown``: because there is no such order; conflicts where there is one by now.
    """

    message_id: str
    consume: tuple[Consume, ...]
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Retirement:
    """Delete an order that has ended and is archived: its saga, unchanged since ``saga_revision``, all its events, its
    order id, and what is left of it in the inbox. Its ids are free again."""

    message_id: str
    order_id: str
    saga_revision: int
    consume: tuple[Consume, ...] = ()


Change = Transition | Discard | Retirement


class Fate(str, Enum):
    """What became of a commit."""

    SUCCEEDED = "succeeded"  # durable at ``revision``
    CONFLICT = "conflict"  # did not happen: something it builds on has changed
    FENCED = "fenced"  # did not happen: somebody else is leader
    UNKNOWN = "unknown"  # it may have happened, or happen yet; the watch will tell
    UNAVAILABLE = "unavailable"  # did not happen: it was never sent
