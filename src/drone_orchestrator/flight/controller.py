"""What a drone's executor needs of whatever flies the drone: our kinematic model, Gazebo, an autopilot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..core.types import GeoPoint


class FlightError(Exception):
    """The flight controller cannot do what it was told, or cannot start; the text is one line."""


@dataclass(frozen=True, slots=True)
class FlightState:
    """What the flight controller senses. Local axes are east, north, up from the depot's ground.

    ``at_target``: landed at the point of the last ``goto``. ``payload_on_board`` is the payload sensor's word.
    ``fault``: machine-readable reason why the drone should stay on the ground, ``""`` for none.
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
    """Commands return at once; progress shows in ``state``. A repeated ``load`` or ``drop`` changes nothing."""

    @property
    def state(self) -> FlightState:
        """What is sensed now."""

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
        """Let ``dt_s`` of wall time pass; a controller that runs by itself only reads its sensors."""

    def remaining_s(self) -> float:
        """Estimated wall seconds until the target is reached; 0 where there is none."""

    def close(self) -> None:
        """Remember what must survive, and release everything; again does nothing."""
