"""J8 objects to a term in which its leader was of no use for too long, and to no other."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from histories import to_loading

from drone_orchestrator.core.leader.usefulness import Ailment
from drone_orchestrator.verification.checker import check
from drone_orchestrator.verification.office_held_usefully import (
    EXCUSED_AFTER,
    LONGEST_S,
    OfficeHeldUsefully,
    UselessTime,
)
from drone_orchestrator.verification.records import Violation

WITHIN_S = 7.0


class Witnessed:
    """A run whose leader was of no use for ``lasted_s``."""

    def __init__(self, ailment: Ailment, lasted_s: float, resigned: int = 0) -> None:
        self.time = UselessTime("o1", 2, ailment, 100.0, 100.0 + lasted_s, resigned)

    def useless_times(self) -> Iterable[UselessTime]:
        return [self.time]


def objections(witness: Witnessed) -> tuple[Violation, ...]:
    history = to_loading()
    history.deliver("m1")
    report = check(history.changes, complete=True, judges=(OfficeHeldUsefully(witness, WITHIN_S),))
    assert not any(report.invariants.values()), report.violations
    assert report.judges == {"J8": len(report.violations)}
    return report.violations


@pytest.mark.parametrize("ailment", LONGEST_S)
def test_a_leader_that_stays_for_longer_than_the_bound_is_noticed(ailment: Ailment) -> None:
    lasted_s = LONGEST_S[ailment] + WITHIN_S + 1.0
    (found,) = objections(Witnessed(ailment, lasted_s))
    assert (found.invariant, found.name, found.revisions) == ("J8", "office_held_usefully", (2,))
    assert found.text == f"o1 held the office for {lasted_s:.0f} s while it was {ailment.value}"
    assert objections(Witnessed(ailment, LONGEST_S[ailment] + WITHIN_S)) == ()


def test_a_leader_that_has_resigned_in_vain_may_stay() -> None:
    assert objections(Witnessed(Ailment.DEAF, 1000.0, resigned=EXCUSED_AFTER)) == ()
    assert objections(Witnessed(Ailment.DEAF, 1000.0, resigned=EXCUSED_AFTER - 1))
