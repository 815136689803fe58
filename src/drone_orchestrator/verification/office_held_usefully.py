"""J8: no replica holds the office for long while it cannot see the store's changes, or is deaf and another is not.

A history shows who holds the office, and not what a replica perceives. So a witness of the run samples that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..core.leader.usefulness import BLIND_S, DEAF_FROM_START_S, RESIGN_AGAIN_S, Ailment
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay

#: Time (s) in which an ailing leader must have left, beside the time that leader and store need to act. A leader that
#: has resigned before may stay for a minute.
LONGEST_S = {Ailment.BLIND: BLIND_S, Ailment.DEAF: RESIGN_AGAIN_S + DEAF_FROM_START_S}
#: A replica that has left the office for being useless this many times in a row may hold it: the others were no better.
EXCUSED_AFTER = 2


@dataclass(frozen=True, slots=True)
class UselessTime:
    """Time (s) without interruption in which the leader of an epoch was of no use.

    ``resigned``: how many times in a row its replica had left the office before, for such a reason.
    """

    holder: str
    epoch: int
    ailment: Ailment
    from_s: float
    until_s: float
    resigned: int


class OfficeWitness(Protocol):
    """Knowledge of a run that its history does not have."""

    def useless_times(self) -> Iterable[UselessTime]:
        """Return all times in which a leader was of no use although another replica would have been."""


class OfficeHeldUsefully:
    """Judge of every term. Leader and store have ``within_s`` to act."""

    id = "J8"

    def __init__(self, witness: OfficeWitness, within_s: float) -> None:
        self._witness = witness
        self._within_s = within_s

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        """Yield nothing: the history alone does not show it."""
        yield from ()

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        """Judge each term."""
        for time in self._witness.useless_times():
            lasted_s = time.until_s - time.from_s
            if time.resigned < EXCUSED_AFTER and lasted_s > LONGEST_S[time.ailment] + self._within_s:
                text = f"{time.holder} held the office for {lasted_s:.0f} s while it was {time.ailment.value}"
                yield Violation(self.id, text, (time.epoch,))
