"""Physical truth: where every package really is, and how drones really move."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..core.types import DroneClass, GeoPoint, Order, Saga, SagaStatus
from ..planning.energy import SECONDS_PER_HOUR, cruise_power_w, flight_time_s
from ..planning.geo import distance_between_m
from .scheduler import Scheduler

#: Closer than this (degrees) is the same place: a metre or so.
SAME_PLACE_DEG = 1e-5
#: A jammed loader is looked at again after this time (s).
JAM_CHECK_S = 5.0


@dataclass(slots=True)
class Package:
    """A package. ``carrier`` is the drone that has it, ``""`` if it is at its depot or was dropped.

    Its customer ordered it at ``placed_s``. ``drop_began_s`` is when its drone first resolved to drop it at its
    destination.
    """

    order: Order
    pickup: GeoPoint
    placed_s: float
    carrier: str = ""
    drops: int = 0
    at_depot: bool = True
    drop_began_s: float | None = None


class Packages:
    """All packages of the region. ``broken`` collects events that must never happen."""

    def __init__(self, depot: GeoPoint) -> None:
        self._depot = depot
        self._packages: dict[str, Package] = {}
        self.broken: list[str] = []
        #: Tells from (message id, drone id) whether the store has cleared the drone to load; see the recorder.
        self.may_take: Callable[[str, str], bool] = lambda message_id, drone_id: False

    def add(self, order: Order, now_s: float) -> None:
        self._packages[order.message_id] = Package(order, order.pickup or self._depot, now_s)

    def of(self, message_id: str) -> Package:
        return self._packages[message_id]

    def take(self, message_id: str, drone_id: str, place: GeoPoint) -> None:
        """Take the package on board a drone."""
        package = self._packages[message_id]
        if not self.may_take(message_id, drone_id):
            self.broken.append(f"{drone_id} took the package of order {message_id} before it was cleared")
        if not package.at_depot or not _same(place, package.pickup):
            where = f"with {package.carrier}" if package.carrier else f"dropped {package.drops} times"
            self.broken.append(f"{drone_id} took the package of order {message_id} which is not there: {where}")
        package.carrier, package.at_depot = drone_id, False

    def put(self, message_id: str, drone_id: str, place: GeoPoint) -> None:
        """Drop the package from a drone."""
        package = self._packages[message_id]
        package.carrier = ""
        pickup, destination = package.pickup, package.order.destination
        is_home = _same(place, pickup)
        if is_home and _same(place, destination):  # neighbours
            is_home = distance_between_m(place, pickup) < distance_between_m(place, destination)
        if is_home:
            package.at_depot = True
        elif _same(place, destination):
            package.drops += 1
            if package.drops > 1:
                self.broken.append(f"{drone_id} dropped the package of order {message_id} a second time")
        else:
            self.broken.append(f"{drone_id} dropped the package of order {message_id} at {place}: nobody lives there")

    def begin_drop(self, message_id: str, now_s: float) -> None:
        """Note that a drone is about to drop the package at its destination: from now on a recall is too late."""
        package = self._packages[message_id]
        if package.drop_began_s is None:
            package.drop_began_s = now_s

    def fetch(self, message_id: str) -> None:
        """Bring the package back to its depot, as a person does."""
        package = self._packages[message_id]
        package.carrier, package.at_depot = "", True

    def contradiction(self, saga: Saga) -> str:
        """Return how the saga contradicts the truth about its package, or ``""``."""
        package = self._packages[saga.message_id]
        says = f"order {saga.message_id} is {saga.status.value} ({saga.reason})"
        if saga.status is SagaStatus.DELIVERED and package.drops != 1:
            return f"{says}, but its package was dropped {package.drops} times"
        if saga.status in (SagaStatus.PENDING, SagaStatus.CANCELLED) and not package.at_depot:
            return f"{says}, but its package is not in its depot"
        return ""


@dataclass(frozen=True, slots=True)
class Sensed:
    """Senses of a drone's autopilot; see :class:`~drone_orchestrator.runtime.drone_driver.Senses`."""

    position: GeoPoint
    energy_wh: float
    payload_on_board: bool
    at_target: bool
    fault: str


@dataclass(slots=True)
class _Act:
    """Loading or dropping the package of ``message_id``, which ends at ``end_s``."""

    loads: bool
    message_id: str
    end_s: float


class SimulatedFlight:
    """A drone with its autopilot, which continues when the drone's program dies. It moves in legs, not in steps.

    ``cargo()`` names the order whose package a ``load`` takes. ``before_act()`` is called before each load and drop.
    """

    def __init__(
        self,
        drone_id: str,
        drone_class: DroneClass,
        depot: GeoPoint,
        scheduler: Scheduler,
        packages: Packages,
        cargo: Callable[[], str],
        before_act: Callable[[], None] = lambda: None,
    ) -> None:
        self.fault = ""
        self.jammed = False  # no leg and no act ends while it is set
        self.loaded = ""  # message id of what is on board
        self._drone_id = drone_id
        self._class = drone_class
        self._depot = depot
        self._scheduler = scheduler
        self._packages = packages
        self._cargo = cargo
        self._before_act = before_act
        self._start = depot
        self._target = depot
        self._left_s = self._arrive_s = self._settled_s = 0.0
        self._holds = False
        self._energy_wh = drone_class.battery_wh
        self._act: _Act | None = None

    # --- what the drone's program commands --------------------------------------------------------------------------

    def goto(self, target: GeoPoint) -> None:
        # Even if the drone is there already: a program that has died since may have begun the act.
        self._act = None
        if target == self._target and not self._holds:
            return
        position = self.position
        self._settle_energy()
        leg_s = float(flight_time_s(distance_between_m(position, target), self._class))
        self._start, self._target, self._holds = position, target, False
        self._left_s = self._scheduler.now_s
        self._arrive_s = self._left_s + leg_s

    def load(self, payload_kg: float) -> None:
        if not self.loaded and self._act is None:
            self._before_act()
            self._begin(_Act(True, self._cargo(), self._scheduler.now_s + self._class.load_time_s))

    def drop(self) -> None:
        if self.loaded and self._act is None:
            self._before_act()
            self._begin(_Act(False, self.loaded, self._scheduler.now_s + self._class.drop_time_s))

    def hold(self) -> None:
        self._settle_energy()
        self._start = self._target = self.position
        self._left_s = self._arrive_s = self._scheduler.now_s
        self._holds = True
        self._act = None

    def step(self, dt_s: float) -> None:
        """Do nothing: the scheduler lets time pass."""

    def close(self) -> None:
        """Do nothing: the drone stays."""

    # --- what happens to it -----------------------------------------------------------------------------------------

    def break_off(self) -> None:
        """Stop loading or dropping, as some autopilots do when their program falls silent."""
        self._act = None

    def service(self) -> None:
        """Repair the drone and insert a full battery, as a person does."""
        self.fault, self._energy_wh, self._settled_s = "", self._class.battery_wh, self._scheduler.now_s

    def unload(self) -> str:
        """Take the package off, as a person does. Returns its message id."""
        taken, self.loaded, self._act = self.loaded, "", None
        return taken

    # --- what it senses ---------------------------------------------------------------------------------------------

    @property
    def position(self) -> GeoPoint:
        now_s = self._scheduler.now_s
        if now_s >= self._arrive_s:
            return self._target
        done = (now_s - self._left_s) / (self._arrive_s - self._left_s)
        return GeoPoint(
            self._start.lat_deg + done * (self._target.lat_deg - self._start.lat_deg),
            math.remainder(self._start.lon_deg + done * _east_deg(self._start, self._target), 360.0),
        )

    @property
    def state(self) -> Sensed:
        self._settle_energy()
        arrived = self._scheduler.now_s >= self._arrive_s and not self._holds and not self.jammed
        fault = self.fault or ("battery_empty" if self._energy_wh <= 0.0 else "")
        return Sensed(self.position, self._energy_wh, bool(self.loaded), arrived, fault)

    @property
    def is_dropping(self) -> bool:
        """``True`` while the drone is dropping its package."""
        return self._act is not None and not self._act.loads

    def next_change_s(self) -> float:
        """Return when (virtual, s) the next leg or act ends; infinite if nothing is in progress."""
        if self._act is not None:
            return self._act.end_s
        return self._arrive_s if self._arrive_s > self._scheduler.now_s else float("inf")

    def _begin(self, act: _Act) -> None:
        self._act = act
        self._scheduler.at(act.end_s, lambda: self._finish(act))

    def _finish(self, act: _Act) -> None:
        if self._act is not act:
            return  # broken off
        if self.jammed:
            self._begin(replace(act, end_s=self._scheduler.now_s + JAM_CHECK_S))
            return
        self._act = None
        if act.loads:
            self._packages.take(act.message_id, self._drone_id, self.position)
            self.loaded = act.message_id
        else:
            self._packages.put(act.message_id, self._drone_id, self.position)
            self.loaded = ""

    def _settle_energy(self) -> None:
        """Subtract the energy used since the last call, and add what the battery was charged at the depot."""
        now_s = self._scheduler.now_s
        flown_s = max(0.0, min(now_s, self._arrive_s) - self._settled_s)
        if flown_s:
            payload_kg = self._packages.of(self.loaded).order.package_weight_kg if self.loaded else 0.0
            power_w = float(cruise_power_w(self._class, payload_kg))
            self._energy_wh = max(0.0, self._energy_wh - power_w * flown_s / SECONDS_PER_HOUR)
        rest_s = now_s - max(self._arrive_s, self._settled_s)
        if rest_s > 0.0 and _same(self._target, self._depot):
            gained_wh = self._class.charge_power_w * rest_s / SECONDS_PER_HOUR
            self._energy_wh = min(self._class.battery_wh, self._energy_wh + gained_wh)
        self._settled_s = now_s


def _same(first: GeoPoint, second: GeoPoint) -> bool:
    near = abs(first.lat_deg - second.lat_deg) < SAME_PLACE_DEG
    return near and abs(_east_deg(first, second)) < SAME_PLACE_DEG


def _east_deg(first: GeoPoint, second: GeoPoint) -> float:
    """Return the degrees by which ``second`` is east of ``first``, the shorter way round (negative: west)."""
    return math.remainder(second.lon_deg - first.lon_deg, 360.0)
