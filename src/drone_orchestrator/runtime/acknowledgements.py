"""Acknowledgements of drones' outcomes, which a leader publishes until the drones have received them.

A drone repeats an outcome in each of its reports until the leader acknowledges it. The leader repeats the
acknowledgement until a report of that drone no longer lists the outcome. Any message may therefore be lost.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..core.types import AcknowledgeOutcome, DroneReport


class Acknowledgements:
    """Acknowledgements of one leader, by drone and outcome. Used by one thread."""

    def __init__(self) -> None:
        self._by_drone: dict[str, dict[tuple[str, int], AcknowledgeOutcome]] = {}

    def add(self, acknowledgement: AcknowledgeOutcome) -> bool:
        """Store ``acknowledgement``. Return ``False`` if it was known already and there is nothing new to publish."""
        of_drone = self._by_drone.setdefault(acknowledgement.drone_id, {})
        key = (acknowledgement.message_id, acknowledgement.attempt)
        if of_drone.get(key) == acknowledgement:
            return False
        of_drone[key] = acknowledgement
        return True

    def heard(self, report: DroneReport) -> None:
        """Drop the acknowledgements that the drone has received: those of outcomes that it no longer reports."""
        of_drone = self._by_drone.get(report.drone_id)
        if of_drone is None:
            return
        reported = {(outcome.message_id, outcome.attempt) for outcome in report.outcomes}
        for key in of_drone.keys() - reported:
            del of_drone[key]
        if not of_drone:
            del self._by_drone[report.drone_id]

    def of(self, drone_id: str) -> tuple[AcknowledgeOutcome, ...]:
        """Return the acknowledgements that ``drone_id`` has not received yet, oldest first."""
        return tuple(self._by_drone.get(drone_id, {}).values())

    def all(self) -> Iterable[AcknowledgeOutcome]:
        """Return every acknowledgement that its drone has not received yet."""
        return [each for of_drone in self._by_drone.values() for each in of_drone.values()]

    def clear(self) -> None:
        """Forget all of them: this replica no longer leads, and its successor publishes its own."""
        self._by_drone.clear()
