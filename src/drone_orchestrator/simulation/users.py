"""Users of the region: shops that order and cancel, and an operator who decides what no program can decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from ..core.types import (
    CancelRequest,
    CommandAction,
    DroneClass,
    GeoPoint,
    OperatorCommand,
    Order,
    Phase,
    Priority,
    Saga,
)
from ..planning.geo import geo_from_enu
from ..ports import StoreError, Submitted
from ..store import MemoryStore
from .drone import SimulatedDrone
from .environment import Environment
from .recorder import Recorder
from .scheduler import SimulatedClock

OPERATOR = "operator"
RETRY_S = 2.0
#: Share of decisions in which the operator ignores that a drone may still come for the package.
CARELESS = 0.3
#: Interval (s) between the operator's rounds, while faults strike and after.
ROUND_S = 10.0
QUICK_ROUND_S = 5.0


class SimulatedShop:
    """Shop that makes its own message ids and retries until it is answered. It repeats or cancels some orders."""

    def __init__(self, environment: Environment, name: str, carriers: Sequence[DroneClass]) -> None:
        self.name = name
        self.accepted: dict[str, Order] = {}
        self.unanswered = 0
        self.clock = SimulatedClock(environment.scheduler, 0.0)
        self._environment = environment
        self._carriers = carriers
        self._store = MemoryStore(environment.backend, environment.fleet.region, name)

    def place(self, number: int) -> None:
        """Submit a new order, and perhaps cancel it, repeat it, or reuse one of its ids by mistake."""
        environment, profile = self._environment, self._environment.profile
        rng = environment.chance.of("order", str(number), "afterwards")
        order = self._make(number)
        environment.packages.add(order, environment.scheduler.now_s)
        self._submit(order)
        if rng.random() < profile.cancel_share:
            environment.scheduler.after(rng.uniform(0.0, 150.0), lambda: self._cancel(order))
        if rng.random() < profile.repeat_share:
            environment.scheduler.after(
                rng.uniform(0.0, 120.0), lambda: self._submit(self._repeated(order), expect="same")
            )
        if rng.random() < profile.conflict_share:
            other = replace(order, package_weight_kg=order.package_weight_kg / 2.0)
            environment.scheduler.after(rng.uniform(0.0, 120.0), lambda: self._submit(other, expect="message_id"))
        if rng.random() < profile.conflict_share:
            namesake = replace(order, message_id=f"{order.message_id}-b")
            environment.packages.add(namesake, environment.scheduler.now_s)  # needed if the order is wrongly accepted
            environment.scheduler.after(rng.uniform(0.0, 120.0), lambda: self._submit(namesake, expect="order_id"))

    def take(self, order: Order, cancelled_after_s: float | None) -> None:
        """Submit an order that exists already, and cancel it after a while unless that is ``None``."""
        order = replace(order, submitted_at=self.clock.now().wall_s)
        self._environment.packages.add(order, self._environment.scheduler.now_s)
        self._submit(order)
        if cancelled_after_s is not None:
            self._environment.scheduler.after(cancelled_after_s, lambda: self._cancel(order))

    def _repeated(self, order: Order) -> Order:
        return replace(order, submitted_at=self.clock.now().wall_s)

    def _make(self, number: int) -> Order:
        environment = self._environment
        rng = environment.chance.of("order", str(number))
        wanted = rng.choice((None, None, None, *environment.fleet.classes))
        carrier = wanted or rng.choice(self._carriers)
        deadline_s = rng.uniform(30.0, 600.0) if rng.random() < environment.profile.deadline_share else None
        pickup = self._place(rng) if rng.random() < 0.2 else None
        return Order(
            message_id=f"m{number}",
            order_id=f"o{number}",
            destination=self._place(rng),
            package_weight_kg=rng.uniform(0.1, 1.0) ** 2 * carrier.max_payload_kg,  # most are light
            submitted_at=self.clock.now().wall_s,
            pickup=pickup,
            priority=rng.choice(list(Priority)),
            deadline_s=deadline_s,
            drone_class=wanted.name if wanted else None,
        )

    def _place(self, rng: Random) -> GeoPoint:
        """Choose a place in the region, but not at the depot."""
        environment = self._environment
        radius_m = environment.profile.service_radius_m
        east_m, north_m = (rng.choice((-1, 1)) * rng.uniform(0.1, 0.68) * radius_m for _ in "en")
        lat_deg, lon_deg = geo_from_enu(east_m, north_m, environment.fleet.depot)
        return GeoPoint(float(lat_deg), float(lon_deg))

    def _submit(self, order: Order, expect: str = "") -> None:
        if expect and order.order_id not in {known.order_id for known in self.accepted.values()}:
            return  # the first order is not answered yet, so there is nothing to expect
        self.unanswered += 1
        try:
            answer = self._store.submit(order)
        except StoreError:
            self._environment.scheduler.after(RETRY_S, lambda: self._again(order, expect))
            return
        self.unanswered -= 1
        self._judge(order, answer, expect)

    def _again(self, order: Order, expect: str) -> None:
        self.unanswered -= 1
        self._submit(order, expect)

    def _judge(self, order: Order, answer: Submitted, expect: str) -> None:
        if not expect:
            if answer.conflict:
                self._environment.wrong("I7", f"the first order {order.message_id} was refused: {answer.conflict}")
            self.accepted[order.message_id] = order
        elif expect == "same":
            if answer.created or answer.conflict:
                self._environment.wrong("I7", f"order {order.message_id} once more: {answer}")
        elif answer.created or answer.conflict != expect:
            self._environment.wrong("I7", f"order {order.message_id} conflicts by its {expect}: {answer}")

    def _cancel(self, order: Order) -> None:
        try:
            self._store.request_cancel(CancelRequest(order.message_id, self.clock.now().wall_s))
        except StoreError:
            self._environment.scheduler.after(RETRY_S, lambda: self._cancel(order))


class SimulatedOperator:
    """Operator who lifts the grounding of repaired drones, and decides parked orders by where the package is."""

    def __init__(self, environment: Environment, recorder: Recorder, drones: Mapping[str, SimulatedDrone]) -> None:
        self._environment = environment
        self._recorder = recorder
        self._drones = drones
        self._store = MemoryStore(environment.backend, environment.fleet.region, OPERATOR)
        self._clock = SimulatedClock(environment.scheduler, 0.0)
        environment.scheduler.after(ROUND_S, self._go_round)

    def _go_round(self) -> None:
        environment = self._environment
        for drone in self._drones.values():
            if drone.phase is Phase.GROUNDED and (environment.is_calm or self._rng(drone.id).random() < 0.5):
                self._look_after(drone.id)
        for saga in self._recorder.parked():
            if environment.is_calm or self._rng(saga.message_id).random() < 0.5:
                self._resolve(saga)
        environment.scheduler.after(QUICK_ROUND_S if environment.is_calm else ROUND_S, self._go_round)

    def _rng(self, subject: str) -> Random:
        """Return the stream of chance of the operator's decisions about one drone or order."""
        return self._environment.chance.of("operator", subject)

    def _look_after(self, drone_id: str) -> None:
        """Repair the drone and lift its grounding. A package on board goes back to its depot, or stays on board."""
        drone = self._drones[drone_id]
        drone.flight.service()
        if drone.flight.loaded and self._rng(drone_id).random() < 0.5:
            self._environment.packages.fetch(drone.flight.unload())
        self._environment.faults["operator_lift"] += 1
        drone.lift_grounding()

    def _resolve(self, saga: Saga) -> None:
        environment, rng = self._environment, self._rng(saga.message_id)
        package = environment.packages.of(saga.message_id)
        drone, carrier = self._drones[saga.drone_id or ""], self._drones.get(package.carrier)
        if package.drops:
            action = CommandAction.DELIVERED
        elif package.at_depot and rng.random() < CARELESS:
            # True, but a drone with a clearance may still come for it: the leader must refuse the command.
            action = CommandAction.RETURNED
        elif drone.dead or (carrier is not None and carrier.dead):
            # This drone will never be heard again, and only a report of it could contradict the order's end.
            action = CommandAction.LOST
        elif package.at_depot and not drone.may_load(saga.message_id):
            action = CommandAction.RETURNED
        elif carrier is not None and rng.random() < 0.5 and not carrier.flight.is_dropping:
            # Unless the drone is dropping it: then the customer takes it.
            environment.packages.fetch(carrier.flight.unload())
            action = CommandAction.RETURNED
        else:
            action = CommandAction.RETRY
        environment.trace(f"operator: {saga.message_id} {action.value}")
        command = OperatorCommand(saga.message_id, action, self._clock.now().wall_s, by="operator")
        try:
            self._store.request_command(command)
        except StoreError:
            return  # the next round tries again
        environment.faults["operator_command"] += 1
