"""What a drone's executor needs of whatever flies the drone: our kinematic model, Gazebo, an autopilot.

A flight stack of your own is a class that keeps to :class:`FlightController`, and a function ``(setup, node)`` that
makes one, registered as an entry point of the group ``drone_orchestrator.flight`` under the name that the executor's
parameter ``flight`` takes. The executor calls everything on one thread, about ten times a second, in this order:
``step``, then, as soon as ``ready`` says so, ``state``, then the commands that its decisions ask for. Whatever blocks
there blocks all drones of the process.
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
    """The flight controller cannot do what it was told, or cannot start; the text is one line."""


@dataclass(frozen=True, slots=True)
class FlightSetup:
    """What a flight controller is made from.

    ``path``: a file of this drone's own, for what must survive a restart of the process; its folder exists.
    ``time_scale``: simulated seconds that pass in a second of wall time; a controller that cannot have its own time
    raises :class:`FlightError` for anything but 1. ``may_forget``: the drone's journal holds no order that may be on
    board, so a controller whose file is damaged keeps it aside and begins anew; otherwise it raises
    :class:`FlightError`, for nobody knows whether the drone is loaded. ``log`` is the drone's own.
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
    """What the flight controller senses. Local axes are east, north, up from the depot's ground.

    ``at_target``: landed at the point of the last ``goto``, within 2 m; false before the first ``goto`` and after
    ``hold``. ``payload_on_board`` is the payload sensor's word: what is true of the drone, also after the process died
    in the middle of ``load`` or ``drop``. ``fault``: machine-readable reason (``lower_case``) why the drone should stay
    on the ground, ``""`` for none. The executor grounds the drone for it, for good: a person lifts that. So what may
    pass by itself is no fault yet.
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
    """Commands return at once; progress shows in ``state``. A repeated ``load`` or ``drop`` changes nothing.

    A process may die at any moment, and a new controller begin on the same ``path`` with the drone in the air: it must
    know position, payload and charge as they are, and keep the drone safe until ``goto`` or ``hold`` comes. The same
    controller may also be left without commands for a while, because the drone's journal cannot be written: only
    ``step`` is called then.

    An exception of any kind concerns this drone alone: the executor logs it, closes the controller, and tries again
    with a new one every few seconds.
    """

    @property
    def ready(self) -> bool:
        """Whether ``state`` is sensed and not guessed.

        Until it is true once, nothing but ``step`` and ``close`` is called, and the drone takes no order; later it is
        not asked any more, and what is lost then is a ``fault``.
        """

    @property
    def state(self) -> FlightState:
        """What is sensed now. Cheap: it is read several times after each ``step``."""

    def goto(self, target: GeoPoint) -> None:
        """Fly to ``target`` and land there. Replaces an earlier target; breaks off loading and dropping, even where the
        target is the same: what a program that died had begun must not be finished for the order of the next."""

    def load(self, payload_kg: float) -> None:
        """Take a package of ``payload_kg`` on board; done when ``payload_on_board`` says so.

        Raises :class:`FlightError` in the air.
        """

    def drop(self) -> None:
        """Let the package go where the drone is; done when ``payload_on_board`` says so.

        Raises :class:`FlightError` in the air.
        """

    def hold(self) -> None:
        """Stop, break off what is under way, and land on the spot."""

    def step(self, dt_s: float) -> None:
        """Let ``dt_s`` (0 or more) pass, of ROS time: wall time, or simulation time where ``use_sim_time`` is set.

        A controller that runs by itself only reads its sensors. Raises :class:`FlightError` if it cannot go on: the
        executor then closes it and makes a new one on the same ``path``.
        """

    def remaining_s(self) -> float:
        """Estimated seconds (of ``step``) until the target is reached; 0 where there is none."""

    def close(self) -> None:
        """Remember what must survive, and fall silent; again does nothing. Its topics stay on the drone's node."""
