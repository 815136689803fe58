"""Compares a drone's word about a package with what its payload sensor shows, and with what the store has recorded.

Each of them may be wrong: a journal that lost its last record, a person who loaded the drone by hand, a broken sensor.
If the word is that the package is not on board, and another source says that it is or was, then no rule can tell which
is right. Believing the word would send a second drone for the same package. So the order is parked, and a person looks.
"""

from __future__ import annotations

from ..types import DeliveryOutcome, DroneReport, Outcome, Phase, Saga, SagaStatus

#: Outcomes that claim that the drone never had the package.
_NEVER_LOADED = frozenset({Outcome.NOT_LOADED, Outcome.FAULT_BEFORE_LOADING})
#: Phases of a goal in which its package cannot be on board yet.
_BEFORE_LOADING = frozenset({Phase.TO_PICKUP, Phase.AWAITING_CLEARANCE})


def shows_package_of(saga: Saga, report: DroneReport) -> bool:
    """Return whether the payload sensor shows a package that may be this order's.

    It is not if the drone carries out another goal and may have loaded for it.
    """
    if not report.package_on_board:
        return False
    other = report.message_id is not None and report.message_id != saga.message_id
    return not (other and report.phase not in _BEFORE_LOADING)


def is_contradicted(saga: Saga, report: DroneReport, outcome: DeliveryOutcome) -> bool:
    """Return whether sensor or record contradict an outcome, which always means that the package is not on board."""
    if saga.status is SagaStatus.IN_TRANSIT and outcome.outcome in _NEVER_LOADED:
        return True
    return outcome.outcome is not Outcome.PACKAGE_MISSING and shows_package_of(saga, report)
