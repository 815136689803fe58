"""The interface between a drone's executor and its flight stack: the kinematic model, Gazebo, or an autopilot.

To add a flight stack, write a class that implements :class:`FlightController` and a function ``(setup, node)`` that
creates one. Register the function as an entry point of the group ``drone_orchestrator.flight``; the executor's
parameter ``flight`` selects it by name. The executor makes all calls on one thread, about ten times a second, in this
order: ``step``; then, once ``ready`` is true, ``state``; then the commands that follow from its decisions. A call that
blocks delays all drones of the process.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..core.types import DroneClass, GeoPoint


class Log(Protocol):
    """Logger of one drone."""

    def info(self, msg: object, /) -> None: ...

    def warning(self, msg: object, /) -> None: ...

    def error(self, msg: object, /) -> None: ...


class FlightError(Exception):
    """The flight controller cannot carry out a command, or cannot start. The text is one line."""


@dataclass(frozen=True, slots=True)
class FlightSetup:
    """Settings of a flight controller.

    ``path``: a file for state that must survive a restart of the process; its folder exists. ``time_scale``: simulated
    seconds per second of wall time; a controller without its own time raises :class:`FlightError` unless it is 1.
    ``may_forget``: the drone's journal has no order that may be on board. A controller whose file is damaged then keeps
    the file aside and starts anew; otherwise it raises :class:`FlightError`, because the drone may be loaded. ``log``
    is the drone's logger.
    """

    drone_id: str
    drone_class: DroneClass
    depot: GeoPoint
    path: Path
    time_scale: float = 1.0
    may_forget: bool = False
    log: Log = field(default=logging.getLogger(__name__), compare=False)


@dataclass(frozen=True, slots=True)
class FlightState:
    """Sensor values of the drone. Local axes are east, north, up from the depot's ground.

    ``at_target``: landed at the point of the last ``goto``, within 2 m; false before the first ``goto`` and after
    ``hold``. ``payload_on_board``: reading of the payload sensor, correct also after the process died during ``load``
    or ``drop``. ``fault``: machine-readable reason (``lower_case``) why the drone must stay on the ground, ``""`` for
    none. The executor then grounds the drone until a person lifts the grounding, so a condition that may pass by itself
    is not a fault.
    """

    position: GeoPoint
    local_position_m: tuple[float, float, float]
    local_velocity_mps: tuple[float, float, float]
    heading_rad: float  # from east, counter-clockwise, -pi .. pi
    energy_wh: float
    payload_on_board: bool
    at_target: bool
    landed: bool
    fault: str = ""


class FlightController(Protocol):
    """Controller of one drone. Commands return at once, and ``state`` shows their progress.

    A repeated ``load`` or ``drop`` changes nothing.

    A process may die at any moment, and a new controller begin on the same ``path`` with the drone in the air: it must
    know position, payload and charge as they are, and keep the drone safe until ``goto`` or ``hold`` comes. The same
    controller may also be left without commands for a while, because the drone's journal cannot be written: only
    ``step`` is called then.

    An exception of any kind concerns this drone alone: the executor logs it, closes the controller, and tries again
    with a new one every few seconds.
    """

    @property
    def ready(self) -> bool:
        """True once ``state`` comes from sensors.

        Until then the executor calls only ``step`` and ``close``, and the drone accepts no goal. Afterwards it is not
        read again; a later loss of sensors is a ``fault``.
        """

    @property
    def state(self) -> FlightState:
        """Current sensor values. Must be cheap: it is read several times after each ``step``."""

    def goto(self, target: GeoPoint) -> None:
        """Fly to ``target`` and land there.

        Replaces an earlier target and breaks off loading and dropping, even if the target is the same: an act that a
        dead program began must not be finished for the next program's order.
        """

    def load(self, payload_kg: float) -> None:
        """Take a package of ``payload_kg`` on board; done when ``payload_on_board`` is true.

        Raises :class:`FlightError` in the air.
        """

    def drop(self) -> None:
        """Release the package here; done when ``payload_on_board`` is false.

        Raises :class:`FlightError` in the air.
        """

    def hold(self) -> None:
        """Stop, break off any act, and land here."""

    def step(self, dt_s: float) -> None:
        """Advance by ``dt_s`` (0 or more) of ROS time: wall time, or simulation time if ``use_sim_time`` is set.

        A controller that runs by itself only reads its sensors. Raises :class:`FlightError` if it cannot continue: the
        executor then closes it and creates a new one on the same ``path``.
        """

    def remaining_s(self) -> float:
        """Return the estimated time (s, of ``step``) until the target is reached; 0 without a target."""

    def close(self) -> None:
        """Save the state and stop publishing. A second call does nothing. Topics stay on the drone's node."""
