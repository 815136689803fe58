"""Finds what flies a drone by the name that a parameter gives: an entry point, so that others can bring their own.

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
    """A drone's node as its flight stack sees it: with ``topics`` that outlive a controller."""

    def __init__(self, name: str, watch: QosWatch, **options: Any) -> None:
        super().__init__(name, **options)
        refuse_unfit_transitions(self)
        self.topics = FlightTopics(self, watch, self.failed)

    def failed(self, error: Exception) -> None:
        """Take note of an exception in a callback that concerns this drone alone."""
        raise error


class FlightFactory(Protocol):
    """What an entry point of the group leads to.

    ``node`` is the drone's own: ``node.topics`` for topics, the node itself for services and the clock. It outlives the
    controller, and so does all that was created on it: nothing of it may be destroyed while the process spins, so let a
    client or timer rest in ``close``, and find it again in the next call for that node. Called when the drone is
    configured; nothing has been spun since, so no answer can be waited for here. Raises
    :class:`~drone_orchestrator.flight.controller.FlightError` where the drone cannot be flown.
    """

    def __call__(self, setup: FlightSetup, node: FlightNode) -> FlightController: ...


def load_flight(name: str) -> FlightFactory:
    """What is registered as ``name``. Raises :class:`ConfigurationError` naming the known ones."""
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
    """The built-in model: a point mass that flies by itself."""
    return KinematicFlight(
        setup.drone_class, setup.depot, setup.path, setup.time_scale, may_forget=setup.may_forget, log=setup.log
    )
