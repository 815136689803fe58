"""Orders and drones that are set aside, because deciding about one of them raised.

The error costs this one order or drone, and nothing else: it would raise again in every other leader. The shell reports
it loudly, since it is a defect in the core or a record that contradicts itself in a way that nothing else noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..planner import Pairing, PlannedOrder, Planner
from ..types import DroneReport, FleetSpec, Instant, Kind, Order
from ..view import FleetView
from .effects import SetAside
from .memory import LeaderState
from .steps import Steps

#: Decide again about an order whose records did not change, once per this period (s): the error may have been passing.
LOOK_AGAIN_S = 60.0
#: The most orders and drones that one call of the planner may cost before the round goes without it.
MOST_CULPRITS = 8

_ABOUT_AN_ORDER = (Kind.SAGA, Kind.INBOX_ORDER, Kind.INBOX_CANCEL, Kind.INBOX_COMMAND)


@dataclass(slots=True)
class _OrderAside:
    versions: tuple[int, ...]
    error: str
    until_s: float
    held: bool = True


class Aside:
    """Remembers what is set aside, and for which state of its records.

    An order is decided about again when one of its records changes, a drone when it reports something else. Each error
    is reported once until then.
    """

    def __init__(self, view: FleetView, state: LeaderState, steps: Steps) -> None:
        self._view = view
        self._state = state
        self._steps = steps
        self._orders: dict[str, _OrderAside] = {}
        self._drones: dict[str, None] = {}
        self._told: dict[str, str] = {}
        self._news: list[SetAside] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all that is set aside now. Other threads may read it."""
        orders = [f"order {name}" for name, order in list(self._orders.items()) if order.held]
        return (*orders, *(f"drone {name}" for name in list(self._drones)))

    def take_news(self) -> list[SetAside]:
        """Return what was set aside since the last call."""
        news, self._news = self._news, []
        return news

    # --- orders -------------------------------------------------------------------------------------------------

    def knows(self, message_id: str) -> bool:
        """Return whether the order is, or was, set aside."""
        return message_id in self._orders

    def holds(self, message_id: str, now: Instant) -> bool:
        """Return whether nothing may be decided about the order now."""
        order = self._orders.get(message_id)
        if order is None:
            return False
        if order.versions != self._versions(message_id):
            del self._orders[message_id]
            return False
        order.held = now.mono_s < order.until_s
        return order.held

    def _versions(self, message_id: str) -> tuple[int, ...]:
        return tuple(self._view.revision_of(kind, message_id) for kind in _ABOUT_AN_ORDER)

    # --- drones -------------------------------------------------------------------------------------------------

    def is_drone_aside(self, drone_id: str) -> bool:
        """Return whether the drone gets no orders for now."""
        return drone_id in self._drones

    def drone_changed(self, drone_id: str) -> None:
        """Decide about the drone again, because it reports something else."""
        self._drones.pop(drone_id, None)

    # --- errors -------------------------------------------------------------------------------------------------
    # Callers catch `Exception` themselves: a context manager around every decision costs a leader 3 % of its time.

    def put_order(self, message_id: str, error: Exception, now: Instant) -> None:
        """Set the order aside. The error is reported if it or the order's records are new."""
        text, before, versions = repr(error), self._orders.get(message_id), self._versions(message_id)
        self._orders[message_id] = _OrderAside(versions, text, now.mono_s + LOOK_AGAIN_S)
        term = self._state.term
        if term is not None:
            term.waiting.remove(message_id)
            self._steps.schedule(message_id, now.mono_s + LOOK_AGAIN_S)
        if before is None or (before.versions, before.error) != (versions, text):
            self._news.append(SetAside(f"order {message_id}", error))

    def put_drone(self, drone_id: str, error: Exception) -> None:
        """Set the drone aside until it reports something else. An error is reported once."""
        self._drones[drone_id] = None
        self._tell(f"drone {drone_id}", error)

    def give_up_round(self, error: Exception) -> None:
        """Report why a planning round ended early; the next one tries again. An error is reported once."""
        self._tell("planning round", error)

    def _tell(self, what: str, error: Exception) -> None:
        text = repr(error)
        if self._told.get(what) != text:
            self._told[what] = text
            self._news.append(SetAside(what, error))


class CarefulPlanner:
    """Plans without the orders and drones that make ``planner`` raise, and sets those aside."""

    def __init__(self, planner: Planner, aside: Aside, now: Instant) -> None:
        self._planner = planner
        self._aside = aside
        self._now = now

    def capable(self, fleet: FleetSpec, order: Order) -> bool:
        """See :meth:`~..planner.Planner.capable`."""
        return self._planner.capable(fleet, order)

    def plan(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> list[Pairing]:
        """See :meth:`~..planner.Planner.plan`."""
        for _ in range(MOST_CULPRITS):
            try:
                return self._planner.plan(fleet, drones, orders)
            except Exception as error:
                drone, order = self._culprits(fleet, drones, orders)
                if drone is not None:
                    self._aside.put_drone(drone.drone_id, error)
                    drones = [each for each in drones if each is not drone]
                else:
                    self._aside.put_order(order.order.message_id, error, self._now)
                    orders = [each for each in orders if each is not order]
            if not drones or not orders:
                break
        return []

    def _culprits(
        self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]
    ) -> tuple[DroneReport | None, PlannedOrder]:
        """Return an order that makes the planner raise, and the drone if it is to blame: it raises with other orders,
        too, or no other drone does. Halving finds each."""
        last = _first(len(orders), lambda count: self._raises(fleet, drones, orders[:count]))
        order = orders[last - 1]
        if not self._raises(fleet, drones, [order]):
            return None, order
        last = _first(len(drones), lambda count: self._raises(fleet, drones[:count], [order]))
        drone, others = drones[last - 1], [each for each in orders if each is not order]
        if others:
            is_drones_fault = self._raises(fleet, [drone], others[:1])
        else:
            rest = [each for each in drones if each is not drone]
            is_drones_fault = bool(rest) and not self._raises(fleet, rest, [order])
        return (drone if is_drones_fault else None), order

    def _raises(self, fleet: FleetSpec, drones: Sequence[DroneReport], orders: Sequence[PlannedOrder]) -> bool:
        try:
            self._planner.plan(fleet, drones, orders)
        except Exception:
            return True
        return False


def _first(most: int, holds: Callable[[int], bool]) -> int:
    """Return the least number from 1 to ``most`` for which ``holds``, given that it holds for ``most``."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high
