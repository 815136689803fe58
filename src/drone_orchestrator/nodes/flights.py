"""Finds what flies a drone by the name that a parameter gives: an entry point, so that others can bring their own.

The contract of a flight controller is in :mod:`drone_orchestrator.flight.controller`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol

from rclpy.node import Node

from ..flight.controller import FlightController, FlightSetup
from ..flight.kinematic import KinematicFlight
from .process import ConfigurationError

FLIGHT_GROUP = "drone_orchestrator.flight"


class FlightFactory(Protocol):
    """What an entry point of the group leads to.

    ``node`` is the drone's own, for topics, services and the clock. It outlives the controller: whatever was created on
    it, ``close`` destroys. Called when the drone is configured; nothing has been spun since, so no answer can be waited
    for here. Raises :class:`~drone_orchestrator.flight.controller.FlightError` where the drone cannot be flown.
    """

    def __call__(self, setup: FlightSetup, node: Node) -> FlightController: ...


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


def kinematic(setup: FlightSetup, node: Node) -> FlightController:
    """The built-in model: a point mass that flies by itself."""
    return KinematicFlight(setup.drone_class, setup.depot, setup.path, setup.time_scale)
