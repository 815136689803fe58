"""Finds a flight stack by its entry point, so that other packages can add their own.

The contract of a flight controller is in :mod:`drone_orchestrator.flight.controller`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode

from ...flight.controller import FlightController, FlightSetup
from ...flight.kinematic import KinematicFlight
from ...ros.lifecycle_node import refuse_unfit_transitions
from ...ros.process import ConfigurationError
from ...ros.qos_watch import QosWatch
from .flight_topics import FlightTopics

FLIGHT_GROUP = "drone_orchestrator.flight"


class FlightNode(LifecycleNode):
    """The part of a drone's node that a flight stack may use. ``topics`` outlive a controller."""

    def __init__(self, name: str, watch: QosWatch, **options: Any) -> None:
        super().__init__(name, **options)
        refuse_unfit_transitions(self, self.objection)
        self.topics = FlightTopics(self, watch, self.failed)

    def objection(self, transition: str) -> str:
        """Return why the node refuses a transition that a person requests; empty if it does not."""
        return ""

    def failed(self, error: Exception) -> None:
        """Handle an exception from a callback of this drone."""
        raise error


class FlightFactory(Protocol):
    """Function named by an entry point of the group.

    ``node`` is the drone's own: use ``node.topics`` for topics, and the node itself for services and the clock. The
    node and everything created on it outlive the controller. Nothing may be destroyed while the process spins, so leave
    clients and timers idle in ``close`` and reuse them in the next call for that node. The function is called when the
    drone is configured. It must not wait for answers, because nothing spins the node during the call. It raises
    :class:`~drone_orchestrator.flight.controller.FlightError` if the drone cannot be flown.
    """

    def __call__(self, setup: FlightSetup, node: FlightNode) -> FlightController: ...


def load_flight(name: str) -> FlightFactory:
    """Return the factory registered as ``name``. Raises :class:`ConfigurationError` that lists the known names."""
    known = {point.name: point for point in entry_points(group=FLIGHT_GROUP)}
    if name not in known:
        raise ConfigurationError(
            f"parameter flight: {name!r} is not registered; known: {', '.join(sorted(known)) or 'none'}"
        )
    try:
        factory: FlightFactory = known[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"parameter flight: {name!r} ({known[name].value}): {error}") from error
    return factory


def kinematic(setup: FlightSetup, node: FlightNode) -> FlightController:
    """Return the built-in model, a point mass."""
    return KinematicFlight(
        setup.drone_class, setup.depot, setup.path, setup.time_scale, may_forget=setup.may_forget, log=setup.log
    )
