"""State that the request handlers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from ..core.types import FleetSpec
from ..core.view import FleetView, OrderView, held_in
from ..intake.intake import Intake
from ..runtime.probe import StoreProbe, timed
from ..runtime.projection import Freshness, Projection
from ..telemetry.metrics import Metrics
from .feed import Feed
from .fleet_document import AWAY_AFTER_S, FleetDocument
from .handover import Handover, LeaderControl
from .problems import Problem
from .request_queue import RequestQueue
from .settings import GatewaySettings
from .streams import Streams
from .waiting import WaitingReasons

T = TypeVar("T")


@dataclass(frozen=True)
class GatewayParts:
    """The parts of a gateway. Its process creates and closes them.

    ``feed`` and the parts of ``document`` are folds of ``projection``.
    """

    intake: Intake
    projection: Projection
    fleet: FleetSpec
    metrics: Metrics
    settings: GatewaySettings
    document: FleetDocument
    feed: Feed
    control: LeaderControl
    waiting: WaitingReasons


class GatewayState:
    """The parts, and what only HTTP needs: queue, streams, handover, readiness."""

    def __init__(self, parts: GatewayParts) -> None:
        self.parts = parts
        self.intake = parts.intake
        self.settings = parts.settings
        self.queue = RequestQueue(parts.intake, parts.fleet, parts.settings)
        self.streams = Streams(
            parts.feed, parts.intake.changes, self._fleet_or_none, max_streams=parts.settings.max_streams
        )
        self._handover = Handover(parts.projection, parts.control)
        self._handover_threads = anyio.CapacityLimiter(2)
        self._probe = StoreProbe(partial(timed, parts.intake.check_store), parts.settings.probe_interval_s)

    def close(self) -> None:
        """End the streams at once and a handover soon. Requests are still answered."""
        self.streams.close()
        self._handover.close()

    async def hand_over(self) -> tuple[str, int]:
        """Make the leader step down. Return its name and epoch; see :meth:`.handover.Handover.begin`."""
        return await anyio.to_thread.run_sync(self._handover.begin, limiter=self._handover_threads)

    def not_ready(self) -> dict[str, str]:
        """Return the reasons why no order can be accepted, by part. Blocks for the store's deadline at most."""
        reasons = {}
        probe = self._probe.recent()
        if not probe.reachable:
            reasons["store"] = probe.reason
        freshness = self.parts.projection.freshness()
        if not freshness.loaded:
            reasons["view"] = "not loaded yet"
        elif (freshness.stale_s or 0.0) > AWAY_AFTER_S:
            # The lanes are counted in this view: without it they would fill up and stay full.
            reasons["view"] = f"the store has not been followed for {freshness.stale_s:.0f} s"
        held = self.parts.projection.read(held_in)[0]
        if held:
            reasons["fleet"] = f"held: {held}"
        if "view" in reasons and freshness.trouble:
            reasons["view"] += f": {freshness.trouble}"
        return reasons

    def read(self, select: Callable[[FleetView], T]) -> tuple[T, Freshness]:
        """Read the projection. Raises :class:`Problem` if it was never loaded: an empty answer would be wrong."""
        selected, freshness = self.parts.projection.read(select)
        if not freshness.loaded:
            raise Problem(503, "not_loaded", "The store was not reached yet.", retry_after_s=1.0)
        return selected, freshness

    def waiting(self, order: OrderView) -> dict[str, Any] | None:
        """Return the field ``waiting`` of an order; ``None`` if it waits for no drone, or the store was never read."""
        found, freshness = self.parts.projection.read(lambda view: self.parts.waiting.of(order, view))
        return found if freshness.loaded else None

    def fleet_body(self) -> dict[str, Any]:
        """Return the body of ``GET /fleet``. Raises :class:`Problem` if the store was never reached."""
        document = self.parts.document
        return document.finish(*self.read(document.select))

    def _fleet_or_none(self) -> dict[str, Any] | None:
        try:
            return self.fleet_body()
        except Problem:
            return None


def state_of(request: Request) -> GatewayState:
    """Return the state of the application that answers ``request``."""
    state: GatewayState = request.app.state.gateway
    return state
