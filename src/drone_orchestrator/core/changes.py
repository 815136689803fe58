"""Changes of the store that a leader can request, and their possible fates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .types import Breaker, Kind, LeaderNote, Saga, SagaEvent


@dataclass(frozen=True, slots=True)
class Reserve:
    """Create the drone's reservation, on a lease. Conflicts if one exists."""

    drone_id: str


@dataclass(frozen=True, slots=True)
class MakeFirm:
    """Make the reservation permanent: put it without a lease. Conflicts unless it is unchanged since ``revision``.

    ``unknown``: that of the reservation.
    """

    drone_id: str
    revision: int
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Delete the reservation, unchanged since ``revision``. ``revision`` 0: it must no longer exist."""

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
    """One step of a saga as one atomic change of the store.

    ``saga`` is the state after ``events``, ``expected_revision`` the mod revision of the stored saga before them (0:
    there must be none). The reservation's value follows from ``saga`` (message id, attempt, epoch).
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
    """Delete requests about an order (at least one) that need no further step.

    ``unknown``: the reason is that there is no such order. Conflicts if the order exists by now.
    """

    message_id: str
    consume: tuple[Consume, ...]
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Retirement:
    """Delete a finished, archived order: its saga (unchanged since ``saga_revision``), its events, its order id and its
    remaining inbox entries. Its ids can then be used again."""

    message_id: str
    order_id: str
    saga_revision: int
    consume: tuple[Consume, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteNote:
    """Put a note of the leader, unchanged since ``revision`` (0: there must be none)."""

    id: str
    note: LeaderNote
    revision: int


OrderChange = Transition | Discard | Retirement
Change = OrderChange | WriteNote


class Fate(str, Enum):
    """Fate of a commit."""

    SUCCEEDED = "succeeded"  # durable at ``revision``
    CONFLICT = "conflict"  # did not happen: a record that it depends on has changed
    FENCED = "fenced"  # did not happen: another replica leads
    UNKNOWN = "unknown"  # may have happened, or may still happen; the watch will show it
    UNAVAILABLE = "unavailable"  # did not happen: it was never sent
    REFUSED = "refused"  # can never happen: it cannot be written, whatever the store holds
