"""A drone for tests: the real machine and journal, a simple flight controller, and packages with a physical place.

The place of a package follows from what drones physically did, not from any record.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

from drone_orchestrator.core.drone.events import (
    ClearanceAnswered,
    Cleared,
    Closed,
    DroneEffect,
    DroneEvent,
    Drop,
    Dropping,
    Entry,
    FlightSensed,
    Fly,
    GoalAccepted,
    Hold,
    Load,
    Unloading,
    WriteJournal,
)
from drone_orchestrator.core.drone.machine import DroneMachine
from drone_orchestrator.core.drone.state import DurableState, apply, fold
from drone_orchestrator.core.policies import DronePolicy
from drone_orchestrator.core.types import DroneClass, DroneReport, GeoPoint, Instant, Verdict

DEPOT, CUSTOMER, LOST = "depot", "customer", "lost"
LEG_TICKS = 2


class PackageMishap(AssertionError):
    """A package was loaded or dropped where no rule allows it."""


@dataclass
class Packages:
    """The place of each order's package: in the depot (by default), with a drone, at its customer, or lost."""

    places: dict[str, str] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    destinations: dict[str, GeoPoint] = field(default_factory=dict)

    def place(self, message_id: str) -> str:
        return self.places.get(message_id, DEPOT)

    def with_drone(self, drone_id: str) -> str | None:
        return next((m for m, place in self.places.items() if place == drone_id), None)

    def copy(self) -> Packages:
        return Packages(dict(self.places), dict(self.drops), dict(self.destinations))


@dataclass
class Airframe:
    """A flight controller that keeps flying while the program that commands it is dead. A new leg interrupts an act."""

    target: GeoPoint | None = None
    legs_left: int = 0
    act: str = ""
    payload: bool = False
    fault: str = ""

    def command(self, effect: Fly | Load | Drop | Hold) -> None:
        match effect:
            case Fly(target):
                if target != self.target:
                    self.target, self.legs_left = target, LEG_TICKS
                self.act = ""
            case Load():
                self.act = "load"
            case Drop():
                self.act = "drop"
            case Hold():
                self.act = ""


class Aircraft:
    """One drone. ``machine`` is ``None`` while its program is dead; ``entries`` is its journal on disk."""

    def __init__(self, drone_id: str, drone_class: DroneClass, depot: GeoPoint, packages: Packages) -> None:
        self.drone_id = drone_id
        self.entries: list[Entry] = []
        self.durable = DurableState()  # the fold of ``entries``
        self.journals: list[tuple[str, list[Entry]]] = []  # lost ones, with their identities
        self.airframe = Airframe()
        self.packages = packages
        self.machine: DroneMachine | None = None
        self._class = drone_class
        self._depot = depot
        self._granted: tuple[str, int] | None = None  # the goal that received valid clearance in this step
        self.start()

    @property
    def journal_id(self) -> str:
        return f"journal-{len(self.journals)}-of-{self.drone_id}"

    def start(self) -> None:
        """Start the program, which reads its journal."""
        self.durable = fold(self.entries)
        self.machine = DroneMachine(
            self.drone_id,
            self._class,
            self._depot,
            journal_id=self.journal_id,
            durable=self.durable,
            policy=DronePolicy(clearance_retry_s=0.5),
        )

    def die(self) -> None:
        self.machine = None

    def lose_journal(self) -> None:
        """Replace disk and program; a package stays on board."""
        self.journals.append((self.journal_id, self.entries))
        self.entries = []
        self.start()

    def restore(self, entries: Sequence[Entry], airframe: Airframe) -> None:
        """Restore the drone as it was at some instant, with its program just started."""
        self.entries, self.airframe = list(entries), copy(airframe)
        self.start()

    def report(self, position: GeoPoint, energy_wh: float) -> DroneReport | None:
        return self.machine.report(position, energy_wh) if self.machine else None

    def sense(self, now: Instant) -> list[DroneEffect]:
        """Let time pass: the flight controller progresses, and the program reads it."""
        self._fly()
        airframe = self.airframe
        return self.step(FlightSensed(airframe.legs_left == 0, airframe.payload, airframe.fault), now)

    def step(self, event: DroneEvent, now: Instant, *, dies_after: int | None = None) -> list[DroneEffect]:
        """Return the effects that the program sends on ``event``; it dies after ``dies_after`` of them."""
        if self.machine is None:
            return []
        self._note_clearance(event)
        effects = self.machine.step(event, now)
        done = effects if dies_after is None else effects[:dies_after]
        for effect in done:
            self._carry_out(effect)
        self._granted = None
        if dies_after is not None:
            self.die()
        else:
            assert self.durable == self.machine.durable
        return done

    def _carry_out(self, effect: DroneEffect) -> None:
        match effect:
            case WriteJournal(entry):
                self._check_entry(entry)
                self.entries.append(entry)
                self.durable = apply(self.durable, entry)
            case Load():
                self._check_load()
                self.airframe.command(effect)
            case Drop():
                goal = self.durable.goal
                if goal is None or not (goal.dropping or goal.unloading):
                    raise PackageMishap(f"{self.drone_id} lets go of a package without an entry in its journal")
                self.airframe.command(effect)
            case Fly() | Hold():
                self.airframe.command(effect)
            case _:
                pass

    # --- physics ------------------------------------------------------------------------------------------------

    def _fly(self) -> None:
        airframe = self.airframe
        if airframe.legs_left:
            airframe.legs_left -= 1
            return
        goal = self.durable.goal
        if airframe.act == "load" and not airframe.payload and goal is not None:
            if self.packages.place(goal.message_id) != DEPOT:
                where = self.packages.place(goal.message_id)
                raise PackageMishap(f"{self.drone_id} loads {goal.key}, which is not in the depot but: {where}")
            self.packages.places[goal.message_id] = self.drone_id
            self.packages.destinations[goal.message_id] = goal.order.destination
            airframe.payload = True
        elif airframe.act == "drop" and airframe.payload:
            self._let_go()
        airframe.act = ""

    def _let_go(self) -> None:
        message_id = self.packages.with_drone(self.drone_id)
        assert message_id is not None
        at_customer = self.airframe.target == self.packages.destinations[message_id]
        self.packages.places[message_id] = CUSTOMER if at_customer else DEPOT
        self.packages.drops[message_id] = self.packages.drops.get(message_id, 0) + at_customer
        self.airframe.payload = False

    def lose_package(self) -> None:
        """Lose the package in flight. While it is being put down, a loss would look like the end of the drop."""
        message_id, goal = self.packages.with_drone(self.drone_id), self.durable.goal
        if message_id is not None and not (goal is not None and (goal.dropping or goal.unloading)):
            self.packages.places[message_id] = LOST
            self.airframe.payload = False

    def remove_package(self) -> None:
        """Let a person take the package off the drone and carry it to the depot."""
        message_id = self.packages.with_drone(self.drone_id)
        if message_id is not None:
            self.packages.places[message_id] = DEPOT
            self.airframe.payload = False

    # --- rules checked at every entry and act --------------------------------------------------------------------

    def _note_clearance(self, event: DroneEvent) -> None:
        """Note the goal if ``event`` is a valid clearance for it, judged by the journal alone."""
        durable = self.durable
        if isinstance(event, ClearanceAnswered) and durable.goal is not None:
            mine = (event.message_id, event.attempt, event.journal_id) == (*durable.goal.key, self.journal_id)
            if mine and event.verdict is Verdict.GRANTED and event.epoch >= max(1, durable.highest_epoch):
                self._granted = durable.goal.key

    def _check_entry(self, entry: Entry) -> None:
        durable = self.durable
        match entry:
            case GoalAccepted(order, attempt, epoch):
                assert epoch >= durable.highest_epoch, f"obeyed {epoch} after {durable.highest_epoch}"
                assert attempt > durable.closed_attempt(order.message_id), f"{entry} although it is closed"
            case Cleared(message_id, attempt, epoch):
                assert epoch >= durable.highest_epoch, f"obeyed {epoch} after {durable.highest_epoch}"
                assert (message_id, attempt) == self._granted, f"{entry} without clearance"
            case Closed(message_id, attempt):
                assert durable.goal is not None and durable.goal.key == (message_id, attempt)
            case Dropping() | Unloading():
                assert self.airframe.payload, f"{entry} without a package"
            case _:
                pass

    def _check_load(self) -> None:
        goal = self.durable.goal
        if goal is None or not goal.cleared:
            raise PackageMishap(f"{self.drone_id} loads without clearance for its goal: {goal}")
