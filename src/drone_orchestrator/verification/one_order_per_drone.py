"""I2: at any revision a drone has at most one reservation, and at most one order in LOADING or IN_TRANSIT."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.types import Reservation, Saga
from .records import JournalHistory, Violation
from .store_replay import Step, StoreReplay


class OneOrderPerDrone:
    """Checker of the drones named by a revision's sagas and reservations."""

    id = "I2"

    def observe(self, step: Step, replay: StoreReplay) -> Iterator[Violation]:
        flying: dict[str, None] = {}
        for change in step.changes:
            if isinstance(change.after, Reservation) and change.after.drone_id != change.id:
                # One key per drone separates reservations only if key and value agree.
                text = f"the reservation under {change.id} is for {change.after.drone_id} ({change.after.message_id})"
                yield Violation(self.id, text, (step.revision,))
            if isinstance(change.after, Saga) and change.after.drone_id and change.after.status.package_may_be_out:
                flying[change.after.drone_id] = None
        for drone_id in flying:
            orders = replay.carrying.get(drone_id, set())
            if len(orders) > 1:
                text = f"{drone_id} is loading or carrying {' and '.join(sorted(orders))} at once"
                yield Violation(self.id, text, (step.revision,))

    def finish(self, replay: StoreReplay, journals: tuple[JournalHistory, ...], complete: bool) -> Iterator[Violation]:
        return iter(())
