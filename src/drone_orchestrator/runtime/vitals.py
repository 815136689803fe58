"""The state of a replica's driver, for people and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..core.leader.election import Role
from ..core.leader.events import CommitDone
from ..core.types import Instant


class DriverObserver(Protocol):
    """Observer of a driver, e.g. for metrics. Called on the driver's threads: it must be quick and must not raise."""

    def committed(self, done: Sequence[CommitDone], began: Instant, took_s: float) -> None:
        """Record the fates of one group of commits. Called on commit threads, in order for each saga."""

    def turned(self, events: int, took_s: float, late_s: float) -> None:
        """Record a turn of ``events`` events that began ``late_s`` after its deadline. On the deciding thread."""


    def archived(self, error: str) -> None:
        """Note that a batch of orders was archived, or (``error``) that it could not be."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """State of a replica, for people.

    ``queued`` counts the commits that wait, ``committed_at_s`` is the monotonic time of the last one that succeeded,
    and ``failing`` names the kinds of calls that failed when they were last tried. ``denied`` is the store's refusal of
    one of them, and ``silent_s`` the time since the watch last proved that it is alive. ``set_aside`` names the
    orders and drones about which nothing is decided, because that raised an error. ``doubled`` names the drones for
    which two processes speak. ``clock_trouble``: what is wrong with the wall clock. ``troubles`` tells what goes wrong
    between a leader and its drones, by kind and subject. ``held``: why the fleet is held.
    """

    role: Role
    epoch: int
    revision: int
    queued: int
    committed_at_s: float | None
    failing: tuple[str, ...]
    denied: str = ""
    silent_s: float = 0.0
    set_aside: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    clock_trouble: str = ""
    troubles: Mapping[tuple[str, str], str] = field(default_factory=dict)
    held: str = ""
