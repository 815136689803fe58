"""The field ``waiting`` of an order: why no drone has it yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..core.planner import Planner
from ..core.types import DroneReport, FleetSpec, GeoPoint, SagaStatus
from ..core.view import FleetView, OrderView
from ..planning.waiting import KnownDrone, reasons_for_waiting
from .live_drones import LiveDrones


class WaitingReasons:
    """Explains why an order waits, from the drones that this gateway hears and its copy of the store."""

    def __init__(
        self, fleet: FleetSpec, planner: Planner, live: LiveDrones, clock: Callable[[], float] = time.time
    ) -> None:
        """``clock`` returns wall time (s)."""
        self._fleet = fleet
        self._planner = planner
        self._live = live
        self._clock = clock

    def of(self, order: OrderView, view: FleetView) -> dict[str, Any] | None:
        """Return since when the order waits and why; ``None`` if it does not wait for a drone."""
        if order.status is not SagaStatus.PENDING or order.cancel_requested:
            return None
        found = reasons_for_waiting(self._fleet, self._planner, order, self._drones(), view, self._clock())
        reasons = [{"code": each.code.value, "drone_id": each.drone_id, "detail": each.detail} for each in found]
        return {"since": order.updated_at, "reasons": reasons}

    def _drones(self) -> Iterator[KnownDrone]:
        nowhere = GeoPoint(float("nan"), float("nan"))
        for drone, age_s in self._live.drones():
            report = DroneReport(
                drone_id=drone.drone_id,
                drone_class=drone.drone_class,
                journal_id="",
                highest_epoch=0,
                phase=drone.phase,
                position=drone.position or nowhere,
                energy_wh=drone.energy_wh if drone.energy_wh is not None else float("nan"),
                message_id=drone.message_id,
                package_on_board=drone.package_on_board,
            )
            yield KnownDrone(report, age_s)
